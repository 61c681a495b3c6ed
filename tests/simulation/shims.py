"""The shims of a simulated machine: they outlive the node's daemon, and leave an outcome or none.

A stand-in for `execution.shims.ShimRunner` and its processes; what the worker makes of them, after a
restart too, is mcshell's own. An outcome is there whole or not at all, and survives a power cut (the
real one is synced); the shims themselves die with the machine.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from queue import Empty
from typing import TYPE_CHECKING, Any

from mcshell.message import State, StatusCode
from mcshell.node.execution.action import run_action
from mcshell.node.execution.run_directory import RunDirectory
from mcshell.node.verdicts import Outcome
from mcshell.node.workers import queue_worker

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from mcshell.config import NodeSettings
    from mcshell.node.host import Host
    from mcshell.node.store.records import Key, WorkItem
    from mcshell.node.verdicts import Admitted
    from tests.simulation.green import Scheduler

__all__ = ["Machine", "Runner"]


@dataclass(eq=False)
class Shim:
    """One run; without a `result` and no longer `alive` it died in the middle."""

    work: WorkItem
    alive: bool = True
    result: Outcome | None = None
    heard: Any = None

    def outcome(self) -> Outcome | None:
        """How it came out."""
        return self.result

    def death(self) -> str:
        """What is known of how it died."""
        return "the machine died"


class Machine:
    """What a computer has beside its daemon: shims, a disk that may be full, a clock that is off."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.skew = 0.0
        self.shims: dict[Key, Shim] = {}
        self.life: Any = None
        """The process that its shims are of: the machine itself."""


class Runner:
    """As `ShimRunner` (`execution.runner.Runner`)."""

    def __init__(self, scheduler: Scheduler, folder: Path, settings: NodeSettings) -> None:
        self._scheduler = scheduler
        self._folder = folder
        self._settings = settings
        self._machine: Machine = scheduler.current.process.machine
        self._running: list[Shim] = []
        self._came = queue_worker.SimpleQueue()

    def places(self, work: WorkItem) -> Sequence[RunDirectory]:
        """Where files of a run would be."""
        return (RunDirectory(self._folder / work.id),)

    def adopt(self, work: WorkItem) -> Shim | None:
        """What is left of a run; None when it goes on."""
        shim = self._machine.shims.get(work.key)
        if shim is None:
            return Shim(work, alive=False)
        shim.work = work
        if not shim.alive:
            return shim
        shim.heard = self._came.put
        self._running.append(shim)
        return None

    def start(self, work: WorkItem, admitted: Admitted, host: Host) -> None:
        """Launch a shim."""
        shim = Shim(work, heard=self._came.put)
        self._machine.shims[work.key] = shim
        self._running.append(shim)
        limit = self._settings.time_for(work.agent, admitted.action.timeout, admitted.max_runtime)

        def live() -> None:
            outcome = run_action(admitted, host, time.monotonic() + limit)
            if shim.alive:
                shim.result, shim.alive = outcome, False
                shim.heard(None)

        self._scheduler.spawn(self._machine.life, live)
        self._scheduler.point()

    def ended(self) -> Sequence[Shim]:
        """The runs that have come to an end."""
        return [one for one in self._running if not one.alive]

    def drop(self, run: Shim, *, keep: bool) -> None:
        """Forget a run that has ended."""
        del keep
        if run in self._running:
            self._running.remove(run)
        if self._machine.shims.get(run.work.key) is run:
            del self._machine.shims[run.work.key]

    def stop(self, key: Key) -> None:
        """Have a run end."""
        shim = self._machine.shims.get(key)
        if shim is not None and shim.alive:
            shim.alive = False
            shim.result = Outcome(State.FAILED, StatusCode.UNKNOWN_ERROR, "stopped")
        self.wake()

    def wait(self, seconds: float) -> None:
        """Wait until a run has ended, until `wake`, or so long."""
        try:
            self._came.get(timeout=seconds)
            while True:
                self._came.get_nowait()
        except Empty:
            return

    def wake(self) -> None:
        """End `wait`."""
        self._came.put(None)

    def purge(self, now: float) -> None:
        """Nothing is kept of old runs."""
