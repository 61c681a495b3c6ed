r"""Regexes between Ruby and what Python and Go read alike.

Spelling: `\h`, `(?<name>…)`, `[[:alpha:]]`, flags. What is left of a validation means the same, `\d
\w \s` too, but for one thing that is meant: Ruby's `^` and `$` hold at every line, so `^\w+$` lets a
second line through; ours are the text's own ends (`mcshell.ddl.validators`). In a filter of MCollective's they
hold at every line, and `\d \w \s` are ASCII's, as there (`filter_from_ruby`).
"""

from __future__ import annotations

import re
from typing import Final

__all__ = ["filter_from_ruby", "from_ruby", "to_ruby"]

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
_ENDS = re.compile(r"\\.", re.DOTALL)
# What is written alike and means something else there, and the flag of ours for that meaning.
_MEANT: Final = {"a": (r"\d", r"\D", r"\w", r"\W", r"\s", r"\S"), "m": ("^", "$")}
_PLAIN_WORD = re.compile(r"[a-z][a-z0-9_]*")


def from_ruby(source: str, flags: str = "") -> str:
    """Respell a regex of Ruby's; a plain word goes into brackets, for else it names a validator."""
    made = _respelled(source)
    letters = "".join(ours for flag, ours in _FLAGS.items() if flag in flags)
    made = f"(?{letters}){made}" if letters else made
    return f"({made})" if _PLAIN_WORD.fullmatch(made) else made


def filter_from_ruby(source: str, flags: str = "") -> str:
    r"""Respell a regex that MCollective's network brings; `flags` of `imx`.

    One thing cannot be said: Ruby's `^` does not hold after a newline that ends the text.
    """
    letters = "".join(ours for flag, ours in _FLAGS.items() if flag in flags)
    made = _ENDS.sub(
        lambda found: r"(?-m:$)" if found[0] == r"\Z" else found[0], _respelled(source)
    )
    made = f"(?{letters}:{made})" if letters else made
    needed = "".join(flag for flag, marks in _MEANT.items() if any(mark in made for mark in marks))
    return f"(?{needed}){made}" if needed else made


def _respelled(source: str) -> str:
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

    return _TOKEN.sub(respelled, source)


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
