r"""A pattern as Python's `re` reads it, said so that RE2 finds the same.

Python's own parser reads it: flags, comments, white space under `(?x)` and escapes mean what they
mean there. Only whether it is found matters, never where, so groups and lazy repeats need no care.

What RE2 has not is `Unsayable`: look-around, back-references, possessive repeats, counts over
1,000, and a `$` after which something may follow (it would have to look past a last newline).
"""

from __future__ import annotations

import re
from functools import lru_cache
from re import _constants as sre  # type: ignore[attr-defined]  # what the parser speaks
from re import _parser as parser  # type: ignore[attr-defined]  # typeshed has no private modules
from typing import TYPE_CHECKING, Any, Final

from mcshell.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["Translation", "Unsayable", "parse", "translate"]

_MOST_REPEATS: Final = 1000
_ASCII: Final = 0x7F
_LAST: Final = 0x10FFFF
_SURROGATES: Final = range(0xD800, 0xE000)
_ASCII_CASES: Final = ((0x41, 0x5A, 0x20), (0x61, 0x7A, -0x20))

_SETS: Final = {
    "DIGIT": (r"\p{Nd}", ((0x30, 0x39),)),
    "SPACE": (
        r"\t-\r\x1c-\x20\x{85}\x{A0}\x{1680}\x{2000}-\x{200A}\x{2028}\x{2029}\x{202F}\x{205F}\x{3000}",
        ((0x09, 0x0D), (0x20, 0x20)),
    ),
    "WORD": (r"\p{L}\p{N}_", ((0x30, 0x39), (0x41, 0x5A), (0x5F, 0x5F), (0x61, 0x7A))),
}
# Of a text in ASCII, Python's spaces are these; those of the flag a are fewer.
_PLAIN_SPACE: Final = ((0x09, 0x0D), (0x1C, 0x20))
_CLASSES: Final = {"DIGIT": r"\d+", "SPACE": r"\s+", "WORD": r"\w+"}


class Unsayable(Exception):
    """RE2 has no word for a part of the pattern; the message names the part."""


@dataclass(frozen=True, slots=True)
class Translation:
    r"""What RE2 is given; `ascii_only` when `\b` makes it right for texts in ASCII only."""

    program: str
    ascii_only: bool


def parse(pattern: str, flags: int = 0) -> Any:
    """Read a pattern as `re` does: re.error, ValueError, OverflowError
    or RecursionError when it is none.
    """
    return parser.parse(pattern, flags)


def translate(pattern: str, flags: int, *, plain: bool) -> Translation:
    """Translate for texts of any letters, or with `plain` for those in ASCII: far smaller.

    Raises:
        re.error: it is no pattern (so say those of `parse`).
        Unsayable: RE2 cannot say it.
    """
    tree = parse(pattern, flags)
    writer = _Writer(plain=plain)
    program = writer.sequence(tree, tree.state.flags, last=True)
    return Translation(program, writer.ascii_only)


class _Writer:
    """Writes RE2's form of what the parser has read."""

    def __init__(self, *, plain: bool) -> None:
        self._plain = plain
        self.ascii_only = False

    def sequence(self, items: Sequence[tuple[Any, Any]], flags: int, *, last: bool) -> str:
        """Write items in a row; `last` when nothing comes after them."""
        end = len(items) - 1
        return "".join(
            self._item(op, value, flags, last=last and at == end)
            for at, (op, value) in enumerate(items)
        )

    def _item(self, op: Any, value: Any, flags: int, *, last: bool) -> str:
        match op:
            case sre.LITERAL | sre.NOT_LITERAL:
                negated = op is sre.NOT_LITERAL
                text = _folded(_ranges_of([(value, value)], flags), flags, negated=negated)
            case sre.ANY:
                text = "(?s:.)" if flags & re.DOTALL else r"[^\n]"
            case sre.IN:
                text = self._set(value, flags)
            case sre.AT:
                text = self._place(value, flags, last=last)
            case sre.BRANCH:
                ways = [self.sequence(way, flags, last=last) for way in value[1]]
                text = f"(?:{'|'.join(ways)})"
            case sre.SUBPATTERN:
                _, added, removed, inner = value
                text = f"(?:{self.sequence(inner, _combined(flags, added, removed), last=last)})"
            case sre.MAX_REPEAT | sre.MIN_REPEAT:
                text = self._repeat(value, flags, last=last)
            case _:
                raise Unsayable(_NAMES.get(op, str(op).lower()))
        return text

    def _repeat(self, value: tuple[Any, Any, Any], flags: int, *, last: bool) -> str:
        low, high, inner = value
        endless = high is sre.MAXREPEAT
        if low > _MOST_REPEATS or (not endless and high > _MOST_REPEATS):
            raise Unsayable("a count over 1,000")
        part = self.sequence(inner, flags, last=last and high == 1)
        return f"(?:{part}){{{int(low)},{'' if endless else int(high)}}}"

    def _place(self, place: Any, flags: int, *, last: bool) -> str:
        if place is sre.AT_BEGINNING and flags & re.MULTILINE:
            return "(?m:^)"
        if place in (sre.AT_BEGINNING, sre.AT_BEGINNING_STRING):
            return r"\A"
        if place is sre.AT_END_STRING:
            return r"\z"
        if place is sre.AT_END:
            if flags & re.MULTILINE:
                return "(?m:$)"
            if not last:
                raise Unsayable("a $ with something after it")
            return r"(?:\n?\z)"
        self.ascii_only |= not flags & re.ASCII
        return r"\b" if place is sre.AT_BOUNDARY else r"\B"

    def _set(self, members: Sequence[tuple[Any, Any]], flags: int) -> str:
        negated = members[0][0] is sre.NEGATE
        ranges: list[tuple[int, int]] = []
        named = ""
        names = [str(value) for op, value in members if op is sre.CATEGORY]
        for op, value in members:
            if op is sre.LITERAL:
                ranges.append((value, value))
            elif op is sre.RANGE:
                ranges.append(value)
        ranges = _ranges_of(ranges, flags)
        alone = len(names) == len(members) == 1
        for name in names:
            kind = name.rpartition("_")[2]
            other = "NOT_" in name
            if flags & re.ASCII or self._plain:
                known = _PLAIN_SPACE if kind == "SPACE" and not flags & re.ASCII else _SETS[kind][1]
                # In either case of letters, only ASCII's own have to do with a text in ASCII.
                ranges += _complement(known, _ASCII if self._plain else _LAST) if other else known
            elif not other:
                named += _SETS[kind][0]
            elif alone:
                return f"[^{_SETS[kind][0]}]"
            else:
                ranges += _complement(_every(kind))
        return _folded(ranges, flags, negated=negated, named=named)


