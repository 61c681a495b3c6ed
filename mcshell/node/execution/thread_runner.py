"""Runs the work of many nodes in threads of this process: for emulated nodes, which only pretend.

A process for each action of 10,000 nodes would be absurd, and what is pretended needs no limits. An
outcome that is not committed when the process dies is lost, as that of a shim whose machine dies. The
runs of jobs that write something have a folder each; no other work has any file.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import threading
import time
from dataclasses import field
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from mcshell.message import State, StatusCode
from mcshell.node.execution.run_directory import RunArchive, RunDirectory
from mcshell.node.execution.threads import Task
from mcshell.node.verdicts import Outcome
from mcshell.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from mcshell.config import NodeSettings
    from mcshell.message import Request
    from mcshell.node.execution.runner import Run
    from mcshell.node.execution.threads import ActionThreads
    from mcshell.node.host import Host
    from mcshell.node.store.records import Key, WorkItem
    from mcshell.node.verdicts import Admitted

__all__ = ["ThreadRunner"]

log = logging.getLogger(__name__)

_GRACE = 2.0
_LOG = 64 * 1024
_STOPPED = Outcome(State.FAILED, StatusCode.UNKNOWN_ERROR, "stopped")


@dataclass(slots=True, eq=False)
class _ThreadRun:
    """One action that waits or is at work in a thread (a `Run` and a `ReplySink`)."""

    work: WorkItem
    folder: RunDirectory
    over: Callable[[_ThreadRun], None]
    cancelled: threading.Event = field(default_factory=threading.Event)
    result: Outcome | None = None

    def working(self, request: Request, state: State) -> None:
        """The worker has said so already."""

    def final(self, request: Request, outcome: Outcome) -> None:  # noqa: ARG002 - it is the row's
        """Bring a result back to the worker."""
        self.result = self.result or outcome
        self.over(self)

    def write(self, data: bytes) -> None:
        """Keep what the run of a job writes, the first of it: for `job log`."""
        if self.work.kind != "job" or self.result is not None or not data:
            return
        try:
            self.folder.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            with self.folder.log.open("ab") as file:
                file.write(data[: max(0, _LOG - file.tell())])
        except OSError as error:
            log.warning("what %s writes cannot be kept: %s", self.folder.path.name, error)

    def outcome(self) -> Outcome | None:
        """How it came out; None of an earlier process's."""
        return self.result

    def death(self) -> str:
        """Only the process dies, and all its actions with it."""
        return "its process died"


class ThreadRunner:
    """Runs actions in `threads` (a `Runner`).

    Args:
        folder: where what the runs of jobs write is kept.
        delay: how many seconds a row is to wait before it begins; nobody else waits meanwhile.
    """

    def __init__(
        self,
        threads: ActionThreads,
        settings: NodeSettings,
        folder: Path,
        delay: Callable[[WorkItem], float] = lambda _work: 0.0,
    ) -> None:
        self._threads = threads
        self.settings = settings
        self._archive = RunArchive(folder, settings.retention)
        self._delay = delay
        self._number = itertools.count()
        self._delayed: list[tuple[float, int, _ThreadRun, Admitted, Host]] = []
        self._running: dict[Key, _ThreadRun] = {}
        self._ended: dict[Key, _ThreadRun] = {}
        self._came: SimpleQueue[_ThreadRun | Key | None] = SimpleQueue()

    def places(self, work: WorkItem) -> Sequence[RunDirectory]:
        """Where the files of a run are: many nodes may have runs of one id."""
        return (self._folder(work),)

    def _folder(self, work: WorkItem) -> RunDirectory:
        return self._archive.of(f"{work.identity}.{work.id}")

    def adopt(self, work: WorkItem) -> Run | None:
        """Nothing is left of what ran in an earlier process."""
        return self._run(work)

    def start(self, work: WorkItem, admitted: Admitted, host: Host) -> None:
        """Have it begin once its delay is over."""
        run = self._running[work.key] = self._run(work)
        when = time.monotonic() + self._delay(work)
        heapq.heappush(self._delayed, (when, next(self._number), run, admitted, host))

    def ended(self) -> Sequence[Run]:
        """The runs that have come to an end."""
        return list(self._ended.values())

    def _run(self, work: WorkItem) -> _ThreadRun:
        return _ThreadRun(work, self._folder(work), self._came.put)

    def drop(self, run: Run, *, keep: bool) -> None:
        """Forget a run that has ended; `keep`: not what it has written."""
        assert isinstance(run, _ThreadRun)
        self._ended.pop(run.work.key, None)
        if run.work.kind == "job" and not keep:
            run.folder.clear()

    def stop(self, key: Key) -> None:
        """Have a run end: at once for the worker, when it looks up for its thread."""
        self._came.put(key)

    def wait(self, seconds: float) -> None:
        """Begin what is due, and wait until a run has ended, until `wake`, or so long."""
        self._begin()
        if self._delayed:
            seconds = max(0.0, min(seconds, self._delayed[0][0] - time.monotonic()))
        try:
            self._note(self._came.get(timeout=seconds))
            while True:
                self._note(self._came.get_nowait())
        except Empty:
            self._begin()

    def wake(self) -> None:
        """End `wait`."""
        self._came.put(None)

    def purge(self, now: float) -> None:
        """Drop what is too old of what runs have written, and too much."""
        self._archive.purge(now)

    def _begin(self) -> None:
        tasks = []
        while self._delayed and self._delayed[0][0] <= time.monotonic():
            _when, _number, run, admitted, host = heapq.heappop(self._delayed)
            if run.result is None:
                limit = self.settings.time_for(
                    run.work.agent, admitted.action.timeout, admitted.max_runtime
                )
                tasks.append(
                    Task(
                        admitted=admitted,
                        host=host,
                        reply_sink=run,
                        timeout=limit,
                        grace=_GRACE,
                        cancelled=run.cancelled,
                        log=run.write,
                    )
                )
        if tasks:
            self._threads.put(*tasks)

    def _note(self, item: _ThreadRun | Key | None) -> None:
        """A run has ended, or is to end."""
        run = self._running.get(item) if isinstance(item, tuple) else item
        if run is None or self._running.get(run.work.key) is not run:
            return  # nobody's, or it was stopped before
        if isinstance(item, tuple):
            run.result = _STOPPED
            run.cancelled.set()
        self._ended[run.work.key] = self._running.pop(run.work.key)
