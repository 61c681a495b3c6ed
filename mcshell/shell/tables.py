"""Rows as a table or upright: which columns a width has room for, and how they are drawn.

A row stays a row on any terminal: what does not fit is wrapped, then whole columns are left out,
and the reader is told which. Text comes here harmless.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from dataclasses import replace
from itertools import chain, zip_longest
from typing import TYPE_CHECKING, Any, Final

from mcshell.commands.output.json_document import dumps
from mcshell.commands.output.sanitize import sanitize, shortened
from mcshell.shell.colours import painted, plain
from mcshell.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator, Sequence

__all__ = [
    "Fitted",
    "cell",
    "fitted",
    "heading",
    "hung",
    "is_tree",
    "simple",
    "tabulated",
    "upright",
]

_MARKDOWN = str.maketrans({one: f"\\{one}" for one in "\\`[]|"} | {"<": "&lt;", "&": "&amp;"})
_WIDER: Final = frozenset(
    chr(code)
    for first, last in (
        *((0x2630, 0x2637), (0x268A, 0x268F), (0x4DC0, 0x4DFF)),
        *((0x1D300, 0x1D356), (0x1D360, 0x1D376), (0x1F1E6, 0x1F1FF)),
    )
    for code in range(first, last + 1)
)
"""Signs that terminals of Unicode 16 draw as wide, and a Python that knows an earlier one has as narrow."""
_STATES: Final = ("state", "states")
_PADDED: Final = 32 << 20  # letters
_GAP: Final = 2
_HEADED: Final = 2  # what tabulate leaves beside a heading
_LEAST: Final = 20  # the width that a text is wrapped down to; a date and a time stay in a line
_BULKY: Final = 200  # the width of a column that is left out before others
_FEW: Final = 4  # columns, beside which a bulky one that is cut short is still worth its place
_LINES: Final = 6  # of a cell that is wrapped
_HANG: Final = "  "


@dataclass(frozen=True, slots=True)
class Fitted:
    """Columns and their cells as text, no wider than asked; `left` and `cut` name what is not whole."""

    columns: tuple[str, ...]
    cells: list[list[str]]
    left: tuple[str, ...] = ()
    cut: tuple[str, ...] = ()


def cell(value: Any) -> str:
    """One value as text: nothing for None, JSON for what is nested."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return sanitize(value)
    if isinstance(value, int | float):
        return f"{value}"
    if isinstance(value, list | tuple) and all(isinstance(inner, str) for inner in value):
        return sanitize(", ".join(value))
    return dumps(value)


def heading(name: str) -> str:
    """The name of a column, which may be a node's word, as one harmless line."""
    return sanitize(name).replace("\n", "\\n").replace("\t", "\\t")


def hung(cells: list[list[str]]) -> list[list[str]]:
    """The cells with all but the first lines of each row indented: else these could pass for rows of their own."""
    return [[first.replace("\n", f"\n{_HANG}"), *others] for first, *others in cells]


def is_tree(value: Any) -> bool:
    """Whether a value is a hash, or a list of them: what one reads upright."""
    if isinstance(value, list) and value:
        return isinstance(value[0], Mapping)
    return isinstance(value, Mapping) and bool(value)


def fitted(
    columns: tuple[str, ...], cells: list[list[str]], width: int, minor: Sequence[str] = ()
) -> Fitted:
    """The columns that `width` has room for, the first ones before others.

    `minor` ones go before anything is wrapped. The first column is always there.
    """
    heads = [_wide(name) + _HEADED for name in columns]
    whole = hung(cells)
    natural = [
        max(head, *(_wide(line) for row in whole for line in row[at].split("\n")))
        for at, head in enumerate(heads)
    ]
    if sum(natural) + _GAP * (len(natural) - 1) <= width:
        return Fitted(columns, whole)
    widths = _widths(_not_minor(columns, natural, width, minor), natural, heads, width)
    kept = sorted(widths)
    hang = {0: _HANG if widths[0] >= _LEAST else ""}
    wrapped = [[_wrapped(row[at], widths[at], hang.get(at, "")) for at in kept] for row in cells]
    cut = [at for place, at in enumerate(kept) if any(row[place][1] for row in wrapped)]
    useless = {at for at in cut if natural[at] > _BULKY}
    if useless and len(kept) > _FEW:
        return _without(useless, columns, cells, width, minor)
    return Fitted(
        tuple(columns[at] for at in kept),
        [[text for text, _ in row] for row in wrapped],
        tuple(name for at, name in enumerate(columns) if at not in widths),
        tuple(columns[at] for at in cut),
    )