_NAMES: Final = {
    sre.ASSERT: "a look-ahead or look-behind",
    sre.ASSERT_NOT: "a look-ahead or look-behind",
    sre.FAILURE: "a look-ahead or look-behind",
    sre.GROUPREF: "a back-reference",
    sre.GROUPREF_EXISTS: "a condition on a group",
    sre.POSSESSIVE_REPEAT: "a possessive repeat",
    sre.ATOMIC_GROUP: "an atomic group",
}


def _combined(flags: int, added: int, removed: int) -> int:
    if added & (re.ASCII | re.UNICODE):
        flags &= ~(re.ASCII | re.UNICODE)
    return (flags | added) & ~removed


def _ranges_of(ranges: Sequence[tuple[int, int]], flags: int) -> list[tuple[int, int]]:
    """With the other case of ASCII's letters, where only these have one."""
    found = list(ranges)
    if flags & re.IGNORECASE and flags & re.ASCII:
        for low, high in ranges:
            for first, last, step in _ASCII_CASES:
                begin, end = max(low, first), min(high, last)
                if begin <= end:
                    found.append((begin + step, end + step))
    return found


def _folded(
    ranges: Sequence[tuple[int, int]], flags: int, *, negated: bool = False, named: str = ""
) -> str:
    """One character of a set; in either case where the flags say so."""
    written = "".join(_range(low, high) for low, high in ranges) + named
    text = f"[{'^' if negated else ''}{written}]"
    # Classes are the same in either case.
    if ranges and flags & re.IGNORECASE and not flags & re.ASCII:
        return f"(?i:{text})"
    return text


def _range(low: int, high: int) -> str:
    if low in _SURROGATES or high in _SURROGATES:
        raise Unsayable("half of a surrogate pair")
    return _letter(low) if low == high else f"{_letter(low)}-{_letter(high)}"


def _letter(code: int) -> str:
    letter = chr(code)
    return letter if letter.isascii() and letter.isalnum() else f"\\x{{{code:X}}}"


def _complement(ranges: Iterable[tuple[int, int]], last: int = _LAST) -> list[tuple[int, int]]:
    found, begin = [], 0
    halves = (_SURROGATES.start, _SURROGATES.stop - 1)
    for low, high in (*sorted([*ranges, halves]), (_LAST + 1, _LAST + 1)):
        end = min(low - 1, last)
        if begin <= end:
            found.append((begin, end))
        begin = max(begin, high + 1)
    return found


@lru_cache
def _every(kind: str) -> tuple[tuple[int, int], ...]:
    """All characters of a class of Python's, for those sets that hold what is not of it."""
    step, found = 0x1000, list[tuple[int, int]]()
    for start in range(0, _LAST + 1, step):
        if start in _SURROGATES:
            continue
        block = "".join(map(chr, range(start, start + step)))
        found += [
            (start + run.start(), start + run.end() - 1)
            for run in re.finditer(_CLASSES[kind], block)
        ]
    return tuple(found)
