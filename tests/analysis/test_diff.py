"""`diff` finds what was planted, and nothing else."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest

from mcshell.client import accessor
from mcshell.client.analysis.diff import diff, summary_line
from mcshell.errors import UsageError
from tests.analysis.conftest import answers

if TYPE_CHECKING:
    import random

assert accessor


def fleet(chance: random.Random, size: int = 500) -> dict[str, dict[str, Any]]:
    """Nodes with text, numbers, nested values and holes."""
    return {
        f"web{n:03}": {
            "version": chance.choice(["1.0", "1.1"]),
            "size": chance.random(),
            "os": {"name": "Debian", "release": {"major": chance.choice([11, 12])}},
            "mounts": chance.sample(["/", "/home", "/var"], 2),
            "note": chance.choice([None, "", "x"]),
        }
        for n in range(size)
    }


def test_exactly_the_planted_changes_are_found(chance: random.Random) -> None:
    """Added and gone nodes and values, changed values at any depth: all of them, no other."""
    before = fleet(chance)
    after = copy.deepcopy(before)
    planted: set[tuple[str, str, str]] = set()
    for name in chance.sample(sorted(after), 20):
        del after[name]
        planted.add((name, "gone", "sender"))
    for n in range(900, 915):
        after[f"web{n}"] = {"version": "1.0"}
        planted.add((f"web{n}", "added", "sender"))
    both = [name for name in before if name in after]
    for name in chance.sample(both, 40):
        after[name]["version"] += "-2"
        planted.add((name, "changed", "version"))
    for name in chance.sample(both, 40):
        after[name]["os"]["release"]["major"] = 13
        planted.add((name, "changed", "os.release.major"))
    for name in chance.sample(both, 10):
        after[name]["mounts"] = after[name]["mounts"][::-1]
        planted.add((name, "changed", "mounts"))
    for name in chance.sample(both, 10):
        after[name]["os"]["kernel"] = {"release": "6.1"}
        planted.add((name, "added", "os.kernel.release"))
    for name in chance.sample(both, 10):
        del after[name]["os"]["name"]
        planted.add((name, "gone", "os.name"))
    items = list(after.items())
    chance.shuffle(items)
    found = diff(answers(before), answers(dict(items)))
    assert {(one.sender, one.change, one.column) for one in found} == planted
    assert len(found) == len(planted)
    assert diff(answers(before), answers(before)) == []


def test_a_node_that_fell_silent_is_one_change() -> None:
    """Its state changed; the values that it did not give are not called gone."""
    before, after = (answers({"a": {"v": 1, "w": 2}, "b": {"v": 1, "w": 2}}) for _ in range(2))
    after.columns["state"][0] = "silent"  # type: ignore[index]
    after.columns["statuscode"][0] = None  # type: ignore[index]
    after.columns["v"][0] = after.columns["w"][0] = None  # type: ignore[index]
    (change,) = diff(before, after)
    assert (change.sender, change.column, change.before, change.after) == (
        "a",
        "state",
        "ok",
        "silent",
    )
    assert summary_line([change], before, after) == (
        "0 nodes added, 0 gone; 1 values differ on 1 nodes, 1 are the same"
    )


def test_tables_are_compared_by_the_accessor() -> None:
    """`df.mco.diff(later)` gives a row for each node and column, of those asked for."""
    old = pd.DataFrame({"sender": ["a", "b"], "v": [1, 2], "w": [[1], {"x": 1}]})
    new = pd.DataFrame({"sender": ["b", "a"], "v": [2.0, 5.0], "w": [{"x": 2}, [1]]})
    assert old.mco.diff(new).astype(str).to_numpy().tolist() == [
        ["a", "changed", "v", "1", "5.0"],
        ["b", "changed", "w.x", "1", "2.0"],
    ]
    assert list(old.mco.diff(new, "v")["sender"]) == ["a"]


def test_rows_of_two_requests_are_refused() -> None:
    """A table in which a node has two rows is no moment."""
    twice = pd.DataFrame({"sender": ["a", "a"], "v": [1, 2]})
    with pytest.raises(UsageError, match="a is there twice"):
        twice.mco.diff(twice)
