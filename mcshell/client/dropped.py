"""Clients that nobody refers to any more are closed, by a thread of their own.

The collector finds them in whatever thread it happens to run, in the middle of anything: all that is
done there is to hand over what is to be closed.
"""

from __future__ import annotations

import logging
import threading
import weakref
from queue import SimpleQueue
from typing import TYPE_CHECKING, Protocol

from mcshell import forking

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["closing"]

log = logging.getLogger(__name__)


class Closeable(Protocol):
    """What is to be closed."""

    def close(self) -> None:
        """Close it; a second time changes nothing."""


class _Closer:
    """The thread, from the first client of a process on."""

    def __init__(self) -> None:
        self.process = forking.generation()
        self.waiting: SimpleQueue[Closeable] = SimpleQueue()  # its put may be called anywhere
        threading.Thread(target=self._run, name="mcshell-closer", daemon=True).start()

    def _run(self) -> None:
        while True:
            try:
                self.waiting.get().close()
            except Exception:  # the next one is to be closed all the same
                log.exception("a client that nobody refers to could not be closed")


_closers: list[_Closer] = []
_lock = threading.Lock()


def _in_child() -> None:
    global _lock  # noqa: PLW0603 - of the whole process
    _lock = threading.Lock()
    _closers.clear()


forking.in_child(_in_child)


def closing(owner: object, parts: Closeable) -> Callable[[], object]:
    """Have `parts` closed when `owner` is gone; `parts` must not refer to it.

    What is returned takes that back.
    """
    with _lock:
        if not _closers:
            _closers.append(_Closer())
    closer = _closers[0]
    process = forking.generation()

    def hand_over() -> None:
        if process == forking.generation():  # a child has nothing of it to close
            closer.waiting.put(parts)

    found = weakref.finalize(owner, hand_over)
    found.atexit = False  # the end of a process closes everything
    return found.detach
