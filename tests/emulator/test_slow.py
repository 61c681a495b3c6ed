"""An action that takes long on one emulated node, beside others that end at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mcshell.message import State, Via
from tests.peers.processes import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.peers.workbench import EmulatedBench

pytestmark = pytest.mark.timeout(240)
COUNT = 40


def node(number: int) -> str:
    """The name of an emulated node."""
    return f"emu{number:04d}"


@pytest.mark.parametrize("via", [Via.DIRECT, Via.QUEUE])
def test_it_holds_up_nobody_else(emulated: EmulatedBench, tmp_path: Path, via: Via) -> None:
    """While one node's action does not end, all others answer, and so does that node itself."""
    emulated.emulate(COUNT)
    mark, go = tmp_path / "marks", tmp_path / "go"
    held = emulated.ask("hold", {"file": str(mark), "text": str(go)}, node=node(1), via=via)
    assert wait_until(mark.exists, 30)
    ids = [
        emulated.ask("once", {"file": str(mark)}, node=node(number), via=via)
        for number in range(1, COUNT + 1)
    ]
    ids.append(emulated.ask("ping", agent="discovery", node=node(1), via=Via.DIRECT))
    emulated.all_final(ids, 60)
    assert not emulated.finals(held)
    go.touch()
    assert emulated.final(held).state is State.OK
    assert {emulated.final(one).state for one in ids} == {State.OK}


def test_actions_that_hold_on_many_nodes_leave_threads_for_others(
    emulated: EmulatedBench, tmp_path: Path
) -> None:
    """Twenty nodes at actions that do not end have one thread each; another node answers at once."""
    emulated.emulate(COUNT)
    mark, go = tmp_path / "marks", tmp_path / "go"
    data = {"file": str(mark), "text": str(go)}
    held = [
        emulated.ask("hold", data, node=node(number), via=Via.DIRECT)
        for number in range(1, COUNT // 2 + 1)
    ]
    quick = emulated.ask("once", {"file": str(mark)}, node=node(COUNT), via=Via.DIRECT)
    assert emulated.final(quick).state is State.OK
    assert wait_until(lambda: len(mark.read_text().split()) == len(held) + 1, 60)
    assert not any(emulated.finals(one) for one in held)
    go.touch()
    emulated.all_final(held, 60)
    assert {emulated.final(one).state for one in held} == {State.OK}


def test_a_node_does_so_many_at_a_time(emulated: EmulatedBench, tmp_path: Path) -> None:
    """A node's slots bound its queued actions; what waits starts when one of them ends."""
    emulated.emulate(2)
    mark, go = tmp_path / "marks", tmp_path / "go"
    data = {"file": str(mark), "text": str(go)}
    held = [emulated.ask("hold", data, node=node(1)) for _ in range(2)]
    assert wait_until(lambda: mark.exists() and len(mark.read_text().split()) == 2, 30)
    third = emulated.ask("once", {"file": str(mark)}, node=node(1))
    other = emulated.ask("once", {"file": str(mark)}, node=node(2))
    assert emulated.final(other).state is State.OK
    assert wait_until(lambda: "received" in emulated.states(third), 30)
    assert "running" not in emulated.states(third)
    go.touch()
    emulated.all_final([*held, third], 60)
    assert {emulated.final(one).state for one in (*held, third)} == {State.OK}


def test_a_timeout_frees_the_slot(emulated: EmulatedBench, tmp_path: Path) -> None:
    """An action past its time is answered failed, though its thread has not come back."""
    emulated.enrol("emulator", '[node.limits.mark]\ntimeout = "1s"\n')
    emulated.emulate(1)
    mark, go = tmp_path / "marks", tmp_path / "go"
    held = emulated.ask("hold", {"file": str(mark), "text": str(go)}, node=node(1))
    reply = emulated.final(held)
    assert (reply.state, reply.statusmsg) == (State.FAILED, "timed out after 1 s")
    after = emulated.ask("once", {"file": str(mark)}, node=node(1))
    assert emulated.final(after).state is State.OK
    go.touch()
