"""The pools that nodes serve: one message for each free slot, acknowledged after its result.

Pool actions are short, so they run in threads of this process. One thread owns the queue's
messages: it claims what comes, hands it to the slots, and commits what they bring back together
with its last reply, before it acknowledges. So a message that comes again was begun by a worker
that died, and one that says that it was sent before may have been, by any: only what is safe to run
again is run again, and that a few times at most.
"""

from __future__ import annotations

import itertools
import logging
import threading
import time
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Final, TypeAlias

from mcshell.errors import ConfigError, MCShellError, StorageError
from mcshell.message import State, StatusCode, Via
from mcshell.node.execution.threads import Task
from mcshell.node.process.watchdog import KeptPulse
from mcshell.node.queue.consumer import QueueItem, refuse_unkept, row_of
from mcshell.node.store.records import FINAL, INTERRUPTED, WorkResult
from mcshell.node.verdicts import Admitted, Outcome, Refusal, refused
from mcshell.values import dataclass
from mcshell.wire import destinations
from mcshell.wire.documents.envelope import Arrival
from mcshell.wire.stomp.transport import TaggedInbox

if TYPE_CHECKING:
    from collections.abc import Callable

    from mcshell.config import Settings
    from mcshell.message import Request
    from mcshell.node.context import Node, NodeContext
    from mcshell.node.execution.threads import ActionThreads, ThreadLoad
    from mcshell.node.store.records import Key, WorkItem
    from mcshell.wire.stomp.transport import Delivery, Inbox

__all__ = ["TRIES", "PoolWorker", "check_pools"]

log = logging.getLogger(__name__)

TRIES: Final = 3
"""How often one worker begins a request that is safe to run again before it is set aside.

Each counts its own in its spool: a node may not write to the pool's queue, so there is no place
that all could count in.
"""
_GROUP: Final = 100
_TROUBLE: Final = 2.0
_GOODBYE: Final = 5.0
_TICK: Final = 0.02


def check_pools(settings: Settings, identity: str) -> tuple[str, ...]:
    """The pools that the node is to serve; ConfigError when it is no member of one of them."""
    for name in settings.node.serve:
        if not settings.serves(name, identity):
            pool = settings.pools.get(name)
            members = ", ".join(pool.members) if pool and pool.members else "nobody"
            raise ConfigError(
                f"node.serve names the pool {name!r}, but {identity} is none of its members"
                f" (pools.{name}.members: {members})",
                f"pools.{name}.members",
            )
    return settings.node.serve


@dataclass(slots=True)
class _Held:
    """A message that is being worked on; `delivery` is the newest of it."""

    item: QueueItem
    delivery: Delivery
    request: Request


@dataclass(frozen=True, slots=True)
class _Done:
    """What a slot brings back: whose result it is, and how it came out."""

    key: Key
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class _Slot:
    """Where the actions of one node bring their results (a `ReplySink`)."""

    node: Node
    done: Callable[[_Done], None]

    def working(self, request: Request, state: State) -> None:
        """Say that a request takes its time."""
        self.node.reply_sender.working(request, state)

    def final(self, request: Request, outcome: Outcome) -> None:
        """Bring a result back to the thread that owns the messages."""
        self.done(_Done((self.node.host.identity, request.id), outcome))


@dataclass(slots=True)
class _Batch:
    """What one batch of the owner's loop has to commit and to do after that."""

    replay_guard: list[WorkItem]
    ends: list[WorkResult]
    acks: list[Delivery]
    begin: list[tuple[Key, _Held, Admitted]]


_Came: TypeAlias = "tuple[tuple[Node, Arrival], Delivery] | _Done"


