"""Threads that are none: all loops of all processes run in one thread, one step at a time.

Whatever mcshell waits at (locks, events, conditions, queues, sleep, the end of a thread) hands over
to the `Scheduler`, which lets the seed choose who takes the next step, from one waiting point to the
next. Nobody else runs meanwhile, and time stands still; when all wait, it leaps to whoever waits
for a time. `installed` puts this in the place of `threading`, `time` and `SimpleQueue` while a
simulation runs: the code of mcshell is as it ships, and its loops are its own.
"""

from __future__ import annotations

import heapq
import itertools
import sys
import threading
import time
import traceback
from contextlib import ExitStack, contextmanager, suppress
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import greenlet

from tests.simulation.primitives import made_for

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterator

__all__ = ["Process", "Scheduler", "installed"]

EPOCH = 1_800_000_000.0


class Process:
    """What dies together: its steps are never taken again. `skew` is what its clock is ahead, in s."""

    def __init__(self, name: str, machine: Any = None) -> None:
        self.name = name
        self.machine = machine
        self.alive = True

    def __repr__(self) -> str:
        return f"<{self.name}{'' if self.alive else ', dead'}>"


class Thread:
    """One loop, suspended or at work."""

    __slots__ = ("glet", "of", "process", "ready", "turn", "woken")

    def __init__(self, process: Process, of: Any) -> None:
        self.process = process
        self.of = of
        self.glet: Any = None
        self.ready = False
        self.woken = False
        self.turn = 0
        """Counts its waits: a wake-up of an earlier one is none."""

    @property
    def done(self) -> bool:
        return self.glet.dead


class Scheduler:
    """Who is next, and what time it is. `idle` is called before each step: faults are its business."""

    def __init__(self, dice: random.Random) -> None:
        self.dice = dice
        self.now = 0.0
        self.steps = 0
        self.current: Thread | None = None
        self._hub = greenlet.getcurrent()
        self._ready: list[Thread] = []
        self._timers: list[tuple[float, int, int, Thread | Callable[[], None]]] = []
        self._numbers = itertools.count()
        self._all: list[Thread] = []
        self.before_step: Callable[[], None] = lambda: None
        self.flaws: list[str] = []
        """Loops that an exception has ended, of processes that were alive."""

    # --- for whoever makes the run -------------------------------------------------------------

    def spawn(self, process: Process, work: Callable[[], Any], of: Any = None) -> Thread:
        """Begin a loop of a process."""
        thread = Thread(process, of)
        thread.glet = greenlet.greenlet(lambda: self._live(process, work), self._hub)
        self._all.append(thread)
        self._wake(thread)
        return thread

    def _live(self, process: Process, work: Callable[[], Any]) -> None:
        try:
            work()
        except Exception:  # noqa: BLE001 - a loop that ends so is a flaw, whatever it is
            if process.alive:
                self.flaws.append(f"{process}: {traceback.format_exc()}")

    def at(self, when: float, work: Callable[[], None]) -> None:
        """Have something done at a time that is no process's business: the network's, the broker's."""
        heapq.heappush(self._timers, (max(when, self.now), next(self._numbers), 0, work))

    def run(self, over: Callable[[], bool], until: float, most: int) -> str:
        """Take steps until it is `over`, a time, or so many steps; says which of the three."""
        last = self.steps + most
        while not over():
            if self.steps >= last:
                return "steps"
            if not self._ready and (not self._timers or self._timers[0][0] > until):
                self.now = max(self.now, until)
                return "time"
            self.step()
        return "over"

    def step(self) -> None:
        """Let one of those that can go on go on."""
        self.steps += 1
        self.before_step()
        while self._timers and (self._timers[0][0] <= self.now or not self._ready):
            when, _number, turn, what = heapq.heappop(self._timers)
            if not isinstance(what, Thread):
                self.now = max(self.now, when)
                what()
                return
            if what.process.alive and not what.ready and what.turn == turn and not what.done:
                self.now = max(self.now, when)
                what.woken = False
                self._wake(what, woken=False)
        if self._ready:
            chosen = self.dice.randrange(len(self._ready))
            thread = self._ready[chosen]
            self._ready[chosen] = self._ready[-1]
            self._ready.pop()
            thread.ready = False
            if thread.process.alive:
                self.current = thread
                thread.glet.switch()
                self.current = None

    def bury(self) -> None:
        """End all loops that are left, where they wait: what they would still do does no harm now."""
        for thread in self._all:
            thread.process.alive = False
        for thread in self._all:
            if thread.glet and not thread.done:
                self.current = thread
                with suppress(BaseException):
                    thread.glet.throw()
        self.current = None
        self._ready.clear()
        self._timers.clear()

    # --- for whoever waits ---------------------------------------------------------------------

    def pause(self, seconds: float | None = None) -> bool:
        """Let others go on until somebody wakes us, or so long; whether somebody did."""
        thread = self.current
        if thread is None or not thread.process.alive:
            raise greenlet.GreenletExit
        thread.turn += 1
        thread.woken = False
        if seconds is not None:
            when = self.now + max(0.0, seconds)
            heapq.heappush(self._timers, (when, next(self._numbers), thread.turn, thread))
        self._hub.switch()
        if not thread.process.alive:
            raise greenlet.GreenletExit
        return thread.woken

    def point(self) -> None:
        """A point at which others may go on, and this process may die."""
        thread = self.current
        if thread is None:
            return
        if not thread.process.alive:
            raise greenlet.GreenletExit
        self._wake(thread)
        self._hub.switch()
        if not thread.process.alive:
            raise greenlet.GreenletExit

    def wake(self, thread: Thread) -> None:
        """Have a thread that pauses go on."""
        if not thread.ready:
            thread.turn += 1
            self._wake(thread, woken=True)

    def _wake(self, thread: Thread, *, woken: bool = True) -> None:
        if not thread.ready and thread.process.alive:
            thread.ready, thread.woken = True, woken
            self._ready.append(thread)


