"""Ctrl-C means stop, and comes where we wait: never in the middle of a frame, a commit or a ledger.

While a `call` of a client is under way in the main thread, SIGINT is noted. It is raised where the
call waits next, or at its end; a second one at once. Other threads get no signals: their calls end
at their next wait too, and they begin no others until the main thread asks again, so that a thread
pool stops with the program that waits for it.

All this is so where Python's own handler of SIGINT was in force, or an event loop's that could do
nothing while we hold it up. A program with another handler of its own keeps it, and
KeyboardInterrupt, if that raises it, comes wherever it comes.

A command line takes SIGTERM and SIGHUP as Ctrl-C (`heed_ends`): `timeout 60 mcshell rpc …` shows what
had arrived, and a terminal is left as it was.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
import weakref
from contextlib import contextmanager, suppress
from queue import Empty
from typing import TYPE_CHECKING, Final, TypeVar

from mcshell import forking
from mcshell.errors import Stopped

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from queue import SimpleQueue
    from types import FrameType, TracebackType
    from typing import Any

__all__ = [
    "InterruptibleCondition",
    "call",
    "check",
    "ended_by",
    "heed",
    "heed_ends",
    "pause",
    "release",
    "resumed",
    "sleep",
    "take",
    "wait",
]

_SLICE: Final = 0.1
"""Seconds between two looks of a thread that gets no signals."""
_LOOK: Final = 1.0
"""Seconds between two of the main thread: while it has a signal to handle, and after SIGSTOP, the
system gives the next to any thread, and that ends no wait."""
_SAME: Final = 1.0
"""Seconds within which a second SIGTERM or SIGHUP is the first: `timeout`, and a terminal that closes
with its shell, tell us both by name and as one of a group."""
_OURS: Final = "mcshell-"
_EXIT: Final = 130

Item = TypeVar("Item")


class _MainThread:
    """What the handler and the main thread know of each other."""

    calls = 0
    waits = False
    noted = False
    ended_by = 0
    ended_at = 0.0


class _OtherThread(threading.local):
    """How many calls are under way in this thread, one inside the other."""

    calls = 0


_main = _MainThread
_other = _OtherThread()
_halted: weakref.WeakSet[threading.Thread] = weakref.WeakSet()
"""The threads that were there at the last Ctrl-C; replaced as a whole."""


def heed() -> None:
    """Take Ctrl-C from now on, if this is the main thread and nobody else does."""
    if not _is_main() or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        return
    signal.signal(signal.SIGINT, _interrupted)
    if sys.excepthook is sys.__excepthook__:
        sys.excepthook = _uncaught


def heed_ends() -> None:
    """Take SIGTERM and SIGHUP as Ctrl-C from now on, where they would kill us (under `nohup` one does not)."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if _is_main() and signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _told_to_end)


def ended_by() -> int:
    """The number of the signal that told this process to end; 0 when none did."""
    return _main.ended_by


def _told_to_end(number: int, frame: FrameType | None) -> None:
    """Handle SIGTERM and SIGHUP, in the main thread."""
    now = time.monotonic()
    again = _main.ended_by and now < _main.ended_at + _SAME
    _main.ended_by, _main.ended_at = number, now
    if not again:
        _interrupted(number, frame)


def _take_over() -> Callable[[int, FrameType | None], Any] | None:
    """For one call, take Ctrl-C from an event loop that waits for its end; gives back its handler."""
    handler = signal.getsignal(signal.SIGINT)
    running = getattr(sys.modules.get("asyncio"), "_get_running_loop", lambda: None)()
    if running is None or handler is _interrupted or not callable(handler):
        return None
    signal.signal(signal.SIGINT, _interrupted)
    return handler


def release() -> None:
    """Let other threads ask again: the program has gone on to something else."""
    global _halted  # noqa: PLW0603 - the handler reads it at any moment
    if _halted:
        _halted = weakref.WeakSet()


def _interrupted(number: int, frame: FrameType | None) -> None:
    """Handle SIGINT, in the main thread."""
    global _halted  # noqa: PLW0603 - as above
    others = threading.enumerate()
    main = threading.main_thread()
    _halted = weakref.WeakSet(
        one for one in others if one is not main and not one.name.startswith(_OURS)
    )
    if _main.calls and not _main.waits and not _main.noted:
        _main.noted = True
        return
    _main.noted = False
    signal.default_int_handler(number, frame)


