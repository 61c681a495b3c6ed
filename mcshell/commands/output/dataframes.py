"""Results as DataFrames; pandas is imported when the first one is made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mcshell import table
from mcshell.commands.output.readable import readable
from mcshell.commands.output.result import Table

if TYPE_CHECKING:
    import pandas as pd

    from mcshell.client.rpc.replies import Replies

__all__ = ["frame_of", "readable_frame"]


def frame_of(result: Table | Replies, *, arrived: bool = False) -> pd.DataFrame:
    """A table, or replies (`arrived`: only of those that answered), as a DataFrame."""
    if isinstance(result, Table):
        return table.frame_of_rows(result.columns, result.rows, result.times, result.kinds)
    found = result.frame()
    return found[found["statuscode"].notna()].reset_index(drop=True) if arrived else found


def readable_frame(frame: pd.DataFrame) -> pd.DataFrame:
    """The table of an analysis with its figures as one would write them, to be drawn; else itself."""
    import pandas as pd  # noqa: PLC0415 - loaded already

    names = list(frame.columns)
    if "column" not in names or len(set(names)) < len(names):
        return frame
    cells = frame.astype(object).where(frame.notna(), None)
    given = list(cells.itertuples(index=False, name=None))
    rows = [
        [_written(now, was) for now, was in zip(*pair, strict=True)]
        for pair in zip(readable(names, given), given, strict=True)
    ]
    return pd.DataFrame(rows, index=frame.index, columns=frame.columns, dtype=object)


def _written(value: Any, given: Any) -> Any:
    """A figure and its unit, on one line wherever it stands; nothing for none."""
    if value is None:
        return ""
    figure = value is not given and isinstance(value, str)
    return value.replace(" ", "\N{NO-BREAK SPACE}") if figure else value
