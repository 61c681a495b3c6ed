r"""A validation's regex between Ruby and what Python and Go read alike.

Only spelling: `\h`, `(?<name>…)`, `[[:alpha:]]`, flags. What is left means the same, but for one
thing that is meant: Ruby's `^` and `$` hold at every line, so `^\w+$` lets a second line through;
ours are the text's own ends (`mcshell.ddl.validators`).
"""

from __future__ import annotations

import re
from typing import Final

__all__ = ["from_ruby", "to_ruby"]

_POSIX: Final = {
    "alpha": "a-zA-Z",
    "digit": "0-9",
    "alnum": "a-zA-Z0-9",
    "upper": "A-Z",
    "lower": "a-z",
    "space": r"\s",
    "blank": r" \t",
    "xdigit": "0-9a-fA-F",
    "word": r"\w",
    "punct": r"!-/:-@\[-`{-~",
    "cntrl": r"\x00-\x1f\x7f",
    "print": " -~",
    "graph": "!-~",
}
_TOKEN = re.compile(
    r"\[:(\^?)([a-z]+):\]|\\(.)|\(\?<(?![=!])|(\[\^?\]?)|(\])|\(\?([imx]*)(-[imx]+)?([:)])",
    re.DOTALL,
)
_OURS = re.compile(r"\\.|\(\?P<|\(\?([aimsx]+)([:)])", re.DOTALL)
_FLAGS: Final = {"i": "i", "x": "x", "m": "s"}
_PLAIN_WORD = re.compile(r"[a-z][a-z0-9_]*")


def from_ruby(source: str, flags: str = "") -> str:
    """Respell a regex of Ruby's; a plain word goes into brackets, for else it names a validator."""
    inside = False

    def respelled(found: re.Match[str]) -> str:
        nonlocal inside
        if found[2]:
            return _POSIX[found[2]] if inside and not found[1] and found[2] in _POSIX else found[0]
        if found[3] in ("h", "H"):
            hexadecimal = "0-9a-fA-F"
            if inside:
                return hexadecimal if found[3] == "h" else found[0]
            return f"[{hexadecimal}]" if found[3] == "h" else f"[^{hexadecimal}]"
        if found[4]:
            inside = True
        elif found[5]:
            inside = False
        elif found[0] == "(?<" and not inside:
            return "(?P<"
        elif found[8] and not inside:
            return found[0].replace("m", "s")
        return found[0]

    made = _TOKEN.sub(respelled, source)
    letters = "".join(ours for flag, ours in _FLAGS.items() if flag in flags)
    made = f"(?{letters}){made}" if letters else made
    return f"({made})" if _PLAIN_WORD.fullmatch(made) else made


def to_ruby(pattern: str) -> str:
    """Respell a regex for Ruby."""

    def respelled(found: re.Match[str]) -> str:
        if found[0] == "(?P<":
            return "(?<"
        if not found[2]:
            return found[0]
        # Its m is Ruby's normal state; a is what MCollective's texts are anyway.
        letters = found[1].replace("m", "").replace("a", "").replace("s", "m")
        return f"(?{letters}{found[2]}" if letters or found[2] == ":" else ""

    return _OURS.sub(respelled, pattern)
