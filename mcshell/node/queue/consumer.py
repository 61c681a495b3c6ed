"""From work queues at the broker into the spool: verify, commit, acknowledge, say so.

When a node's spool is full its queues are read no more, and the rest waits in the broker. What was
under way when it stopped is still taken in. Two brokers take such messages back, and hand them out
again later, when they are known here already; RabbitMQ waits for their acknowledgement, which it can
only be given under the same subscription: so it gets it when reading goes on.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from dataclasses import field
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias

from mcshell.errors import MCShellError, StorageError, WireError
from mcshell.message import State, StatusCode, Via
from mcshell.node.process.watchdog import ThreadPulse
from mcshell.node.replies import no_steps
from mcshell.node.store.records import FINAL, RUNNING, WorkItem
from mcshell.node.verdicts import Admitted, Outcome, Refusal, refused
from mcshell.values import dataclass
from mcshell.wire import destinations
from mcshell.wire.documents.envelope import CERTIFICATE, SIGNATURE, Arrival
from mcshell.wire.stomp.transport import TaggedInbox

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

    from mcshell.message import Request
    from mcshell.node.admission.controller import AdmissionController
    from mcshell.node.context import Node, NodeContext
    from mcshell.node.host import Host
    from mcshell.node.store.records import Key, OutboxMessage
    from mcshell.node.store.spool import Spool
    from mcshell.wire.stomp.transport import Delivery, Inbox

__all__ = [
    "JobIntake",
    "QueueConsumer",
    "QueueIntake",
    "QueueItem",
    "TakenRequest",
    "refuse_unkept",
    "row_of",
]

log = logging.getLogger(__name__)

_TICK: Final = 0.1
_TICKS: Final = 6
"""Looks without a message after which all that had waited is in; a machine that stands still takes none."""
_PATIENCE: Final = 10.0
_PREFETCH: Final = 20
_GROUP: Final = 100
_RESUME: Final = 0.9
_LOOK: Final = 0.5
_TROUBLE: Final = 5.0


@dataclass(slots=True, eq=False)
class _WorkQueue:
    """One node's work queues, one a collective: are they read?"""

    node: Node
    subscriptions: list[str] = field(default_factory=list)
    paused_until: float | None = 0.0
    """Not before then (monotonic) they are read again; None while they are."""
    owed: list[Delivery] = field(default_factory=list)

    @property
    def reading(self) -> bool:
        return self.paused_until is None

    def wanted(self, inbox: SimpleQueue[Any]) -> Iterator[tuple[str, Inbox]]:
        """Each queue, and where its messages belong."""
        identity = self.node.host.identity
        for collective in self.node.host.collectives:
            arrival = Arrival(collective, Via.QUEUE, identity)
            yield destinations.work(collective, identity), TaggedInbox(inbox.put, (self, arrival))


_Came: TypeAlias = "tuple[tuple[_WorkQueue, Arrival], Delivery]"


