"""`explain`: gathers the evidence about one node and one request, and names the causes."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from mcshell.client.explain.causes import Cause, Evidence, Probe, causes
from mcshell.errors import ConnectionLost, Rejected
from mcshell.message import new_nonce

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from mcshell.client.discovery.node_cache import NodeCache
    from mcshell.client.messaging.hub import SessionHub
    from mcshell.client.messaging.rejections import Rejection
    from mcshell.client.store.ledger import LedgerEntry
    from mcshell.client.store.records import RequestRecord
    from mcshell.config import Settings
    from mcshell.wire.credentials import Credentials

__all__ = ["Explainer"]

_POOL = "pool:"


class Explainer:
    """Explains for one client: from its session, from what it knows, and by asking the node."""

    def __init__(
        self,
        hub: SessionHub,
        known: NodeCache,
        refused: Callable[[str], Rejection | None],
        settings: Settings,
        credentials: Credentials,
    ) -> None:
        self._hub = hub
        self._known = known
        self._refused = refused
        self._settings = settings
        self._credentials = credentials

    def explain(
        self, node: str, record: RequestRecord | None, entries: Iterable[LedgerEntry] = ()
    ) -> list[Cause]:
        """Name the causes, the most likely first; `entries` is the ledger of the request.

        Takes as long as the node takes to answer, `client.probe` seconds at most.
        """
        entry = next((entry for entry in entries if entry.sender == node), None)
        answered = entry is not None and entry.reply is not None
        probe, offline = None, ""
        if not answered and not node.startswith(_POOL):
            try:
                probe = self._probe(node, record)
            except ConnectionLost as error:
                offline = error.reason
        now = time.time()
        collective = self._collective(record)
        return causes(
            Evidence(
                node=node,
                now=now,
                record=record,
                entry=entry,
                confirmed=None if record is None else self._confirmed(record, node),
                known=self._known.node(collective, node),
                probe=probe,
                refused=None if probe is not None else self._refused(node),
                own=self._own(now),
                offline=offline,
                members=() if record is None else self._members(record, now),
            )
        )

    def _collective(self, record: RequestRecord | None) -> str:
        return self._settings.collective.main if record is None else record.collective

    def _probe(self, node: str, record: RequestRecord | None) -> Probe | None:
        """Ask the node what it knows of the request; None when it does not answer."""
        about = new_nonce() if record is None else record.id
        asked = time.time()
        queries = self._hub.queries
        question, answers = queries.probe(self._collective(record), [node], about, lambda: None)
        window = self._settings.client.probe
        try:
            answers.gather(window=window, silence=0.0, linger=0.0)
            found = answers.snapshot().get(node)
        finally:
            queries.forget(question)
        if found is None or found[0].statuscode != 0:
            return None
        reply, at = found
        # It was written at some moment between our SEND and its arrival: only what lies outside
        # of that is the clock's.
        skew = max(0.0, reply.created - at) + min(0.0, reply.created - asked)
        return Probe(reply.data, skew)

    def _confirmed(self, record: RequestRecord, node: str) -> float | None:
        if not record.via.durable:
            return None
        return self._hub.session.store.confirmed(record.id, node)

    def _own(self, now: float) -> Rejected | None:
        """What is wrong with our own certificate, by our own clock and revocation list."""
        credentials = self._credentials
        try:
            credentials.verifier.examine(credentials.signer.certificate, now=now)
        except Rejected as refusal:
            return refusal
        return None

    def _members(self, record: RequestRecord, now: float) -> tuple[str, ...]:
        pool = record.pool
        if pool is None:
            return ()
        nodes = self._known.nodes(record.collective, now - self._settings.client.known_for)
        return tuple(
            node.identity
            for node in nodes
            if pool in node.pools and self._settings.serves(pool, node.identity)
        )
