"""Ctrl-C in Python: a loop, a pool of threads and whatever else waits is stopped, in each phase."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from mcshell.client.rpc.interactive_run import BackgroundRequests
from mcshell.errors import Stopped

if TYPE_CHECKING:
    from tests.peers.fleet import Fleet

PROGRAM = Path(__file__).with_name("interrupted.py")
PHASES = ("discovery", "waiting", "probe", "drain")
pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def done(fleet: Fleet) -> subprocess.CompletedProcess[str]:
    """The program, run to its end."""
    environ = {**fleet.environ, "MCSHELL_CLIENT_PROBE": "30s", "MCSHELL_STATE": "state-stopped"}
    return subprocess.run(
        [sys.executable, PROGRAM],
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
        cwd=fleet.folder,
        env=environ,
    )


@pytest.fixture(scope="module")
def found(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """What it says of each."""
    lines = done.stdout.splitlines()
    assert lines, done.stderr
    said: dict[str, Any] = json.loads(lines[0])
    return said


@pytest.mark.parametrize("phase", PHASES)
def test_a_loop_ends(found: dict[str, Any], phase: str) -> None:
    """Stopped ends the loop in its first turn; nothing more is asked, and its rows are there."""
    one = found[f"loop {phase}"]
    assert (one["error"], one["turns"]) == ("Stopped", 0)
    assert one["asked"] == (0 if phase == "discovery" else 1)
    assert one["frame"] == len(one["rows"])
    rows = {name: (state, why) for name, state, why in one["rows"]}
    if phase == "discovery":
        assert rows == {}
    elif phase == "drain":
        assert rows.pop("web2")[0] == "ok"
        assert set(rows.values()) == {("silent", "not sent: stopped")}
        assert sorted(one["again"]) == ["web1", "web3"]
    else:
        ((state, why),) = rows.values()
        assert state in ("silent", "running")  # a slow node may have said that it is at work
        assert state == "running" or why.startswith("stopped waiting after ")
        assert state == "running" or one["again"] == list(rows)


def test_what_is_asked_as_the_call_ends_has_its_rows(fleet: Fleet) -> None:
    """A request that goes out behind the caller is kept and stopped, not called nothing."""
    with fleet.client() as client:
        start = BackgroundRequests.start

        def start_and_stop(self: BackgroundRequests, *of: Any) -> None:
            start(self, *of)
            signal.raise_signal(signal.SIGINT)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(BackgroundRequests, "start", start_and_stop)
            with pytest.raises(Stopped) as stopped:
                client.rpc("mark", "nap", sleep=20.0, nodes=["web1"], wait=False)
        (row,) = stopped.value.replies.rows()
        assert stopped.value.replies.interrupted
        assert (row.sender, row.state.value) in (("web1", "silent"), ("web1", "running"))
        assert client.replies().requestid == stopped.value.replies.requestid


@pytest.mark.parametrize("phase", PHASES)
def test_a_pool_of_threads_ends(found: dict[str, Any], phase: str) -> None:
    """The requests of other threads are stopped, those that waited for a thread are never put."""
    one = found[f"pool {phase}"]
    assert one["error"] in ("KeyboardInterrupt", "Stopped")
    assert set(one["errors"]) == {"Stopped"}
    assert one["asked"] == (0 if phase == "discovery" else len(one["kept"]))
    assert one["asked"] <= 2
    assert one["later"] == ["ok"]


@pytest.mark.parametrize(
    "name",
    ["queue", "background", "arrivals", "explain", "job", "plan", "receive", "open", "attach"],
)
def test_whatever_waits_is_stopped(found: dict[str, Any], name: str) -> None:
    """Each call that waits raises Stopped, long before its time is over."""
    one = found[name]
    assert one["error"] == "Stopped"
    assert one["took"] < 50


def test_what_is_queued_stays_pending(found: dict[str, Any]) -> None:
    """A queued request is kept, as pending, and no `retry` asks it a second time."""
    assert found["queue"]["rows"] == [["ghost2", "pending", ""]]
    assert found["queue"]["again"] == []


def test_a_request_in_the_background_is_over(found: dict[str, Any]) -> None:
    """Whoever stops waiting for it has it stopped: the rest is not sent."""
    rows = {name: why for name, _state, why in found["background"]["rows"]}
    assert rows["ghost3"] == "not sent: stopped"


def test_a_plan_is_there_to_be_resumed(found: dict[str, Any]) -> None:
    """It stands open, and its second step was not begun."""
    assert (found["plan"]["plan"], found["plan"]["asked"]) == ("open", 1)


def test_a_conversation_goes_on(found: dict[str, Any]) -> None:
    """Not waiting for a turn any more does not end it."""
    assert found["receive"]["goes_on"] is not None


def test_an_attach_leaves_nothing_held(found: dict[str, Any]) -> None:
    """Who stops waiting for a session's holder has the process as it was."""
    assert found["attach"]["free"]


def test_a_program_that_is_stopped_ends_with_130(done: subprocess.CompletedProcess[str]) -> None:
    """Stopped that nobody catches is shown, and is the exit code that an interrupt has."""
    assert done.returncode == 130, done.stderr
    assert "Stopped: stopped: <Replies mark once" in done.stderr
    assert os.fspath(PROGRAM) in done.stderr


AFTER_MAIN = """
import atexit, threading, mcshell
def ask(client):
    for _ in range(10):
        print(*[row.state for row in client.rpc("rpcutil", "ping").rows()], sep="\\n", flush=True)
def after(client):
    threading.main_thread().join()
    ask(client)
client = mcshell.connect()
atexit.register(ask, client)
for _ in range(8):
    threading.Thread(target=after, args=(client,)).start()
"""


def test_the_end_of_the_main_thread_is_not_the_end(fleet: Fleet) -> None:
    """What other threads then ask, and what is done at exit, is answered by all."""
    done = subprocess.run(
        [sys.executable, "-c", AFTER_MAIN],
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
        cwd=fleet.folder,
        env={**fleet.environ, "MCSHELL_STATE": str(fleet.folder / "state-after-main")},
    )
    assert done.stderr == ""
    assert done.stdout.split() == ["ok"] * (9 * 10 * len(fleet.names))
