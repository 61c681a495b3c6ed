"""A few seeds of the nemesis on the embedded broker, and what makes runs and sittings repeatable."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.history.checker import check
from tests.history.results import Results, seeds_of
from tests.nemesis.__main__ import COLUMNS
from tests.nemesis.place import Single
from tests.nemesis.run import run
from tests.nemesis.script import written

if TYPE_CHECKING:
    from pathlib import Path

KINDS = {"node-stopped": ("n1", "n2"), "clock": ("n1",), "link-dead": ("n1", "a")}


@pytest.mark.gcc
@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", [3, 13])
def test_a_seed(tmp_path: Path, seed: int) -> None:
    """Whatever breaks, the history of it keeps every promise."""
    place = Single("embedded", tmp_path)
    script = written(seed, place.kinds)
    with place:
        outcome = run(place, script)
    assert outcome.effects > 10
    assert not outcome.faults, "\n".join([*outcome.faults, *map(str, script.faults)])
    # a history that lacks an effect of it is not believed
    ran = {event for event in outcome.history if type(event).__name__ == "Ran"}
    shown = next(
        event for event in outcome.history if type(event).__name__ == "Row" and event.state == "ok"
    )
    left_out = {one for one in ran if (one.request, one.node) == (shown.request, shown.node)}
    assert left_out
    assert check([event for event in outcome.history if event not in left_out])


def test_a_seed_is_one_run() -> None:
    """The same seed writes the same script, another one another."""
    assert written(7, KINDS) == written(7, KINDS)
    assert written(7, KINDS).work != written(8, KINDS).work


@pytest.mark.parametrize("seed", range(50))
def test_no_part_breaks_twice_at_once(seed: int) -> None:
    """Faults of one process, link or clock do not overlap; all are over soon after the last call."""
    faults = written(seed, KINDS).faults
    for one in faults:
        assert 0 <= one.at + one.lasts < 13
        later = [other for other in faults if other.part == one.part and other.at > one.at]
        assert all(one.at + one.lasts < other.at for other in later)


def test_sittings_add_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A seed that has a line of this commit and topology is done."""
    path = tmp_path / "results.csv"
    for commit, topology, seeds in (
        ("c", "embedded", (3, 4)),
        ("d", "embedded", (5,)),
        ("c", "rabbitmq", (6,)),
    ):
        monkeypatch.setattr("tests.history.results._commit", lambda commit=commit: commit)
        results = Results(path, COLUMNS, topology)
        for seed in seeds:
            results.keep({"seed": seed, "verdict": "failed" if seed == 4 else "passed"})
    monkeypatch.setattr("tests.history.results._commit", lambda: "c")
    results = Results(path, COLUMNS, "embedded")
    assert results.left(seeds_of("3-6")) == [5, 6]
    assert results.failed(seeds_of("3-6")) == [4], "what has failed once is not forgotten"
    assert list(seeds_of("7")) == [7]
