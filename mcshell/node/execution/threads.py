"""Actions in the threads of this process: those of broadcast and direct requests, and of pools.

Past its timeout an action is answered as failed; its thread keeps the slot until it ends, and is
counted. An action that does not end at once gets an early reply, so that the client need not ask.

One set of threads serves the nodes of one process. A daemon's has as many as its one node may do
at a time. An emulator's few threads are for actions that end at once, as pretended ones do: for
each that does not, another thread stands in (`spare`), so that it holds up nobody else's.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

from mcshell.message import State, StatusCode
from mcshell.node.agent import NodeView
from mcshell.node.execution.action import run_action
from mcshell.node.execution.caller_queue import CallerQueue
from mcshell.node.verdicts import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mcshell.message import Request
    from mcshell.node.journal import Journal
    from mcshell.node.verdicts import Admitted

__all__ = ["ActionNode", "ActionThreads", "ReplySink", "Task"]

log = logging.getLogger(__name__)

_EARLY: Final = 0.3
_TICK: Final = 0.05
_STUCK: Final = 0.1
_CANCELLED: Final = Outcome(State.FAILED, StatusCode.UNKNOWN_ERROR, "cancelled before it began")


class ActionNode(NodeView, Protocol):
    """The node that actions run on."""

    @property
    def journal(self) -> Journal:
        """What it remembers of requests."""


class ReplySink(Protocol):
    """Takes what is to be said of a request; never raises for want of a connection."""

    def working(self, request: Request, state: State) -> None:
        """Say that the request was received or is running."""

    def final(self, request: Request, outcome: Outcome) -> None:
        """Say how it came out."""


@dataclass(slots=True, eq=False, kw_only=True)
class Task:
    """An action to be run on a node; `timeout` is seconds from its start.

    Once `cancelled` is set it does not begin, and is told to end if it has.
    """

    admitted: Admitted
    host: ActionNode
    reply_sink: ReplySink
    timeout: float
    cancelled: threading.Event = field(default_factory=threading.Event)
    put: float = field(default_factory=time.monotonic)
    started: float = math.inf
    answered: bool = False

    @property
    def caller(self) -> str:
        """Whose it is."""
        return self.admitted.request.caller

    @property
    def ends(self) -> float:
        """When its time is up, once it has started."""
        return self.started + self.timeout


class ActionThreads:
    """At most `slots` actions at a time, `each` of one caller; callers go round with the others.

    With `spare` threads, one of them takes the place of each whose action goes on for long.
    """

    def __init__(self, slots: int = 16, each: int | None = None, *, spare: int = 0) -> None:
        self._slots = slots
        self._spare = spare
        self._each = each
        self._lock = threading.Lock()
        """Guards what follows; the conditions share it."""
        self._work = threading.Condition(self._lock)
        self._begun = threading.Condition(self._lock)
        self._ended = threading.Condition(self._lock)
        self._late = threading.Condition(self._lock)
        self._waiting: CallerQueue[Task] = CallerQueue()
        self._unsaid: deque[Task] = deque()
        """Those of which nothing has been said yet, the oldest first."""
        self._running: set[Task] = set()
        self._threads = self._idle = 0
        self._watcher: threading.Thread | None = None
        self._drowsy = False
        """Whether the watcher looks later than after a tick, if nobody wakes it."""
        self._stopped = False

    def put(self, *tasks: Task) -> None:
        """Have actions run, in this order."""
        with self._lock:
            for task in tasks:
                self._waiting.put(task.caller, task)
            self._unsaid.extend(tasks)
            more = self._set_to_work(time.monotonic())
            if self._watcher is None:
                self._watcher = threading.Thread(
                    target=self._watch, name="mcshell-timers", daemon=True
                )
                self._watcher.start()
            elif self._drowsy:
                self._drowsy = False
                self._late.notify()
        self._begin(more)

    def wait_room(self) -> None:
        """Wait until no action waits for a thread; for a moment only, if all are slow."""
        with self._lock:
            self._begun.wait_for(lambda: not self._waiting, _TICK)

    def stop(self, grace: float = 2.0) -> None:
        """Start nothing more, tell what runs to end, and give it `grace` seconds to answer."""
        with self._lock:
            self._waiting.clear()
            for task in self._running:
                task.cancelled.set()
            self._ended.wait_for(lambda: not self._running, grace)
            self._stopped = True
            self._late.notify()

    # --- the threads ---------------------------------------------------------------------------

    def _set_to_work(self, now: float) -> int:
        """Wake idle threads for what waits; returns how many are to begin beside them.

        Those that have been at one action for long do not count, where others may stand in: for as
        many as there are of them, so that a thousand slow actions soon have all threads.
        """
        stuck = sum(one.started < now - _STUCK for one in self._running) if self._spare else 0
        active = len(self._running) - stuck
        wanted = min(len(self._waiting), max(self._slots, stuck) - active)
        if wanted <= 0:
            return 0
        self._work.notify(wanted)
        most = self._slots + self._spare - self._threads
        more = max(0, min(wanted - self._idle, most))
        self._threads += more
        self._idle += more
        return more

    def _begin(self, count: int) -> None:
        for _ in range(count):
            threading.Thread(target=self._run, name="mcshell-action", daemon=True).start()

    def _run(self) -> None:
        while True:
            with self._lock:
                task = self._take()
            try:
                self._act(task)
            except Exception:  # the thread serves the next one
                log.exception("could not answer for %s", task.admitted.request.id)
            finally:
                with self._lock:
                    self._idle += 1
                    self._running.discard(task)
                    if not self._running:
                        self._ended.notify_all()

    def _take(self) -> Task:
        while (task := self._waiting.take(self._full())) is None:
            self._work.wait()
        self._idle -= 1
        task.started = time.monotonic()
        self._running.add(task)
        if not self._waiting:
            self._begun.notify_all()
        return task

    def _full(self) -> set[str]:
        """The callers who have as many actions at work as one may."""
        if self._each is None:
            return set()
        busy = Counter(task.caller for task in self._running)
        return {caller for caller, count in busy.items() if count >= self._each}

    def _act(self, task: Task) -> None:
        if task.cancelled.is_set():
            self._answer(task, _CANCELLED)
            return
        journal, request = task.host.journal, task.admitted.request
        journal.note(request.id, "running")
        outcome = run_action(task.admitted, task.host, task.ends, task.cancelled)
        if not self._answer(task, outcome):
            journal.count("overran")

    def _answer(self, task: Task, outcome: Outcome) -> bool:
        with self._lock:
            if task.answered:
                return False
            task.answered = True
        task.reply_sink.final(task.admitted.request, outcome)
        return True

    # --- the watcher's thread, which begins with the first action ------------------------------

    def _watch(self) -> None:
        while not self._stopped:
            with self._lock:
                pause = self._pause()
                self._drowsy = pause is None or pause > _TICK
                if self._late.wait(pause) and not self._stopped:
                    self._late.wait(_TICK)  # something was put, and may end as soon
                now = time.monotonic()
                slow = self._slow(now)
                overdue = [one for one in self._running if not one.answered and now >= one.ends]
                more = self._set_to_work(now)
            self._begin(more)
            try:
                self._tell(slow, overdue)
            except Exception:
                log.exception("could not answer for an action that takes long")

    def _slow(self, now: float) -> list[Task]:
        """Those of which it is time to say that they take long."""
        slow = []
        while self._unsaid and (self._unsaid[0].answered or self._unsaid[0].put < now - _EARLY):
            if not (task := self._unsaid.popleft()).answered:
                slow.append(task)
        return slow

    def _tell(self, slow: Iterable[Task], overdue: Iterable[Task]) -> None:
        for task in slow:
            state = State.RECEIVED if task.started == math.inf else State.RUNNING
            task.reply_sink.working(task.admitted.request, state)
        for task in overdue:
            task.cancelled.set()
            text = f"timed out after {task.timeout:g} s"
            self._answer(task, Outcome(State.FAILED, StatusCode.UNKNOWN_ERROR, text))

    def _pause(self) -> float | None:
        """Seconds until there may be something to say; None when nothing is under way."""
        if self._waiting or self._unsaid:
            return _TICK
        ends = [one.ends for one in self._running if not one.answered]
        return max(0.0, min(ends) - time.monotonic()) if ends else None
