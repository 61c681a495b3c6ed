"""What goes out to an assistant: plain values of bounded size, in which no node's text acts on anybody.

What a node wrote is data of somebody else's. It stays below the key `says` (or in a table of `sql`),
cut to a length, and what a reader would not see, or a terminal would act on, is drawn as an escape.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from mcshell.commands.output.json_document import plain
from mcshell.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["BYTES", "CHARACTERS", "ResultPart", "harmless", "one_line", "part", "size"]

BYTES: Final = 200_000
"""Bytes of an answer's rows, as JSON."""
CHARACTERS: Final = 2_000
"""Characters of one text, where nothing else is asked for."""
_LINE: Final = 500
_KEY: Final = 200
_ITEMS: Final = 500
_DEPTH: Final = 12
_EXACT: Final = 2**53
_SMALLER: Final = ((CHARACTERS, 100), (200, 20), (40, 5))
"""Characters of a text and items of a list or hash for a row that is too large as it was asked for."""
_SELECTORS: Final = re.compile("[\ufe00-\ufe0f\U000e0100-\U000e01ef]")
_SPACES: Final = frozenset("\u00a0\u1680\u202f\u205f\u3000") | {
    chr(n) for n in range(0x2000, 0x200B)
}


def harmless(
    value: Any, characters: int = CHARACTERS, items: int = _ITEMS, depth: int = _DEPTH
) -> Any:
    """A copy of any value that JSON carries, each text no longer than `characters`."""
    return _harmless(plain(value), characters, items, depth)


def _harmless(value: Any, characters: int, items: int, depth: int) -> Any:
    match value:
        case str():
            return _text(value, characters)
        case bool() | None | float():
            return value
        case int():
            return value if abs(value) <= _EXACT else _text(str(value), characters)
        case Mapping() | list() if not depth:
            return f"… (nested more than {_DEPTH} deep: cut)"
        case Mapping():
            found: dict[str, Any] = {}
            for name, inner in list(value.items())[:items]:
                key = _text(name, _KEY)
                while key in found:
                    key += "'"
                found[key] = _harmless(inner, characters, items, depth - 1)
            if len(value) > items:
                found["…"] = f"{len(value)} keys, {items} of them here: cut"
            return found
        case _:
            several = [_harmless(inner, characters, items, depth - 1) for inner in value[:items]]
            more = [f"… ({len(value)} items, {items} of them here: cut)"]
            return several + (more if len(value) > items else [])


def _text(text: str, characters: int) -> str:
    """Text that is what it looks like; line ends and tabs stay."""
    cut = text[:characters].replace("\r\n", "\n")
    if not cut.isprintable() or _SELECTORS.search(cut):
        cut = "".join(map(_drawn, cut))
    return cut if len(text) <= characters else f"{cut}… ({len(text)} characters: cut)"


def _drawn(one: str) -> str:
    seen = one.isprintable() and not _SELECTORS.match(one)
    return one if seen or one in "\n\t" or one in _SPACES else one.encode("unicode_escape").decode()


def one_line(text: str, most: int = _LINE) -> str:
    """Text of whatever origin as one line."""
    return _text(" ".join(text.split()), most)


def size(value: Any) -> int:
    """Bytes that a harmless value takes as JSON."""
    return len(json.dumps(value, ensure_ascii=False).encode())


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultPart:
    """Some rows out of `total`; `following` is where the next begin, None where these are the last.

    `cut` says what is not here and how to get it, empty where nothing was left out.
    """

    rows: list[Any]
    total: int
    following: int | None
    cut: str

    def document(self, name: str) -> dict[str, Any]:
        """As it stands in an answer, the rows under `name`."""
        return {
            name: self.rows,
            "total": self.total,
            "next_offset": self.following,
            "cut": self.cut,
        }


def part(
    rows: Sequence[Any],
    made: Callable[[Any], Any],
    *,
    offset: int = 0,
    limit: int = 100,
    characters: int = CHARACTERS,
    most: int = BYTES,
) -> ResultPart:
    """The rows from `offset` on, at most `limit` of them and `most` bytes; `made` makes the row of each.

    A row that alone is too large is made smaller; the first is always there.
    """
    found: list[Any] = []
    left, smaller = most, 0
    for one in rows[offset : offset + limit]:
        row, whole = _fitting(made(one), characters, most)
        left -= size(row) + 2
        if left < 0 and found:
            break
        smaller += not whole
        found.append(row)
    end = offset + len(found)
    following = end if end < len(rows) else None
    words = []
    if following is not None:
        words.append(f"rows {offset} to {end - 1} of {len(rows)}: offset={end} gives the next")
    if smaller:
        words.append(f"{smaller} rows were too large, and are cut: ask for one node, or by sql")
    return ResultPart(rows=found, total=len(rows), following=following, cut="; ".join(words))


def _fitting(row: Any, characters: int, most: int) -> tuple[Any, bool]:
    """A row as it goes out, and whether it is the one that was asked for."""
    asked = harmless(row, characters)
    if size(asked) <= most:
        return asked, True
    found = asked
    for fewer, items in _SMALLER:
        found = harmless(row, fewer, items)
        if size(found) <= most:
            return found, False
    return harmless(row, 40, 5, 2), False
