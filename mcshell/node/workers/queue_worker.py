"""The worker of queued requests: starts what the spool holds, a few at a time, each in a shim.

One thread owns the slots. A row is marked as running before its shim starts, so an action of
which nobody can say whether it ran is `interrupted`, and only the DDL can say that it may run
again. Shims outlive the daemon: one that starts again adopts them.
"""

from __future__ import annotations

import contextlib
import logging
import os
import selectors
import signal
import threading
import time
from collections import Counter
from dataclasses import replace
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Final

from mcshell.errors import MCShellError
from mcshell.message import State, StatusCode
from mcshell.node.execution.action import run_action
from mcshell.node.execution.lifecycle import RunLifecycle, interrupted, late
from mcshell.node.execution.run_archive import RunArchive
from mcshell.node.execution.run_directory import RunDirectory
from mcshell.node.execution.shims import adopt, launch, read_outcome
from mcshell.node.jobs.scheduler import Scheduler
from mcshell.node.store.records import FINAL
from mcshell.node.verdicts import Outcome, Refusal, refused

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from mcshell.config import NodeSettings
    from mcshell.message import Request
    from mcshell.node.context import NodeContext
    from mcshell.node.execution.shims import Running
    from mcshell.node.store.records import Key, WorkItem, WorkResult
    from mcshell.node.verdicts import Admitted

__all__ = ["QueueWorker"]

log = logging.getLogger(__name__)

_POLL: Final = 0.1
_SWEEP: Final = 1.0
_PURGE: Final = 60.0
_TROUBLE: Final = 2.0


