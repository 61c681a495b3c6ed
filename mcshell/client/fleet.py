"""What a client sees and does of the fleet beside its own requests.

It listens to registrations, explains the silent, and carries revocation lists.
"""

from __future__ import annotations

from contextlib import contextmanager
from queue import SimpleQueue
from typing import TYPE_CHECKING

from mcshell.client.discovery.registrations import RegistrationListener
from mcshell.client.messaging.rejections import describe_rejections, weightiest
from mcshell.filters.nodes import canonical

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from mcshell.client.discovery.node_cache import CachedNode, NodeCache
    from mcshell.client.explain.causes import Cause
    from mcshell.client.messaging.hub import SessionHub
    from mcshell.client.messaging.rejections import Rejection
    from mcshell.client.messaging.tracker import RequestTracker
    from mcshell.config import Settings
    from mcshell.message import Reply
    from mcshell.wire.credentials import Credentials
    from mcshell.wire.stomp.transport import Transport

__all__ = ["FleetMonitor"]


class FleetMonitor:
    """Watches the fleet for one client; `start` once it is connected, `stop` before that ends."""

    def __init__(
        self,
        transport: Transport,
        credentials: Credentials,
        hub: SessionHub,
        known: NodeCache,
        settings: Settings,
    ) -> None:
        self._credentials = credentials
        self._known = known
        self._hub = hub
        self._settings = settings
        verifier, collective = credentials.verifier, settings.collective.main
        self.listener = RegistrationListener(transport, verifier, known, collective)

    def start(self) -> None:
        """Subscribe to registrations, and remember the nodes from now on."""
        self.listener.start()

    def stop(self) -> None:
        """End the thread that hears registrations."""
        self.listener.stop()

    @contextmanager
    def registrations(self) -> Iterator[Iterator[CachedNode]]:
        """Give each registration from now on, as it comes; it never ends by itself."""
        coming: SimpleQueue[CachedNode] = SimpleQueue()
        follower = coming.put
        self.listener.follow(follower)
        try:
            yield iter(coming.get, None)
        finally:
            self.listener.unfollow(follower)

    def refused(self, node: str) -> Rejection | None:
        """Why the last reply in a node's name was not believed."""
        return weightiest(self._hub.refused(node), self.listener.refused(node))

    def refused_since(self, at: float) -> str:
        """One line about the answers that were not believed since then (epoch), or nothing."""
        return describe_rejections(self._hub.queries.refused.since(at))

    def newest_for(self, node: str) -> str | None:
        """The id of the session's newest request that was for a node (or `pool:NAME`)."""
        store = self._hub.session.store
        history, name = reversed(store.requests()), _sender(node)
        return next((one.id for one, _ in history if store.concerns(one.id, name)), None)

    def explain(self, nodes: Sequence[str], tracker: RequestTracker | None) -> list[list[Cause]]:
        """Why there is no reply of each node about a request, the most likely cause first."""
        from mcshell.client.explain.explainer import Explainer  # noqa: PLC0415 - only to explain

        record = None if tracker is None else tracker.record
        entries = () if tracker is None else tracker.entries()
        explainer = Explainer(
            self._hub,
            self._known,
            self.refused,
            self.listener,
            self._settings,
            self._credentials,
        )
        return explainer.explain(list(map(_sender, nodes)), record, entries)

    def newest_crl(self, candidates: Iterable[bytes] = ()) -> tuple[int, bytes] | None:
        """Put the newest of the lists (PEM) in force here; its number and text.

        Raises:
            Rejected: one of them is not signed by our CA.
        """
        verifier = self._credentials.verifier
        for pem in candidates:
            verifier.update_crl(pem)
        return None if verifier.crl_number is None else (verifier.crl_number, verifier.crl_pem)

    def publish(
        self, pem: bytes, names: Sequence[str], timeout: float, collective: str | None = None
    ) -> dict[str, Reply]:
        """Bring nodes a revocation list; their answers, within `timeout` seconds of silence."""
        if not names:
            return {}
        queries = self._hub.queries
        collective = collective or self._settings.collective.main
        question, answers = queries.carry(collective, names, pem.decode("ascii"))
        try:
            answers.gather(window=timeout, silence=timeout, linger=0.0)
            return {name: reply for name, (reply, _at) in answers.snapshot().items()}
        finally:
            queries.forget(question)


def _sender(node: str) -> str:
    """A row's sender as it is kept: the one form of a node's name, or `pool:NAME`."""
    return node if node.startswith("pool:") else canonical(node)
