"""The audit log: what was asked of this node and what became of it, one JSON object a line.

**A log that cannot be written does not stop the node.** An administrator whose disk is full needs
`mcshell` to clear it. What may change the machine is refused then, unless its line finds room in the
reserve; all else is done. A line that is lost goes to the daemon's own log instead (standard error,
so the journal of the machine), at level ERROR; `lost` counts it, and so does the chain (`file`).

Redaction is the caller's: what comes here is written, and handed to the sinks that are plugged in
(plugins of the kind `audit`).
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self, TypeAlias

from mcshell.errors import ConfigError
from mcshell.node.audit.chain import encode
from mcshell.node.audit.file import AuditFile
from mcshell.node.audit.sinks import SinkThread
from mcshell.storage import storage_flaws
from mcshell.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mcshell.node.audit.chain import Head
    from mcshell.plugins import AuditSink

__all__ = ["MOST", "OTHERS", "ArrivalCounts", "AuditLog", "AuditStanding"]

log = logging.getLogger(__name__)

_HEAD_FOR: Final = 1.0
"""Seconds for which a head is told again: each costs a sync, and an emulator's nodes all ask."""
_LAST_LINES: Final = 2.0
"""Seconds that each sink has for what waits for it when the log is closed."""
MOST: Final = 40
OTHERS: Final = "others"

_Kind: TypeAlias = tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditStanding:
    """How many lines the chain has, how many were lost since the start, whether a line can be written."""

    lines: int
    lost: int
    writable: bool


