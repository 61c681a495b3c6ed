"""Colours of states on a terminal: the word stays, so nothing is said by colour alone."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from typing import TextIO

__all__ = ["bold", "coloured", "painted", "plain"]

_GREEN, _RED, _YELLOW, _CYAN = 32, 31, 33, 36
_COLOURS: Final = {
    **dict.fromkeys(("ok", "accepted"), _GREEN),
    **dict.fromkeys(("failed", "denied", "interrupted", "missed", "stopped"), _RED),
    **dict.fromkeys(("silent", "expired", "cancelled", "warning", "paused"), _YELLOW),
    **dict.fromkeys(("pending", "received", "running", "queued", "waiting", "scheduled"), _CYAN),
}
_STATES = re.compile(rf"\b(?:{'|'.join(_COLOURS)})\b")
_SGR = re.compile(r"\x1b\[[0-9;]*m")


def coloured(out: TextIO) -> bool:
    """Whether a stream may be written to in colour: a terminal that has some, and nobody said no."""
    no = os.environ.get("NO_COLOR") or os.environ.get("TERM", "dumb") in ("", "dumb")
    return not no and bool(getattr(out, "isatty", bool)())  # what only keeps text has none


def painted(text: str) -> str:
    """The states in a text of ours, each in its colour."""
    return _STATES.sub(lambda found: f"\x1b[{_COLOURS[found[0]]}m{found[0]}\x1b[0m", text)


def bold(text: str) -> str:
    """A heading."""
    return f"\x1b[1m{text}\x1b[0m"


def plain(text: str) -> str:
    """A text without what `painted` and `bold` have put in; sanitized text has no other."""
    return _SGR.sub("", text)
