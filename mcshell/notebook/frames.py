"""DataFrames in IPython with the foreign text in them made harmless, as it is shown.

The table itself keeps every byte; a browser gets text that can be read: from the left, line by line,
and not cut after fifty characters. pandas escapes HTML but passes terminal escapes, control
characters and bidi controls on, which act in a terminal and reorder text in a browser; and what
stands between two `$` MathJax would set as a formula, or run as a macro.

A display never fails: what we cannot draw is drawn as pandas does it.
"""

from __future__ import annotations

import html
import logging
import re
from copy import copy
from typing import TYPE_CHECKING, Any

import pandas as pd

from mcshell.commands.output.dataframes import readable_frame
from mcshell.commands.output.sanitize import sanitize, shortened
from mcshell.notebook.display import LEFT, no_formulas

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["drawn_text", "page", "shown", "shown_series", "styled"]

log = logging.getLogger(__name__)

_PLAIN = (int, float, bool, type(None))
_WIDTH, _LINES = 160, 24  # of a cell on a page
_OPTIONS = (  # what pandas chooses where nobody does, and our choice in its place
    ("display.max_colwidth", (50,), _WIDTH * _LINES),
    ("display.max_columns", (0, 20), 100),
)
_BREAK = "\u2424"  # stands for a line's end until the table is drawn: pandas would write it as \\n
_BODY = re.compile(rf"<td[^>]*>([^<]*{_BREAK}[^<]*)</td>")
_BODY_STYLE = "text-align: left; white-space: pre; font-family: monospace"
_WHOLE = ' style="white-space: nowrap"'
_IDS = ("requestid", "job")
_ID = re.compile(r"[0-9a-f]{32}")
_SHORT = 12  # letters of a request's id, as at the prompt: `replies` takes them


def page(frame: pd.DataFrame) -> str | None:
    """The table for a browser, harmless; None where pandas is told to draw no HTML."""
    return _first_drawn(frame, _page, _pandas_page)


def _page(frame: pd.DataFrame) -> str | None:
    free = pd.get_option("display.max_colwidth") not in _OPTIONS[0][1]
    safe = shown(frame, _body if free else _page_cell)
    chosen = {name: pd.get_option(name) for name, _its, _own in _OPTIONS}
    ours: Any = [
        one
        for name, its, own in _OPTIONS
        for one in (name, own if chosen[name] in its else chosen[name])
    ]
    with pd.option_context(*ours):
        drawn = _pandas_page(_brief(readable_frame(safe)))
    if drawn and isinstance(safe.index, pd.RangeIndex):
        drawn = drawn.replace('class="dataframe"', 'class="dataframe numbered"', 1)
    return drawn and _BODY.sub(_as_lines, _aligned(drawn, safe))


def _as_lines(cell: re.Match[str]) -> str:
    lines = cell[1].replace(_BREAK, "<br>")
    return f'<td style="{_BODY_STYLE}">{lines}</td>'


def _body(value: Any) -> Any:
    """As `_cell`, with text of several lines as lines."""
    if not isinstance(value, str) or "\n" not in value:
        return _cell(value)
    return _BREAK.join(map(_cell, shortened(value).rstrip("\n").split("\n")))


def _page_cell(value: Any) -> Any:
    """As `_body`, no longer and no wider than a page bears."""
    clean = _body(value)
    if not isinstance(clean, str):
        return clean
    lines = clean.split(_BREAK)
    if len(lines) <= _LINES and len(clean) <= _WIDTH:
        return clean
    more = [f"... {len(lines) - _LINES} lines more"] if len(lines) > _LINES else []
    cut = (f"{one[: _WIDTH - 3]}..." if len(one) > _WIDTH else one for one in lines[:_LINES])
    return _BREAK.join([*cut, *more])


def _pandas_page(frame: pd.DataFrame) -> str | None:
    draw: Any = frame._repr_html_
    drawn: str | None = draw()
    return drawn and no_formulas(sanitize(drawn))


def drawn_text(value: Any) -> str:
    """A table, Series, index or array as text, harmless."""
    return _first_drawn(value, _text, repr, object.__repr__) or ""


def _text(value: Any) -> str:
    if isinstance(value, pd.DataFrame):
        return repr(shown(value))
    return repr(shown_series(value) if isinstance(value, pd.Series) else value)


def _first_drawn(value: Any, *ways: Callable[[Any], str | None]) -> str | None:
    """What the first of the ways draws that can; None where none can."""
    for way in ways:
        try:
            drawn = way(value)
        except Exception:
            log.debug("%s: not drawn by %s", type(value).__name__, way, exc_info=True)
            continue
        return drawn and sanitize(drawn)
    return None


def styled(styler: Any) -> str | None:
    """What `frame.style` draws, harmless: pandas itself escapes nothing of a styled table.

    Text of cells reaches a formatter of the user's own escaped; labels are drawn by ours.
    """
    return _first_drawn(styler, _styled, lambda plain: page(plain.data))