@contextmanager
def installed(scheduler: Scheduler, wall: Callable[[Process | None], float]) -> Iterator[None]:
    """Have every wait of mcshell handed to the scheduler; `wall` is what a process takes for time()."""
    lock, rlock, queue = made_for(scheduler)

    def now() -> float:
        return wall(scheduler.current.process if scheduler.current else None)

    with ExitStack() as patches:
        for place, name, value in (
            (threading, "Lock", lock),
            (threading, "RLock", rlock),
            (threading, "_allocate_lock", lock),
            (threading, "_time", lambda: scheduler.now),
            (time, "time", now),
            (time, "monotonic", lambda: scheduler.now),
            (time, "sleep", scheduler.pause),
            *_threads(scheduler),
        ):
            patches.enter_context(patch.object(place, name, value))
        for name, module in list(sys.modules.items()):
            known = vars(module) if name.startswith("mcshell") else {}
            if known.get("SimpleQueue") is SimpleQueue:
                patches.enter_context(patch.object(module, "SimpleQueue", queue))
        yield


def _threads(scheduler: Scheduler) -> Iterator[tuple[Any, str, Any]]:
    """What stands for the methods of `threading.Thread`: each begins a loop of the process it is in."""
    threads: dict[int, Thread] = {}
    main = threading.current_thread()

    def start(self: Any) -> None:
        process = scheduler.current.process if scheduler.current else Process("outside")
        threads[id(self)] = scheduler.spawn(process, self.run, self)

    def is_alive(self: Any) -> bool:
        found = threads.get(id(self))
        return found is not None and not found.done and found.process.alive

    def join(self: Any, timeout: float | None = None) -> None:
        deadline = None if timeout is None else scheduler.now + timeout
        while is_alive(self) and (deadline is None or scheduler.now < deadline):
            scheduler.pause(0.01)

    def current_thread() -> Any:
        now = scheduler.current
        return now.of if now is not None and now.of is not None else main

    yield threading, "current_thread", current_thread
    yield threading.Thread, "start", start
    yield threading.Thread, "is_alive", is_alive
    yield threading.Thread, "join", join
