"""The work lane of emulated nodes: the same spool and rules, in one loop, without a shim.

One task owns it all: it takes in what comes over the work queues of many nodes, starts what their
slots allow, and commits what came of it, each in one transaction for all nodes concerned. With
`[agents.emulate] delay = "3s"` an answer takes up to that long, by a seeded dice.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Protocol

from mcshell.config import seconds
from mcshell.errors import ConnectionLost, MCShellError, ReceiptTimeout
from mcshell.message import State, StatusCode, Via
from mcshell.node.execution.action import run_action
from mcshell.node.execution.lifecycle import RunLifecycle, interrupted, late
from mcshell.node.jobs.manager import JobManager
from mcshell.node.jobs.scheduler import Scheduler
from mcshell.node.queue.intake import QueueIntake, QueueItem
from mcshell.node.queue.outbox import headers_of
from mcshell.node.queue.resend import ResendBuffer
from mcshell.node.replies.writer import ReplyWriter
from mcshell.node.verdicts import Outcome, Refusal, refused
from mcshell.wire import destinations
from mcshell.wire.documents.envelope import Arrival

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from mcshell.config import Settings
    from mcshell.message import Request
    from mcshell.node.admission.controller import AdmissionController
    from mcshell.node.host import Host
    from mcshell.node.store.records import Key, OutboxMessage, WorkItem, WorkResult
    from mcshell.node.store.spool import Spool
    from mcshell.node.verdicts import Admitted
    from mcshell.wire.documents.envelope import SealedMessage
    from mcshell.wire.stomp.aio import AioConnection
    from mcshell.wire.stomp.transport import Delivery

__all__ = ["EmulatedWorker"]

log = logging.getLogger(__name__)

_PREFETCH: Final = 20
_GROUP: Final = 200
_SWEEP: Final = 1.0
_PURGE: Final = 60.0
_PAUSE: Final = 0.5
_SUBSCRIBE: Final = 500


class EmulatedNode(Protocol):
    """An emulated node."""

    @property
    def host(self) -> Host:
        """Who it is."""

    @property
    def writer(self) -> ReplyWriter:
        """Its voice."""


class EmulatedConnection(Protocol):
    """A connection that comes and goes."""

    @property
    def link(self) -> AioConnection | None:
        """The connection, while there is one."""


@dataclass(frozen=True, slots=True)
class _ActionDone:
    work: WorkItem
    outcome: Outcome


def _cancelled(who: str) -> Outcome:
    return Outcome(State.FAILED, StatusCode.FAILED, who)


class EmulatedWorker:
    """The work lanes of all nodes of an emulator. `lines` says over which each speaks."""

    def __init__(
        self,
        controller: AdmissionController,
        spool: Spool,
        nodes: Iterable[EmulatedNode],
        settings: Settings,
        *,
        seed: int,
    ) -> None:
        self._spool = spool
        self._admission = QueueIntake(controller, spool)
        self._nodes: Mapping[str, EmulatedNode] = {node.host.identity: node for node in nodes}
        self._lifecycles = {
            name: RunLifecycle(one.host, controller, one.writer)
            for name, one in self._nodes.items()
        }
        self._slots = settings.node.slots
        self._later: set[str] = set()
        """Nodes that have a run which is to be tried again."""
        self._retention = settings.node.retention
        self._delay = seconds(settings.agents.get("emulate", {}).get("delay", 0))
        self._seed = seed
        self._inbox: asyncio.Queue[tuple[AioConnection, QueueItem] | _ActionDone | None] = (
            asyncio.Queue()
        )
        self._busy: Counter[str] = Counter()
        self._acting: dict[Key, asyncio.Task[None]] = {}
        self._lines: dict[str, EmulatedConnection] = {}
        self._resend_buffer = ResendBuffer(several=len(settings.broker.urls) > 1)
        self._wakeup = asyncio.Event()
        self._wakeup.set()
        self._sweep_at = self._purge_at = 0.0
        self._scheduler = Scheduler(spool, self._lifecycles, self._wakeup.set)
        self._open_office(controller)

    def _open_office(self, controller: AdmissionController) -> None:
        job_manager = JobManager(
            self._spool,
            self._scheduler,
            controller,
            slots=self._slots,
            stop=self._stop_run,
            changed=self._look,
        )
        for one in self._nodes.values():
            one.host.job_manager = job_manager

    async def subscribe(
        self,
        link: AioConnection,
        line: EmulatedConnection,
        nodes: Sequence[EmulatedNode],
        collective: str,
    ) -> None:
        """Read the work queues of these nodes over this connection."""
        self._lines.update((node.host.identity, line) for node in nodes)
        waiting = [
            link.subscribe(
                destinations.work(collective, node.host.identity),
                self._into(link, node, collective),
                prefetch=_PREFETCH,
            )
            for node in nodes
        ]
        for start in range(0, len(waiting), _SUBSCRIBE):
            await asyncio.gather(*waiting[start : start + _SUBSCRIBE])
        self._wakeup.set()

    def _into(
        self, link: AioConnection, node: EmulatedNode, collective: str
    ) -> Callable[[Delivery], None]:
        arrival = Arrival(collective, Via.QUEUE, node.host.identity)

        def put(delivery: Delivery) -> None:
            self._inbox.put_nowait((link, QueueItem(node.host, node.writer, arrival, delivery)))

        return put

    # --- the task that owns the spool ----------------------------------------------------------

    async def run(self) -> None:
        """Settle what an earlier process left, then work until cancelled."""
        self._settle()
        try:
            while True:
                try:
                    self._turn(await self._gather())
                except MCShellError as error:
                    log.error("work cannot be kept: %s", error)  # noqa: TRY400 - said in full
                    await asyncio.sleep(_PAUSE)
                await asyncio.sleep(0)
        finally:
            for task in self._acting.values():
                task.cancel()

    def _settle(self) -> None:
        ends: list[WorkResult] = []
        for work in self._spool.running():
            lifecycle = self._lifecycles.get(work.identity)
            if lifecycle is None:
                continue  # fewer nodes than last time
            who = self._scheduler.cancelled(work)
            if not who and lifecycle.may_again(work):
                self._spool.again([work.key], time.time())
            else:
                outcome = _cancelled(who) if who else interrupted("the node died in the middle")
                ends.append(lifecycle.end(work, outcome))
        self._scheduler.finish(ends)
        self._fill(name for name in self._spool.waiters() if name in self._nodes)

    async def _gather(self) -> list[tuple[AioConnection, QueueItem] | _ActionDone]:
        """Take what is there; nothing when it is only time to look around."""
        group: list[tuple[AioConnection, QueueItem] | _ActionDone] = []
        due = self._scheduler.next_due()
        patience = _SWEEP if due is None else max(0.0, min(_SWEEP, due - time.time()))
        try:
            async with asyncio.timeout(patience):
                first = await self._inbox.get()
        except TimeoutError:
            return group
        group += [] if first is None else [first]
        while len(group) < _GROUP and not self._inbox.empty():
            more = self._inbox.get_nowait()
            group += [] if more is None else [more]
        return group

    def _look(self) -> None:
        """Have the task see what there is to start and to say."""
        self._wakeup.set()
        self._inbox.put_nowait(None)

    def _stop_run(self, key: Key) -> None:
        if (task := self._acting.get(key)) is not None:
            task.cancel()

    def _turn(self, group: Sequence[tuple[AioConnection, QueueItem] | _ActionDone]) -> None:
        done = [one for one in group if isinstance(one, _ActionDone)]
        came = [one for one in group if not isinstance(one, _ActionDone)]
        touched = {one.work.identity for one in done}
        self._finish([end for one in done for end in self._conclude(one)])
        for one in done:
            self._busy[one.work.identity] -= 1
            del self._acting[one.work.key]
        touched.update(self._take(came))
        touched |= self._sweep()
        touched |= self._scheduler.turn(time.time())
        self._fill(touched)

    def _conclude(self, done: _ActionDone) -> list[WorkResult]:
        """The end of a run; none when it is to run once more."""
        work, outcome = done.work, done.outcome
        who = self._scheduler.cancelled(work)
        if who and outcome.state is not State.OK:
            outcome = _cancelled(who)
        elif self._scheduler.again(work, outcome, time.time()):
            self._later.add(work.identity)
            return []
        return [self._lifecycles[work.identity].end(work, outcome)]

    def _take(self, came: Sequence[tuple[AioConnection, QueueItem]]) -> set[str]:
        """Commit what came, then acknowledge it and say so; returns the nodes with new work."""
        if not came:
            return set()
        taken = self._admission.take([item for _, item in came], time.time())
        for link, item in came:
            link.ack(item.delivery)
        self._wakeup.set()
        for one in taken:
            self._say(one.item.writer.working(one.request, State.RECEIVED), one.request)
        return {one.item.host.identity for one in taken}

    def _finish(self, ends: Sequence[WorkResult]) -> None:
        if ends:
            self._scheduler.finish(ends)
            self._wakeup.set()

    def _sweep(self) -> set[str]:
        """Now and then: end what waited for too long; returns nodes that may have work again."""
        now = time.time()
        if now < self._sweep_at:
            return set()
        self._sweep_at = now + _SWEEP
        overdue = [work for work in self._spool.overdue(now) if work.identity in self._lifecycles]
        self._finish([self._lifecycles[work.identity].end(work, late(work)) for work in overdue])
        if now >= self._purge_at:
            self._purge_at = now + _PURGE
            self._spool.purge(now, self._retention)
            self._spool.jobs.purge(now, self._retention)
        later, self._later = self._later, set()
        self._later = {name for name in later if self._spool.waiting(name)}
        return later

    def _fill(self, identities: Iterable[str]) -> None:
        """Start what the slots of these nodes allow, all in one commit."""
        now = time.time()
        cleared: list[tuple[WorkItem, Request, Admitted]] = []
        ends: list[WorkResult] = []
        for identity in identities:
            lifecycle = self._lifecycles[identity]
            free = self._slots - self._busy[identity]
            for work in self._spool.due(identity, now, free) if free > 0 else ():
                request, verdict = lifecycle.judge(work)
                if isinstance(verdict, Refusal):
                    ends.append(lifecycle.end(work, refused(verdict)))
                else:
                    cleared.append((work, request, verdict))
        self._finish(ends)
        if not cleared:
            return
        claimed = self._spool.start([work.key for work, _, _ in cleared], now)
        for (work, request, admitted), mine in zip(cleared, claimed, strict=True):
            if mine:
                attempt = work.attempt + 1
                self._begin(replace(work, attempt=attempt, started=now), request, admitted)

    def _begin(self, work: WorkItem, request: Request, admitted: Admitted) -> None:
        node = self._nodes[work.identity]
        self._busy[work.identity] += 1
        self._say(node.writer.working(request, State.RUNNING, work.attempt), request)
        action = self._act(work, node, admitted)
        self._acting[work.key] = asyncio.get_running_loop().create_task(action)

    async def _act(self, work: WorkItem, node: EmulatedNode, admitted: Admitted) -> None:
        if self._delay:
            dice = random.Random(f"{self._seed}:{work.identity}:{work.id}")  # noqa: S311 - no secret
            try:
                await asyncio.sleep(dice.uniform(0, self._delay))
            except asyncio.CancelledError:
                self._inbox.put_nowait(_ActionDone(work, interrupted("stopped")))
                raise
        outcome = run_action(admitted, node.host, time.monotonic() + admitted.action.timeout)
        self._inbox.put_nowait(_ActionDone(work, outcome))

    def _say(self, sealed: SealedMessage, request: Request) -> None:
        """Send a reply that may be lost."""
        line = self._lines.get(request.identity or "")
        if line is None or line.link is None or not request.session:
            return
        destination = ReplyWriter.destination(request)
        try:
            line.link.send(destination, sealed.body, sealed.headers, persistent=True)
        except ConnectionLost as error:
            log.debug("a reply is lost: %s", error)

    # --- the task of the outbox ----------------------------------------------------------------

    async def speak(self) -> None:
        """Send what is in the outbox until the broker has it; works until cancelled."""
        while True:
            await self._wakeup.wait()
            self._wakeup.clear()
            self._say_again()
            while messages := self._spool.unsaid():
                said = await self._send(messages)
                if not said:
                    break
                self._spool.said(said)
            if messages:
                await asyncio.sleep(_PAUSE)
                self._wakeup.set()

    def _say_again(self) -> None:
        """Give the broker that is there now what only another has."""
        for url in {line.link.url for line in self._lines.values() if line.link is not None}:
            if again := self._resend_buffer.elsewhere(url, time.monotonic()):
                log.warning("%d replies are said again at %s", len(again), url)
                self._spool.say(again)

    async def _send(self, messages: Sequence[OutboxMessage]) -> list[int]:
        """Send them all at once; returns the numbers of those that the broker has."""
        sent = await asyncio.gather(*(self._send_one(message) for message in messages))
        said = [(message, url) for message, url in zip(messages, sent, strict=True) if url]
        for message, url in said:
            self._resend_buffer.keep(url, [message], time.monotonic())
        return [message.number or 0 for message, _url in said]

    async def _send_one(self, message: OutboxMessage) -> str:
        """Returns where it was confirmed, "" where it was not."""
        line = self._lines.get(message.identity)
        if line is None or line.link is None:
            return ""
        url = line.link.url
        try:
            await line.link.send_confirmed(
                message.destination, message.body, headers_of(message), persistent=True
            )
        except (ConnectionLost, ReceiptTimeout) as error:
            log.debug("the outbox waits: %s", error)
            return ""
        return url
