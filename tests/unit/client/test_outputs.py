"""What outputs are called in a table that has other columns too."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mcshell.client.analysis.answers import Answers
from mcshell.client.analysis.fold import rows
from mcshell.client.rpc.outputs import FIXED, columns_for, outputs_of

NAMES = st.sampled_from([*FIXED, "unfit", "data_state", "data_data_state", "data_unfit", "x"])


@given(st.lists(NAMES, unique=True))
def test_no_two_outputs_share_a_column(names: list[str]) -> None:
    """Whatever outputs are called, each has a column, and none is one of ours."""
    found = outputs_of(None, [dict.fromkeys(names, 1)]).columns
    assert list(found) == names
    assert len(set(found.values())) == len(names)
    assert not {*FIXED, "unfit"} & set(found.values())


def test_a_name_that_is_taken_gets_a_prefix() -> None:
    """`state` beside `data_state` is moved out of its way; what is free stays."""
    assert columns_for(["state", "data_state", "x"], ("state",)) == {
        "state": "data_data_state",
        "data_state": "data_state",
        "x": "x",
    }


def test_a_fold_of_what_is_called_like_its_own_columns() -> None:
    """Outputs `nodes` and `count` are beside the fold's own."""
    answers = Answers(("a", "b"), {"sender": ["a", "b"], "nodes": [3, 3], "count": [4, 4]})
    columns, found = rows(answers, ("nodes", "count"))
    assert columns == ("nodes", "count", "state", "data_nodes", "data_count")
    assert [row[1:] for row in found] == [(2, None, 3, 4)]
