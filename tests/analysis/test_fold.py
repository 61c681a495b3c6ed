"""`fold`, held against the clubak that ships with ClusterShell."""

from __future__ import annotations

import random
import re
import subprocess
import sys
from typing import Any

import pandas as pd
import pytest
from ClusterShell.NodeSet import NodeSet

from mcshell.client import accessor
from mcshell.client.analysis.fold import fold
from mcshell.errors import UsageError
from tests.analysis.conftest import answers

assert accessor


def clubak(texts: dict[str, str]) -> set[tuple[frozenset[str], str]]:
    """What `clubak -b` makes of "node: text" lines: each set of nodes with its text."""
    lines = "".join(f"{node}:{line}\n" for node, text in texts.items() for line in text.split("\n"))
    argv = [sys.executable, "-m", "ClusterShell.CLI.Clubak", "-b"]
    done = subprocess.run(argv, input=lines, capture_output=True, text=True, check=True, timeout=60)
    found = re.split(r"^-{15}\n(\S+)(?: \(\d+\))?\n-{15}\n", done.stdout, flags=re.MULTILINE)
    pairs = zip(found[1::2], found[2::2], strict=True)
    return {(frozenset(NodeSet(nodes)), text.removesuffix("\n")) for nodes, text in pairs}


@pytest.mark.parametrize("seed", range(3))
def test_the_sets_are_those_of_clubak(seed: int) -> None:
    """On the same data both give the same sets of nodes with the same text."""
    chance = random.Random(seed)
    texts = ["6.1.0", "6.1.0-2", "5.15", "line one\nline two", "web1 says: hello", "ünïcode"]
    names = [f"web{n:03}" for n in range(1, 400)] + [f"db{n}.eu.example.com" for n in range(1, 90)]
    said = {name: chance.choice(texts) for name in chance.sample(names, 420)}
    ours = fold(answers({name: {"out": text} for name, text in said.items()}), ["out"])
    assert {(frozenset(one.senders), one.cells[0]) for one in ours} == clubak(said)
    assert all(set(NodeSet(one.nodes)) == set(one.senders) for one in ours)


def test_a_group_is_one_line_with_ranges() -> None:
    """Nodes that answer alike are written as ranges, the largest group first."""
    rows = {f"web{n:03}": {"v": "6.1.0"} for n in [*range(1, 413), 420]} | {"db1": {"v": "5"}}
    first, second = fold(answers(rows), ["v"])
    assert (first.nodes, first.cells) == ("web[001-412,420]", ("6.1.0",))
    assert (second.nodes, second.cells) == ("db1", ("5",))


def test_the_silent_are_a_group_of_their_own() -> None:
    """A node without a reply is not folded with one whose answer is empty."""
    found = answers({"a1": {"v": None}, "a2": {"v": None}, "a3": {"v": "x"}})
    found.columns["state"][1] = "silent"  # type: ignore[index]
    assert [(one.nodes, one.state) for one in fold(found, ["v"])] == [
        ("a1", "ok"),
        ("a2", "silent"),
        ("a3", "ok"),
    ]


def test_values_of_any_type_are_compared_by_value() -> None:
    """1 is 1.0; 1, "1" and true are three; hashes are equal in any order; lists are not."""
    values: list[Any] = [
        1,
        1.0,
        "1",
        True,
        {"a": [1, {"b": None}], "c": 2},
        {"c": 2, "a": [1, {"b": None}]},
        [1, 2],
        [2, 1],
        b"\xff",
        {"s"},
        None,
    ]
    found = fold(answers({f"n{place}": {"v": value} for place, value in enumerate(values)}), ["v"])
    assert {one.nodes for one in found if len(one.senders) > 1} == {"n[0-1]", "n[4-5]"}
    assert len(found) == len(values) - 2


def test_a_path_reaches_into_hashes() -> None:
    """`os.release.major` folds a sub-key two levels down; keys may hold dots themselves."""
    rows = {f"n{n}": {"os": {"release": {"major": str(11 + n % 2)}}, "a.b": n} for n in range(4)}
    found = fold(answers(rows), ["os.release.major"])
    assert [(one.nodes, one.cells) for one in found] == [("n[0,2]", ("11",)), ("n[1,3]", ("12",))]
    assert len(fold(answers(rows), ["a.b"])) == 4


def test_an_unknown_column_is_named() -> None:
    """What is no column is refused with what was meant."""
    with pytest.raises(UsageError, match="did you mean version"):
        fold(answers({"a": {"version": 1}}), ["versoin"])


def test_a_table_of_foreign_cells_folds(chance: random.Random) -> None:
    """`df.mco.fold` takes lists, hashes, NA, huge strings and rows without a sender."""
    huge = "x" * 10_000_000
    cells = [[1], {"a": 1}, pd.NA, None, float("nan"), huge, huge[:-1] + "y", 3, "3", b"3"]
    frame = pd.DataFrame({"sender": [f"n{n}" for n in range(len(cells))], "v": cells})
    frame.loc[len(frame)] = [pd.NA, "nobody"]
    folded = frame.mco.fold("v")
    assert list(folded.columns) == ["nodes", "count", "state", "v"]
    assert folded["count"].sum() == len(cells)
    assert "n[2-4]" in list(folded["nodes"])
    assert len(folded) == len(cells) - 2
    assert len(frame.mco.fold()) == len(folded)