class AuditLog:
    """One append-only file, which this process alone writes; any thread may.

    A file that was moved away (logrotate) is made anew within a second. With `max_bytes` we
    rotate it ourselves: PATH.1 is the newest of `keep` old ones. `sinks` are given each line too,
    also one that the file could not take. `every` is how often counts are written, in seconds.

    Raises:
        ConfigError: the file cannot be opened at the start, or another process writes it.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        sinks: Mapping[str, AuditSink] | None = None,
        *,
        max_bytes: int | None = None,
        keep: int = 5,
        every: float = 60.0,
    ) -> None:
        self.path = Path(path)
        self.lost = 0
        self._lock = threading.Lock()
        self._heads = threading.Lock()
        self._head: Head | None = None
        self._head_until = 0.0
        try:
            self._file = AuditFile(self.path, max_bytes, keep)
        except OSError as error:
            message = f"{path}: the audit log cannot be written: {error.strerror or error}"
            raise ConfigError(message, key="node.audit", origin=str(path)) from error
        self._sinks = [SinkThread(name, sink) for name, sink in (sinks or {}).items()]
        self._counts = ArrivalCounts(self.write, every)

    def write(
        self, event: Mapping[str, Any], *, vital: bool = False, now: float | None = None
    ) -> str | None:
        """Append one event; returns why it could not be written, None when it was.

        Never raises over the disk (see above). A `vital` one may go to the reserve.

        Keys that readers rely on: event (accepted, refused, denied, started, finished, …),
        reason, requestid, caller, agent, action, via, statuscode, identity. `time` (ISO 8601,
        UTC) and `epoch` (seconds) are put before them, `n` and `prev` behind (see `chain`).
        """
        moment = time.time() if now is None else now
        why = None
        with self._lock:
            try:
                text = self._file.append(event, moment, vital=vital)
            except OSError as error:
                self.lost += 1
                why = error.strerror or str(error)
                text = encode({"epoch": round(moment, 6), **event})
                shown = text.decode("ascii")
                log.error("%s: %s; audit event: %s", self.path, why, shown)  # noqa: TRY400  the cause is in the line; a traceback for each event would fill the next disk
            for line in text.decode("ascii").splitlines() if self._sinks else ():
                for sink in self._sinks:
                    sink.put(line)
        return why

    def count(self, event: Mapping[str, Any], *, at_once: bool = True) -> None:
        """Count one of many events of a kind (see `ArrivalCounts`)."""
        self._counts.count(event, at_once=at_once)

    @property
    def standing(self) -> AuditStanding:
        """How the log stands now; nothing is written for that."""
        with self._lock:
            head, behind, lost = self._file.head, self._file.behind, self.lost
        return AuditStanding(
            lines=0 if head is None else head.count,
            lost=lost,
            writable=not behind and not storage_flaws(self.path.parent, new_files=False),
        )

    def head(self) -> Head | None:
        """The last line that is on the disk for good, or of a second ago; None when none is."""
        with self._heads:
            if time.monotonic() < self._head_until:
                return self._head
            with self._lock:
                head = self._file.head
                if head != self._head:
                    try:
                        file = self._file.to_sync()
                    except OSError:
                        return None
            if head != self._head:
                if not _synced(file):
                    return None
                self._head = head
            self._head_until = time.monotonic() + _HEAD_FOR
            return head

    def close(self) -> None:
        """Write what is counted, close the file, which a later `write` opens again, end the sinks."""
        self._counts.close()
        with self._lock:
            self._file.close(time.time())
            sinks, self._sinks = self._sinks, []
        for sink in sinks:
            sink.close(_LAST_LINES)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@dataclass(slots=True)
class _Count:
    """The newest event of a kind, how many were not written, since when, and when they will be."""

    event: Mapping[str, Any]
    number: int
    since: float
    due: float


class ArrivalCounts:
    """What anybody can make happen is counted, from any thread, not written line by line.

    That is what arrives and fails before policy, and discovery. One line every so many seconds for each
    identity, event, caller and reason says how many there were (`count`), with the newest of them in
    the other keys; `write` is given it. The first of a kind is written at once, where that is wished.
    Beyond so many kinds (`MOST`, for each identity: callers are foreign text), the rest are the kind
    `others`. With `every` 0 each event is a line.
    """

    def __init__(self, write: Callable[[Mapping[str, Any]], object], every: float) -> None:
        self._write = write
        self._every = every
        self._counts: dict[_Kind, _Count] = {}
        self._kinds: Counter[str] = Counter()
        """How many there are, by identity."""
        self._lock = threading.Lock()
        """Guards all of it."""
        self._changed = threading.Condition(self._lock)
        self._thread: threading.Thread | None = None
        self._closed = False

    def count(self, event: Mapping[str, Any], *, at_once: bool) -> None:
        """Count an event; the first of its kind is written `at_once`, or with the others."""
        with self._lock:
            if self._every <= 0 or self._closed:
                self._write({**event, "count": 1})
                return
            identity = str(event.get("identity"))
            kind = self._kind(identity, event)
            known = self._counts.get(kind)
            if known is None:
                if kind[1] == OTHERS:
                    event = {"event": OTHERS, "identity": identity}
                known = _Count(event, 0, time.time(), self._next())
                self._counts[kind] = known
                self._kinds[identity] += 1
                self._wake()
                if at_once:
                    self._write({**event, "count": 1})
                    return
            if not known.number:
                known.since = time.time()
            known.number += 1
            if kind[1] != OTHERS:
                known.event = event

    def close(self) -> None:
        """Write what is counted; later events are lines."""
        with self._lock:
            self._closed = True
            self._write_due(float("inf"))
            self._changed.notify()

    def _next(self) -> float:
        """When a line of a kind is due next: many at once, for an emulator has thousands of kinds."""
        tick = self._every / 60
        return (time.monotonic() + self._every) // tick * tick

    def _kind(self, identity: str, event: Mapping[str, Any]) -> _Kind:
        said: Callable[[str], Any] = event.get
        about = said("event"), said("caller"), said("reason"), said("action"), said("via")
        kind = (identity, *about)
        if kind not in self._counts and self._kinds[identity] >= MOST:
            return (identity, OTHERS)
        return kind

    def _wake(self) -> None:
        if self._thread is None:
            thread = threading.Thread(target=self._run, name="mcshell-audit", daemon=True)
            with suppress(RuntimeError, MemoryError):  # there may be one when the next is counted
                thread.start()
                self._thread = thread
        elif len(self._counts) == 1:
            self._changed.notify()

    def _run(self) -> None:
        with self._lock:
            while not self._closed:
                soonest = min((one.due for one in self._counts.values()), default=None)
                self._changed.wait(
                    None if soonest is None else max(0.0, soonest - time.monotonic())
                )
                self._write_due(time.monotonic())

    def _write_due(self, now: float) -> None:
        """Write the counts whose time has come; forget the kinds of which there were no more."""
        for kind, known in list(self._counts.items()):
            if known.due > now:
                continue
            if known.number:
                more = {"since": round(known.since, 6)} if known.number > 1 else {}
                self._write({**known.event, "count": known.number, **more})
                known.number, known.due = 0, self._next()
            else:
                del self._counts[kind]
                self._kinds[kind[0]] -= 1


def _synced(file: int | None) -> bool:
    """Sync a file and close it; whether what it holds is on the disk."""
    if file is None:
        return True
    try:
        os.fdatasync(file)
    except OSError as error:
        log.error("the audit log cannot be synced: %s", error.strerror)  # noqa: TRY400  said in full
        return False
    finally:
        os.close(file)
    return True
