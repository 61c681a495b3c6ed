"""`explain`: gathers the evidence about nodes and one request, and names the causes."""

from __future__ import annotations

import time
from queue import SimpleQueue
from typing import TYPE_CHECKING

from mcshell.client.explain.causes import Cause, Evidence, Probe, causes
from mcshell.client.rpc.requester import INTERACTIVE_TTL
from mcshell.errors import ConnectionLost, Reason, ReceiptTimeout, Rejected
from mcshell.message import Filter, new_nonce
from mcshell.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from mcshell.client.discovery.node_cache import CachedNode, NodeCache
    from mcshell.client.discovery.registrations import RegistrationListener
    from mcshell.client.messaging.hub import SessionHub
    from mcshell.client.messaging.rejections import Rejection
    from mcshell.client.store.ledger import LedgerEntry
    from mcshell.client.store.records import RequestRecord
    from mcshell.config import Settings
    from mcshell.message import Reply
    from mcshell.wire.credentials import Credentials

__all__ = ["Explainer"]

_POOL = "pool:"
_OTHERS = 0.1
"""Seconds that another machine of the same name has to answer after the first."""


@dataclass(frozen=True, slots=True)
class _Told:
    """What nodes answered to a probe, and why others refused it, as their registrations say."""

    probes: Mapping[str, Probe]
    refusals: Mapping[str, str]


def _turned_away(heard: SimpleQueue[CachedNode], question: str) -> dict[str, str]:
    """Why nodes refused a question, by their registrations that have come meanwhile."""
    found: dict[str, str] = {}
    while not heard.empty():
        one = heard.get_nowait()
        if question in dict(one.refused):
            found.setdefault(one.identity, dict(one.refused)[question])
    return found


def _probed(reply: Reply, at: float, asked: float) -> Probe:
    """What a node said of the request."""
    said = {"state": "refused", "reason": _why(reply)} if reply.statuscode else reply.data
    # It was written at some moment between our SEND and its arrival: only what lies outside of that
    # is the clock's.
    skew = max(0.0, reply.created - at) + min(0.0, reply.created - asked)
    return Probe(said, skew)


def _why(reply: Reply) -> str:
    """Why a node takes not even a probe, by the code of the reason where it is its date."""
    reason = {
        "expired ": f"{Reason.EXPIRED}: ",
        "made ": f"{Reason.FROM_FUTURE}: made ",
    }
    for begin, code in reason.items():
        if reply.statusmsg.startswith(begin):
            return code + reply.statusmsg.removeprefix(begin)
    return reply.statusmsg or reply.state.value


@dataclass(frozen=True, slots=True, kw_only=True)
class _BrokerFault:
    """What is wrong with the broker, in the words of `Evidence`; "" where nothing is."""

    offline: str = ""
    held_back: str = ""
    dropped: str = ""


def _lasts(record: RequestRecord | None) -> float:
    """How long the request, or else our probe, is good for, seconds."""
    return (
        INTERACTIVE_TTL if record is None else min(INTERACTIVE_TTL, record.expires - record.created)
    )


class Explainer:
    """Explains for one client: from its session, from what it knows, and by asking the node."""

    def __init__(
        self,
        hub: SessionHub,
        known: NodeCache,
        refused: Callable[[str], Rejection | None],
        listener: RegistrationListener,
        settings: Settings,
        credentials: Credentials,
    ) -> None:
        self._hub = hub
        self._known = known
        self._refused = refused
        self._listener = listener
        self._settings = settings
        self._credentials = credentials

    def explain(
        self,
        nodes: Sequence[str],
        record: RequestRecord | None,
        entries: Iterable[LedgerEntry] = (),
    ) -> list[list[Cause]]:
        """Name the causes for each node, the most likely first; `entries` is the ledger of the request.

        All are asked at once: it takes as long as the slowest takes to answer, `client.probe` seconds
        where one does not.
        """
        rows: dict[str, LedgerEntry] = {}
        for entry in entries:
            rows |= dict.fromkeys(filter(None, (entry.sender, entry.worker)), entry)
        asked = [(name, rows.get(name)) for name in nodes]
        meant = [name if row is None else row.worker or row.sender for name, row in asked]
        answered = {
            node
            for node, (_name, row) in zip(meant, asked, strict=True)
            if row is not None and row.reply is not None
        }
        people = [node for node in dict.fromkeys(meant) if not node.startswith(_POOL)]
        told, broker = _Told({}, {}), _BrokerFault()
        machines: dict[str, list[str]] = {}
        try:
            told = self._probe([node for node in people if node not in answered], record)
            there = [node for node in people if node in answered or node in told.probes]
            machines = self._machines(there, record)
            if len(there) < len(people):
                self._hub.check_sending()
                broker = _BrokerFault(dropped=self._hub.early_end(_lasts(record)))
        except ConnectionLost as error:
            broker = _BrokerFault(offline=error.reason)
        except ReceiptTimeout as error:
            broker = _BrokerFault(held_back=str(error))
        return [
            causes(self._evidence(node, name, row, record, told, machines, broker))
            for node, (name, row) in zip(meant, asked, strict=True)
        ]

    def _evidence(
        self,
        node: str,
        asked: str,
        entry: LedgerEntry | None,
        record: RequestRecord | None,
        told: _Told,
        machines: Mapping[str, Sequence[str]],
        broker: _BrokerFault,
    ) -> Evidence:
        """What is known of one node; `asked` is its row of the request."""
        now = time.time()
        probe = told.probes.get(node)
        return Evidence(
            node=node,
            now=now,
            record=record,
            entry=entry,
            confirmed=None
            if record is None
            else self._confirmed(record, asked if entry is None else entry.sender),
            known=self._known.node(self._collective(record), node),
            probe=probe,
            refused=None if probe is not None else self._refused(node),
            own=self._own(now),
            offline=broker.offline,
            held_back=broker.held_back,
            dropped=broker.dropped,
            machines=tuple(machines.get(node, ())),
            turned_away=told.refusals.get(node, ""),
            members=() if record is None else self._members(record, now),
        )

    def _collective(self, record: RequestRecord | None) -> str:
        return self._settings.collective.main if record is None else record.collective

    def _probe(self, nodes: Sequence[str], record: RequestRecord | None) -> _Told:
        """Ask nodes what they know of the request, all at once."""
        if not nodes:
            return _Told({}, {})
        about = new_nonce() if record is None else record.id
        asked = time.time()
        queries = self._hub.queries
        heard: SimpleQueue[CachedNode] = SimpleQueue()
        follower = heard.put
        self._listener.follow(follower)
        question, answers = queries.probe(self._collective(record), nodes, about, lambda: None)
        window = self._settings.client.probe
        try:
            answers.gather(window=window, silence=window, linger=0.0)
            found = answers.snapshot()
        finally:
            self._listener.unfollow(follower)
            queries.forget(question)
        probes = {name: _probed(reply, at, asked) for name, (reply, at) in found.items()}
        return _Told(probes, _turned_away(heard, question))

    def _machines(self, nodes: Sequence[str], record: RequestRecord | None) -> dict[str, list[str]]:
        """Which machines answer under each name, where it is not one: all are asked at once."""
        if not nodes:
            return {}
        queries = self._hub.queries
        only = Filter(identity=tuple(nodes))
        question, answers = queries.ping(self._collective(record), only, nodes)
        try:
            window = self._settings.client.probe
            answers.gather(window=window, silence=_OTHERS, linger=_OTHERS)
            return answers.machines()
        finally:
            queries.forget(question)

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
