"""`df.mco` and `series.mco`: what they know of rows, wherever the sender stands."""

from __future__ import annotations

import zipfile
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest

from mcshell.client import accessor  # noqa: F401 - registers `mco`
from mcshell.client.discovery.targeting import names_of
from mcshell.errors import MachineError, UsageError

if TYPE_CHECKING:
    from pathlib import Path


def frame() -> pd.DataFrame:
    """Three nodes' answers, one of them silent."""
    return pd.DataFrame(
        {
            "sender": pd.Series(["a", "b", "c"], dtype="string"),
            "state": ["ok", "ok", "silent"],
            "v": pd.array([1, 2, None], dtype="Int64"),
            "value": [{"os": {"name": "Debian"}, "n": 1}, {"os": {"name": "SUSE"}, "n": 2.5}, None],
            "disks": [[{"dev": "sda", "sender": "x"}, {"dev": "sdb", "free": 2**60}], [], pd.NA],
            "words": [["x", "y"], ["z"], None],
        }
    )


SHAPES: dict[str, Any] = {
    "a column": lambda one: one,
    "the index": lambda one: one.set_index("sender"),
    "a level": lambda one: one.set_index(["state", "sender"]),
    "Arrow": lambda one: one.assign(sender=one["sender"].astype("string[pyarrow]")),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_a_sender_may_stand_anywhere(shape: str) -> None:
    """As a column, the index or a level of it: targets, sets and analysis are the same."""
    rows = SHAPES[shape](frame())
    assert names_of(rows) == ("a", "b", "c")
    assert names_of(rows.assign(name="nginx")) == ("a", "b", "c")  # which a Series has too
    assert list(rows.mco.summary("v")["answers"]) == [2]
    assert len(rows.mco - ["a"]) == 2
    assert names_of(rows.mco & ["a", "z"]) == ("a",)
    assert names_of(rows.mco | ["z"]) == ("a", "b", "c", "z")
    assert names_of(rows.mco ^ ["a", "z"]) == ("b", "c", "z")
    assert names_of(rows.mco.top(1, "v")) == ("b",)
    assert names_of(rows.mco.silent) == ("c",)
    assert names_of(rows.mco & ()) == ()
    assert set(rows.mco.fold("words")["count"]) == {1}
    assert list(rows.mco.diff(frame())["sender"]) == []
    assert rows.mco.flat().index.equals(rows.index)
    assert list(rows.mco.explode("words")["words"].dropna()) == ["x", "y", "z"]


def test_rows_take_no_other_targets() -> None:
    """`nodes=` beside them is refused in a line, before anything is asked."""
    with pytest.raises(UsageError, match="the rows are the targets"):
        frame().mco.rpc("package", "status", name="openssl", nodes=["a"])


@pytest.mark.skipif(find_spec("xlsxwriter") is None, reason="needs XlsxWriter (the extra `report`)")
def test_a_sheet_has_moments_and_harmless_text(tmp_path: Path) -> None:
    """Moments with a zone are UTC's, which pandas refuses; text is no formula, and a hash is JSON."""
    noon = pd.Timestamp("2026-11-25 13:00", tz="Europe/Amsterdam")
    rows = frame().assign(done=noon, said="=1+1").set_index("sender")
    rows.mco.to_excel(tmp_path / "x.xlsx")
    with zipfile.ZipFile(tmp_path / "x.xlsx") as book:
        sheet = book.read("xl/worksheets/sheet1.xml").decode()
        texts = book.read("xl/sharedStrings.xml").decode()
    days = (pd.Timestamp("2026-11-25 12:00") - pd.Timestamp("1899-12-30")) / pd.Timedelta(days=1)
    assert sheet.count(f"<v>{days:g}</v>") == 3
    assert "<f>" not in sheet
    for text in ("sender", "=1+1", '{"os": {"name": "Debian"}, "n": 1}'):
        assert f">{text}<" in texts
    with pytest.raises(UsageError, match=r"y\.csv: a name that ends with \.xlsx is meant"):
        rows.mco.to_excel(str(tmp_path / "y.csv"))
    with pytest.raises(UsageError, match="No such file or directory"):
        rows.mco.to_excel(tmp_path / "nosuch" / "x.xlsx")
    with pytest.raises(UsageError, match="said has a text over 32767 letters"):
        rows.assign(said="x" * 40_000).mco.to_excel(tmp_path / "x.xlsx")
    assert zipfile.is_zipfile(tmp_path / "x.xlsx")  # what was there stays
    (tmp_path / "full.xlsx").symlink_to("/dev/full")
    with pytest.raises(MachineError, match="No space left on device"):
        rows.mco.to_excel(tmp_path / "full.xlsx")


VALUES = {"v", "value", "usual", "before", "after", "min", "median", "max"}
"""Columns whose values are the nodes': they have the type of these."""


def test_a_series_may_be_targets() -> None:
    """Senders themselves, values by their sender, and one row of a table."""
    rows = frame()
    assert names_of(rows.sender.mco & ["a"]) == ("a",)
    by_sender = rows.set_index("sender")["v"]
    assert names_of(by_sender) == ("a", "b", "c")
    assert names_of(by_sender[by_sender > 1].mco | ()) == ("b",)
    assert by_sender.mco.summary("v").loc[0, "max"] == 2
    assert names_of(rows.iloc[1].mco | ()) == ("b",)
    for other in (rows["v"], rows["state"].value_counts()):
        with pytest.raises(AttributeError, match="no `sender`"):
            _ = other.mco
    with pytest.raises(AttributeError, match="no `sender`"):
        _ = rows[["v"]].mco


def test_rows_that_are_no_targets_are_refused() -> None:
    """Two columns of that name, or names that are none, are a line; a row without one is left out."""
    rows = frame()
    with pytest.raises(UsageError, match="one `sender` column"):
        names_of(pd.concat([rows, rows], axis=1))
    with pytest.raises(UsageError, match="1 is no name"):
        names_of(pd.DataFrame({"sender": [1]}))
    assert names_of(pd.DataFrame({"sender": ["a", None]})) == ("a",)


@pytest.mark.parametrize("name", ["sender", "state", "requestid"])
def test_rows_of_which_two_columns_tell_are_refused(name: str) -> None:
    """Beside each other two tables say twice whose rows they are, and what became of them."""
    rows = frame().assign(requestid="ab")
    twice = pd.concat([rows, rows[[name]]], axis=1)
    for ask in ("ok", "summary", "refresh", "flat"):
        with pytest.raises(UsageError, match=f"one column '{name}' is meant, and there are 2"):
            _ = getattr(twice.mco, ask) if ask == "ok" else getattr(twice.mco, ask)()
    with pytest.raises(UsageError, match="and there are 2"):
        rows.mco.diff(twice)
    with pytest.raises(UsageError, match="and there are 2"):
        _ = twice.mco - ["a"]


def test_a_sender_that_is_not_there_is_missed() -> None:
    """It was taken away since, or the later table of a difference has none."""
    rows = frame()
    held = rows.mco
    with pytest.raises(UsageError, match="one column 'sender' is meant, and there are none"):
        held.diff(rows[["v"]])
    del rows["sender"]
    with pytest.raises(UsageError, match="one column 'sender' is meant, and there are none"):
        held.summary()


def test_a_pivot_has_columns() -> None:
    """The labels of a table whose columns have levels are joined by dots."""
    rows = frame().assign(lag=[0.5, 0.5, None])
    wide = rows.pivot_table(["v", "lag"], "sender", "state", dropna=False)
    for one in (wide, wide.reset_index()):
        assert list(one.mco.fold("lag.ok")["count"]) == [2, 1]
        assert list(one.mco.summary("v.ok")["answers"]) == [2]
        assert names_of(one.mco | ["z"]) == ("a", "b", "c", "z")
        assert names_of(one.mco.odd("lag.ok")) == ("c",)


def test_what_no_rows_can_be_of_is_told_so() -> None:
    """A column that was renamed is named, and not counted; a number of rows is above 0."""
    for count in (0, -1):
        with pytest.raises(UsageError, match="above 0"):
            frame().mco.top(count, "v")
    with pytest.raises(UsageError, match="no column 'requestid'"):
        frame().mco.refresh()


def test_flat_has_a_column_a_path() -> None:
    """Hashes become columns with the dtype of their values, beside the others as they were."""
    flat = frame().mco.flat()
    assert list(flat.columns) == [
        "sender",
        "state",
        "v",
        "value.os.name",
        "value.n",
        "disks",
        "words",
    ]
    assert str(flat.dtypes["v"]) == "Int64"
    assert str(flat.dtypes["value.n"]) == "Float64"
    assert list(flat["value.os.name"][:2]) == ["Debian", "SUSE"]
    assert pd.isna(flat["value.os.name"][2])
    meets = frame().assign(**{"value.n": 0}).mco.flat()
    assert list(meets["data_value.n"][:2]) != list(meets["value.n"][:2])
    assert meets.columns.is_unique


def test_explode_has_a_row_an_element() -> None:
    """Of hashes each key is a column; who has none keeps a row; a path leads into a hash."""
    found = frame().mco.explode("disks")
    assert list(found.columns) == ["sender", "dev", "data_sender", "free"]
    assert list(found["sender"]) == ["a", "a", "b", "c"]
    assert found["free"].dropna().tolist() == [2**60]
    assert str(found.dtypes["free"]) == "Int64"
    nested = pd.DataFrame({"sender": ["a"], "value": [{"disks": [{"dev": "sda"}]}]})
    assert list(nested.mco.explode("value.disks")["dev"]) == ["sda"]
    with pytest.raises(UsageError, match="no column 'nosuch'"):
        frame().mco.explode("nosuch")


def test_what_is_found_has_its_dtypes_also_where_nothing_is() -> None:
    """Tables of several looks, with and without findings, are put together without losing their types."""
    rows = pd.DataFrame(
        {
            "sender": pd.array([f"n{number}" for number in range(12)], dtype="string"),
            "state": pd.array(["ok"] * 12, dtype="string"),
            "v": pd.array([*[1] * 11, 900], dtype="Int64"),
        }
    )
    some, none = rows.mco, rows.head(0).mco
    for found, empty in (
        (some.fold("v"), none.fold("v")),
        (some.outliers("v"), none.outliers("v")),
        (some.diff(rows.assign(v=2), "v"), none.diff(rows.head(0), "v")),
        (some.summary("v"), rows.assign(v=None).mco.summary("v")),
    ):
        kept = pd.concat([found, empty]).dtypes
        fixed = [name for name in found.columns if name not in VALUES]
        assert list(found.dtypes[fixed]) == list(empty.dtypes[fixed]) == list(kept[fixed])
        assert "object" not in {str(kept[name]) for name in fixed}
