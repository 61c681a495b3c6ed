"""What a plain scalar of YAML is to Ruby: a port of Psych's ScalarScanner (Ruby 3.1).

Line by line what it does, its quirks (octal, base 60, commas in numbers) included, since both ends
must read the same. Where Psych makes a Time or a Date, MCollective's safe_load raises: so do we.
"""

from __future__ import annotations

import re
from typing import Any, Final

from mcshell.wire.mcollective.values import MAX_INTEGER, RubySymbol

__all__ = ["regexp_parts", "scan"]

_TEXT = re.compile(r"^[^0-9.:-]?(?:[^\W\d_]|[_ \t\r\n\f\v!@#$%^&*(){}<>|/\\~;=])", re.MULTILINE)
_SHORT_TEXT = re.compile(r"^[^ytonf~]", re.MULTILINE | re.IGNORECASE)
_WORDS: Final = (
    (re.compile(r"^null$", re.MULTILINE | re.IGNORECASE), None),
    (re.compile(r"^(?:yes|true|on)$", re.MULTILINE | re.IGNORECASE), True),
    (re.compile(r"^(?:no|false|off)$", re.MULTILINE | re.IGNORECASE), False),
)
_SHORT = 5
_TIME = re.compile(
    r"-?[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}(?:[Tt]|\s+)[0-9]{1,2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]*)?"
    r"(?:\s*(?:Z|[-+][0-9]{1,2}:?(?:[0-9]{2})?))?"
)
_DATE = re.compile(r"[0-9]{4}-(?:1[012]|0[0-9]|[0-9])-(?:[12][0-9]|3[01]|0[0-9]|[0-9])")
_SPECIAL: Final = {
    **dict.fromkeys((".inf", "+.inf"), float("inf")),
    "-.inf": float("-inf"),
    ".nan": float("nan"),
}
_QUOTED_SYMBOL = re.compile(r""":(["'])(.*)\1""")
_BASE_60 = re.compile(r"[-+]?[0-9][0-9_]*(?::[0-5]?[0-9]){1,2}")
_BASE_60_FLOAT = re.compile(r"([-+]?[0-9][0-9_]*(?::[0-5]?[0-9]){1,2})(\.[0-9_]*)")
_FLOAT = re.compile(r"[-+]?(?:[0-9][0-9_,]*)?\.[0-9]*(?:[eE][-+][0-9]+)?")
_INTEGER = re.compile(
    r"([-+]?)(?:0b([01_,]+)|(0[0-7_,]+)|(0|[1-9](?:[0-9]|,[0-9]|_[0-9])*)|0x([0-9a-fA-F_,]+))"
)
_BASES: Final = ((2, 2), (3, 8), (4, 10), (5, 16))
_DIGITS = 9000
_REGEXP = re.compile(r"/(.*)/([mixn]*)", re.DOTALL)
_OPTIONS: Final = {"i": 1, "x": 2, "m": 4}


def scan(text: str) -> Any:
    """Give a plain scalar its type; ValueError for a date, a time or a number too long."""
    if not text:
        return None
    if _TEXT.search(text) or "\n" in text:
        return _word(text)
    if _TIME.fullmatch(text):
        raise ValueError(f"the time {text}: not plain data,")
    if _DATE.fullmatch(text):
        raise ValueError(f"the date {text}: not plain data,")
    if (special := _SPECIAL.get(text.lower())) is not None:
        return special
    if text.startswith(":") and len(text) > 1:
        return _symbol(text)
    return _number(text)


def regexp_parts(text: str) -> tuple[str, int]:
    """Take `/source/options` apart; ValueError when it is none."""
    found = _REGEXP.fullmatch(text)
    if found is None:
        raise ValueError(f"a Regexp written as {text[:40]!r}")
    return found[1], sum(_OPTIONS.get(option, 0) for option in set(found[2]))


def _word(text: str) -> Any:
    if len(text) > _SHORT or _SHORT_TEXT.search(text):
        return text
    if text == "~":
        return None
    for pattern, value in _WORDS:
        if pattern.search(text):
            return value
    return text


def _symbol(text: str) -> RubySymbol:
    if found := _QUOTED_SYMBOL.match(text):
        return RubySymbol(found[2].removeprefix(":"))
    return RubySymbol(text[1:])


def _number(text: str) -> Any:
    if _BASE_60.fullmatch(text):
        return _base_60(text)
    if _BASE_60_FLOAT.fullmatch(text):
        parts = [float(part) for part in re.sub("_", "", text).split(":")]
        return sum(part * 60 ** abs(index - 2) for index, part in enumerate(parts))
    if _FLOAT.fullmatch(text):
        if text.lstrip("+-") == ".":
            return text
        return float(re.sub(r"\.([Ee]|$)", r"\1", re.sub("[,_]", "", text)))
    if found := _INTEGER.fullmatch(text):
        return _integer(found)
    return text


def _base_60(text: str) -> int:
    parts = re.sub("_", "", text).split(":")
    if len(parts[0]) > _DIGITS // 4:
        raise ValueError(f"an Integer of more than {MAX_INTEGER} bits")
    return sum(int(part) * 60 ** abs(index - 2) for index, part in enumerate(parts))


def _integer(found: re.Match[str]) -> int:
    group, base = next((group, base) for group, base in _BASES if found[group] is not None)
    digits = re.sub("[,_]", "", found[group])
    limit = _DIGITS // 4 if base == 10 else _DIGITS  # noqa: PLR2004 - Python has a limit for it
    if len(digits) > limit or (number := int(digits, base)).bit_length() > MAX_INTEGER:
        raise ValueError(f"an Integer of more than {MAX_INTEGER} bits")
    return -number if found[1] == "-" else number
