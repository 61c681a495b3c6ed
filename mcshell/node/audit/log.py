"""The audit log: what was asked of this node and what became of it, one JSON object a line.

**A log that cannot be written does not stop the node.** An administrator whose disk is full needs
`mcshell` to clear it. The event then goes to the daemon's own log instead (standard error, so the
journal of the machine), at level ERROR, and `lost` counts it.

Redaction is the caller's: what comes here is written, and handed to the sinks that are plugged in
(plugins of the kind `audit`). Each sink has a thread and a queue of its own: one that is slow, stands
still or fails costs itself lines, never the node an answer and never the file a line.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import threading
import time
from pathlib import Path
from queue import Full, Queue
from typing import TYPE_CHECKING, Any, Final, Self

from mcshell.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mcshell.plugins import AuditSink

__all__ = ["AuditLog", "SinkThread"]

log = logging.getLogger(__name__)

_LOOK_EVERY: Final = 1.0
_LAST_LINES: Final = 2.0
"""Seconds that each sink has for what waits for it when the log is closed."""


class AuditLog:
    """One append-only file. `write` may be called from any thread, and by several processes.

    A file that was moved away (logrotate) is made anew within a second. With `max_bytes` we
    rotate it ourselves: PATH.1 is the newest of `keep` old ones; then one process owns the file.
    `sinks` are given each line too, also one that the file could not take.

    Raises:
        ConfigError: the file cannot be opened at the start.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        sinks: Mapping[str, AuditSink] | None = None,
        *,
        max_bytes: int | None = None,
        keep: int = 5,
    ) -> None:
        self.path = Path(path)
        self.lost = 0
        self._max_bytes = max_bytes
        self._keep = max(1, keep)
        self._lock = threading.Lock()
        self._look_at = 0.0
        self._second, self._stamp = -1, ""
        self._torn = False
        try:
            self._file: int | None = self._open()
        except OSError as error:
            message = f"{path}: the audit log cannot be written: {error.strerror}"
            raise ConfigError(message, key="node.audit", origin=str(path)) from error
        self._sinks = [SinkThread(name, sink) for name, sink in (sinks or {}).items()]

    def write(self, event: Mapping[str, Any], *, now: float | None = None) -> None:
        """Append one event; never raises over the disk (see above).

        Keys that readers rely on: event (accepted, refused, denied, started, finished, …),
        reason, requestid, caller, agent, action, via, statuscode, identity. `time` (ISO 8601,
        UTC) and `epoch` (seconds) are put before them.
        """
        moment = time.time() if now is None else now
        with self._lock:
            line = _line({"time": self._iso(moment), "epoch": round(moment, 6), **event})
            for sink in self._sinks:
                sink.put(line.decode("ascii").rstrip("\n"))
            try:
                self._append(line)
            except OSError as error:
                self.lost += 1
                text = line.decode("ascii").rstrip()
                log.error("%s: %s; audit event: %s", self.path, error.strerror, text)  # noqa: TRY400  the cause is in the line; a traceback for each event would fill the next disk

    def close(self) -> None:
        """Close the file, which a later `write` opens again, and end the sinks."""
        with self._lock:
            self._close()
            sinks, self._sinks = self._sinks, []
        for sink in sinks:
            sink.close(_LAST_LINES)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _append(self, line: bytes) -> None:
        self._look()
        if self._file is None:
            self._file = self._open()
        if self._max_bytes is not None:
            size = os.fstat(self._file).st_size
            if size and size + len(line) > self._max_bytes:
                self._file = self._rotate()
        if self._torn:
            line = b"\n" + line
        written = os.write(self._file, line)
        # A full disk can take half a line: the next one must not be glued to it.
        self._torn = written < len(line)
        if self._torn:
            raise OSError(0, "only part of the line was written")

    def _look(self) -> None:
        """Once a second: is the file that we write to still the one of that name?"""
        clock = time.monotonic()
        if self._file is None or clock < self._look_at:
            return
        self._look_at = clock + _LOOK_EVERY
        ours = os.fstat(self._file)
        try:
            same = os.path.samestat(ours, self.path.stat())
        except FileNotFoundError:
            same = False
        if not same:
            self._close()

    def _rotate(self) -> int:
        self._close()
        for number in range(self._keep - 1, 0, -1):
            old = self._numbered(number)
            if old.exists():
                old.replace(self._numbered(number + 1))
        self.path.replace(self._numbered(1))
        return self._open()

    def _numbered(self, number: int) -> Path:
        return self.path.with_name(f"{self.path.name}.{number}")

    def _open(self) -> int:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        return os.open(self.path, flags, 0o600)

    def _close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None
            self._torn = False

    def _iso(self, moment: float) -> str:
        second = int(moment)
        if second != self._second:
            self._second = second
            self._stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        return f"{self._stamp}.{int((moment - second) * 1000):03d}Z"


_ENCODER: Final = json.JSONEncoder(
    default=repr, allow_nan=False, separators=(",", ":"), check_circular=False
)


def _line(document: Mapping[str, Any]) -> bytes:
    try:
        text = _ENCODER.encode(document)
    except (ValueError, TypeError, RecursionError):
        # NaN, a key that is a tuple, a list in itself: shown as Python does, never left out.
        shown = {
            str(key): value if isinstance(value, str | int) else repr(value)
            for key, value in document.items()
        }
        text = _ENCODER.encode(shown)
    return text.encode("ascii") + b"\n"


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