class PoolWorker:
    """Serves the pools of the nodes of a connection.

    `threads` run the actions; `replies_added` is called when there are replies in the outbox.
    """

    def __init__(
        self,
        context: NodeContext,
        settings: Settings,
        threads: ActionThreads,
        replies_added: Callable[[], None],
    ) -> None:
        self._context = context
        self._spool = context.spool
        self._transport = context.transport
        self.settings = settings.node
        """What is in force; another may take its place at any time."""
        self._pools = {name: check_pools(settings, name) for name in context.nodes}
        self._threads = threads
        self._replies_added = replies_added
        self._inbox: SimpleQueue[_Came | None] = SimpleQueue()
        self._subscriptions: dict[str, str] = {}
        """The collective of each."""
        self._here: dict[Key, _Held] = {}
        self._stopping = False
        self._finished: list[Delivery] = []
        self._refused: list[Delivery] = []
        """Acknowledged once there is room on the disk: no others come until then."""
        self._unkept: list[_Done] = []
        self._thread = threading.Thread(target=self._run, name="mcshell-pool", daemon=True)

    @property
    def load(self) -> ThreadLoad:
        """What its threads have to do."""
        return self._threads.load

    def start(self) -> None:
        """Subscribe and begin, if that is not done; raises WireError."""
        if self._thread.is_alive():
            return
        wanted: list[tuple[str, Inbox]] = []
        collectives: list[str] = []
        for identity, pools in self._pools.items():
            node = self._context.nodes[identity]
            if pools:
                self._spool.abandon(identity, time.time())
            for collective, pool in itertools.product(node.host.collectives, pools):
                arrival = Arrival(collective, Via.POOL, identity, pool)
                inbox = TaggedInbox(self._inbox.put, (node, arrival))
                wanted.append((destinations.pool(collective, pool), inbox))
                collectives.append(collective)
        if not wanted:
            return
        ids = self._transport.subscribe_all(wanted, prefetch=self.settings.slots)
        self._subscriptions.update(zip(ids, collectives, strict=True))
        self._thread.start()

    @property
    def pulse(self) -> KeptPulse | None:
        """That of its thread; None while there is none."""
        begun = self._thread.ident is not None
        return KeptPulse("the worker of pools", self._thread) if begun else None

    def stop(self) -> None:
        """Finish what is here, if that does not take long.

        Nothing is acknowledged meanwhile, so that nothing more comes.
        """
        if self._thread.is_alive():
            self._stopping = True
            deadline = time.monotonic() + _GOODBYE
            while (self._here or not self._inbox.empty()) and time.monotonic() < deadline:
                time.sleep(_TICK)
            self._threads.stop()
            self._inbox.put(None)
            self._thread.join(_GOODBYE)

    def release(self) -> None:
        """Acknowledge what is finished: the last thing before the connection is closed.

        Each acknowledgement lets another message come, which then looks to other workers as if it
        had been begun here; RabbitMQ has time to send one, so there the queue is left before.
        """
        if self._finished and self._transport.connected:
            try:
                self._leave()
            except MCShellError as error:
                log.warning("the pools could not be left in good order: %s", error)
        for delivery in self._finished:
            self._transport.ack(delivery)

    def _leave(self) -> None:
        if self._transport.dialect.keeps_unacked:
            for subscription, collective in self._subscriptions.items():
                self._transport.pause(subscription)
                self._transport.lend(subscription, destinations.broadcast(collective))

    # --- the owner's thread --------------------------------------------------------------------

    def _run(self) -> None:
        while (group := self._gather()) is not None:
            try:
                self._handle(group)
            except StorageError as error:
                log.error("a pool waits for room: %s", error)  # noqa: TRY400 - said in full
                self._refuse(group, error)
            except MCShellError as error:
                log.error("results of a pool cannot be kept: %s", error)  # noqa: TRY400 - said in full
                for item in group:
                    self._inbox.put(item)
                time.sleep(_TROUBLE)
            except Exception:
                log.exception("a pool's message could not be handled")
                self._one_by_one(group)

    def _refuse(self, group: list[_Came], why: StorageError) -> None:
        """Say that nothing can be done here; what has been done is kept when there is room."""
        for one in group:
            if isinstance(one, _Done):
                self._unkept.append(one)
                continue
            (node, arrival), delivery = one
            refuse_unkept(self._context.controller, QueueItem(node, arrival, delivery), why)
            self._refused.append(delivery)

    def _look_for_room(self) -> None:
        """Go on with what a full disk has held up."""
        if (self._refused or self._unkept) and self._spool.has_room():
            for delivery in self._refused:
                self._transport.ack(delivery)
            for done in self._unkept:
                self._inbox.put(done)
            self._refused, self._unkept = [], []

    def _one_by_one(self, group: list[_Came]) -> None:
        """Find the message that we fail at: it is dropped, so that it does not stop the others."""
        for one in group:
            try:
                if len(group) > 1:
                    self._handle([one])
                    continue
            except MCShellError:
                self._inbox.put(one)
                continue
            except Exception:
                log.exception("it is dropped")
            if not isinstance(one, _Done):
                self._transport.ack(one[1])

    def _gather(self) -> list[_Came] | None:
        """Take what is there, at least one; None when it is time to end.

        While the disk is full there may be none.
        """
        group: list[_Came] = []
        waits = bool(self._refused or self._unkept)
        try:
            first = self._inbox.get(timeout=_TROUBLE if waits else None)
        except Empty:
            self._look_for_room()
            return group
        while first is not None:
            group.append(first)
            try:
                first = self._inbox.get_nowait() if len(group) < _GROUP else None
            except Empty:
                return group
        if group and len(group) < _GROUP:
            self._inbox.put(None)
        return group or None

    def _handle(self, group: list[_Came]) -> None:
        batch = _Batch([], [], [], [])
        now = time.time()
        for one in group:
            if isinstance(one, _Done):
                self._finish(batch, one, now)
            else:
                (node, arrival), delivery = one
                self._sort(batch, QueueItem(node, arrival, delivery), now)
        won = self._spool.claim(batch.replay_guard, batch.ends)
        self._after(batch, dict(zip((work.key for work in batch.replay_guard), won, strict=True)))

    def _after(self, batch: _Batch, won: dict[Key, bool]) -> None:
        """Do what may be done once it is committed."""
        for end in batch.ends:
            self._context.steps("outbox", end.key[1])
            self._here.pop(end.key, None)
        if self._stopping:
            self._finished += batch.acks
        else:
            for delivery in batch.acks:
                self._transport.ack(delivery)
        if batch.ends:
            self._replies_added()
        for key, held, admitted in batch.begin:
            if won[key]:
                self._here[key] = held
                self._context.steps("claimed", key[1])
                limit = self.settings.time_for(admitted.request.agent, admitted.action.timeout)
                slot = _Slot(held.item.node, self._inbox.put)
                self._threads.put(
                    Task(admitted=admitted, host=held.item.host, reply_sink=slot, timeout=limit)
                )

    def _finish(self, batch: _Batch, done: _Done, now: float) -> None:
        held = self._here.get(done.key)
        if held is None:
            return
        self._context.steps("outcome", done.key[1])
        batch.ends.append(self._end(held.item.node, held.request, done.outcome, now))
        batch.acks.append(held.delivery)

    def _sort(self, batch: _Batch, item: QueueItem, now: float) -> None:
        """Decide what becomes of a message."""
        delivery, host = item.delivery, item.host
        found = self._context.controller.open_work(
            delivery.body, delivery.headers, item.arrival, host, now
        )
        if found is None:
            batch.acks.append(delivery)
            return
        request = found.request if isinstance(found, Refusal) else found
        key = (host.identity, request.id)
        if key in self._here:
            # The connection was lost while it ran: this is the message to acknowledge now.
            self._here[key].delivery = delivery
            return
        if any(work.key == key for work in batch.replay_guard):
            # twice at once: the next batch knows what to make of it
            self._inbox.put(((item.node, item.arrival), delivery))
            return
        row = self._spool.get(key)
        if row is not None and not _abandoned(row):
            batch.acks.append(delivery)
            return
        verdict = (
            found if isinstance(found, Refusal) else self._context.controller.admit(found, host)
        )
        tries = row.attempt if row is not None else 0
        begun = delivery.redelivered or tries > 0
        if isinstance(verdict, Refusal):
            self._conclude(batch, item, request, refused(verdict), now)
        elif begun and (tries >= TRIES or not verdict.action.rerun_safe):
            self._conclude(batch, item, request, self._final_already(verdict, tries), now)
        else:
            work = row_of(request, item, now, attempt=tries + 1)
            batch.replay_guard.append(work)
            batch.begin.append((key, _Held(item, delivery, request), verdict))

    def _final_already(self, admitted: Admitted, tries: int) -> Outcome:
        """What is said of a message with which a worker died, and that is not begun again."""
        if not admitted.action.rerun_safe:
            text = "a worker may have begun it before, and it is not safe to run twice"
            return Outcome(State.INTERRUPTED, StatusCode.UNKNOWN_ERROR, text)
        text = f"set aside after {tries} tries: this worker died with it each time"
        return Outcome(State.FAILED, StatusCode.UNKNOWN_ERROR, text)

    def _conclude(
        self, batch: _Batch, item: QueueItem, request: Request, outcome: Outcome, now: float
    ) -> None:
        """End a request that never began here, and acknowledge its message."""
        batch.replay_guard.append(row_of(request, item, now))
        batch.ends.append(self._end(item.node, request, outcome, now))
        batch.acks.append(item.delivery)

    def _end(self, node: Node, request: Request, outcome: Outcome, now: float) -> WorkResult:
        message = node.writer.kept(request, outcome)
        self._context.controller.finished(request, node.host, outcome)
        state = outcome.state.value
        node.host.journal.note(request.id, state, statuscode=outcome.statuscode)
        node.host.journal.count(state)
        key = (node.host.identity, request.id)
        return WorkResult(
            key=key,
            state=state,
            statuscode=outcome.statuscode,
            statusmsg=outcome.statusmsg,
            ended=now,
            message=message,
        )


def _abandoned(row: WorkItem) -> bool:
    """Whether a row is of an earlier process that died with it: no last reply was said."""
    return row.state not in FINAL or (row.state == INTERRUPTED and row.statuscode is None)