def _not_minor(
    columns: Sequence[str], natural: Sequence[int], width: int, minor: Sequence[str]
) -> list[int]:
    """The places of the columns without those `minor` ones, from the last, that make them too wide."""
    going = [at for at, name in enumerate(columns) if name in minor]
    staying = [at for at in range(len(columns)) if at not in going]
    while going and sum(natural[at] + _GAP for at in (*staying, *going)) > width + _GAP:
        going.pop()
    return [*staying, *going]


def _widths(
    places: Iterable[int], natural: Sequence[int], heads: Sequence[int], width: int
) -> dict[int, int]:
    """How wide each column becomes that there is room for: each a little, then the slim ones as they are."""
    left = width + _GAP  # of which each column takes its own and a gap
    widths: dict[int, int] = {}
    for at in sorted(places, key=lambda at: (natural[at] > _BULKY, at)):
        least = min(natural[at], max(_LEAST, heads[at]))
        if widths and least + _GAP > left:
            break
        widths[at] = min(least, width)
        left -= widths[at] + _GAP
    for at in sorted(widths, key=lambda at: natural[at] - widths[at]):
        more = max(0, min(natural[at] - widths[at], left))
        widths[at] += more
        left -= more
    return widths


def _without(
    gone: Container[int],
    columns: tuple[str, ...],
    cells: list[list[str]],
    width: int,
    minor: Sequence[str],
) -> Fitted:
    """What there is room for when the columns at these places are left out too."""
    kept = [at for at in range(len(columns)) if at not in gone]
    found = fitted(
        tuple(columns[at] for at in kept), [[row[at] for at in kept] for row in cells], width, minor
    )
    return replace(found, left=tuple(name for name in columns if name not in found.columns))


def _wrapped(text: str, width: int, hang: str) -> tuple[str, bool]:
    """A text in lines of a width, all but the first behind `hang`, and whether the end of it is missing."""
    lines: list[str] = []
    for line in text.split("\n"):
        for piece in _pieces(line, width - len(hang)):
            if len(lines) == _LINES:
                lines[-1] = f"{_first(lines[-1], width - len(hang) - 1)}…"
                return f"\n{hang}".join(lines), True
            lines.append(piece)
    return f"\n{hang}".join(lines), False


def _pieces(line: str, width: int) -> Iterator[str]:
    """A line broken where there is white space, else where it must be."""
    while _wide(line) > width:
        part = _first(line, width)
        if part == line:  # a letter wider than the column
            break
        space = part.rfind(" ") if line[len(part)] != " " else len(part)
        part = line[:space] if space > 0 else part
        yield part.rstrip()
        line = line[len(part) :].lstrip()
    yield line


def _first(line: str, width: int) -> str:
    """The beginning of a line that takes at most `width` columns; at least a letter."""
    taken = 0
    for at, letter in enumerate(line):
        taken += _wide(letter)
        if taken > width:
            return line[: max(1, at)]
    return line


def _wide(line: str) -> int:
    """The columns that a line takes on a terminal."""
    if line.isascii():
        return len(line)
    wide = (letter in _WIDER or unicodedata.east_asian_width(letter) in "WF" for letter in line)
    return len(line) + sum(wide)