class QueueConsumer:
    """One thread that reads the work queues of the nodes of a connection.

    Args:
        jobs: who takes jobs in.
        taken: called with the nodes that have new work, or new replies in the outbox.
        most: rows in the spool above which a node's queues are not read.
        each: rows of one caller above which his requests are refused (0: any number).
    """

    def __init__(
        self,
        context: NodeContext,
        jobs: JobIntake,
        taken: Callable[[Collection[str]], None],
        most: int,
        each: int,
    ) -> None:
        self._context = context
        self._spool = context.spool
        self._transport = context.transport
        self._taken = taken
        self._most = most
        self._intake = QueueIntake(context.controller, context.spool, jobs, each)
        self._inbox: SimpleQueue[_Came | None] = SimpleQueue()
        self._queues = [_WorkQueue(node) for node in context.nodes.values()]
        self._paused = set(self._queues)
        self._asleep: list[_Came] = []
        """Messages for machines that are off."""
        self._since = time.monotonic()
        self._ticks = 0
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="mcshell-work", daemon=True)
        self.pulse = ThreadPulse("the reader of work queues", lambda: self._inbox.put(None))

    def settled(self) -> bool:
        """Whether what had waited for these nodes is in: work of their own may begin.

        A job that is long due must not begin before its edit, which waits behind it. Without a
        broker, or where there is no end of messages, it is held up for a few seconds only.
        """
        if time.monotonic() - self._since > _PATIENCE:
            return True
        return not self._paused and self._ticks >= _TICKS

    def begun(self) -> None:
        """A connection stands: what has waited meanwhile comes now."""
        self._since = time.monotonic()
        self._ticks = 0
        self._inbox.put(None)

    def start(self) -> None:
        """Subscribe, but for spools that are full already, and begin, if that is not done.

        Raises:
            WireError: there is no connection, or the broker refuses.
        """
        if self._thread.is_alive():
            return
        self._resume([queue for queue in self._queues if self._waiting(queue) < self._most])
        self._thread.start()

    @property
    def reads(self) -> bool:
        """Whether its thread was started, and perhaps has died since."""
        return self._thread.ident is not None

    def stop(self) -> None:
        """End once the messages in hand are committed."""
        self._stopping = True
        self._inbox.put(None)
        if self._thread.is_alive():
            self._thread.join(5.0)

    def _waiting(self, queue: _WorkQueue) -> int:
        return self._spool.waiting(queue.node.host.identity)

    def _run(self) -> None:
        while not self._stopping:
            self.pulse.beat()
            group = self._awake(self._gather())
            self._ticks = 0 if group else self._ticks + 1
            try:
                if group:
                    self._admit(group)
                self._regulate({queue for (queue, _), _ in group})
            except (MCShellError, OSError) as error:
                log.error("work cannot be taken in: %s", error)  # noqa: TRY400 - said in full
                self._later(group)
            except Exception:
                log.exception("work cannot be taken in")
                self._one_by_one(group)

    def _one_by_one(self, group: list[_Came]) -> None:
        """Find the message that we fail at: it is dropped, so that it does not stop the others."""
        if len(group) > 1:
            for came in group:
                try:
                    self._admit([came])
                except MCShellError:
                    self._inbox.put(came)
                except Exception:
                    log.exception("a message of the work queue is dropped")
                    self._transport.ack(came[1])
        else:
            self._transport.ack(group[0][1])

    def _later(self, group: list[_Came]) -> None:
        """Read no more for a while, and then try these again: nothing of them is committed."""
        for queue in {queue for (queue, _), _ in group}:
            self._pause(queue, _TROUBLE)
        time.sleep(_LOOK)
        for came in group:
            self._inbox.put(came)

    def _awake(self, group: list[_Came]) -> list[_Came]:
        """Those whose machines run; the others stay the broker's until theirs does."""
        came = [*self._asleep, *group]
        up = [one for one in came if one[0][0].node.host.up]
        self._asleep = [one for one in came if one not in up] if len(up) < len(came) else []
        return up

    def _gather(self) -> list[_Came]:
        """Wait for messages, for a moment only while any is held up, and take what is there."""
        group: list[_Came] = []
        wait = _LOOK if self._paused or self._asleep else None
        try:
            first = self._inbox.get(timeout=_TICK if self._ticks < _TICKS else wait)
            while first is not None:
                group.append(first)
                if len(group) >= _GROUP:
                    break
                first = self._inbox.get_nowait()
        except Empty:
            pass
        return group

    def _admit(self, group: list[_Came]) -> None:
        items = [QueueItem(queue.node, arrival, one) for (queue, arrival), one in group]
        self._tell("received", items)
        try:
            taken = self._intake.admit(items, time.time())
        except StorageError as error:
            if len(group) > 1:
                for came in group:
                    self._admit([came])
                return
            if items[0].delivery.redelivered and self._spool.hindered:
                return  # nobody can say whether it was done before: it stays in the broker
            refuse_unkept(self._context.controller, items[0], error)
            taken = []
        self._tell("committed", items)
        for (queue, _arrival), delivery in group:
            if queue.reading:
                self._transport.ack(delivery)
            else:
                queue.owed.append(delivery)
        self._tell("acked", items)
        for one in taken:
            one.item.node.reply_sender.working(one.request, State.RECEIVED)
        self._taken({item.host.identity for item in items})

    def _tell(self, step: str, items: list[QueueItem]) -> None:
        if self._context.steps is not no_steps:
            for item in items:
                self._context.steps(step, item.delivery.headers.get("message-id", ""))

    def _regulate(self, touched: Iterable[_WorkQueue]) -> None:
        """Stop reading for spools that are full; read again where there is room."""
        if self._stopping:
            return
        for queue in touched:
            if queue.reading and self._waiting(queue) >= self._most:
                name = queue.node.host.identity
                log.warning("the spool is full (%d): no work of %s is read", self._most, name)
                self._pause(queue, 0.0)
        if not self._paused or not self._transport.connected:
            return
        now, room = time.monotonic(), self._most * _RESUME
        ready = [
            queue
            for queue in self._paused
            if now >= (queue.paused_until or 0.0) and self._waiting(queue) < room
        ]
        if not ready:
            return
        try:
            self._resume(ready)
        except WireError as error:
            log.warning("work cannot be read: %s", error)
            for queue in ready:
                self._pause(queue, _TROUBLE)

    def _pause(self, queue: _WorkQueue, seconds: float) -> None:
        paused, queue.paused_until = not queue.reading, time.monotonic() + seconds
        self._paused.add(queue)
        queue.node.host.reads = None
        if paused:
            return
        for subscription in queue.subscriptions:
            self._transport.pause(subscription)

    def _resume(self, queues: Sequence[_WorkQueue]) -> None:
        """Read these: for the first time all at once, after a pause one by one."""
        new = [
            (queue, *wanted)
            for queue in queues
            if not queue.subscriptions
            for wanted in queue.wanted(self._inbox)
        ]
        for queue in queues:
            for subscription in queue.subscriptions:
                self._transport.resume(subscription)
        if new:
            wanted = [(where, inbox) for _queue, where, inbox in new]
            ids = self._transport.subscribe_all(wanted, prefetch=_PREFETCH)
            for (queue, _where, _inbox), subscription in zip(new, ids, strict=True):
                queue.subscriptions.append(subscription)
        self.begun()
        keeps = bool(queues) and self._transport.dialect.keeps_unacked
        for queue in queues:
            owed, queue.owed, queue.paused_until = queue.owed, [], None
            queue.node.host.reads = time.time()
            self._paused.discard(queue)
            for delivery in owed if keeps else ():
                self._transport.ack(delivery)


