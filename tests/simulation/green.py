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
from collections import deque
from contextlib import ExitStack, contextmanager, suppress
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import greenlet

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


class _Waiters:
    """Threads that wait for one thing, in their order."""

    __slots__ = ("_scheduler", "_waiting")

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._waiting: deque[Thread] = deque()

    def wait(self, deadline: float | None) -> bool:
        thread = self._scheduler.current
        assert thread is not None, "only a thread of a process can wait"
        self._waiting.append(thread)
        left = None if deadline is None else deadline - self._scheduler.now
        if left is not None and left <= 0:
            self._waiting.remove(thread)
            return False
        woken = self._scheduler.pause(left)
        if not woken and thread in self._waiting:
            self._waiting.remove(thread)
        return woken

    def wake_one(self) -> None:
        while self._waiting:
            thread = self._waiting.popleft()
            if thread.process.alive and not thread.done:
                self._scheduler.wake(thread)
                return


def _primitives(scheduler: Scheduler) -> tuple[type, type, type]:
    """Lock, RLock and SimpleQueue of this scheduler."""

    class Lock:
        """As `threading.Lock`."""

        def __init__(self) -> None:
            self._held = False
            self._waiters = _Waiters(scheduler)

        def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:  # noqa: FBT001, FBT002
            deadline = None if timeout is None or timeout < 0 else scheduler.now + timeout
            while self._held:
                if not blocking or not self._waiters.wait(deadline):
                    if self._held or not blocking:
                        return False
            self._held = True
            return True

        def release(self) -> None:
            if not self._held:
                raise RuntimeError("release unlocked lock")
            self._held = False
            self._waiters.wake_one()

        def locked(self) -> bool:
            return self._held

        def __enter__(self) -> bool:
            return self.acquire()

        def __exit__(self, *_: object) -> None:
            self.release()

        def _at_fork_reinit(self) -> None:
            self._held = False

    class RLock:
        """As `threading.RLock`."""

        def __init__(self) -> None:
            self._owner: object = None
            self._count = 0
            self._waiters = _Waiters(scheduler)

        def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:  # noqa: FBT001, FBT002
            me = scheduler.current or scheduler
            deadline = None if timeout is None or timeout < 0 else scheduler.now + timeout
            while self._count and self._owner is not me:
                if not blocking or (not self._waiters.wait(deadline) and self._count):
                    return False
            self._owner = me
            self._count += 1
            return True

        def release(self) -> None:
            if self._owner is not (scheduler.current or scheduler):
                raise RuntimeError("cannot release un-acquired lock")
            self._count -= 1
            if not self._count:
                self._owner = None
                self._waiters.wake_one()

        def __enter__(self) -> bool:
            return self.acquire()

        def __exit__(self, *_: object) -> None:
            self.release()

        def _is_owned(self) -> bool:
            return self._owner is (scheduler.current or scheduler)

        def _release_save(self) -> tuple[int, object]:
            state = (self._count, self._owner)
            self._count, self._owner = 0, None
            self._waiters.wake_one()
            return state

        def _acquire_restore(self, state: tuple[int, object]) -> None:
            self.acquire()
            self._count, self._owner = state

    class Queue:
        """As `queue.SimpleQueue`."""

        def __init__(self) -> None:
            self._items: deque[Any] = deque()
            self._waiters = _Waiters(scheduler)

        def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:  # noqa: ARG002, FBT001, FBT002
            self._items.append(item)
            self._waiters.wake_one()

        put_nowait = put

        def get(self, block: bool = True, timeout: float | None = None) -> Any:  # noqa: FBT001, FBT002
            deadline = None if timeout is None else scheduler.now + timeout
            while not self._items:
                if not block or (not self._waiters.wait(deadline) and not self._items):
                    raise Empty
            return self._items.popleft()

        def get_nowait(self) -> Any:
            return self.get(block=False)

        def empty(self) -> bool:
            return not self._items

        def qsize(self) -> int:
            return len(self._items)

    return Lock, RLock, Queue


class _Pool:
    """As `ThreadPoolExecutor` of one thread, done at once by whoever hands in."""

    def __init__(self, *_: object, **__: object) -> None:
        pass

    def submit(self, work: Callable[[], Any]) -> Any:
        result = work()
        return type("Done", (), {"result": staticmethod(lambda: result)})

    def shutdown(self) -> None:
        pass


@contextmanager
def installed(scheduler: Scheduler, wall: Callable[[Process | None], float]) -> Iterator[None]:
    """Have every wait of mcshell handed to the scheduler; `wall` is what a process takes for time()."""
    lock, rlock, queue = _primitives(scheduler)
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

    def now() -> float:
        return wall(scheduler.current.process if scheduler.current else None)

    def sleep(seconds: float) -> None:
        scheduler.pause(seconds)

    with ExitStack() as patches:
        for place, name, value in (
            (threading, "Lock", lock),
            (threading, "RLock", rlock),
            (threading, "_allocate_lock", lock),
            (threading, "_time", lambda: scheduler.now),
            (threading, "current_thread", current_thread),
            (threading.Thread, "start", start),
            (threading.Thread, "is_alive", is_alive),
            (threading.Thread, "join", join),
            (time, "time", now),
            (time, "monotonic", lambda: scheduler.now),
            (time, "sleep", sleep),
        ):
            patches.enter_context(patch.object(place, name, value))
        for name, module in list(sys.modules.items()):
            if name.startswith("mcshell"):
                if vars(module).get("SimpleQueue") is SimpleQueue:
                    patches.enter_context(patch.object(module, "SimpleQueue", queue))
                if "ThreadPoolExecutor" in vars(module):
                    patches.enter_context(patch.object(module, "ThreadPoolExecutor", _Pool))
        yield
