"""`job list`, `submit` and `forecast` as a reader sees them: a line a job."""

from __future__ import annotations

import io
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from mcshell.commands.grammar.options import OutputOptions
from mcshell.commands.output.result import Table
from mcshell.commands.verbs.job_glances import forecast_glance, list_glance, submit_glance
from mcshell.shell.output import Screen, show

ID = "0123456789abcdef" * 2


def lines(
    rows: list[dict[str, Any]], width: int | None = 120, glance: Any = list_glance
) -> list[list[str]]:
    """The words of each line, without the heading, and the notes behind them."""
    out, err = io.StringIO(), io.StringIO()
    show(glance(Table(("sender",), []), rows), OutputOptions(), Screen(out, err, width))
    return [
        line.split() for line in (*out.getvalue().splitlines()[2:], *err.getvalue().splitlines())
    ]


def row(sender: str, state: str = "scheduled", job: Any = ID, **more: Any) -> dict[str, Any]:
    """Where a job stands on a node."""
    about = {"name": "patch", "owner": "cert=alice", "agent": "package", "action": "update"}
    return {
        **about,
        "sender": sender,
        "state": state,
        "job": job,
        "next": 2e9,
        "last": None,
        **more,
    }


def test_a_line_has_the_name_the_counts_and_the_earliest_start() -> None:
    """States are counted, the id is its first letters; who told of no job is named by what it said."""
    found = lines(
        [
            row("web1", next=2e9 + 60),
            row("web2"),
            row("web3", "paused", next=None),
            row("db1", job="f" * 32, name=None),
            row("db2", "denied", job=None),
        ]
    )
    assert [one[0] for one in found[:2]] == ["ffffffff", "patch"]
    assert found[1][1:6] == ["01234567", "2", "scheduled,", "1", "paused"]
    assert "2033-05-18" in found[1]
    assert "web[1-3]" in found[1]
    assert ["denied:", "db2"] in found


def test_a_forecast_counts_the_starts_and_folds_the_nodes() -> None:
    """From the first to the last; what is not sure is counted, and why, with whom, stands below."""
    rows = [row(f"web{at}", start=2e9 + at, sure=True, conflict=False) for at in (1, 1, 2)]
    rows += [row("web3", start=None, sure=False, why="after 0123:ok")]
    rows += [row("db1", job=None, why="silent: no reply")]
    found = lines(rows, glance=forecast_glance)
    assert found[0][:3] == ["patch", "01234567", "3"]
    assert {"web[1-3]", "package.update", "1"} <= set(found[0])
    assert ["after", "0123:ok:", "web3"] in found
    assert ["silent:", "no", "reply:", "db1"] in found


def test_what_was_handed_in_is_a_line() -> None:
    """States are counted; a reason stands below, once, with those whom it is about."""
    rows = [row(f"web{at}", "received", start=2e9 + at) for at in range(10)]
    rows += [row(f"db{at}", "denied", start=None, reason="no rule") for at in (1, 2)]
    found = lines(rows, glance=submit_glance)
    assert found[0][:5] == ["01234567", "10", "received,", "2", "denied"]
    assert found[0][-1] == "db[1-2],web[0-9]"
    assert found[1:] == [["no", "rule:", "db[1-2]"]]


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2)
    ),
    max_leaves=4,
)


@given(st.lists(st.dictionaries(st.sampled_from(sorted(row("x"))), anything), max_size=3))
def test_whatever_nodes_say_of_their_jobs_is_drawn(said: list[dict[str, Any]]) -> None:
    """An id that is no text, a moment that is none: the line is there, and nothing harmful in it."""
    rows = [{**one, "sender": f"web{at}"} for at, one in enumerate(said)]
    for width, glance in ((None, list_glance), (60, list_glance), (60, forecast_glance)):
        shown = lines([*rows, row("web9")], width, glance)
        text = " ".join(word for line in shown for word in line)
        assert "01234567" in text
        assert not set(text) & {"\x1b", "\x07", "\u202e"}