class JobIntake(Protocol):
    """Who takes jobs in (`jobs.manager.JobManager`)."""

    def accept(self, admitted: Admitted, identity: str) -> Outcome | None:
        """Do what a request says; None when it is a job that is open now."""


@dataclass(frozen=True, slots=True)
class QueueItem:
    """One message, and the node whose queue it came over."""

    node: Node
    arrival: Arrival
    delivery: Delivery

    @property
    def host(self) -> Host:
        """Who the node is."""
        return self.node.host


@dataclass(frozen=True, slots=True)
class TakenRequest:
    """A request that waits in the spool now; `new`: since this message."""

    item: QueueItem
    request: Request
    new: bool


class QueueIntake:
    """Takes messages of work queues into the spool; called from one thread."""

    def __init__(
        self, controller: AdmissionController, spool: Spool, jobs: JobIntake, each: int
    ) -> None:
        self._controller = controller
        self._spool = spool
        self._jobs = jobs
        self._each = each

    def admit(self, items: Sequence[QueueItem], now: float) -> list[TakenRequest]:
        """Commit what is in the messages; returns those requests that are open here.

        Raises:
            MCShellError: nothing could be committed, so nothing may be acknowledged.
        """
        opened: dict[Key, tuple[QueueItem, Request | Refusal]] = {}
        for item in items:
            body, headers = item.delivery.body, item.delivery.headers
            found = self._controller.open_work(body, headers, item.arrival, item.host, now)
            if found is not None:
                request = found.request if isinstance(found, Refusal) else found
                opened.setdefault((item.host.identity, request.id), (item, found))
        known = self._spool.states(opened)
        rows: list[WorkItem] = []
        messages: list[OutboxMessage] = []
        taken: list[TakenRequest] = []
        waiting: dict[str, Counter[str]] = {}
        gone: Mapping[Key, tuple[str, str]] | None = None
        for key, (item, found) in opened.items():
            if key in known:
                # Taken in before, and its ACK was lost; or the client sent it again.
                if known[key] not in FINAL and not isinstance(found, Refusal):
                    taken.append(TakenRequest(item, found, new=False))
                continue
            verdict = (
                found if isinstance(found, Refusal) else self._controller.admit(found, item.host)
            )
            if isinstance(verdict, Admitted) and not verdict.service.inside:
                gone = self._spool.jobs.entombed(opened) if gone is None else gone
                outcome = self._not_taken(verdict, item.host, waiting, gone.get(key))
                if outcome is not None:
                    rows.append(row_of(verdict.request, item, now, outcome))
                    messages.append(item.node.writer.kept(verdict.request, outcome))
                    continue
                taken.append(TakenRequest(item, verdict.request, new=True))
                rows.append(row_of(verdict.request, item, now))
                continue
            self._keep(rows, messages, opened)  # it may be about one of them, or one to come
            gone = None
            if (outcome := self._at_once(verdict, item.host)) is not None:
                rows.append(row_of(verdict.request, item, now, outcome))
                messages.append(item.node.writer.kept(verdict.request, outcome))
        self._keep(rows, messages, opened)
        return taken

    def _keep(
        self,
        rows: list[WorkItem],
        messages: list[OutboxMessage],
        opened: Mapping[Key, tuple[QueueItem, Request | Refusal]],
    ) -> None:
        """Commit these rows, and their replies."""
        if not rows:
            return
        self._spool.add(rows, messages)
        self._count(rows, opened)
        rows.clear()
        messages.clear()

    def _not_taken(
        self,
        admitted: Admitted,
        host: Host,
        waiting: dict[str, Counter[str]],
        gone: tuple[str, str] | None,
    ) -> Outcome | None:
        """The last reply to what its caller has cancelled, or to one of whom too much waits here."""
        request = admitted.request
        if gone is not None and self._controller.may_cancel(
            host, gone[0], request.id, request.caller
        ):
            outcome: Outcome | None = Outcome(State.FAILED, StatusCode.FAILED, gone[1])
        else:
            outcome = self._too_many(request, host.identity, waiting)
        if outcome is not None:
            self._controller.finished(request, host, outcome)
        return outcome

    def _too_many(
        self, request: Request, identity: str, waiting: dict[str, Counter[str]]
    ) -> Outcome | None:
        """The refusal of a caller of whom too much waits here already: others wait behind it."""
        if identity not in waiting:
            waiting[identity] = Counter(self._spool.waiting_of(identity))
        if not self._each or waiting[identity][request.caller] < self._each:
            waiting[identity][request.caller] += 1
            return None
        text = f"{self._each} requests of {request.caller} wait here already (node.caller_spool)"
        return Outcome(State.FAILED, StatusCode.UNKNOWN_ERROR, text)

    def _at_once(self, verdict: Admitted | Refusal, host: Host) -> Outcome | None:
        """What comes of a request that needs no slot; None for a job that is open now."""
        if isinstance(verdict, Refusal):
            return refused(verdict)
        outcome = self._jobs.accept(verdict, host.identity)
        if outcome is not None:
            self._controller.finished(verdict.request, host, outcome)
        return outcome

    def _count(
        self, rows: Sequence[WorkItem], opened: Mapping[Key, tuple[QueueItem, Request | Refusal]]
    ) -> None:
        for row in rows:
            journal = opened[row.key][0].host.journal
            journal.count("messages")
            if row.state in FINAL:
                journal.count(row.state)


