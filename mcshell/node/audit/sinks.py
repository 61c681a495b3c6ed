"""Audit sinks, plugins that take the lines elsewhere: each with a thread and a queue of its own.

One that is slow, stands still or fails costs itself lines, never the node an answer and never the
file a line.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from queue import Full, Queue
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from mcshell.plugins import AuditSink

__all__ = ["SinkThread"]

log = logging.getLogger(__name__)

_ROOM: Final = 10_000
"""Lines that wait for a sink, at most."""
_SAY_EVERY: Final = 60.0
"""Seconds between two log lines about what one sink has lost."""


class SinkThread:
    """One sink at work. `lost` counts the lines that it raised at, or that found no room."""

    def __init__(self, name: str, sink: AuditSink, room: int = _ROOM) -> None:
        self.name = name
        self.lost = 0
        self._sink = sink
        self._lines: Queue[str | None] = Queue(room)
        self._lock = threading.Lock()
        """Guards what was lost."""
        self._say_at = float("-inf")
        self._thread = threading.Thread(target=self._run, name=f"mcshell-audit-{name}", daemon=True)
        self._thread.start()

    def put(self, line: str) -> None:
        """Hand it a line, without waiting."""
        try:
            self._lines.put_nowait(line)
        except Full:
            self._lose(f"leaves {self._lines.maxsize} lines waiting")

    def close(self, seconds: float) -> None:
        """Let it take what waits for it, for so long at most, and end it."""
        until = time.monotonic() + seconds
        with contextlib.suppress(Full):
            self._lines.put(None, timeout=seconds)
        self._thread.join(max(0.0, until - time.monotonic()))
        left = self._lines.qsize() if self._thread.is_alive() else 0
        if left or self.lost:
            log.error("the audit sink %s has lost %d lines", self.name, self.lost + left)

    def _run(self) -> None:
        while (line := self._lines.get()) is not None:
            try:
                self._sink(line)
            except Exception as error:  # noqa: BLE001 - another's code may raise anything
                self._lose(f"fails ({type(error).__name__}: {error})")

    def _lose(self, why: str) -> None:
        with self._lock:
            self.lost += 1
            now = time.monotonic()
            if now < self._say_at:
                return
            self._say_at = now + _SAY_EVERY
        log.error("the audit sink %s %s; lines lost so far: %d", self.name, why, self.lost)
