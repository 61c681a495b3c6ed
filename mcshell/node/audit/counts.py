"""What anybody can make happen is counted, not written line by line.

That is what arrives and fails before policy, and discovery. One line a minute for each identity, event,
caller and reason says how many there were (`count`), with the newest of them in the other keys. The
first of a kind is written at once, where that is wished. Beyond so many kinds (`MOST`, for each
identity: callers are foreign text), the rest are the kind `others`.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from mcshell.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["MOST", "OTHERS", "ArrivalCounts"]

MOST: Final = 40
OTHERS: Final = "others"

_Kind: TypeAlias = tuple[str, ...]


@dataclass(slots=True)
class _Count:
    """The newest event of a kind, how many were not written, since when, and when they will be."""

    event: Mapping[str, Any]
    number: int
    since: float
    due: float


class ArrivalCounts:
    """Counts events, from any thread, and gives `write` a line for each kind every so many seconds.

    With `every` 0 each event is a line.
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
            self._thread = threading.Thread(target=self._run, name="mcshell-audit", daemon=True)
            self._thread.start()
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
