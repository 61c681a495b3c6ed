"""A table as an Excel sheet, in which all is what it was: text no formula, a long number no other number."""

from __future__ import annotations

from importlib.util import find_spec
from io import BytesIO
from typing import TYPE_CHECKING, Any, Final

import pandas as pd

from mcshell.client.analysis.sql import as_json
from mcshell.errors import UsageError
from mcshell.storage import not_written

if TYPE_CHECKING:
    from pathlib import Path
    from typing import BinaryIO

__all__ = ["save_sheet", "write_sheet"]

_PACKAGE: Final = "xlsxwriter"
_CELL: Final = 32_767  # letters, in Excel
_EXACT: Final = 2**53  # whole numbers, in Excel


def save_sheet(frame: pd.DataFrame, path: Path) -> None:
    """Write a sheet into a file; raises UsageError where that cannot be, MachineError where the disk takes nothing."""
    if path.suffix.lower() != ".xlsx":
        raise UsageError(f"{path}: a name that ends with .xlsx is meant")
    if find_spec(_PACKAGE) is None:
        raise UsageError(f"{path}: needs the package {_PACKAGE}: pip install {_PACKAGE}")
    out = BytesIO()
    write_sheet(frame, out)
    try:
        path.write_bytes(out.getvalue())
    except OSError as error:
        raise not_written(path, error) from error


def write_sheet(frame: pd.DataFrame, out: BinaryIO) -> None:
    """Write a sheet; moments are in UTC, without their zone: Excel has none.

    Raises:
        UsageError: a text is too long for a cell.
    """
    columns = [_column(name, frame.iloc[:, place]) for place, name in enumerate(frame.columns)]
    plain = {"strings_to_formulas": False, "strings_to_urls": False}
    with pd.ExcelWriter(out, engine="xlsxwriter", engine_kwargs={"options": plain}) as book:
        pd.concat(columns, axis="columns").to_excel(book, index=False)


def _column(name: object, column: pd.Series[Any]) -> pd.Series[Any]:
    """A column as Excel takes it; what is nested is JSON."""
    kind = pd.api.types
    if kind.is_datetime64_any_dtype(column):
        moments = column if column.dt.tz is None else column.dt.tz_convert("UTC")
        bare: pd.Series[Any] = moments.dt.tz_localize(None)
        return bare
    if kind.is_integer_dtype(column):
        return column.astype("string") if (column.abs() > _EXACT).any() else column
    if column.dtype == object:
        column = column.map(
            lambda one: as_json(one) if isinstance(one, dict | list | tuple) else one
        )
    if column.map(lambda one: isinstance(one, str) and len(one) > _CELL).any():
        raise UsageError(f"{name} has a text over {_CELL} letters, Excel's most: > a .csv")
    return column
