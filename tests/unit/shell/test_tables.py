"""Tables that are drawn without tabulate, as a light node draws them."""

from __future__ import annotations

import string

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from tabulate import tabulate

from mcshell.commands import light
from mcshell.errors import UsageError
from mcshell.shell.tables import simple, tabulated

PRINTED = st.text(string.ascii_letters + string.digits + " .:-\n", max_size=12)


@given(
    st.integers(1, 4).flatmap(
        lambda n: st.tuples(
            st.lists(
                st.text(string.ascii_lowercase, min_size=1, max_size=8), min_size=n, max_size=n
            ),
            st.lists(st.lists(PRINTED, min_size=n, max_size=n), min_size=1, max_size=5),
        )
    )
)
def test_it_is_drawn_as_tabulate_draws_it(table):
    """Letter for letter what tabulate's "simple" is, but for empty rows, which that leaves out."""
    columns, cells = table
    cells = [row for row in cells if any(map(str.strip, row))]
    assume(cells)
    theirs = tabulate(cells, headers=columns, tablefmt="simple", disable_numparse=True)
    assert simple(columns, cells) == f"{theirs}\n"


def test_a_row_without_text_stays_a_row():
    """Where tabulate leaves such a row out, the table has it; a table may have no row at all."""
    assert tabulated(("a",), [["x"], [""], ["y"]], "table").splitlines()[2:] == ["x", "", "y"]
    assert tabulated(("a", "b"), [], "table").split() == ["a", "b", "---", "---"]


def test_wide_letters_are_drawn_by_tabulate():
    """What is no ASCII is as wide as a terminal shows it: a combining mark takes no room."""
    drawn = tabulated(("name", "n"), [["e\u0301", "1"], ["日", "2"], ["abcdefg", "3"]], "table")
    assert drawn.splitlines()[2:] == ["e\u0301        1", "日       2", "abcdefg  3"]


def test_colours_take_no_room():
    """A painted state is as wide as its letters."""
    drawn = simple(("state", "sender"), [["\x1b[32mok\x1b[0m", "web1"], ["silent", "web2"]])
    assert drawn.splitlines()[2] == "\x1b[32mok\x1b[0m       web1"


def test_a_package_that_is_not_there_is_named():
    """Whoever wants one is told what this installation is."""
    light.require("json", "a test")
    with pytest.raises(UsageError, match=r"^a test: this is a light node, which has no nosuch;"):
        light.require("nosuch", "a test")
