"""kill -9 of the daemon at each labelled step, and of the shim: once, or named, never twice."""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from mcshell.message import State
from mcshell.node.execution.run_directory import RunDirectory
from tests.peers.processes import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.peers.workbench import Bench

pytestmark = pytest.mark.timeout(240)

STEPS = ("received", "committed", "acked", "claimed", "running", "outcome", "outbox", "sent")


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("action", ["once", "again"])
def test_daemon_killed_at_a_step(bench: Bench, tmp_path: Path, step: str, action: str) -> None:
    """It ran exactly once and is answered, or, killed after its claim, is interrupted."""
    mark = tmp_path / "marks"
    child = bench.start("n1", step)
    request = bench.ask(action, {"file": str(mark)})
    assert wait_until(lambda: not child.running, 30), bench.logs()
    bench.start()
    reply = bench.final(request)
    runs = mark.read_text().split().count(request) if mark.exists() else 0
    print(f"\n{step} {action}: {reply.state.value}, ran {runs} times")
    if action == "again":
        assert reply.state is State.OK
        assert 1 <= runs <= 2
    elif step == "claimed":
        assert (reply.state, runs) == (State.INTERRUPTED, 0)
    else:
        assert (reply.state, runs) == (State.OK, 1)
    assert len({one.sequence for one in bench.finals(request)}) == 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """An action that the node n1 has begun; each run of it leaves the request's id in `mark`."""

    bench: Bench
    mark: Path
    request: str

    @classmethod
    def begin(
        cls, bench: Bench, folder: Path, action: str, *, ttl: float = 3600.0, **data: object
    ) -> Running:
        """Start the node, ask it, and wait until the action is at work; for a minute, if none is said."""
        bench.start()
        mark = folder / "marks"
        request = bench.ask(action, {"file": str(mark), **(data or {"sleep": 60.0})}, ttl=ttl)
        one = cls(bench=bench, mark=mark, request=request)
        one.shim()
        assert wait_until(mark.exists, 30)
        return one

    @property
    def folder(self) -> RunDirectory:
        """Where it runs."""
        return RunDirectory(self.bench.folder / "state-n1" / "node" / "work" / self.request)

    @property
    def runs(self) -> list[str]:
        """The id of the request, as often as it was run."""
        return self.mark.read_text().split()

    def shim(self) -> int:
        """The process that watches over it, once there is one."""
        assert wait_until(lambda: self.folder.shim_pid() is not None, 30)
        return int(self.folder.shim_pid() or 0)

    def kill(self) -> None:
        """SIGKILL to that process."""
        os.kill(self.shim(), signal.SIGKILL)


def test_killed_shim_is_interrupted(bench: Bench, tmp_path: Path) -> None:
    """An action whose process is killed is answered interrupted at once, with the signal."""
    one = Running.begin(bench, tmp_path, "once")
    one.kill()
    reply = bench.final(one.request)
    assert (reply.state, reply.statuscode) == (State.INTERRUPTED, 5)
    assert "SIGKILL" in reply.statusmsg
    assert one.runs == [one.request]


def test_killed_shim_of_a_safe_action_runs_again(bench: Bench, tmp_path: Path) -> None:
    """An action that is safe to run again is started again, its replies numbered as attempt two."""
    one = Running.begin(bench, tmp_path, "again", sleep=2.0)
    one.kill()
    reply = bench.final(one.request)
    assert reply.state is State.OK
    assert reply.sequence == 5
    assert one.runs == [one.request] * 2


def test_safe_action_that_always_dies_is_given_up(bench: Bench, tmp_path: Path) -> None:
    """After three starts an action that is safe to run again is interrupted for good."""
    one = Running.begin(bench, tmp_path, "again")
    for number in (1, 2, 3):
        assert wait_until(lambda count=number: len(one.runs) == count, 30)
        one.kill()
    reply = bench.final(one.request)
    assert (reply.state, reply.sequence) == (State.INTERRUPTED, 8)
    assert len(one.runs) == 3


def test_what_died_and_is_not_started_again_is_interrupted(bench: Bench, tmp_path: Path) -> None:
    """It has run, so it is neither expired nor denied when its time was over before it could again."""
    one = Running.begin(bench, tmp_path, "again", ttl=12)
    shim = one.shim()
    bench.kill("n1")
    os.kill(shim, signal.SIGKILL)
    time.sleep(12.0)  # until its ttl is over
    bench.start()
    reply = bench.final(one.request)
    assert (reply.state, reply.statuscode) == (State.INTERRUPTED, 5)
    assert reply.statusmsg == (
        "the node died in the middle; not started again: expired before a slot was free"
    )
    assert one.runs == [one.request]


