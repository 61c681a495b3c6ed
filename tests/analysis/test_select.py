"""Some rows of many: by an expression, the odd ones, the largest."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcshell.client import accessor
from mcshell.client.analysis.select import odd, only, spread, top
from mcshell.errors import UsageError
from tests.analysis.conftest import answers

assert accessor

VALUES = st.one_of(st.none(), st.booleans(), st.integers(0, 3), st.text("ab", max_size=1))


def column(values: list[Any], **more: Any) -> Any:
    """Answers with one output `v`."""
    return answers({f"n{at}": {"v": value} for at, value in enumerate(values)}, **more)


def test_only_takes_rows_of_which_it_is_true() -> None:
    """Outputs and the table's own columns can be compared; a slip of a name is refused."""
    found = column([True, False, None], state=["ok", "ok", "silent"])
    assert only(found, "v=false") == [1]
    assert only(found, "state=silent or v=true") == [0, 2]
    with pytest.raises(UsageError, match="did you mean state"):
        only(found, "sate=ok")


def test_odd_is_whoever_has_not_what_most_have() -> None:
    """However many they are, and also who has nothing; who did not answer is not odd."""
    assert odd(column(["1", "1", "1", "2", "2", None]), "v") == [3, 4, 5]
    silent = column(["1", "1", "2", None], state=["ok", "ok", "ok", "silent"])
    assert odd(silent, "v") == [2]
    assert odd(silent, "state") == [3]
    assert odd(column(["1"], state=["silent"]), "v") == []


def test_a_tie_has_no_majority() -> None:
    """Nobody is called odd where as many have one value as another: the values are named."""
    with pytest.raises(UsageError, match="2 of 4 have 1 and as many 2"):
        odd(column(["1", "1", "2", "2"]), "v")


@given(st.lists(VALUES, min_size=1, max_size=12))
def test_the_rest_have_one_value(values: list[Any]) -> None:
    """Those who are not odd have all the same, and are more than any group of the odd."""
    try:
        places = odd(column(values), "v")
    except UsageError:
        return
    kinds = [(type(value), value) for at, value in enumerate(values) if at not in places]
    assert len(set(kinds)) == 1
    others = [(type(values[at]), values[at]) for at in places]
    assert all(others.count(one) < len(kinds) for one in others)


def test_top_takes_the_largest_numbers() -> None:
    """The largest first; texts, booleans and nothing are no numbers."""
    assert top(column([3, "9", None, 7.5, True, 5]), 2, "v") == [3, 5]


def test_top_of_a_column_without_numbers_is_refused() -> None:
    """No rows would look as if nobody had answered; where nobody has a value there are none."""
    with pytest.raises(UsageError, match=r"top: no number in v, but Debian$"):
        top(column([None, "Debian", True]), 2, "v")
    assert top(column([None, None]), 2, "v") == []


def test_a_list_of_hashes_is_a_row_each() -> None:
    """The path leads into the lists: each hash is a row with its node and its own keys."""
    found = answers(
        {
            "a": {"ps": [{"pid": 1, "rss": 10}, {"pid": 2, "rss": 30, "sender": "me"}]},
            "b": {"ps": [{"pid": 1, "rss": 20}]},
            "c": {"ps": None},
        }
    )
    rows, name = spread(found, "ps.rss") or pytest.fail("it is a list of hashes")
    assert name == "rss"
    assert rows.senders == ("a", "a", "b")
    assert rows.columns["data_sender"] == [None, "me", None]
    largest = rows.at(top(rows, 2, name))
    assert list(zip(largest.senders, largest.columns["rss"], strict=True)) == [("a", 30), ("b", 20)]
    assert spread(found, "ps") is None
    assert spread(answers({"a": {"os": {"n": 1}}}), "os.n") is None


def test_a_table_has_them_too() -> None:
    """`df.mco.odd` gives the rows themselves, with their index; `df.mco.top` sorts or spreads."""
    frame = pd.DataFrame(
        {
            "sender": ["a", "b", None, "d"],
            "v": [1, 1, 1, 4],
            "ps": [[{"rss": 1}], [{"rss": 5}], [], [{"rss": 3}]],
        },
        index=[10, 11, 12, 13],
    )
    found = frame.mco.odd("v")
    assert list(found.index) == [13]
    assert list(found["sender"]) == ["d"]
    assert list(frame.mco.top(1, "v")["sender"]) == ["d"]
    assert list(frame.mco.top(2, "ps.rss")["sender"]) == ["b", "d"]
