"""Summaries over replies."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcshell import plugins
from tests.unit.ddl.documents import run_action

OUTPUTS = {
    "v": {"description": "V", "display_as": "The V", "type": "string"},
    "n": {"description": "N", "display_as": "", "type": "number"},
}


def aggregates(rows, *entries):
    """What an action with these aggregate entries makes of the rows."""
    return run_action({}, output=OUTPUTS, aggregate=list(entries)).aggregate(iter(rows))


def test_summary():
    """A summary counts values, of an array each element, the most frequent first; not None."""
    rows = [{"v": "b"}, {"v": "a"}, {"v": ["b", "c", None]}, {"v": None}, {}, {"v": True}, {"v": 3}]
    (one,) = aggregates(rows, {"function": "summary", "args": ["v"]})
    assert one.title == "Summary of The V"
    assert list(one.values.items()) == [("b", 2), ("3", 1), ("a", 1), ("c", 1), ("true", 1)]
    assert one.lines[:2] == ("   b = 2", "   3 = 1")
    assert one.as_dict()["values"] == {"b": 2, "3": 1, "a": 1, "c": 1, "true": 1}


def test_a_value_draws_no_line_of_its_own():
    """What a node has said in two lines is one line of the summary."""
    rows = [{"v": "a\n  b = 99"}, {"v": "d"}]
    (one,) = aggregates(rows, {"function": "summary", "args": ["v"]})
    assert one.lines == ("a\\n  b = 99 = 1", f"{'d':>11} = 1")
    assert one.values["a\n  b = 99"] == 1


def test_numbers():
    """Average and sum take numbers and leave the rest; MCollective's words by default."""
    rows = [{"n": 1}, {"n": 2.5}, {"n": "x"}, {"n": True}, {"n": None}]
    mean, total = aggregates(
        rows, {"function": "average", "args": ["n"]}, {"function": "sum", "args": ["n"]}
    )
    assert (mean.values, mean.lines) == (1.75, ("Average of n: 1.750000",))
    assert (total.values, total.lines) == (3.5, ("Sum of n: 3.500000",))
    assert total.as_dict() == {
        "title": "Summary of n",
        "function": "sum",
        "output": "n",
        "values": 3.5,
    }


def test_formats():
    """A format may stand beside the arguments or, as in MCollective, among them."""
    rows = [{"n": 1, "v": True}, {"n": 2, "v": False}, {"n": 2, "v": True}]
    lines = [
        one.lines
        for one in aggregates(
            rows,
            {"function": "average", "args": ["n"], "format": "mean %.1f s"},
            {"function": "sum", "args": ["n", {"format": "%d in all"}]},
            {"function": "summary", "args": ["n"], "format": "%s: %d times"},
            {"function": "boolean_summary", "args": ["v", {"true": "on", "false": "off"}]},
        )
    ]
    assert lines == [
        ("mean 1.7 s",),
        ("5 in all",),
        ("2: 2 times", "1: 1 times"),
        (" on = 2", "off = 1"),
    ]


def test_nothing_to_say():
    """Without values there is no summary at all, and without entries the rows are not read."""
    entries = [
        {"function": name, "args": ["n"]}
        for name in ("summary", "average", "sum", "boolean_summary")
    ]
    assert aggregates([{"v": 1}, {"n": None}], *entries) == []
    assert aggregates([]) == []


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"function": "sum", "args": ["n"], "format": "%s %s %s"}, "'%s %s %s' does not fit"),
        ({"function": "sums", "args": ["n"]}, "did you mean sum"),
    ],
)
def test_a_summary_that_cannot_be_made_costs_itself(wrong, says, caplog):
    """An unknown function, or a format that does not fit, is a warning; the others are made."""
    (made,) = aggregates([{"n": 1}], wrong, {"function": "sum", "args": ["n"]})
    assert made.values == 1
    assert says in caplog.text


@given(st.lists(st.sampled_from(["a", "b", "c"])), st.lists(st.integers(-100, 100), min_size=1))
def test_like_the_model(words, numbers):
    """Counts, sum and average are those of the values."""
    summary = aggregates([{"v": word} for word in words], {"function": "summary", "args": ["v"]})
    assert (summary[0].values if summary else {}) == Counter(words)
    mean, total = aggregates(
        [{"n": number} for number in numbers],
        {"function": "average", "args": ["n"]},
        {"function": "sum", "args": ["n"]},
    )
    assert total.values == sum(numbers)
    assert mean.values == pytest.approx(sum(numbers) / len(numbers))


def test_a_plugged_in_function():
    """A function of the kind aggregate can be used by its name."""
    plugins.register("aggregate", "largest", lambda values, options: max(values, default=None))
    try:
        (one,) = aggregates([{"n": 3}, {"n": 9}], {"function": "largest", "args": ["n"]})
    finally:
        plugins.unregister("aggregate", "largest")
    assert one.lines == ("Largest of n: 9",)


def test_a_plugged_in_function_that_fails_costs_itself(caplog):
    """What one node has said may be more than it can take: the replies and other summaries stay."""
    plugins.register("aggregate", "whole", lambda values, options: sum(map(int, values)))
    try:
        (made,) = aggregates(
            [{"n": 1}, {"n": "x"}],
            {"function": "whole", "args": ["n"]},
            {"function": "summary", "args": ["n"]},
        )
    finally:
        plugins.unregister("aggregate", "whole")
    assert made.function == "summary"
    assert "aggregate whole: ValueError: " in caplog.text
