"""What the audit file still tells of a request that the memory of the daemon has lost.

For `explain` after a restart: the tail of the file is read, and only when somebody asks for an id
that nothing else knows.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["AuditHistory", "recall"]

TAIL: Final = 4 * 1024 * 1024
"""How much of the file's end is looked at, bytes."""
_PAUSE: Final = 0.2
_AT_ONCE: Final = 20


class AuditHistory:
    """Looks into one audit file, a few times a second at most; beyond that it finds nothing.

    Some may come at once, as who takes up a session asks of all that it left open.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._next = 0.0

    def seen(self, identity: str, requestid: str) -> dict[str, Any] | None:
        """What the file tells of a request to this node; None when it tells nothing."""
        now = time.monotonic()
        turn = max(self._next, now - _AT_ONCE * _PAUSE)
        if turn > now:
            return None
        self._next = turn + _PAUSE
        try:
            with self._path.open("rb") as file:
                file.seek(max(0, self._path.stat().st_size - TAIL))
                return recall(file.read(TAIL), identity, requestid)
        except OSError:
            return None


def recall(text: bytes, identity: str, requestid: str) -> dict[str, Any] | None:
    """Read the audit lines of one request into what `seen` answers; None without any."""
    mark = requestid.encode()
    known: dict[str, Any] = {}
    for line in text.split(b"\n"):
        if mark not in line:
            continue
        try:
            event = json.loads(line)
        except ValueError:
            continue  # the first may be cut, the last half written
        if event.get("requestid") == requestid and event.get("identity") == identity:
            _add(known, event)
    return {"requestid": requestid, **known} if known else None


def _add(known: dict[str, Any], event: dict[str, Any]) -> None:
    """Let one event tell more; what came first of a claimed id counts over a later refusal."""
    name, at = event.get("event"), event.get("epoch")
    if name == "refused" and event.get("statuscode") is None:
        if not known:
            detail = event.get("detail")
            reason = str(event.get("reason"))
            reason = f"{reason}: {detail}" if detail else reason
            known.update(state="refused", reason=reason, received=at)
        return
    known.setdefault("received", at)
    if name in ("denied", "refused"):
        state = "denied" if name == "denied" else "failed"
        known.update(state=state, ended=at, reason=event.get("reason"))
        known["statuscode"] = event.get("statuscode")
    elif name == "accepted":
        known.update(state="accepted", reason="accepted before the daemon started again")
    elif name in ("finished", "not_started"):
        known.update(state=event.get("state"), ended=at, reason=event.get("reason"))
        known["statuscode"] = event.get("statuscode")
