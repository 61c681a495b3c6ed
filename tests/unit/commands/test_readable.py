"""Figures for a reader: shares, bytes and times."""

from __future__ import annotations

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcshell.client.analysis import summary
from mcshell.commands.output.dataframes import readable_frame
from mcshell.commands.output.readable import readable, share, size, span


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0 B"),
        (512, "512 B"),
        (1024, "1.0 KiB"),
        (17_179_869_184, "16.0 GiB"),
        (2e30, "1734723475976.8 EiB"),
    ],
)
def test_bytes(value: float, text: str) -> None:
    """Bytes are in the largest unit of which there is one."""
    assert size(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0 s"),
        (0.0123, "12.3 ms"),
        (4.25, "4.2 s"),
        (60, "1 min"),
        (3_725, "1 h 2 min"),
        (273_600, "3 d 4 h"),
        (-90, "-1 min 30 s"),
    ],
)
def test_times(value: float, text: str) -> None:
    """What something takes is in the two largest units."""
    assert span(value) == text


@given(st.floats(0, 1))
def test_what_is_not_all_is_never_100_per_cent(part: float) -> None:
    """Nor is what is there 0 %."""
    assert (share(part) == "100 %") is (part == 1)
    assert (share(part) == "0 %") is (part == 0)


def test_the_unit_is_that_of_the_name() -> None:
    """The rows of a summary are in the unit that their column's name ends in; the frame stays as it is."""
    row = ("facts.memory.total_bytes", "number", 3, 0, 2, 2**34, 2 / 3, 2**34, 2**34, 2**35)
    other = ("load", "number", 3, 0, 3, None, None, 0.123456, 1, 2.5)
    (drawn, plain) = readable(tuple(summary.COLUMNS), [row, other])
    assert drawn[5:] == ("16.0 GiB", "67 %", "16.0 GiB", "16.0 GiB", "32.0 GiB")
    assert plain[5:] == (None, None, 0.1235, 1, 2.5)
    frame = pd.DataFrame([row, other], columns=list(summary.COLUMNS))
    before = frame.copy()
    assert readable_frame(frame)["max"].tolist() == ["32.0\N{NO-BREAK SPACE}GiB", 2.5]
    pd.testing.assert_frame_equal(frame, before)


def test_other_tables_stay_as_they_are() -> None:
    """A `share` in somebody's own table is a number."""
    frame = pd.DataFrame({"sender": ["web1"], "share": [0.5]})
    assert readable_frame(frame) is frame
    twice = pd.DataFrame([[1, 2]], columns=["column", "column"])
    assert readable_frame(twice) is twice