def _styled(styler: Any) -> str | None:
    drawn: str | None = _safe_styler(styler)._repr_html_()
    return drawn and no_formulas(drawn)


def _safe_styler(styler: Any) -> Any:
    safe = copy(styler)
    safe.data = safe.data.copy(deep=False)
    for place in range(safe.data.shape[1]):
        if _foreign(safe.data.dtypes.iloc[place]):
            cells = [_marked_up(cell) for cell in safe.data.iloc[:, place]]
            column = pd.Series(cells, index=safe.data.index, dtype=object)
            safe.data.isetitem(place, column)
    for axis in ("index", "columns"):
        labels = getattr(safe.data, axis)
        labels = labels.set_names([_marked_up(name) for name in labels.names])
        setattr(safe.data, axis, labels)
        setattr(safe, axis, labels)
    safe.format_index(_marked_up, axis=0).format_index(_marked_up, axis=1)
    safe.caption = _marked_up(safe.caption)
    safe.cell_context = {at: _marked_up(name) for at, name in safe.cell_context.items()}
    if safe.tooltips is not None:
        safe.tooltips = copy(safe.tooltips)
        safe.tooltips.tt_data = safe.tooltips.tt_data.map(_tip)
    safe.concatenated = [_safe_styler(one) for one in safe.concatenated]
    return safe


def _tip(value: Any) -> Any:
    """Text that stands in CSS, or in an attribute."""
    marked = _marked_up(value)
    return marked.replace("\\", "&#92;").replace("\n", " ") if isinstance(marked, str) else marked


def _marked_up(value: Any) -> Any:
    """Text as HTML has it; what is no text stays what it is."""
    if isinstance(value, tuple):
        return tuple(map(_marked_up, value))
    clean = _cell(value)
    return html.escape(clean) if isinstance(clean, str) else clean


def _aligned(drawn: str, frame: pd.DataFrame) -> str:
    """What pandas has drawn, with text to the left and moments on one line; as it is where columns are left out.

    What stands in the cells is escaped, so every tag is the table's own.
    """
    places = _seen(len(frame))
    styles = [_style(frame.iloc[:, place], places) for place in range(frame.shape[1])]
    head, row, rest = drawn.partition('<tr style="text-align: right;">')
    if not row or frame.columns.nlevels > 1:
        return drawn
    titles, end, body = rest.partition("</tr>")
    found = _put(titles, "<th>", [""] * frame.index.nlevels + styles)
    rows = [_put(one, "<td>", styles) for one in body.split("<tr>")]
    return head + row + found + end + "<tr>".join(rows)


def _style(series: pd.Series[Any], places: Sequence[int]) -> str:
    if isinstance(series.dtype, pd.DatetimeTZDtype):
        return _WHOLE
    return LEFT if _is_text(series, places) else ""


def _put(row: str, tag: str, styles: Sequence[str]) -> str:
    first, *cells = row.split(tag)
    if len(cells) != len(styles):
        return row
    opened = [f"{tag[:-1]}{style}>" for style in styles]
    return first + "".join(tag + cell for tag, cell in zip(opened, cells, strict=True))


def _is_text(series: pd.Series[Any], places: Sequence[int]) -> bool:
    if not _foreign(series.dtype) or series.dtype.kind == "U":
        return _foreign(series.dtype)
    if isinstance(series.dtype, pd.StringDtype):
        return True
    return any(isinstance(cell, str | dict | list) for cell in series.iloc[list(places)])


def shown(frame: pd.DataFrame, clean_one: Callable[[Any], Any] | None = None) -> pd.DataFrame:
    """The table with what would be seen of it made harmless; itself where all is harmless.

    Args:
        frame: any table.
        clean_one: what makes a cell harmless, where it is not to be in one line.
    """
    places = _seen(len(frame))
    changes = {}
    for place in range(frame.shape[1]):
        series = frame.iloc[:, place]
        if not _foreign(series.dtype):
            continue
        cleaned = _cleaned(series, places, clean_one)
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
    """Whether a column may hold text: all but numbers, truth and times may, whoever stores it."""
    return dtype.kind not in "biufcmM"


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


def _brief(frame: pd.DataFrame) -> pd.DataFrame:
    """The table with its moments and ids as short as they can be told apart."""
    found = frame.copy(deep=False)
    for place, name in enumerate(frame.columns):
        series = frame.iloc[:, place]
        clean_one = _moment if isinstance(series.dtype, pd.DatetimeTZDtype) else None
        clean_one = _first_letters if name in _IDS else clean_one
        short = clean_one and _cleaned(series, _seen(len(frame)), clean_one)
        if short is not None:
            found.isetitem(place, short.array)
    return found


def _first_letters(value: Any) -> Any:
    return value[:_SHORT] if isinstance(value, str) and _ID.fullmatch(value) else value


def _moment(value: Any) -> Any:
    """A moment in its zone, no finer than a thousandth of a second; nothing for none."""
    if not isinstance(value, pd.Timestamp):
        return ""
    text = value.isoformat(" ", "milliseconds").replace(".000", "")
    return text.replace("+00:00", "Z")


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