def refuse_unkept(controller: AdmissionController, item: QueueItem, why: StorageError) -> None:
    """Say of a message that nothing of it could be committed: it is not done here."""
    body, headers = item.delivery.body, item.delivery.headers
    found = controller.open_work(body, headers, item.arrival, item.host, time.time())
    if found is not None:
        refusal = controller.no_room(found, item.host, why)
        item.node.reply_sender.final(refusal.request, refused(refusal))


def row_of(
    request: Request,
    item: QueueItem,
    now: float,
    outcome: Outcome | None = None,
    *,
    attempt: int = 1,
) -> WorkItem:
    """The row of a request that has just come in; with an outcome it has already ended.

    A request of a pool runs at once (`attempt` says for which time), one of a work queue waits.
    """
    ended = outcome is not None
    pool = request.via is Via.POOL
    return WorkItem(
        identity=item.host.identity,
        id=request.id,
        via=request.via.value,
        pool=request.pool,
        collective=request.collective,
        agent=request.agent,
        action=request.action,
        caller=request.caller,
        session=request.session,
        created=request.created,
        expires=request.expires,
        # a clock that is put back must not have it wait until then
        due=min(now, request.created),
        received=now,
        body=None if ended else item.delivery.body,
        signature=None if ended else item.delivery.headers[SIGNATURE],
        certificate=None if ended else item.delivery.headers[CERTIFICATE],
        state=outcome.state.value if outcome else RUNNING if pool else "queued",
        attempt=attempt if pool else 0,
        started=now if pool else None,
        ended=now if outcome else None,
        statuscode=outcome.statuscode if outcome else None,
        statusmsg=outcome.statusmsg if outcome else "",
    )