def tabulated(
    columns: tuple[str, ...], cells: list[list[str]], form: str, *, paint: bool = False
) -> str:
    """Draw a table in one of tabulate's formats; `paint`: states in colour.

    Plain text in the simple one is drawn here, which spares a command the loading of tabulate (a light
    node has none) and leaves out no row without text.
    """
    if _padded(cells) > _PADDED:  # one cell widens its column for all
        cells = [[shortened(text) for text in row] for row in cells]
    if form == "github":
        columns = tuple(name.translate(_MARKDOWN) for name in columns)
        cells = [[text.translate(_MARKDOWN).replace("\n", "<br>") for text in row] for row in cells]
    style = {"table": "simple"}.get(form, form)
    cells = [[text.expandtabs(4) for text in row] for row in cells]
    cells = _coloured(columns, cells) if paint else cells
    texts = chain(columns, *cells)
    if style == "simple" and all(map(str.isascii, texts)):
        return simple(columns, cells)
    try:
        from tabulate import tabulate  # noqa: PLC0415 - 0.1 s, most tables do without
    except ModuleNotFoundError:
        return simple(columns, cells)
    # Without disable_numparse tabulate draws the version "1.10" as 1.1.
    return tabulate(cells, headers=columns, tablefmt=style, disable_numparse=True) + "\n"


def simple(columns: Sequence[str], cells: Sequence[Sequence[str]]) -> str:
    """Draw a table as tabulate's "simple" is."""
    rows = [[text.strip().split("\n") for text in row] for row in cells]
    widths = [
        max([_wide(name) + _HEADED, *(_wide(plain(line)) for row in rows for line in row[place])])
        for place, name in enumerate(columns)
    ]
    drawn = [columns, ["-" * width for width in widths]]
    for row in rows:
        drawn += zip_longest(*row, fillvalue="")
    return "".join(f"{_padded_line(line, widths)}\n" for line in drawn)


def _padded_line(texts: Sequence[str], widths: Sequence[int]) -> str:
    gap = " " * _GAP
    columns = zip(texts, widths, strict=True)
    return gap.join(text + " " * (width - _wide(plain(text))) for text, width in columns).rstrip()


def _padded(cells: list[list[str]]) -> int:
    """The letters of a table whose columns are as wide as their widest cell."""
    return len(cells) * sum(max(map(len, column)) for column in zip(*cells, strict=True))


def _coloured(columns: tuple[str, ...], cells: list[list[str]]) -> list[list[str]]:
    states = [name in _STATES for name in columns]
    return [
        [painted(text) if state else text for text, state in zip(row, states, strict=True)]
        for row in cells
    ]


def upright(
    columns: tuple[str, ...], rows: Sequence[Sequence[Any]], *, cut: bool, paint: bool = False
) -> str:
    """Draw a record a row, a line a column; `cut`: without what is far too long to read."""
    if not rows:
        return ""
    indent = max(map(len, columns)) + 2
    cells = [[_whole(value) for value in row] for row in rows]
    if cut:
        cells = [[shortened(text) for text in row] for row in cells]
    blocks = []
    for row in _coloured(columns, cells) if paint else cells:
        lines = [
            f"{f'{name}:':<{indent}}" + text.replace("\n", "\n" + " " * indent)
            for name, text in zip(columns, row, strict=True)
        ]
        blocks.append("".join(f"{line.rstrip()}\n" for line in lines))
    return "\n".join(blocks)


def _whole(value: Any) -> str:
    """A value for a reader who has the whole height: of a hash a line for each path, as -F takes it."""
    if isinstance(value, Mapping) and value:
        return "\n".join(f"{sanitize(path)}: {cell(leaf)}" for path, leaf in _leaves("", value))
    if isinstance(value, list) and value and all(isinstance(one, Mapping) for one in value):
        return "\n".join(map(dumps, value))
    return cell(value)


def _leaves(front: str, value: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, inner in value.items():
        path = f"{front}{key}"
        if isinstance(inner, Mapping) and inner:
            yield from _leaves(f"{path}.", inner)
        else:
            yield path, inner
