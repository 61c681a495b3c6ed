"""What became of the requests of late, for whoever asks: in memory, bounded.

The audit file keeps everything; this answers `seen` and the counters without reading it.
"""

from __future__ import annotations

import re
import threading
import time
from collections import Counter, OrderedDict
from typing import Any

__all__ = ["Journal", "claimed_id"]

_KEPT = 10_000
_TOLD = 8
_TOLD_FOR = 60.0
_PASSED = 100
_ID = re.compile(rb'"id":\s*"([0-9a-f]{32})"')


def claimed_id(body: bytes) -> str:
    """The request id that an unverified body claims to have, or nothing."""
    found = _ID.search(body[:65536])
    return found[1].decode() if found else ""


class Journal:
    """One node's memory of requests, by id. Refused ones are kept apart: anyone can make them."""

    def __init__(self) -> None:
        self.started = time.time()
        self.counts: Counter[str] = Counter()
        self.junk: Counter[str] = Counter()
        """How many messages were refused unanswered, by reason (`errors.Reason`)."""
        self._lock = threading.Lock()
        self._seen: OrderedDict[str, dict[str, Any]] = OrderedDict()
        self._refused: OrderedDict[str, dict[str, Any]] = OrderedDict()
        self._passed: OrderedDict[str, float] = OrderedDict()

    def note(self, requestid: str, state: str, **more: Any) -> None:
        """Note where a request stands now; the first note of it counts as its arrival."""
        now = time.time()
        with self._lock:
            entry = self._seen.get(requestid)
            if entry is None:
                entry = self._seen[requestid] = {"received": now}
                while len(self._seen) > _KEPT:
                    self._seen.popitem(last=False)
            entry.update(state=state, **more)
            if state == "running":
                entry["started"] = now
            elif state != "received":
                entry["ended"] = now

    def refuse(self, requestid: str, reason: str, detail: str) -> None:
        """Note that a message which claims this id was refused."""
        with self._lock:
            self.counts["refused"] += 1
            self.junk[reason] += 1
            if not requestid:
                return
            self._refused[requestid] = {
                "state": "refused",
                "reason": f"{reason}: {detail}" if detail else reason,
                "received": time.time(),
            }
            self._refused.move_to_end(requestid)
            while len(self._refused) > _KEPT:
                self._refused.popitem(last=False)

    def refused_lately(self) -> list[tuple[str, str]]:
        """The ids that refused messages claimed in the last minute, and why; a few, the newest first.

        Whoever sent them gets no answer, and may hear it in a registration.
        """
        since = time.time() - _TOLD_FOR
        with self._lock:
            found = list(self._refused.items())[: -_TOLD - 1 : -1]
            return [
                (requestid, entry["reason"].partition(":")[0])
                for requestid, entry in found
                if entry["received"] >= since
            ]

    def passed(self, requestid: str) -> None:
        """Note that a request was for others: its filter does not match this node."""
        with self._lock:
            self.counts["passed"] += 1
            self._passed[requestid] = time.time()
            while len(self._passed) > _PASSED:
                self._passed.popitem(last=False)

    def count(self, what: str, by: int = 1) -> None:
        """Count an event."""
        with self._lock:
            self.counts[what] += by

    def seen(self, requestid: str) -> dict[str, Any]:
        """What is known of a request: `state` is "unknown" when nothing is."""
        with self._lock:
            entry = self._seen.get(requestid) or self._refused.get(requestid)
            if entry is None and (at := self._passed.get(requestid)) is not None:
                reason = "its filter does not match this node"
                entry = {"state": "passed", "reason": reason, "received": at}
            return {"requestid": requestid, **(entry or {"state": "unknown"})}