def _uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Show what ends a program; one that was stopped ends with 130, as a command line does."""
    sys.__excepthook__(kind, error, trace)
    if isinstance(error, Stopped):
        raise SystemExit(_EXIT)


def _is_main() -> bool:
    return threading.current_thread() is threading.main_thread()


@contextmanager
def call(*, asks: bool = True) -> Iterator[None]:
    """What a client does in one go.

    `asks`: it is something new, so that threads that were halted may go on, too; else it is an end,
    which a thread that was halted comes to all the same.

    Raises:
        Stopped: Ctrl-C came meanwhile, or has stopped the program that this thread works for.
    """
    if not _is_main():
        if asks:
            check()
        _other.calls += asks
        try:
            yield
        finally:
            _other.calls -= asks
        return
    heed()
    former = None if _main.calls else _take_over()
    if asks:
        release()
    waits, _main.waits = _main.waits, False  # a callback may call
    _main.calls += 1
    try:
        yield
        if _main.calls == 1:
            check()
    except Stopped:
        raise
    except KeyboardInterrupt:
        raise Stopped from None
    finally:
        _main.waits = waits
        _main.calls -= 1
        if not _main.calls:
            _main.noted = False
        if former is not None:
            signal.signal(signal.SIGINT, former)


def check() -> None:
    """Raise what Ctrl-C has left to be raised: here nothing is half done."""
    if _is_main():
        if _main.noted:
            _main.noted = False
            raise KeyboardInterrupt
    elif threading.current_thread() in _halted:
        raise Stopped


@contextmanager
def pause() -> Iterator[None]:
    """Where Ctrl-C may come: what is inside waits, and leaves nothing half done."""
    if not _is_main():
        check()
        yield
        return
    before = _main.waits
    try:
        _main.waits = True
        check()
        yield
    finally:
        _main.waits = before


@contextmanager
def resumed(again: Callable[[], object]) -> Iterator[None]:
    """Call `again` whenever the process goes on after Ctrl-Z and `fg`.

    In a thread: the signal comes to any, and ends no read that the main thread is in.
    """
    if not _is_main():  # signals are not for it
        yield
        return
    heard, told = os.pipe()
    os.set_blocking(told, False)
    handler = signal.signal(signal.SIGCONT, lambda *_: None)
    former = signal.set_wakeup_fd(told, warn_on_full_buffer=False)

    def listen() -> None:
        while numbers := os.read(heard, 64):
            if former >= 0:
                os.write(former, numbers)
            if signal.SIGCONT in numbers:
                again()

    listener = threading.Thread(target=listen, name=f"{_OURS}resumed", daemon=True)
    listener.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(former)
        signal.signal(signal.SIGCONT, handler)
        os.close(told)
        listener.join()
        os.close(heard)


def _part() -> float:
    """Seconds that this thread waits at most until it looks whether it was stopped."""
    if _is_main():
        return _LOOK
    return _SLICE if _other.calls else threading.TIMEOUT_MAX


def _parts(timeout: float) -> Iterator[float]:
    """The parts (seconds) of a wait; between two of them this thread looks."""
    end = time.monotonic() + timeout
    while True:
        left, part = end - time.monotonic(), _part()
        yield max(0.0, min(left, part))
        if left <= part:
            return


def wait(event: threading.Event, timeout: float) -> bool:
    """Wait (seconds) for an event; whether it came."""
    for part in _parts(timeout):
        with pause():
            if event.wait(part):
                return True
    return False


def take(queue: SimpleQueue[Item], timeout: float | None = None) -> Item:
    """Wait (seconds; None: however long it takes) for what comes next in a queue.

    Raises:
        Empty: nothing came.
    """
    for part in _parts(float("inf") if timeout is None else timeout):
        with pause(), suppress(Empty):
            return queue.get(timeout=part)
    raise Empty


def sleep(seconds: float) -> None:
    """Rest for some part of a second."""
    with pause():
        time.sleep(seconds)


class InterruptibleCondition(threading.Condition):
    """A condition of this process, at which Ctrl-C ends a wait; a wait may end early all the same.

    In a child of fork(2), where whoever held its lock is gone, it raises ForkedClient.
    """

    def __init__(self) -> None:
        super().__init__()
        self._process = forking.generation()

    def __enter__(self) -> bool:
        forking.check(self._process)
        return super().__enter__()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait (seconds) until somebody notifies."""
        with pause():
            return super().wait(_part() if timeout is None else min(timeout, _part()))
