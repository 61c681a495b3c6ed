"""Foreign text made harmless for whoever looks: what nodes say is never passed on as it is.

A terminal acts on control characters and escapes, and bidi controls reorder what a reader sees,
in a browser too: all are drawn as escapes.
"""

from __future__ import annotations

import re

__all__ = ["sanitize", "shortened"]

_CONTROLS = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)
_LONG = 20_000


def sanitize(text: str) -> str:
    """Draw what a terminal would act on as an escape; line ends and tabs stay."""
    text = text.replace("\r\n", "\n")
    return _CONTROLS.sub(lambda found: _escape(ord(found[0])), text)


def _escape(code: int) -> str:
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"  # noqa: PLR2004 - a byte


def shortened(text: str) -> str:
    """Cut what is far too long to read, and say so; programs' formats keep it whole."""
    if len(text) <= _LONG:
        return text
    return f"{text[:_LONG]}… ({len(text)} characters; --json has them all)"
