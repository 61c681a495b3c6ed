"""DataFrames in IPython with the foreign text in them made harmless, as it is shown.

The table itself keeps every byte. pandas escapes HTML but passes terminal escapes, control
characters and bidi controls on, which act in a terminal and reorder text in a browser.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from mcshell.commands.harmless import harmless, shortened

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["shown", "shown_series"]

_PLAIN = (int, float, bool, type(None))


def shown(frame: pd.DataFrame) -> pd.DataFrame:
    """The table with what would be seen of it made harmless; itself where all is harmless."""
    places = _seen(len(frame))
    changes = {}
    for place in range(frame.shape[1]):
        series = frame.iloc[:, place]
        if not _foreign(series.dtype):
            continue
        cleaned = _cleaned(series, places)
        if cleaned is not None:
            changes[place] = cleaned
    index, columns = _labels(frame.index, places), _labels(frame.columns, range(frame.shape[1]))
    if not changes and index is None and columns is None:
        return frame
    parts = [changes.get(place, frame.iloc[:, place]) for place in range(frame.shape[1])]
    found = pd.DataFrame(dict(enumerate(parts)), index=frame.index)
    found.columns = frame.columns if columns is None else columns
    found.index = frame.index if index is None else index
    return found


def shown_series(series: pd.Series[Any]) -> pd.Series[Any]:
    """As `shown`, of a Series."""
    places = _seen(len(series))
    cleaned = _cleaned(series, places) if _foreign(series.dtype) else None
    index = _labels(series.index, places)
    if cleaned is None and index is None and not isinstance(series.name, str):
        return series
    found = series.copy() if cleaned is None else cleaned
    found.name = harmless(series.name) if isinstance(series.name, str) else series.name
    if index is not None:
        found.index = index
    return found


def _foreign(dtype: Any) -> bool:
    return dtype.kind == "O" or isinstance(dtype, pd.StringDtype | pd.CategoricalDtype)


def _seen(size: int) -> Sequence[int]:
    """The rows that pandas shows: all, or the first and the last of many."""
    most = pd.get_option("display.max_rows")
    if not most or size <= most:
        return range(size)
    half = max(most, pd.get_option("display.min_rows") or 0)
    return [*range(half), *range(size - half, size)]


def _cleaned(series: pd.Series[Any], places: Sequence[int]) -> pd.Series[Any] | None:
    """A copy in which the cells at `places` are harmless; None where they all are already."""
    cells = series.iloc[list(places)].tolist()
    clean = [_cell(value) for value in cells]
    if all(one is other for one, other in zip(clean, cells, strict=True)):
        return None
    found = series.astype(object)
    found.iloc[list(places)] = pd.Series(clean, dtype=object).to_numpy()
    return found


def _cell(value: Any) -> Any:
    """The cell itself where it is harmless, else text that is."""
    if isinstance(value, _PLAIN):
        return value
    if isinstance(value, str):
        text = harmless(shortened(value))
        return value if text == value else text
    if isinstance(value, dict | list | tuple | set | frozenset | bytes):
        return shortened(repr(value))  # Python's repr draws all that is not printable as escapes
    return value


def _labels(labels: pd.Index[Any], places: Sequence[int]) -> pd.Index[Any] | None:
    """Labels that are harmless; None where they are. Of an index with levels each is looked at."""
    if not _foreign(labels.dtype):
        return None
    seen = {place: labels[place] for place in places}
    clean = {place: _label(label) for place, label in seen.items()}
    names = [_label(name) for name in labels.names]
    if all(clean[place] is label for place, label in seen.items()) and names == list(labels.names):
        return None
    every = [clean.get(place, label) for place, label in enumerate(labels)]
    if isinstance(labels, pd.MultiIndex):
        levels: pd.Index[Any] = pd.MultiIndex.from_tuples(every, names=names)
        return levels
    found: pd.Index[Any] = pd.Index(every, dtype=object, name=names[0])
    return found


def _label(label: Any) -> Any:
    if isinstance(label, tuple):
        found = tuple(_cell(one) for one in label)
        return label if found == label else found
    return _cell(label)
