"""From columns to a pandas DataFrame; pandas is imported when the first table is made.

Values come as columns, never row by row: 50,000 replies are a fifth of a second (limits of the
format: an integer beyond 64 bits, or a value that is not of its declared type, makes its column
`object` rather than lose anything).
"""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Mapping, Sequence

    import pandas as pd

__all__ = [
    "TIME",
    "Column",
    "at_first",
    "distinct",
    "frame",
    "frame_of_rows",
    "kind_of",
    "misfits",
    "moment_of",
]

TIME = "datetime64[ns, UTC]"
"""The dtype of moments: their values are seconds since the epoch, or ISO's text."""

#: A column: its dtype's name and its values, None where there is none.
Column = tuple[str, "Sequence[Any]"]

_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "Int64": (int,),
    "Float64": (int, float),
    "boolean": (bool,),
}

_LEAST, _MOST, _HUGE = -(2**63), 2**63 - 1, 2**1023
_EXACT = 2**53

_first: list[Callable[[], object]] = []


def at_first(call: Callable[[], object]) -> None:
    """Have something done when the first table is made (pandas is loaded then)."""
    _first.append(call)


def frame(columns: Mapping[str, Column]) -> pd.DataFrame:
    """Build a DataFrame; every column has the dtype it was given, if its values allow it."""
    import pandas as pd  # noqa: PLC0415 - half a second, and only tables need it

    while _first:
        _first.pop()()
    return pd.DataFrame({name: _series(kind, values) for name, (kind, values) in columns.items()})


_GUESSES = {
    frozenset({str}): "string",
    frozenset({bool}): "boolean",
    frozenset({int}): "Int64",
    frozenset({float}): "Float64",
    frozenset({int, float}): "Float64",
}


def kind_of(values: Sequence[Any]) -> str:
    """The dtype that all of the values have, "object" where they have none in common.

    Whole numbers that no float holds are not put among floats.
    """
    kinds = frozenset(type(value) for value in values if value is not None)
    kind = _GUESSES.get(kinds, "object")
    if kind == "Float64" and any(type(one) is int and abs(one) > _EXACT for one in values):
        return "object"
    return kind


def frame_of_rows(
    names: Sequence[str],
    rows: Sequence[Sequence[Any]],
    times: Container[str] = (),
    kinds: Mapping[str, str] | None = None,
) -> pd.DataFrame:
    """Build a DataFrame of rows; each column has its dtype of `kinds`, else what all its values have.

    `times` are the columns of moments.
    """
    known = kinds or {}
    columns: dict[str, Column] = {}
    for place, name in enumerate(names):
        values = [row[place] for row in rows]
        kind = TIME if name in times else known.get(name) or kind_of(values)
        columns[name] = (kind, values)
    return frame(columns)


def distinct(names: Iterable[str]) -> tuple[str, ...]:
    """Names that can be those of a table's columns: a second `sender` becomes `sender_2`."""
    found: dict[str, None] = {}
    for name in names:
        word, count = name, 1
        while word in found:
            count += 1
            word = f"{name}_{count}"
        found[word] = None
    return tuple(found)


def moment_of(value: Any) -> datetime | None:
    """A moment from seconds since the epoch or ISO's text; None for what no calendar has."""
    try:
        if isinstance(value, str):
            return datetime.fromisoformat(value).astimezone(UTC)
        return datetime.fromtimestamp(value, UTC)
    except (ValueError, TypeError, OverflowError, OSError):
        return None


def misfits(kind: str, values: Sequence[Any]) -> list[int]:
    """The places of what a column of this dtype cannot hold."""
    if kind == "object" or (kind == "boolean" and _fits(kind, values)):
        return []
    return [at for at, value in enumerate(values) if value is not None and not _holds(kind, value)]


def _holds(kind: str, value: Any) -> bool:
    if type(value) not in _TYPES[kind]:
        return False
    if kind == "Int64":
        return bool(_LEAST <= value <= _MOST)
    if kind == "string":
        return bool(value.isascii()) or not any("\ud800" <= one <= "\udfff" for one in value)
    return not isinstance(value, int) or -_HUGE < value < _HUGE


def _series(kind: Any, values: Sequence[Any]) -> pd.Series[Any]:
    import pandas as pd  # noqa: PLC0415 - as above

    if kind == TIME:
        moments = [None if value is None else moment_of(value) for value in values]
        if all(
            (one is None) == (value is None) for one, value in zip(moments, values, strict=True)
        ):
            with contextlib.suppress(pd.errors.OutOfBoundsDatetime):  # beyond the year 2262
                return pd.Series(pd.DatetimeIndex(moments, dtype=TIME))
        kind = "object"
    if kind != "object" and _fits(kind, values):
        try:
            return pd.Series(pd.array(values, dtype=kind))
        except (OverflowError, UnicodeEncodeError):
            pass  # an integer that no float holds, half a surrogate pair: kept whole, as an object
    return pd.Series([pd.NA if value is None else value for value in values], dtype=object)


def _fits(kind: str, values: Sequence[Any]) -> bool:
    allowed = _TYPES[kind]
    found = {type(value) for value in values} - {type(None)}
    if kind == "Int64" and found == {int}:  # pandas has several errors for what it cannot hold
        numbers = [value for value in values if value is not None]
        return bool(min(numbers) >= _LEAST and max(numbers) <= _MOST)
    return found <= set(allowed)