class QueueWorker:
    """Runs one node's queued requests. `said` is called when there are replies in the outbox."""

    def __init__(
        self, context: NodeContext, folder: Path, settings: NodeSettings, said: Callable[[], None]
    ) -> None:
        self._host = context.host
        self._lifecycle = RunLifecycle(context.host, context.controller, context.writer)
        self._spool = context.spool
        self._reply_sender = context.reply_sender
        self._steps = context.steps
        self.scheduler = Scheduler(self._spool, {self._host.identity: self._lifecycle}, said)
        self._to_stop: SimpleQueue[Key] = SimpleQueue()
        self._folder = folder
        self._run_archive = RunArchive(folder.with_name("runs"), settings.retention)
        self._settings = settings
        self._said = said
        self.settled: Callable[[], bool] = lambda: True
        """Whether jobs may begin (see `WorkQueue.settled`)."""
        self._running: list[Running] = []
        self._stopping = False
        self._sweep_at = self._purge_at = 0.0
        self._wakeup, self._wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._wakeup, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._run, name="mcshell-lane", daemon=True)

    def start(self) -> None:
        """Recover what an earlier process left (adopt, or conclude), and begin."""
        self._settle()
        self._thread.start()

    def wake(self) -> None:
        """Say that there may be something to start."""
        try:
            os.write(self._wake, b"r")
        except BlockingIOError:
            return  # it has been told often enough

    def stop_run(self, key: Key) -> None:
        """End a run with all its processes."""
        self._to_stop.put(key)
        self.wake()

    def stop(self) -> None:
        """Start nothing more; what runs goes on, for the next daemon to adopt."""
        self._stopping = True
        self.wake()
        if self._thread.is_alive():
            self._thread.join(5.0)

    # --- after a restart -----------------------------------------------------------------------

    def _settle(self) -> None:
        ends: list[WorkResult] = []
        folders: list[tuple[WorkItem, RunDirectory]] = []
        for work in self._spool.running():
            if work.via != "queue":
                continue
            folder = RunDirectory(self._folder / work.id)
            running = adopt(folder, work)
            if running is not None:
                log.info("%s.%s of %s still runs", work.agent, work.action, work.id)
                self._running.append(running)
                if self.scheduler.cancelled(work):
                    self._to_stop.put(work.key)
                continue
            folders.append((work, folder))
            ends += self._conclude(work, read_outcome(folder), "the node died in the middle")
        self._commit(ends)
        for work, folder in folders:
            self._put_away(work, folder)
            folder.clear()

    def _conclude(self, work: WorkItem, outcome: Outcome | None, death: str) -> list[WorkResult]:
        """The end of a run; none when it is to run once more."""
        who = self.scheduler.cancelled(work)
        if who and (outcome is None or outcome.state is not State.OK):
            outcome = Outcome(State.FAILED, StatusCode.FAILED, who)
        elif outcome is None and self._lifecycle.may_again(work):
            self._spool.again([work.key], time.time())
            return []
        elif outcome is not None and self.scheduler.again(work, outcome, time.time()):
            return []
        return [self._lifecycle.end(work, outcome or interrupted(death))]

    def _put_away(self, work: WorkItem, folder: RunDirectory) -> None:
        """Keep what the run of a job leaves, unless it is to run once more."""
        if work.kind == "job" and (row := self._spool.get(work.key)) and row.state in FINAL:
            self._run_archive.keep(folder)

    def _stop_some(self) -> None:
        """End the runs whose jobs were cancelled."""
        with contextlib.suppress(Empty):
            while True:
                key = self._to_stop.get_nowait()
                for one in self._running:
                    pid = one.folder.shim_pid() if one.work.key == key else None
                    if pid is not None:
                        with contextlib.suppress(ProcessLookupError):
                            os.kill(pid, signal.SIGTERM)

    # --- the thread ----------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._stopping:
            try:
                self._stop_some()
                self._reap()
                self._sweep()
                if self.settled():
                    self.scheduler.turn(time.time())
                self._fill()
                self._wait()
            except Exception:
                log.exception("the work lane stumbled")
                time.sleep(_TROUBLE)

    def _wait(self) -> None:
        """Until something ends or begins, or it is time to look."""
        asks = any(one.handle is None for one in self._running)
        patience = _POLL if asks else _SWEEP
        due = self.scheduler.next_due()
        if due is not None:
            soonest = 0.0 if self.settled() else _POLL
            patience = max(soonest, min(patience, due - time.time()))
        for key, _ in self._selector.select(patience):
            if key.fd == self._wakeup:
                os.read(self._wakeup, 4096)

    def _reap(self) -> None:
        ended = [one for one in self._running if one.ended()]
        if not ended:
            return
        ends: list[WorkResult] = []
        for one in ended:
            self._steps("outcome", one.work.id)
            outcome = one.outcome()
            if outcome is None and one.overran():
                outcome = Outcome(
                    State.FAILED, StatusCode.UNKNOWN_ERROR, "timed out, and was ended"
                )
            ends += self._conclude(one.work, outcome, one.death())
        self._commit(ends)
        for one in ended:
            self._running.remove(one)
            if one.handle is not None:
                self._selector.unregister(one.handle)
            self._put_away(one.work, one.folder)
            one.clear()

    def _sweep(self) -> None:
        """Now and then: end what waited for too long, forget what is old."""
        now = time.time()
        if now < self._sweep_at:
            return
        self._sweep_at = now + _SWEEP
        overdue = self._spool.overdue(now)
        self._commit([self._lifecycle.end(work, late(work)) for work in overdue])
        if now >= self._purge_at:
            self._purge_at = now + _PURGE
            self._spool.purge(now, self._settings.retention)
            self._spool.jobs.purge(now, self._settings.retention)
            self._run_archive.purge(now)

    def _fill(self) -> None:
        """Give each free slot to the oldest row that may have it."""
        while not self._stopping and (rows := self._next()):
            ends: list[WorkResult] = []
            cleared: list[tuple[WorkItem, Request, Admitted]] = []
            for work in rows:
                request, verdict = self._lifecycle.judge(work)
                if isinstance(verdict, Refusal):
                    ends.append(self._lifecycle.end(work, refused(verdict)))
                else:
                    cleared.append((work, request, verdict))
            self._commit(ends)
            self._start(cleared)

    def _next(self) -> list[WorkItem]:
        free = self._settings.slots - len(self._running)
        if free <= 0:
            return []
        busy = Counter(one.work.agent for one in self._running)
        full = [
            agent
            for agent, limit in self._settings.limits.items()
            if limit.slots is not None and busy[agent] >= limit.slots
        ]
        # One at a time where an agent's own limit could be passed by two at once.
        limited = any(limit.slots is not None for limit in self._settings.limits.values())
        return self._spool.due(self._host.identity, time.time(), 1 if limited else free, full)

    def _start(self, cleared: Sequence[tuple[WorkItem, Request, Admitted]]) -> None:
        if not cleared:
            return
        now = time.time()
        claimed = self._spool.start([work.key for work, _, _ in cleared], now)
        for (work, request, admitted), mine in zip(cleared, claimed, strict=True):
            if not mine:
                continue
            self._steps("claimed", work.id)
            attempt = work.attempt + 1
            if admitted.service.exempt:
                outcome = run_action(
                    admitted, self._host, time.monotonic() + admitted.action.timeout
                )
                self._commit([self._lifecycle.end(replace(work, started=now), outcome, attempt)])
                continue
            try:
                self._launch(replace(work, attempt=attempt, started=now), admitted)
            except MCShellError as error:
                outcome = Outcome(State.FAILED, StatusCode.UNKNOWN_ERROR, str(error))
                self._commit([self._lifecycle.end(work, outcome, attempt)])
                continue
            self._steps("running", work.id)
            self._reply_sender.working(request, State.RUNNING, attempt)

    def _launch(self, work: WorkItem, admitted: Admitted) -> None:
        limit = self._settings.limits.get(work.agent)
        document = self._document(admitted, limit)
        running = launch(RunDirectory(self._folder / work.id), work, document)
        self._running.append(running)
        if running.handle is not None:
            self._selector.register(running.handle, selectors.EVENT_READ)

    def _document(self, admitted: Admitted, limit: Any) -> Mapping[str, Any]:
        """What the shim is told (request.json)."""
        request = admitted.request
        timeout = self._settings.time_for(request.agent, admitted.action.timeout)
        if admitted.max_runtime is not None:
            most = limit.timeout if limit is not None else None
            timeout = admitted.max_runtime if most is None else min(most, admitted.max_runtime)
        return {
            "source": str(admitted.service.source),
            "timeout": timeout,
            "limits": {
                "memory": limit.memory if limit else None,
                "output": limit.output if limit else None,
            },
            "max_reply": self._settings.max_reply,
            "request": {
                "id": request.id,
                "agent": request.agent,
                "action": request.action,
                "caller": request.caller,
                "collective": request.collective,
                "via": request.via.value,
                "session": request.session,
                "created": request.created,
                "expires": request.expires,
                "data": request.data,
                "identity": request.identity,
            },
            "node": self._host.portable(),
        }

    def _commit(self, ends: Sequence[WorkResult]) -> None:
        if not ends:
            return
        self.scheduler.finish(ends)
        for end in ends:
            self._steps("outbox", end.key[1])
        self._said()
