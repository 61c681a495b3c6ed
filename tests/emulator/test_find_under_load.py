"""`find` on a busy machine: whoever is alive answers, and none is left out."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from mcshell.client.discovery.targeting import Targeting
from tests.peers.fleet import Fleet
from tests.peers.processes import Child

if TYPE_CHECKING:
    from pathlib import Path

    from tests.peers.brokers import Broker

SPIN = "while True: pass"


def answered(broker: Broker, folder: Path, nodes: int, load: int, times: int) -> list[int]:
    """How many of so many nodes answer each time, with `load` processes that do nothing but work."""
    with Fleet(broker, folder) as fleet:
        fleet.emulate(nodes, more='register_every = "0s"\n', ready=max(90.0, nodes / 50))
        with fleet.client() as alice, ExitStack() as ends:
            for number in range(load):
                child = Child([sys.executable, "-c", SPIN], folder / f"load-{number}.log")
                ends.callback(child.kill9)
            return [len(alice.find(Targeting()).answers) for _ in range(times)]


def test_all_answer_each_time(embedded: Broker, tmp_path: Path) -> None:
    """Five times in a row, with nobody known at first."""
    assert answered(embedded, tmp_path, 400, 4, 5) == [400] * 5


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_ten_thousand_answer_twenty_times(embedded: Broker, tmp_path: Path) -> None:
    """At a load of eight that the test makes itself."""
    assert answered(embedded, tmp_path, 10_000, 8, 20) == [10_000] * 20
