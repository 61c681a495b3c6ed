"""The sender and the queries of a mixed fleet: each node is asked over its own wire.

A node of which nothing is known is located first, over both: asked twice, one that speaks both
would run an action twice.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from mcshell.client.discovery.node_cache import description
from mcshell.client.mcollective.connection import MCollectiveConnection
from mcshell.client.mcollective.routes import Routes
from mcshell.client.messaging.queries import NodeQueries, QueryAnswers
from mcshell.client.messaging.sender import RequestSender
from mcshell.config.mcollective import LEAVES_OPEN
from mcshell.errors import UsageError
from mcshell.filters.nodes import fold
from mcshell.message import Filter, Request, Via

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from mcshell.client.discovery.node_cache import NodeCache
    from mcshell.client.mcollective.connection import ReplyKeeper
    from mcshell.client.messaging.receiver import Listeners, Receiver
    from mcshell.client.messaging.tracker import RequestTracker
    from mcshell.client.session.session import Session
    from mcshell.client.store.records import OutgoingMessage
    from mcshell.config import Settings
    from mcshell.message import Reply
    from mcshell.wire.documents.signatures import Signer
    from mcshell.wire.stomp.transport import Transport

__all__ = ["Mixed"]

_SILENCE = 0.3
_LINGER = 0.02


class Mixed:
    """The old wire beside ours, for one client; it makes what a `SessionHub` asks over both with."""

    def __init__(self, settings: Settings, known: NodeCache) -> None:
        self._routes = Routes(known)
        self._connection = MCollectiveConnection(settings, self._routes)
        self._known = known
        self._window = settings.client.probe
        self._alone = settings.only_mcollective

    def queries(self, sender: RequestSender, receiver: Receiver) -> MixedQueries:
        """Questions over both wires; `sender` puts those over ours."""
        return MixedQueries(
            sender, receiver, self._connection, self._routes, self._known, self._window
        )

    def sender(
        self,
        transport: Transport,
        signer: Signer,
        session: Session,
        listeners: Listeners,
        queries: NodeQueries,
    ) -> MixedSender:
        """What sends requests over both wires; `queries` are those made here."""
        assert isinstance(queries, MixedQueries)
        return MixedSender(
            transport,
            signer,
            session,
            listeners,
            self._connection,
            self._routes,
            queries,
            alone=self._alone,
        )

    @property
    def transport(self) -> Transport:
        """The connection to the old wire's broker."""
        return self._connection.transport

    @property
    def caution(self) -> str:
        """A line on what the security plugin leaves open (`wire/mcollective/README.md`)."""
        return f"only MCollective's wire is spoken: {LEAVES_OPEN[self._connection.trust]}"

    @property
    def junk(self) -> Counter[str]:
        """How many replies of the old wire were refused, by reason."""
        return self._connection.junk.copy()

    def start(self, keeper: ReplyKeeper) -> None:
        """Connect, and have replies kept from now on; ConnectError with the broker's reason."""
        self._connection.start(keeper)

    def close(self) -> None:
        """Disconnect."""
        self._connection.close()


