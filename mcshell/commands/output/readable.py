"""Figures for a reader: shares as per cent, bytes and seconds in a unit that suits them.

Only what is drawn is changed; frames, JSON and csv keep the numbers.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from mcshell.client.analysis.answers import number

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["measured", "readable", "share", "size", "span"]

_NAMED: Final = "column"
_VALUES: Final = ("value", "usual", "min", "median", "max", "before", "after")
_BYTES = re.compile(r"(^|[._])bytes$")
_SECONDS = re.compile(r"(^|[._])(seconds|lag|elapsed|uptime)$")
_UNITS: Final = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")
_STEP: Final = 1024
_SPANS: Final = ((86_400, "d"), (3_600, "h"), (60, "min"))
_DIGITS: Final = 4


def readable(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[tuple[Any, ...]]:
    """The rows of an analysis as one would write them; those of any other table as they are.

    It is one where the cell `column` names what the row is about: its ending is the unit.
    """
    if _NAMED not in columns:
        return [tuple(row) for row in rows]
    named = columns.index(_NAMED)
    return [
        tuple(
            _drawn(name, str(row[named]), value) for name, value in zip(columns, row, strict=True)
        )
        for row in rows
    ]


def _drawn(name: str, about: str, value: Any) -> Any:
    if not number(value):
        return value
    if name == "share":
        return share(value)
    if name not in (*_VALUES, "z"):
        return value
    drawn = measured(about, value) if name in _VALUES else None
    return _rounded(value) if drawn is None else drawn


def measured(about: str, value: Any) -> str | None:
    """A number in the unit that the name of what it is about says; None where it says none."""
    if not number(value):
        return None
    if _BYTES.search(about):
        return size(value)
    return span(value) if _SECONDS.search(about) else None


def share(part: float) -> str:
    """A part from 0 to 1 as per cent; what is not all is never "100 %", what is some never "0 %"."""
    if 0.995 <= part < 1:  # noqa: PLR2004 - what would be rounded to all
        return ">99 %"
    return "<1 %" if 0 < part <= 0.005 else f"{part * 100:.0f} %"  # noqa: PLR2004 - to none


def size(count: float) -> str:
    """Bytes: `512 B`, `15.6 GiB`."""
    amount, place = float(count), 0
    while abs(amount) >= _STEP and place < len(_UNITS) - 1:
        amount, place = amount / _STEP, place + 1
    return f"{amount:.1f} {_UNITS[place]}" if place else f"{_rounded(count)} B"


def span(seconds: float) -> str:
    """A time that something takes: `12 ms`, `4.2 s`, `3 d 4 h`."""
    if abs(seconds) < 1:
        return f"{seconds * 1000:.3g} ms" if seconds else "0 s"
    for at, (length, unit) in enumerate(_SPANS):
        if abs(seconds) >= length:
            whole, rest = divmod(abs(seconds), length)
            lower, name = _SPANS[at + 1] if at + 1 < len(_SPANS) else (1, "s")
            more = f" {rest // lower:.0f} {name}" if rest >= lower else ""
            return f"{'-' if seconds < 0 else ''}{whole:.0f} {unit}{more}"
    return f"{_rounded(round(seconds, 1))} s"


def _rounded(value: float) -> int | float | str:
    if isinstance(value, int):
        return value
    return int(value) if value == int(value) else float(f"{value:.{_DIGITS}g}")
