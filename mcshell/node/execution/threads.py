"""Runs actions in a few threads of the daemon: broadcast and direct requests, and the pools'.

Past its timeout an action is answered as failed; its thread keeps the slot until it ends, and is
counted. An action that does not end at once gets an early reply, so that the client need not ask.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from mcshell.message import State, StatusCode
from mcshell.node.agent import NodeView
from mcshell.node.execution.action import run_action
from mcshell.node.verdicts import Outcome

if TYPE_CHECKING:
    from mcshell.message import Request
    from mcshell.node.journal import Journal
    from mcshell.node.verdicts import Admitted

__all__ = ["ActionNode", "ActionThreads", "ReplySink"]

log = logging.getLogger(__name__)

_HERALD = 0.3


class ActionNode(NodeView, Protocol):
    """The node that actions run on: what they may see of it, and its memory of requests."""

    @property
    def journal(self) -> Journal:
        """What it remembers of requests."""


class ReplySink(Protocol):
    """Sends a node's replies; never raises for want of a connection."""

    def working(self, request: Request, state: State) -> None:
        """Say that the request was received or is running."""

    def final(self, request: Request, outcome: Outcome) -> None:
        """Say how it came out."""


@dataclass(slots=True, eq=False)
class _Task:
    admitted: Admitted
    timeout: float
    cancelled: threading.Event = field(default_factory=threading.Event)
    started: float | None = None
    answered: bool = False


class ActionThreads:
    """At most `slots` actions at a time, the others wait in order."""

    def __init__(self, host: ActionNode, reply_sink: ReplySink, *, slots: int = 16) -> None:
        self._host = host
        self._reply_sink = reply_sink
        self._slots = slots
        self._lock = threading.Lock()
        self._work = threading.Condition(self._lock)
        self._waiting: deque[_Task] = deque()
        self._idle = 0
        self._threads = 0
        self._running: set[_Task] = set()
        self._timers = _Timers(self._due)

    def put(self, admitted: Admitted, timeout: float) -> None:
        """Have an action run; `timeout` is seconds from its start."""
        task = _Task(admitted, timeout)
        self._timers.add(time.monotonic() + _HERALD, task)
        with self._lock:
            self._waiting.append(task)
            if self._idle >= len(self._waiting) or self._threads >= self._slots:
                self._work.notify()
                return
            self._threads += 1
            number = self._threads
        threading.Thread(target=self._run, name=f"mcshell-action-{number}", daemon=True).start()

    def stop(self, grace: float = 2.0) -> None:
        """Start nothing more, tell what runs to end, and give it `grace` seconds to answer."""
        with self._lock:
            self._waiting.clear()
            for task in self._running:
                task.cancelled.set()
            self._work.wait_for(lambda: not self._running, grace)
        self._timers.stop()

    def _run(self) -> None:
        while True:
            with self._lock:
                self._idle += 1
                while not self._waiting:
                    self._work.wait()
                self._idle -= 1
                task = self._waiting.popleft()
                self._running.add(task)
            try:
                self._act(task)
            except Exception:  # the thread serves the next one
                log.exception("could not answer for %s", task.admitted.request.id)
            finally:
                with self._lock:
                    self._running.discard(task)
                    self._work.notify_all()

    def _act(self, task: _Task) -> None:
        task.started = time.monotonic()
        self._timers.add(task.started + task.timeout, task)
        journal, request = self._host.journal, task.admitted.request
        journal.note(request.id, "running")
        outcome = run_action(task.admitted, self._host, task.started + task.timeout, task.cancelled)
        if not self._answer(task, outcome):
            journal.count("overran")

    def _due(self, task: _Task) -> None:
        """A timer of a task: time for an early reply, or its time is up."""
        now = time.monotonic()
        with self._lock:
            if task.answered:
                return
            overdue = task.started is not None and now >= task.started + task.timeout
            state = State.RECEIVED if task.started is None else State.RUNNING
        if not overdue:
            self._reply_sink.working(task.admitted.request, state)
            return
        task.cancelled.set()
        text = f"timed out after {task.timeout:g} s"
        self._answer(task, Outcome(State.FAILED, StatusCode.UNKNOWN_ERROR, text))

    def _answer(self, task: _Task, outcome: Outcome) -> bool:
        with self._lock:
            if task.answered:
                return False
            task.answered = True
        self._reply_sink.final(task.admitted.request, outcome)
        return True


class _Timers:
    """Calls back for a task at a time, in one thread that starts with the first of them."""

    def __init__(self, due: _Due) -> None:
        self._due = due
        self._wakeup = threading.Condition()
        self._heap: list[tuple[float, int, _Task]] = []
        self._number = itertools.count()
        self._thread: threading.Thread | None = None
        self._stopped = False

    def add(self, when: float, task: _Task) -> None:
        with self._wakeup:
            first = not self._heap or when < self._heap[0][0]
            heapq.heappush(self._heap, (when, next(self._number), task))
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._run, name="mcshell-timers", daemon=True
                )
                self._thread.start()
            elif first:
                self._wakeup.notify()

    def stop(self) -> None:
        with self._wakeup:
            self._stopped = True
            self._wakeup.notify()

    def _run(self) -> None:
        while True:
            with self._wakeup:
                while not self._stopped and (not self._heap or self._heap[0][0] > time.monotonic()):
                    self._wakeup.wait(self._heap[0][0] - time.monotonic() if self._heap else None)
                if self._stopped:
                    return
                _when, _number, task = heapq.heappop(self._heap)
            try:
                self._due(task)
            except Exception:
                log.exception("could not answer for an action that takes long")


class _Due(Protocol):
    def __call__(self, task: _Task) -> None: ...