@pytest.mark.parametrize("how", ["kill", "stop"])
def test_running_action_is_adopted(bench: Bench, tmp_path: Path, how: str) -> None:
    """An action that runs while its daemon starts again is not disturbed; its result arrives."""
    go = tmp_path / "go"
    one = Running.begin(bench, tmp_path, "hold", text=str(go))
    pid = one.shim()
    getattr(bench, how)()
    bench.start()
    assert not bench.finals(one.request)
    go.touch()
    reply = bench.final(one.request)
    assert (reply.state, reply.data["pid"]) == (State.OK, pid)
    assert "still runs" in bench.log()
    assert one.runs == [one.request]


def test_outcome_of_an_absent_daemon_is_found(bench: Bench, tmp_path: Path) -> None:
    """An action that ended while no daemon was there is answered with what it left."""
    one = Running.begin(bench, tmp_path, "once", sleep=2.0)
    bench.kill()
    assert wait_until(lambda: one.folder.outcome.exists() and not one.folder.alive(), 30)
    bench.start()
    assert bench.final(one.request).state is State.OK
    assert one.runs == [one.request]


def test_another_boot_is_an_interruption(bench: Bench, tmp_path: Path) -> None:
    """What a machine was doing when it went down is interrupted when it is up again."""
    one = Running.begin(bench, tmp_path, "once")
    family = bench.children["n1"].family()
    bench.kill()
    for process in family:
        if process.is_running():
            process.kill()
    assert wait_until(lambda: not one.folder.alive(), 60)
    one.folder.pid.write_text('{"pid": 1, "start": 1, "boot": "another"}')
    bench.start()
    assert bench.final(one.request).state is State.INTERRUPTED
    assert one.runs == [one.request]


def test_broker_that_dies_gets_the_results_later(fresh_broker, tmp_path: Path) -> None:
    """A result made while the broker was down is sent when it is back: once."""
    from tests.peers.workbench import Bench

    broker = fresh_broker("embedded")
    with Bench(broker, tmp_path) as bench:
        bench.start()
        mark = tmp_path / "marks"
        request = bench.ask("once", {"file": str(mark), "sleep": 1.0})
        assert wait_until(lambda: "received" in bench.states(request), 60)
        broker.kill9()
        assert wait_until(lambda: f"step outbox {request}" in bench.log(), 30)
        time.sleep(0.2)
        broker.restart()
        assert bench.final(request, 60).state is State.OK
        assert mark.read_text().split() == [request]


@pytest.mark.parametrize(
    "count", [60, pytest.param(500, marks=[pytest.mark.soak, pytest.mark.timeout(1200)])]
)
def test_random_kills(bench: Bench, tmp_path: Path, count: int) -> None:
    """Daemon and shims are killed at random: each request ran once, or is named, none twice."""
    dice = random.Random(count)
    bench.enrol("n1", "slots = 4")
    mark = tmp_path / "marks"
    bench.start()
    ids = [
        bench.ask(dice.choice(("once", "again")), {"file": str(mark), "sleep": 0.2})
        for _ in range(count)
    ]
    kills = Counter[str]()
    work = tmp_path / "state-n1" / "node" / "work"
    while len([one for one in ids if bench.finals(one)]) < count and kills.total() < count // 5:
        time.sleep(dice.uniform(0.02, 0.4))
        folders = sorted(work.iterdir()) if work.exists() else []
        if folders and dice.random() < 0.6:
            kills["shim"] += kill_shim(dice.choice(folders))
        else:
            kills["daemon"] += 1
            bench.kill()
            bench.start()
    bench.all_final(ids, 600)
    marks = Counter(mark.read_text().split())
    replies = {one: bench.finals(one)[0] for one in ids}
    states = Counter(reply.state.value for reply in replies.values())
    print(f"\n{count} requests, {dict(kills)} kills: {dict(states)}")
    assert set(states) <= {"ok", "interrupted"}
    assert states["interrupted"] <= kills["shim"] + 4 * kills["daemon"]
    for one, reply in replies.items():
        safe = reply.sequence > 2 or marks[one] > 1
        assert marks[one] == 1 or (marks[one] == 0 and reply.state is State.INTERRUPTED) or safe
        assert len({found.sequence for found in bench.finals(one)}) == 1
    once = {e["requestid"] for e in bench.audit() if e.get("action") == "once"}
    assert all(marks[one] <= 1 for one in once)


def kill_shim(folder: Path) -> int:
    """SIGKILL to the shim of a folder; 1 when there was one."""
    pid = RunDirectory(folder).shim_pid()
    if pid is None:
        return 0
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return 0
    return 1
