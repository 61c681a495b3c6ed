"""DataFrames in IPython with the foreign text in them made harmless, as it is shown.

The table itself keeps every byte; a browser gets text that can be read: from the left, and not cut
after fifty characters. pandas escapes HTML but passes terminal escapes, control
characters and bidi controls on, which act in a terminal and reorder text in a browser.
"""

from __future__ import annotations

import html
from copy import copy
from typing import TYPE_CHECKING, Any

import pandas as pd

from mcshell.commands.output.sanitize import sanitize, shortened
from mcshell.notebook.display import LEFT

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["page", "shown", "shown_series", "styled"]

_PLAIN = (int, float, bool, type(None))
_CUT = "display.max_colwidth"
_PANDAS_CUTS, _CUTS = 50, 160  # characters of a cell: pandas's own choice, and ours in its place
_SHORT = 12  # letters of a request's id, as at the prompt: `replies` takes them


def page(frame: pd.DataFrame) -> str | None:
    """The table for a browser, harmless; None where pandas is told to draw no HTML."""
    safe = shown(frame)
    if "requestid" in safe and safe.columns.is_unique:
        ids = _cleaned(safe["requestid"], _seen(len(safe)), _brief)
        safe = safe if ids is None else safe.assign(requestid=ids)
    draw: Any = safe._repr_html_
    wide = _CUTS if pd.get_option(_CUT) == _PANDAS_CUTS else pd.get_option(_CUT)
    with pd.option_context(_CUT, wide):
        drawn: str | None = draw()
    return drawn and _aligned(drawn, safe)


def styled(styler: Any) -> str | None:
    """What `frame.style` draws, harmless: pandas itself escapes nothing of a styled table.

    Text of cells reaches a formatter of the user's own escaped; labels are drawn by ours.
    """
    safe = copy(styler)
    safe.data = safe.data.copy(deep=False)
    for place in range(safe.data.shape[1]):
        if _foreign(safe.data.dtypes.iloc[place]):
            cells = [_marked_up(cell) for cell in safe.data.iloc[:, place]]
            column = pd.Series(cells, index=safe.data.index, dtype=object)
            safe.data.isetitem(place, column)
    safe.format_index(_marked_up, axis=0).format_index(_marked_up, axis=1)
    drawn: str | None = safe._repr_html_()
    return drawn


def _marked_up(value: Any) -> Any:
    """Text as HTML has it; what is no text stays what it is."""
    clean = _cell(value)
    return html.escape(clean) if isinstance(clean, str) else clean


def _aligned(drawn: str, frame: pd.DataFrame) -> str:
    """What pandas has drawn, with text to the left; as it is where columns are left out.

    What stands in the cells is escaped, so every tag is the table's own.
    """
    places = _seen(len(frame))
    texts = [_is_text(frame.iloc[:, place], places) for place in range(frame.shape[1])]
    head, row, rest = drawn.partition('<tr style="text-align: right;">')
    if not row or frame.columns.nlevels > 1:
        return drawn
    titles, end, body = rest.partition("</tr>")
    found = _put_left(titles, "<th>", [False] * frame.index.nlevels + texts)
    rows = [_put_left(one, "<td>", texts) for one in body.split("<tr>")]
    return head + row + found + end + "<tr>".join(rows)


def _put_left(row: str, tag: str, texts: Sequence[bool]) -> str:
    first, *cells = row.split(tag)
    if len(cells) != len(texts):
        return row
    opened = [f"{tag[:-1]}{LEFT}>" if text else tag for text in texts]
    return first + "".join(tag + cell for tag, cell in zip(opened, cells, strict=True))


def _is_text(series: pd.Series[Any], places: Sequence[int]) -> bool:
    if not _foreign(series.dtype) or isinstance(series.dtype, pd.StringDtype):
        return _foreign(series.dtype)
    return any(isinstance(cell, str | dict | list) for cell in series.iloc[list(places)])


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
    found.name = sanitize(series.name) if isinstance(series.name, str) else series.name
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


def _cleaned(
    series: pd.Series[Any], places: Sequence[int], clean_one: Callable[[Any], Any] | None = None
) -> pd.Series[Any] | None:
    """A copy in which the cells at `places` are harmless; None where they all are already."""
    cells = series.iloc[list(places)].tolist()
    clean = list(map(clean_one or _cell, cells))
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
        text = sanitize(shortened(value))
        return value if text == value else text
    if isinstance(value, dict | list | tuple | set | frozenset | bytes):
        return shortened(repr(value))  # Python's repr draws all that is not printable as escapes
    return value


def _brief(value: Any) -> Any:
    return value[:_SHORT] if isinstance(value, str) else value


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
