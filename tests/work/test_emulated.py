"""via=queue on emulated nodes: the same spool, many identities, kill -9 included."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from mcshell.message import State
from tests.peers.processes import Child, wait_until
from tests.peers.workbench import ROOT, Bench

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.peers.brokers import Broker

pytestmark = pytest.mark.timeout(240)
START = """\
import sys
from pathlib import Path
from mcshell import config
from mcshell.node.emulator.emulator import run
run(config.load(Path(sys.argv[1])), int(sys.argv[2]), Path(sys.argv[3]))
"""


class Emulated(Bench):
    """A bench whose nodes are emulated: emu0001 and so on."""

    def emulate(self, count: int) -> Child:
        """Start the emulator and wait until it serves."""
        self.enrol("emulator")
        before = self._ready("emulator")
        argv = [sys.executable, "-c", START, self.folder / "emulator.toml", str(count)]
        argv.append(self.folder / "pki")
        environ = {"PYTHONPATH": str(ROOT)}
        child = Child(argv, self.folder / "emulator.log", environ)
        self.children["emulator"] = child
        assert wait_until(lambda: self._ready("emulator") > before, 60), child.tail()
        return child


@pytest.fixture
def emulated(broker: Broker, tmp_path: Path) -> Iterator[Emulated]:
    """A bench for emulated nodes on each of the three brokers."""
    with Emulated(broker, tmp_path, more='[agents.emulate]\ndelay = "2s"') as bench:
        yield bench


def test_fleet_answers_over_some_seconds(emulated: Emulated, tmp_path: Path) -> None:
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


def test_killed_emulator_answers_all_of_it(emulated: Emulated, tmp_path: Path) -> None:
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
