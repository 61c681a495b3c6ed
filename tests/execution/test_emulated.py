"""via=queue on emulated nodes: the same spool, many identities, kill -9 included."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mcshell.message import State
from tests.peers.processes import wait_until
from tests.peers.workbench import EmulatedBench

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.peers.brokers import Broker

pytestmark = pytest.mark.timeout(240)


@pytest.fixture
def emulated(broker: Broker, tmp_path: Path) -> Iterator[EmulatedBench]:
    """A bench for emulated nodes on each of the three brokers."""
    with EmulatedBench(broker, tmp_path, more='[agents.emulate]\ndelay = "2s"') as bench:
        yield bench


def test_fleet_answers_over_some_seconds(emulated: EmulatedBench, tmp_path: Path) -> None:
    """A hundred nodes take their work in at once and answer within the delay, each once."""
    emulated.emulate(100)
    mark = tmp_path / "marks"
    ids = {
        emulated.ask("once", {"file": str(mark)}, node=f"emu{number:04d}"): f"emu{number:04d}"
        for number in range(1, 101)
    }
    emulated.all_final(ids, 60)
    assert sorted(mark.read_text().split()) == sorted(ids)
    assert all(emulated.finals(one)[0].sender == name for one, name in ids.items())
    assert all(len(emulated.finals(one)) == 1 for one in ids)


def test_killed_emulator_answers_all_of_it(emulated: EmulatedBench, tmp_path: Path) -> None:
    """After kill -9 in the middle each request ran once, or is interrupted and ran at most once."""
    child = emulated.emulate(60)
    mark = tmp_path / "marks"
    ids = [
        emulated.ask("once", {"file": str(mark)}, node=f"emu{number:04d}")
        for number in range(1, 61)
    ]
    assert wait_until(lambda: sum(bool(emulated.finals(one)) for one in ids) > 10, 60)
    child.kill9()
    more = emulated.ask("once", {"file": str(mark)}, node="emu0001")
    emulated.emulate(60)
    emulated.all_final([*ids, more], 60)
    marks = mark.read_text().split()
    states = {one: emulated.finals(one)[0].state for one in ids}
    cut = [one for one, state in states.items() if state is State.INTERRUPTED]
    print(f"\n{len(cut)} of {len(ids)} interrupted")
    assert set(states.values()) <= {State.OK, State.INTERRUPTED}
    assert all(marks.count(one) == 1 for one in ids if one not in cut)
    assert all(marks.count(one) <= 1 for one in cut)
    assert not emulated.junk
