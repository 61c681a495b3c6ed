"""A forecast equals what then happens: many nodes and jobs, splay, zones, both clock changes."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from tests.jobs.simulation import Simulation

if TYPE_CHECKING:
    from pathlib import Path

SPRING = datetime(2026, 3, 28, 12, tzinfo=UTC).timestamp()
AUTUMN = datetime(2026, 10, 24, 12, tzinfo=UTC).timestamp()
SPAN = 2 * 86_400.0


@pytest.mark.parametrize("begin", [SPRING, AUTUMN], ids=["spring", "autumn"])
@pytest.mark.parametrize(
    ("count", "late"),
    [
        pytest.param(300, 0.5, marks=pytest.mark.timeout(180)),
        pytest.param(10_000, 60.0, marks=[pytest.mark.soak, pytest.mark.timeout(3000)]),
    ],
)
def test_forecast_is_what_happens(tmp_path: Path, begin: float, count: int, late: float) -> None:
    """Every time-triggered start was foretold to the instant, and every foretold one happened."""
    simulation = Simulation(tmp_path, count, begin)
    foretold = simulation.forecast(SPAN)
    happened = simulation.live(SPAN, late)
    due = {(identity, job, run): start for identity, job, run, start in foretold}
    assert happened.keys() == due.keys()
    assert all(0 <= happened[key] - due[key] <= late for key in due)
    print(f"\n{count} nodes, {len(due)} starts foretold, as many happened")
    simulation.close()


def test_later_forecast_is_part_of_the_first(tmp_path: Path) -> None:
    """Half way, the nodes say of the second half what they said at first."""
    simulation = Simulation(tmp_path, 100, AUTUMN)
    foretold = simulation.forecast(SPAN)
    simulation.live(SPAN / 2)
    middle = AUTUMN + SPAN / 2
    assert simulation.forecast(SPAN / 2) == {one for one in foretold if one[3] >= middle}
    simulation.close()


def test_clock_that_jumps(tmp_path: Path) -> None:
    """Put back, a clock starts nothing again; put forward, only the newest start happens."""
    simulation = Simulation(tmp_path, 50, AUTUMN)
    first = simulation.live(86_400.0)
    simulation.now -= 43_200.0
    assert simulation.live(43_200.0) == {}
    again = simulation.live(3600.0)
    assert not first.keys() & again.keys()
    simulation.now += 86_400.0
    jumped = simulation.live(60.0, 0.0)
    assert not jumped.keys() & (first.keys() | again.keys())
    assert len({key[:2] for key in jumped}) == len(jumped)
    simulation.close()
