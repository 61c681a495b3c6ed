"""`outliers` on planted anomalies: precision and recall, printed."""

from __future__ import annotations

import random
from typing import Any

import pandas as pd
import pytest

from mcshell.client import accessor
from mcshell.client.analysis.outliers import outliers, robust_z
from tests.analysis.conftest import answers

assert accessor


def healthy(chance: random.Random, n: int) -> dict[str, Any]:
    """One ordinary node: settings, measurements with and without a tail, unique names."""
    return {
        "version": "3.0.15",
        "kernel": chance.choice(["6.1.0-18", "6.1.0-20"]),
        "cpus": chance.choice([4, 8, 8, 16]),
        "memory": chance.lognormvariate(22, 0.6),
        "temperature": chance.gauss(45, 3),
        "address": f"10.0.{n // 250}.{n % 250}",
        "zombies": 0,
        "ntp": True,
        "os": {"family": "Debian", "release": {"major": "12"}},
        "mounts": ["/", "/var"],
    }


def plant(chance: random.Random, rows: dict[str, dict[str, Any]], each: int) -> set[Any]:
    """Make some nodes odd, each in one column; what was planted."""

    def below_os(name: str) -> None:
        rows[name]["os"]["release"] = {"major": "11"}

    def no_family(name: str) -> None:
        del rows[name]["os"]["family"]

    odd: dict[str, Any] = {
        "version": lambda name: rows[name].update(version=f"3.0.{chance.randint(1, 9)}"),
        "kernel": lambda name: rows[name].update(kernel="5.10.0-8"),
        "cpus": lambda name: rows[name].update(cpus=3),
        "memory": lambda name: rows[name].update(memory=chance.choice([2e6, 1e13])),
        "temperature": lambda name: rows[name].update(temperature=chance.uniform(75, 99)),
        "zombies": lambda name: rows[name].update(zombies=chance.randint(1, 500)),
        "ntp": lambda name: rows[name].update(ntp=False),
        "os.release.major": below_os,
        "os.family": no_family,
        "mounts": lambda name: rows[name].update(mounts="/"),
    }
    names = iter(chance.sample(sorted(rows), each * len(odd)))
    planted = set()
    for column, spoil in odd.items():
        for _ in range(each):
            name = next(names)
            spoil(name)
            planted.add((name, column))
    return planted


@pytest.mark.parametrize(("size", "each"), [(60, 1), (500, 3), (2000, 10)])
def test_planted_anomalies_are_found(
    size: int, each: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """Precision and recall over five fleets are above 0.9 each."""
    right = said = there = 0
    for seed in range(5):
        chance = random.Random(seed)
        rows = {f"web{n:04}": healthy(chance, n) for n in range(size)}
        planted = plant(chance, rows, each)
        found = {(one.sender, one.column) for one in outliers(answers(rows))}
        right, said, there = right + len(found & planted), said + len(found), there + len(planted)
    with capsys.disabled():
        print(f"\noutliers, {size} nodes: precision {right / said:.3f}, recall {right / there:.3f}")
    assert right / said > 0.9
    assert right / there > 0.9


def test_a_healthy_fleet_is_quiet(chance: random.Random) -> None:
    """Where nothing is planted, hardly anything is reported: under 1 value in 1,000."""
    rows = {f"web{n:04}": healthy(chance, n) for n in range(500)}
    assert len(outliers(answers(rows))) <= 5


def test_the_odd_one_of_three_is_named() -> None:
    """Two against one is a majority; one against one against one is none."""
    (one,) = outliers(answers({"a": {"v": "1"}, "b": {"v": "1"}, "c": {"v": "2"}}))
    assert (one.sender, one.value, one.usual, one.why) == ("c", "2", "1", "minority")
    assert outliers(answers({"a": {"v": "1"}, "b": {"v": "2"}, "c": {"v": "3"}})) == []


def test_a_large_minority_is_odd_only_when_asked_for() -> None:
    """What more than the share have is another kind of node, not an odd one."""
    found = answers({f"n{n}": {"v": "new" if n % 10 < 6 else "old"} for n in range(50)})
    assert outliers(found) == []
    assert len(outliers(found, share=0.5)) == 20


def test_missing_and_extra_values_are_odd() -> None:
    """Who lacks what all have, and who has what none has, are both named."""
    rows: dict[str, dict[str, Any]] = {f"n{n}": {"a": "x", "b": None} for n in range(20)}
    rows["n3"]["a"] = None
    rows["n4"]["b"] = "rootkit"
    found = {(one.sender, one.column, one.why, one.usual) for one in outliers(answers(rows))}
    assert found == {("n3", "a", "missing", "x"), ("n4", "b", "extra", None)}


def test_foreign_tables_do_no_harm() -> None:
    """Any mix of types, huge numbers, infinities, NA, huge strings and empty tables is taken."""
    cells: list[Any] = [1, 10**400, float("inf"), "x" * 10_000_000, [1], {"a": {}}, None, b"x"]
    values = pd.Series(cells * 5, dtype=object)
    frame = pd.DataFrame({"sender": [f"n{n}" for n in range(40)], "v": values})
    assert set(frame.mco.outliers().columns) >= {"sender", "column", "value", "why"}
    assert frame.head(0).mco.outliers().empty
    assert pd.DataFrame({"sender": ["a"] * 9}).mco.outliers().empty
    values = pd.Series([10**400, *range(8)], dtype=object)
    numbers = pd.DataFrame({"sender": [f"n{n}" for n in range(9)], "v": values})
    assert numbers.mco.outliers("v") is not None


def test_robust_z_is_not_moved_by_the_outliers() -> None:
    """A third of wild values leaves the scores of the others small; equal values score 0."""
    scores = robust_z([10.0, 11.0, 9.0, 10.5, 9.5, 10.2, 1e9, 1e9, 1e9])
    assert max(map(abs, scores[:6])) < 3.5 < min(scores[6:])
    assert robust_z([5.0] * 4) == [0.0] * 4
