"""Unlucky days: what the session says in the evening is what the nodes' own files say."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.stories.day import Day

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.peers.brokers import Broker

STEPS = 14


def lived(broker: Broker, folder: Path, seed: int) -> None:
    """Live a day, and compare in the evening."""
    with Day(broker, folder, seed) as day:
        day.live(STEPS)
        day.evening()
        faults = [*day.faults(), *(f"ran twice: {one}" for one in day.twice())]
        assert not faults, "\n".join([*faults, "The day:", *day.log])


@pytest.mark.parametrize("seed", [1, 2])
def test_a_day(fresh_broker: Callable[..., Broker], tmp_path: Path, seed: int) -> None:
    """Ledger, table, exit code and `explain` of each request agree with audit files and marks."""
    lived(fresh_broker("embedded"), tmp_path, seed)


@pytest.mark.soak
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", range(100, 140))
def test_forty_days(fresh_broker: Callable[..., Broker], tmp_path: Path, seed: int) -> None:
    """The same, forty times."""
    lived(fresh_broker("embedded"), tmp_path, seed)