class MixedSender(RequestSender):
    """Sends each target's message over its own wire; `alone`, over MCollective's or not at all."""

    def __init__(
        self,
        transport: Transport,
        signer: Signer,
        session: Session,
        listeners: Listeners,
        connection: MCollectiveConnection,
        routes: Routes,
        queries: MixedQueries,
        *,
        alone: bool,
    ) -> None:
        super().__init__(transport, signer, session, listeners)
        self._alone = alone
        self._connection = connection
        self._routes = routes
        self._queries = queries

    def send(
        self, request: Request, names: Sequence[str], tracker: RequestTracker | None = None
    ) -> None:
        """Send an interactive request: to all, or to each of `names`, over both wires."""
        ours, old, unknown = self._routes.split(request.collective, names)
        if unknown:
            self._queries.locate(request.collective, unknown)
            ours, old, unknown = self._routes.split(request.collective, names)
        if self._alone:
            old = list(names)
        elif ours or unknown or not old:
            super().send(request, ours + unknown, tracker)
        if old:
            at = time.time()
            if tracker is not None:
                tracker.sent(old, at)
            self._connection.send(request, old, ours)
            if tracker is not None:
                self._session.store.mark_sent(request.id, old, at)

    def prepare(
        self,
        request: Request,
        names: Sequence[str],
        inputs: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> list[OutgoingMessage]:
        """Sign a durable request for each target; UsageError for nodes that keep none."""
        if self._alone:
            raise UsageError(
                "MCollective keeps no requests, and its wire is all that is spoken here: queues, "
                "pools and jobs want nodes of our own ([broker] and [pki])"
            )
        if request.via is Via.QUEUE:
            _ours, old, _unknown = self._routes.split(request.collective, names)
            if old:
                raise UsageError(
                    f"MCollective keeps no requests: via=queue is not for {fold(old)} "
                    "(their trust is not mcs)"
                )
        return super().prepare(request, names, inputs)


class MixedQueries(NodeQueries):
    """Asks its questions over both wires; `window` is seconds for locating a node."""

    def __init__(
        self,
        sender: RequestSender,
        receiver: Receiver,
        connection: MCollectiveConnection,
        routes: Routes,
        known: NodeCache,
        window: float,
    ) -> None:
        super().__init__(sender, receiver)
        self._window = window
        self._connection = connection
        self._routes = routes
        self._known = known

    def ping(
        self, collective: str, filter_: Filter, awaited: Iterable[str]
    ) -> tuple[str, QueryAnswers]:
        """Ask all that match; FilterError for a filter that MCollective cannot express."""
        self._connection.check(filter_)
        question, answers = super().ping(collective, filter_, awaited)
        self._connection.ping(question, collective, filter_)
        return question, answers

    def probe(
        self, collective: str, names: Sequence[str], requestid: str, wake: Callable[[], None]
    ) -> tuple[str, QueryAnswers]:
        """Ask each of ours what it knows of a request, the others whether they are there."""
        ours, old, unknown = self._routes.split(collective, names)
        answers = QueryAnswers(frozenset(names), names, wake)
        data = {"requestid": requestid}
        question = self._ask("probe", collective, data, ours + unknown, Filter(), answers)
        self._connection.ping_each(question, collective, old)
        return question, answers

    def carry(self, collective: str, names: Sequence[str], crl: str) -> tuple[str, QueryAnswers]:
        """Bring each of ours a revocation list; the others have no use for it."""
        ours, _old, unknown = self._routes.split(collective, names)
        return super().carry(collective, ours + unknown, crl)

    @property
    def registering(self) -> bool:
        """Not those of the old wire."""
        return False

    def unsure(self, collective: str, since: float) -> bool:
        """Whether there is a node of the old wire whose facts are not known yet."""
        return self._known.undescribed(collective, since)

    def recheck(
        self, collective: str, filter_: Filter, names: Sequence[str]
    ) -> tuple[dict[str, tuple[Reply, float]], set[str]]:
        """Ask those of the old wire by name, with the filter and without.

        Facts there are as old as the last inventory: who answers only without the filter matches no
        more.
        """
        _ours, old, _unknown = self._routes.split(collective, names)
        there = list(self._ping_each(collective, old, None, _SILENCE))
        found = self._ping_each(collective, there, filter_, self._window)
        gone = set(there).difference(found)
        self._connection.poller.again(gone)
        return found, gone

    def _ping_each(
        self, collective: str, names: Sequence[str], filter_: Filter | None, window: float
    ) -> dict[str, tuple[Reply, float]]:
        """The answers of these nodes of the old wire, until all have come or it is silent."""
        if not names:
            return {}
        answers = QueryAnswers(frozenset(names), names)
        question = self._ask("ping", collective, {}, [], Filter(), answers)
        try:
            self._connection.ping_each(question, collective, names, filter_)
            answers.gather(window=window, silence=window, linger=0.0)
        finally:
            self.forget(question)
        return answers.snapshot()

    def quiet_since(self) -> float:
        """Since when (monotonic) no reply has come in over either wire."""
        return max(super().quiet_since(), self._connection.quiet_since())

    def describe(self, collective: str, names: Sequence[str]) -> None:
        """Learn what these nodes of the old wire have; who does not say it in time stays as it is."""
        del collective  # they are known under the main one
        self._connection.poller.wait_described(names, self._window)

    def locate(self, collective: str, names: Sequence[str]) -> None:
        """Learn over which wire these nodes are; what answers over neither stays unknown.

        A node that speaks both is one of ours: who answered over the old wire alone is given a
        moment to do so over ours.
        """
        answers = QueryAnswers(frozenset(names), names, signed=True)
        question = self._ask("ping", collective, {}, names, Filter(), answers)
        try:
            self._connection.ping_each(question, collective, names)
            answers.gather(window=self._window, silence=_SILENCE, linger=_LINGER)
            self._known.learn(
                collective,
                [
                    description(reply.data, name, at)
                    for name, (reply, at) in answers.snapshot().items()
                    if reply.statuscode == 0
                ],
            )
        finally:
            self.forget(question)
