"""Results as DataFrames; pandas is imported when the first one is made."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcshell import table
from mcshell.commands.output.result import Table

if TYPE_CHECKING:
    import pandas as pd

    from mcshell.client.rpc.replies import Replies

__all__ = ["frame_of"]


def frame_of(result: Table | Replies, *, arrived: bool = False) -> pd.DataFrame:
    """A table, or replies (`arrived`: only of those that answered), as a DataFrame."""
    if isinstance(result, Table):
        return table.frame_of_rows(result.columns, result.rows)
    found = result.frame()
    return found[found["statuscode"].notna()].reset_index(drop=True) if arrived else found
