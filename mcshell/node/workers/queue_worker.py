"""The worker of queued requests: starts what the spool holds, a few at a time on each node.

One thread owns the slots. A row is marked as running before its action starts, so one of which
nobody can say whether it ran is `interrupted`, and only the DDL can say that it may run again.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter, defaultdict, deque
from dataclasses import replace
from queue import SimpleQueue
from typing import TYPE_CHECKING, Final

from mcshell.errors import MCShellError, StorageError
from mcshell.message import State, StatusCode
from mcshell.node.execution.action import run_action
from mcshell.node.execution.caller_queue import CallerRounds
from mcshell.node.execution.lifecycle import interrupted, late, not_started
from mcshell.node.process.watchdog import ThreadPulse
from mcshell.node.store.records import FINAL
from mcshell.node.verdicts import Outcome, Refusal, refused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from mcshell.config import NodeSettings
    from mcshell.message import Request
    from mcshell.node.context import Node
    from mcshell.node.execution.runner import Run, Runner
    from mcshell.node.jobs.scheduler import Scheduler
    from mcshell.node.replies import Steps
    from mcshell.node.store.records import Key, WorkItem, WorkResult
    from mcshell.node.store.spool import Spool
    from mcshell.node.verdicts import Admitted

__all__ = ["QueueWorker"]

log = logging.getLogger(__name__)

_LOOK: Final = 0.1
_SWEEP: Final = 1.0
_PURGE: Final = 60.0
_TROUBLE: Final = 2.0


class QueueWorker:
    """Runs the queued requests of the nodes of a process.

    Args:
        runner: what executes them.
        settled: whether jobs may begin (`QueueConsumer.settled`).
        replies_added: called when there are replies in the outbox.
    """

    def __init__(
        self,
        nodes: Mapping[str, Node],
        spool: Spool,
        scheduler: Scheduler,
        runner: Runner,
        settings: NodeSettings,
        *,
        settled: Callable[[], bool],
        replies_added: Callable[[], None],
        steps: Steps,
    ) -> None:
        self._nodes = nodes
        self._spool = spool
        self._scheduler = scheduler
        self._lifecycles = scheduler.lifecycles
        self._runner = runner
        self.settings = settings
        """What is in force; another may take its place at any time."""
        self.pulse = ThreadPulse("the worker of queued requests", self.wake)
        self._settled = settled
        self._replies_added = replies_added
        self._steps = steps
        self._busy: defaultdict[str, Counter[str]] = defaultdict(Counter)
        """What runs on each node, by agent."""
        self._callers: defaultdict[str, Counter[str]] = defaultdict(Counter)
        """The same, by caller."""
        self._rounds: defaultdict[str, CallerRounds] = defaultdict(CallerRounds)
        self._touched: SimpleQueue[Iterable[str]] = SimpleQueue()
        """Nodes on which something may start now."""
        self._left: list[Run] = []
        """What died with an earlier process, or ended after it."""
        self._ends: dict[Key, WorkResult] = {}
        """Not committed yet: more than those of the moment only where the disk takes nothing."""
        self._stopping = False
        self._sweep_at = self._purge_at = 0.0
        self._thread = threading.Thread(target=self._run, name="mcshell-worker", daemon=True)

    def start(self) -> None:
        """Adopt what an earlier process left, and begin: what has ended of it is concluded first."""
        self._recover()
        self._thread.start()

    def wake(self, identities: Iterable[str] = ()) -> None:
        """Say that there may be something to start on these nodes, or jobs that are due."""
        self._touched.put(identities)
        self._runner.wake()

    @property
    def begun(self) -> bool:
        """Whether its thread was started, and perhaps has died since."""
        return self._thread.ident is not None

    def stop(self) -> None:
        """Start nothing more; what runs on in shims is for the next daemon to adopt."""
        self._stopping = True
        self._runner.wake()
        if self._thread.is_alive():
            self._thread.join(5.0)

    # --- after a restart -----------------------------------------------------------------------

    def _recover(self) -> None:
        for work in self._spool.running():
            if work.via != "queue" or work.identity not in self._nodes:
                continue  # an emulator may have had more nodes last time
            self._occupy(work, 1)
            run = self._runner.adopt(work)
            if run is not None:
                self._left.append(run)
            elif self._scheduler.cancelled(work):
                self._runner.stop(work.key)

    def _conclude(self, work: WorkItem, outcome: Outcome | None, death: str) -> list[WorkResult]:
        """The end of a run; none when it is to run once more."""
        lifecycle = self._lifecycles[work.identity]
        who = self._scheduler.cancelled(work)
        if who and (outcome is None or outcome.state is not State.OK):
            outcome = Outcome(State.FAILED, StatusCode.FAILED, who)
        elif outcome is None and lifecycle.may_again(work):
            lifecycle.again(work, interrupted(death))
            self._spool.requeue([work.key], time.time(), statusmsg=death)
            return []
        elif outcome is not None and self._scheduler.retry(work, outcome, time.time()):
            lifecycle.again(work, outcome)
            return []
        return [lifecycle.end(work, outcome or interrupted(death))]

    # --- the thread ----------------------------------------------------------------------------

    def _run(self) -> None:
        touched: set[str] = set()
        room = True
        while not self._stopping:
            self.pulse.beat()
            if not room and not self._spool.has_room():
                time.sleep(_TROUBLE)
                continue
            try:
                touched |= self._reap()
                touched |= self._sweep()
                if self._settled():
                    touched |= self._scheduler.start_due(time.time())
                while touched and not self._stopping:
                    touched = self._fill(touched)
                self._runner.wait(self._patience())
                while not self._touched.empty():
                    touched.update(self._touched.get())
                room = True
            except StorageError as error:
                room = False
                log.error("queued work waits for room: %s", error)  # noqa: TRY400 - said in full
            except Exception:
                log.exception("the worker of queued requests stumbled")
                time.sleep(_TROUBLE)

    def _patience(self) -> float:
        """Seconds until it is time to look."""
        due = self._scheduler.next_due()
        if due is None:
            return _PURGE if self._spool.idle() else _SWEEP
        soonest = 0.0 if self._settled() else _LOOK
        return max(soonest, min(_SWEEP, due - time.time()))

    def _reap(self) -> set[str]:
        """End the rows whose runs have; returns the nodes that have free slots now."""
        ends: list[WorkResult] = []
        for run in self._left:
            ends += self._conclude(run.work, run.outcome(), "the node died in the middle")
        ended = [*self._left, *self._runner.ended()]
        for run in ended[len(self._left) :]:
            self._steps("outcome", run.work.id)
            ends += self._conclude(run.work, run.outcome(), run.death())
        self._commit(ends)
        self._left.clear()
        for run in ended:
            # What the run of a job leaves is kept, unless it is to run once more.
            row = self._spool.get(run.work.key) if run.work.kind == "job" else None
            self._runner.drop(run, keep=row is not None and row.state in FINAL)
            self._occupy(run.work, -1)
        return {run.work.identity for run in ended}

    def _sweep(self) -> set[str]:
        """Now and then: end what waited for too long, forget what is old.

        Returns the nodes that have something to start, whatever came of telling us so.
        """
        now = time.time()
        if now < self._sweep_at:
            return set()
        self._sweep_at = now + _SWEEP
        overdue = [work for work in self._spool.overdue(now) if work.identity in self._nodes]
        self._commit(
            [
                self._lifecycles[one.identity].end(one, not_started(one, late(one)))
                for one in overdue
            ]
        )
        if now >= self._purge_at:
            self._purge_at = now + _PURGE
            self._spool.purge(now, self.settings.retention)
            self._spool.jobs.purge(now, self.settings.retention)
            self._runner.purge(now)
            self._wipe()
        return self._nodes.keys() & self._spool.waiters(now)

    def _wipe(self) -> None:
        """Leave nothing on the disk of inputs that are secrets and are needed no more."""
        for identity, agent, action in self._spool.jobs.ended_actions():
            if identity not in self._nodes:
                continue
            service = self._nodes[identity].host.service(agent)
            known = None if service is None else service.ddl.actions.get(action)
            if known is None or known.sensitive:
                self._spool.jobs.drop_documents(identity, agent, action)
        self._spool.wipe()

    def _fill(self, identities: Iterable[str]) -> set[str]:
        """Give free slots to the rows whose turn it is, all in one commit.

        Returns the nodes on which there may be more to start.
        """
        more: set[str] = set()
        ends: list[WorkResult] = []
        cleared: list[tuple[WorkItem, Request, Admitted]] = []
        for identity in identities:
            lifecycle = self._lifecycles[identity]
            for work in self._next(identity):
                more.add(identity)
                request, verdict = lifecycle.recheck(work)
                if isinstance(verdict, Refusal):
                    ends.append(lifecycle.end(work, not_started(work, refused(verdict))))
                else:
                    cleared.append((work, request, verdict))
        self._commit(ends)
        self._start(cleared)
        return more

    def _next(self, identity: str) -> list[WorkItem]:
        busy = self._busy[identity]
        free = self.settings.slots - busy.total()
        if free <= 0 or not self._nodes[identity].host.up:
            return []
        full = [
            agent
            for agent, limit in self.settings.limits.items()
            if limit.slots is not None and busy[agent] >= limit.slots
        ]
        # One at a time where an agent's own limit could be passed by two at once.
        limited = any(limit.slots is not None for limit in self.settings.limits.values())
        free = 1 if limited else free
        return self._in_turn(identity, self._spool.due(identity, time.time(), free, full), free)

    def _in_turn(self, identity: str, rows: Sequence[WorkItem], free: int) -> list[WorkItem]:
        """As many as are free: callers go round, each caller's oldest first."""
        waiting: dict[str, deque[WorkItem]] = {}
        for row in rows:
            waiting.setdefault(row.caller, deque()).append(row)
        busy = Counter(self._callers[identity])
        chosen: list[WorkItem] = []
        while waiting and len(chosen) < free:
            caller = self._rounds[identity].next(waiting, busy)
            chosen.append(waiting[caller].popleft())
            busy[caller] += 1
            if not waiting[caller]:
                del waiting[caller]
        return chosen

    def _occupy(self, work: WorkItem, count: int) -> None:
        """Take a slot for a run, or give it back."""
        self._busy[work.identity][work.agent] += count
        self._callers[work.identity][work.caller] += count

    def _start(self, cleared: Sequence[tuple[WorkItem, Request, Admitted]]) -> None:
        if not cleared:
            return
        now = time.time()
        claimed = self._spool.start([work.key for work, _, _ in cleared], now)
        for (work, request, admitted), mine in zip(cleared, claimed, strict=True):
            if mine:
                self._steps("claimed", work.id)
                self._begin(work, request, admitted, now)

    def _begin(self, row: WorkItem, request: Request, admitted: Admitted, now: float) -> None:
        node, lifecycle = self._nodes[row.identity], self._lifecycles[row.identity]
        work = replace(row, attempt=row.attempt + 1, started=now)
        if admitted.service.exempt:
            outcome = run_action(admitted, node.host, time.monotonic() + admitted.action.timeout)
            self._commit([lifecycle.end(work, outcome)])
            return
        try:
            self._runner.start(work, admitted, node.host)
        except MCShellError as error:
            outcome = Outcome(State.FAILED, StatusCode.UNKNOWN_ERROR, str(error))
            self._commit([lifecycle.end(row, outcome, work.attempt)])
            return
        self._occupy(work, 1)
        self._steps("running", work.id)
        node.reply_sender.working(request, State.RUNNING, work.attempt)

    def _commit(self, ends: Sequence[WorkResult]) -> None:
        self._ends.update((end.key, end) for end in ends)
        if not self._ends:
            return
        self._scheduler.finish([*self._ends.values()])
        for key in self._ends:
            self._steps("outbox", key[1])
        self._ends.clear()
        self._replies_added()
