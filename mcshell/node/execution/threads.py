"""Actions in the threads of this process: those of broadcast and direct requests, and of pools.

Past its timeout an action is answered as failed; its thread keeps the slot until it ends, and is
counted. An action that does not end at once gets an early reply, so that the client need not ask.

One set of threads serves the nodes of one process. A daemon's has as many as its one node may do
at a time. An emulator's few threads are for actions that end at once, as pretended ones do: for
each that does not, another thread stands in (`spare`), so that it holds up nobody else's.

The same threads read what comes in (`hand`), one message at a time and in its order: whichever has
nothing to do takes it, decides, and goes on to run what it has put. A request that comes alone is
answered by one thread, then, and none waits for another to wake up. There is one thread more than
actions may be at work, so that a message never waits for an action.
"""

from __future__ import annotations

import contextlib
import logging
import math
import threading
import time
from collections import Counter, deque
from dataclasses import field
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Final, Protocol

from mcshell.message import State, StatusCode
from mcshell.node.agent import NodeView
from mcshell.node.execution.action import run_action
from mcshell.node.execution.caller_queue import CallerQueue
from mcshell.node.verdicts import Outcome
from mcshell.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from mcshell.message import Request
    from mcshell.node.admission.controller import AdmissionController
    from mcshell.node.host import Host
    from mcshell.node.journal import Journal
    from mcshell.node.verdicts import Admitted

__all__ = ["ActionNode", "ActionThreads", "AuditedReplies", "ReplySink", "Task", "ThreadLoad"]

log = logging.getLogger(__name__)

_EARLY: Final = 0.3
_TICK: Final = 0.05
_STUCK: Final = 0.1
_SAY_EVERY: Final = 10.0
"""Seconds between two lines on the lack of a thread: it is tried many times a second."""
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


@dataclass(frozen=True, slots=True, kw_only=True)
class ThreadLoad:
    """What a set of threads has to do: messages not looked at, actions that wait and that run."""

    messages: int
    waiting: int
    running: int
    threads: int


@dataclass(frozen=True, slots=True)
class AuditedReplies:
    """A node's `ReplySink` in front of another: the audit is told first."""

    replies: ReplySink
    controller: AdmissionController
    host: Host

    def working(self, request: Request, state: State) -> None:
        """Say that the request was received or is running."""
        self.replies.working(request, state)

    def final(self, request: Request, outcome: Outcome) -> None:
        """Audit how it came out, and say so."""
        self.controller.finished(request, self.host, outcome)
        self.replies.final(request, outcome)


@dataclass(slots=True, eq=False, kw_only=True)
class Task:
    """An action to be run on a node; `timeout` is seconds from its start.

    So long it may work; then it has `grace` seconds to answer for what it stopped. Once `cancelled` is
    set it does not begin, and is told to end if it has. `log` takes what it writes.
    """

    admitted: Admitted
    host: ActionNode
    reply_sink: ReplySink
    timeout: float
    grace: float = 0.0
    cancelled: threading.Event = field(default_factory=threading.Event)
    log: Callable[[bytes], None] = lambda _data: None
    put: float = field(default_factory=time.monotonic)
    started: float = math.inf
    answered: bool = False

    @property
    def ends(self) -> float:
        """When it is waited for no longer, once it has started."""
        return self.started + self.timeout + self.grace


