"""DataFrames from columns: moments are times."""

from __future__ import annotations

import time

import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from mcshell import table

EDGES = (-(2**63) - 1, 2**63)
"""The integers on either side of those that an Int64 holds."""


def test_moments_are_times_in_utc() -> None:
    """Seconds since the epoch and ISO's text are one dtype, and so is a column with nothing in it."""
    now = time.time()
    found = table.frame(
        {
            "sent": (table.TIME, [now, None]),
            "seen": (table.TIME, ["2026-11-25T04:00:00+01:00", 0]),
            "none": (table.TIME, [None, None]),
        }
    )
    assert [str(one) for one in found.dtypes] == ["datetime64[ns, UTC]"] * 3
    assert abs(found["sent"][0].timestamp() - now) < 1e-5
    assert found["sent"].isna().tolist() == [False, True]
    assert found["seen"].tolist() == [
        pd.Timestamp("2026-11-25T03:00:00Z"),
        pd.Timestamp("1970-01-01T00:00:00Z"),
    ]
    assert str(table.frame({"sent": (table.TIME, [])}).dtypes["sent"]) == "datetime64[ns, UTC]"


@given(st.lists(st.none() | st.sampled_from([0, -1, *EDGES, 2**64 - 1]) | st.integers()))
def test_a_number_is_kept_as_it_came(values: list[int | None]) -> None:
    """Whatever its size, and what stands beside it: `unlimited` is 2**64 - 1 in many a program."""
    found = table.frame({"limit": ("Int64", values)})["limit"]
    assert [None if one is pd.NA else one for one in found] == values
    assert (found.dtype == "Int64") == all(
        EDGES[0] < one < EDGES[1] for one in values if one is not None
    )


@given(st.lists(st.none() | st.floats() | st.integers() | st.text(max_size=20)))
def test_what_no_calendar_has_is_kept_as_it_came(values: list[object]) -> None:
    """A column with such a value is an object's: nothing is lost, nothing fails."""
    found = table.frame({"next": (table.TIME, values)})["next"]
    assert len(found) == len(values)
    if found.dtype == object:
        kept = [None if one is pd.NA else one for one in found]
        assert [str(one) for one in kept] == [str(one) for one in values]
