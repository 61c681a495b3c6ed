"""A service's standard error: it is written where somebody takes it, and holds up nobody who logs.

A terminal under Ctrl-S, a log driver that is stuck, a pipe whose reader sleeps: each would stop the
thread that logs, and all threads that log after it.
"""

from __future__ import annotations

import io
import os
import select
import sys
import time
from typing import TYPE_CHECKING, Final, TextIO

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer as Buffer

__all__ = ["LogStream", "log_to_standard_error"]

PATIENCE: Final = 1.0
"""Seconds that a line waits for a reader that takes nothing."""

_AGAIN: Final = 60.0  # seconds until a line waits anew
_PART: Final = select.PIPE_BUF  # what is ready for writing takes so much


class LogStream(io.FileIO):
    """A file descriptor that takes what it can; `lost` counts the bytes that nobody took."""

    def __init__(self, descriptor: int) -> None:
        super().__init__(descriptor, "w")
        self.lost = 0
        self.taking = True
        self._asked = select.poll()
        self._asked.register(descriptor, select.POLLOUT)
        self._impatient_until = 0.0
        self._within_line = False

    def write(self, data: Buffer, /) -> int:
        """Write a part of it, or count it as lost."""
        view = memoryview(data).cast("B")
        torn = b"\n" if self._within_line and not self.taking else b""
        try:
            written = super().write(torn + view[: _PART - 1]) if self._ready() else None
        except OSError:
            written = None
        if written is None:
            self.taking = False
            self.lost += len(view)
            return len(view)
        taken = max(0, written - len(torn))
        self.taking, self._within_line = True, view[:taken].tobytes()[-1:] != b"\n"
        return taken

    def _ready(self) -> bool:
        """Whether a part can be written now, or soon, unless it was waited for in vain of late."""
        now = time.monotonic()
        patience = 0.0 if now < self._impatient_until else PATIENCE
        if self._asked.poll(patience * 1000):
            return True
        if patience:
            self._impatient_until = now + _AGAIN
        return False


def log_to_standard_error() -> tuple[TextIO, LogStream | None]:
    """Have `sys.stderr` hold up nobody from here on: the stream, and what counts its losses.

    It stays as it is, and counts none, where somebody has put another in its place.
    """
    current = sys.stderr
    if type(current) is not io.TextIOWrapper:
        return current, None
    current.flush()
    raw = LogStream(_own(current.fileno()))
    made = io.TextIOWrapper(
        io.BufferedWriter(raw), current.encoding, current.errors, line_buffering=True
    )
    sys.stderr = made
    return made, raw


def _own(descriptor: int) -> int:
    """The terminal opened anew, so that a write takes what has room, and others may still wait."""
    try:
        flags = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
        return os.open(os.ttyname(descriptor), flags)
    except OSError:  # it is none, or may not be opened by us
        return os.dup(descriptor)  # the other is closed when its stream is gone