class ActionThreads:
    """At most `slots` actions at a time, `each` of one caller; callers go round with the others.

    With `spare` threads, one of them takes the place of each whose action goes on for long. `handle` is
    called with each message that is handed over.
    """

    def __init__(
        self,
        slots: int = 16,
        each: int | None = None,
        *,
        spare: int = 0,
        handle: Callable[[Any], None] | None = None,
    ) -> None:
        self._slots = slots
        self._spare = spare
        self._each = each
        self._lock = threading.Lock()
        """Guards what follows; the conditions share it."""
        self._resting: list[threading.Lock] = []
        """What idle threads wait for, each a lock of its own: who came to rest last is warm, and goes first."""
        self._begun = threading.Condition(self._lock)
        self._ended = threading.Condition(self._lock)
        self._late: SimpleQueue[None] = SimpleQueue()
        """Wakes the watcher."""
        self._waiting: CallerQueue[Task] = CallerQueue()
        self._unsaid: deque[Task] = deque()
        """Those of which nothing has been said yet, the oldest first."""
        self._running: set[Task] = set()
        self._handle = handle
        self._messages: deque[Any] = deque()
        self._handling = False
        """Whether a thread is at a message; it is the one that takes the next."""
        self._threads = 0
        self._watcher: threading.Thread | None = None
        self._say_at = 0.0
        self._drowsy = False
        """Whether the watcher looks later than after a tick, if nobody wakes it."""
        self._reads = self._stopped = False

    def put(self, *tasks: Task) -> None:
        """Have actions run, in this order."""
        with self._lock:
            for task in tasks:
                self._waiting.put(task.admitted.request.caller, task)
            self._unsaid.extend(tasks)
            # One of what a message has brought is for the thread that handles it.
            more = self._set_to_work(time.monotonic(), left=self._handling)
            if self._watcher is None:
                self._watcher = self._begin_thread(self._watch, "mcshell-timers")
            elif self._drowsy:
                self._drowsy = False
                self._late.put(None)
        self._begin(more)

    def hand(self, message: Any) -> None:
        """Have a message handled, after those before it: from `read` on, until `stop`."""
        with self._lock:
            self._messages.append(message)
            more = self._set_to_work(time.monotonic()) if self._may_read else 0
        self._begin(more)

    def read(self) -> None:
        """Begin with what was handed over."""
        with self._lock:
            self._reads = True
            more = self._set_to_work(time.monotonic())
        self._begin(more)

    def wait_room(self) -> None:
        """Wait until no action waits for a thread; for a moment only, if all are slow."""
        with self._lock:
            more = self._set_to_work(time.monotonic())
        self._begin(more)
        with self._lock:
            self._begun.wait_for(lambda: not self._waiting, _TICK)

    @property
    def load(self) -> ThreadLoad:
        """What there is to do now."""
        with self._lock:
            return ThreadLoad(
                messages=len(self._messages),
                waiting=len(self._waiting),
                running=len(self._running),
                threads=self._threads,
            )

    def stop(self, grace: float = 2.0) -> None:
        """Start nothing more, tell what runs to end, and give it `grace` seconds to answer."""
        with self._lock:
            self._reads = False
            self._ended.wait_for(lambda: not self._handling, grace)
            self._waiting.clear()
            for task in self._running:
                task.cancelled.set()
            self._ended.wait_for(lambda: not self._running, grace)
            self._stopped = True
        self._late.put(None)

    # --- the threads ---------------------------------------------------------------------------

    def _room(self, now: float) -> int:
        """How many more actions may begin.

        Those that have been at one action for long do not count, where others may stand in: for as
        many as there are of them, so that a thousand slow actions soon have all threads.
        """
        stuck = sum(one.started < now - _STUCK for one in self._running) if self._spare else 0
        most = self._slots + self._spare
        return min(max(self._slots, stuck) + stuck, most) - len(self._running)

    def _set_to_work(self, now: float, *, left: int = 0) -> int:
        """Wake idle threads for what waits, but `left`; returns how many are to begin beside them."""
        wanted = max(0, min(len(self._waiting) - left, self._room(now)))
        wanted += self._may_read
        if not wanted:
            return 0
        for _ in range(min(wanted, len(self._resting))):
            self._resting.pop().release()
        idle = self._threads - len(self._running) - self._handling
        most = self._slots + self._spare + (self._handle is not None)
        more = max(0, min(wanted - idle, most - self._threads))
        self._threads += more
        return more

    def _begin(self, count: int) -> None:
        for begun in range(count):
            if self._begin_thread(self._run, "mcshell-action") is None:
                # What waits is for those that there are, or for the next that can begin.
                with self._lock:
                    self._threads -= count - begun
                self._late.put(None)
                return

    def _run(self) -> None:
        alarm = threading.Lock()
        alarm.acquire()
        while True:
            with self._lock:
                while (task := self._take()) is None and not self._may_read:
                    self._resting.append(alarm)
                    self._lock.release()
                    alarm.acquire()
                    self._lock.acquire()
                if task is None:
                    self._handling = True
                    message = self._messages.popleft()
                more = self._set_to_work(time.monotonic()) if self._may_read else 0
            self._begin(more)
            if task is None:
                self._read(message)
            else:
                self._do(task)

    @property
    def _may_read(self) -> bool:
        """Whether there is a message, and nobody at one."""
        return self._reads and bool(self._messages) and not self._handling

    def _read(self, message: Any) -> None:
        assert self._handle is not None, "who hands messages over says what is done with them"
        try:
            self._handle(message)
        except Exception:  # the thread serves the next one
            log.exception("could not handle a message")
        finally:
            with self._lock:
                self._handling = False
                self._ended.notify_all()

    def _do(self, task: Task) -> None:
        request = task.admitted.request
        try:
            if task.cancelled.is_set():
                self._answer(task, _CANCELLED)
                return
            task.host.journal.note(request.id, "running")
            outcome = run_action(
                task.admitted,
                task.host,
                task.ends - task.grace,
                cancelled=task.cancelled,
                log=task.log,
                grace=task.grace,
            )
            if not self._answer(task, outcome):
                task.host.journal.count("overran")
        except Exception:  # the thread serves the next one
            log.exception("could not answer for %s", request.id)
        finally:
            with self._lock:
                self._running.discard(task)
                if not self._running:
                    self._ended.notify_all()

    def _take(self) -> Task | None:
        """The next action that may begin, as one that runs."""
        now = time.monotonic()
        if not self._waiting or self._room(now) <= 0:
            return None
        full: set[str] = set()
        if self._each is not None:
            busy = Counter(one.admitted.request.caller for one in self._running)
            full = {caller for caller, count in busy.items() if count >= self._each}
        if (task := self._waiting.take(full)) is None:
            return None
        task.started = now
        self._running.add(task)
        if not self._waiting:
            self._begun.notify_all()
        return task

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
            with contextlib.suppress(Empty):
                self._late.get(timeout=pause)
                time.sleep(_TICK)  # something was put, and may end as soon
            with self._lock:
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
        if self._waiting or self._unsaid or self._may_read:
            return _TICK
        ends = [one.ends for one in self._running if not one.answered]
        return max(0.0, min(ends) - time.monotonic()) if ends else None

    def _begin_thread(self, work: Callable[[], None], name: str) -> threading.Thread | None:
        """Have a thread of its own do this; None where the machine, or a limit of it, allows none now."""
        thread = threading.Thread(target=work, name=name, daemon=True)
        try:
            thread.start()
        except (RuntimeError, MemoryError) as error:
            if (now := time.monotonic()) >= self._say_at:
                self._say_at = now + _SAY_EVERY
                text = "%s: %s: what is for it waits"
                log.error(text, name, str(error) or "no memory")  # noqa: TRY400 - said in full
            return None
        return thread
