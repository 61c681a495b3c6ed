"""Foreign text made harmless for whoever looks: what nodes say is never passed on as it is.

A terminal acts on control characters and escapes, and bidi controls reorder what a reader sees,
in a browser too; what nobody sees makes two names of one; a pile of accents paints over other lines.
All are drawn as escapes.
"""

from __future__ import annotations

import re

__all__ = ["sanitize", "shortened"]

_CONTROLS = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)
_UNSEEN = (
    "\xad\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u2060-\u2065\u206a-\u206f\u3164"
    "\ufeff\uffa0\ufff9-\ufffb\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
# What joins letters of some scripts and chooses the form of a sign has no business behind an ASCII letter.
_JOINERS = "\u200c\u200d\ufe00-\ufe0f"
_MARKS = (
    "\u0300-\u036f\u0483-\u0489\u0591-\u05bd\u0610-\u061a\u064b-\u065f\u06d6-\u06ed\u0e34-\u0e3a"
    "\u0e47-\u0e4e\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f"
)
_UNREADABLE = re.compile(
    f"{_CONTROLS.pattern[:-1]}{_UNSEEN}]"
    f"|(?<=[\x00-\x7f{_JOINERS}])[{_JOINERS}]"
    f"|(?<=[{_MARKS}]{{4}})[{_MARKS}]"
)
_LONG = 20_000


def sanitize(text: str) -> str:
    """Draw what a terminal would act on, or a reader not see, as an escape; line ends and tabs stay."""
    text = text.replace("\r\n", "\n")
    unfit = _CONTROLS if text.isascii() else _UNREADABLE
    return unfit.sub(lambda found: _escape(ord(found[0])), text)


def _escape(code: int) -> str:
    if code > 0xFFFF:  # noqa: PLR2004 - two bytes
        return f"\\U{code:08x}"
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"  # noqa: PLR2004 - a byte


def shortened(text: str) -> str:
    """Cut what is far too long to read, and say so; programs' formats keep it whole."""
    if len(text) <= _LONG:
        return text
    return f"{text[:_LONG]}… ({len(text)} characters; --json has them all)"
