"""process: the real process table, and signals to processes of the test's own."""

from __future__ import annotations

import getpass
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mcshell.errors import InputError

ROOT = Path(__file__).parents[2]


@pytest.fixture
def sleeper(tmp_path):
    """Start programs of a name that no one else has; end what is left of them."""
    name = f"mcs{os.getpid() % 100000}"
    shutil.copy(shutil.which("sleep"), tmp_path / name)
    started = []

    def start(*args: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen([str(tmp_path / name), *(args or ("600",))])
        started.append(process)
        return process

    start.name = name
    yield start
    for process in started:
        process.kill()
        process.wait()


def test_list_finds_this_very_process(tester):
    """A pattern is searched in the command line; the row tells the truth about the process."""
    mark = f"marker-{os.getpid()}"
    code = "import sys; print('up', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", code, mark], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout.readline() == b"up\n"
        found = tester.call("process", "list", pattern=mark)
        process.stdin.close()
    assert found["count"] == 1
    row = found["processes"][0]
    assert (row["pid"], row["ppid"]) == (process.pid, os.getpid())
    assert row["user"] == getpass.getuser()
    assert row["args"][-1] == mark
    assert row["rss_bytes"] > 1_000_000
    assert row["started"] > 1_600_000_000
    assert set(row) == {
        "pid",
        "ppid",
        "user",
        "command",
        "args",
        "rss_bytes",
        "cpu_seconds",
        "state",
        "started",
    }
    assert row["command"] in found["top"]


def test_list_is_sorted_and_limited(tester):
    """The largest come first; counts and sums are of all that match, not only of those shown."""
    everything = tester.call("process", "list", limit=0)
    assert everything["count"] == len(everything["processes"]) > 2
    sizes = [row["rss_bytes"] for row in everything["processes"]]
    assert sizes == sorted(sizes, reverse=True)
    some = tester.call("process", "list", limit=2, sort="pid")
    assert some["processes"][0]["pid"] == 1
    assert len(some["processes"]) == 2
    assert some["count"] > 2
    assert some["rss_bytes"] >= sum(row["rss_bytes"] for row in some["processes"])


def test_list_by_user(tester, sleeper):
    """A user is a name or a number; others' processes are left out."""
    process = sleeper()
    for user in (getpass.getuser(), str(os.getuid())):
        found = tester.call("process", "list", pattern=sleeper.name, user=user)
        assert [row["pid"] for row in found["processes"]] == [process.pid]
    assert tester.call("process", "list", pattern=sleeper.name, user="nobody")["count"] == 0


def test_a_broken_pattern_is_refused(tester):
    """A pattern that is no regular expression, or a negative limit, is the caller's error."""
    assert tester.fails("process", "list", pattern="(").statuscode == 4
    assert tester.fails("process", "list", limit=-1).statuscode == 4
    with pytest.raises(InputError):
        tester.call("process", "list", sort="colour")


def test_signal_reaches_every_process_of_that_name(tester, sleeper):
    """Without a pid all processes of exactly this name get the signal, and no other."""
    both = [sleeper(), sleeper()]
    found = tester.call("process", "signal", command=sleeper.name)
    assert sorted(found["pids"]) == sorted(process.pid for process in both)
    assert (found["count"], found["signal"], found["spared"]) == (2, "SIGTERM", [])
    assert [process.wait(30) for process in both] == [-signal.SIGTERM] * 2


def test_signal_with_a_pid_reaches_only_that_one(tester, sleeper):
    """A pid narrows it to one process, whose name must still be right."""
    first, second = sleeper(), sleeper()
    found = tester.call("process", "signal", command=sleeper.name, pid=first.pid, signal="KILL")
    assert found["pids"] == [first.pid]
    assert first.wait(30) == -signal.SIGKILL
    assert second.poll() is None


def test_the_name_guards_the_pid(tester, sleeper):
    """A pid whose process has another name is left alone: it may have been used again."""
    process = sleeper()
    error = tester.fails("process", "signal", command="sshd", pid=process.pid)
    assert str(error) == f"process {process.pid} is not named 'sshd'"
    assert process.poll() is None


def test_a_part_of_the_name_is_not_enough(tester, sleeper):
    """Names match as a whole; one that no process has is a failure."""
    process = sleeper()
    error = tester.fails("process", "signal", command=sleeper.name[:-1])
    assert "no process is named" in str(error)
    assert process.poll() is None


def test_init_and_the_daemon_are_never_signalled(tester, node):
    """Pid 1, this process, its parent and the daemon are refused by pid."""
    node.counters = {"pid": 424242}
    for pid in (1, os.getpid(), os.getppid(), 424242):
        assert "never signalled" in str(tester.fails("process", "signal", command="x", pid=pid))


def test_the_daemon_is_spared_among_its_namesakes(tester, node, sleeper):
    """By name, the daemon's own process is spared and named; alone it makes the call fail."""
    daemon = sleeper()
    node.counters = {"pid": daemon.pid}
    error = tester.fails("process", "signal", command=sleeper.name)
    assert error.data["spared"] == [daemon.pid]
    other = sleeper()
    found = tester.call("process", "signal", command=sleeper.name)
    assert (found["pids"], found["spared"]) == ([other.pid], [daemon.pid])
    assert daemon.poll() is None


def test_a_process_that_is_not_there(tester):
    """A pid that nobody has is named in the failure."""
    gone = subprocess.Popen(["true"])
    gone.wait()
    assert str(tester.fails("process", "signal", command="true", pid=gone.pid)) == (
        f"no process {gone.pid}"
    )


def test_a_stopped_process_goes_on_again(tester, sleeper):
    """STOP and CONT work as kill(1) has them, seen in the process's state."""
    process = sleeper()

    def state():
        return tester.call("process", "list", pattern=sleeper.name)["processes"][0]["state"]

    tester.call("process", "signal", command=sleeper.name, signal="STOP")
    os.waitpid(process.pid, os.WUNTRACED)
    assert state() == "stopped"
    tester.call("process", "signal", command=sleeper.name, signal="CONT")
    os.waitpid(process.pid, os.WCONTINUED)
    assert state() in ("sleeping", "running")


def test_psutil_is_not_loaded_until_it_is_needed():
    """Loading all agents leaves psutil and yaml out of the daemon's memory."""
    code = (
        "import sys; from tests.agents.conftest import Kit, AGENTS; tester = Kit();"
        "[tester.load(p.stem) for p in AGENTS.glob('*.py')];"
        "print([m for m in ('psutil', 'yaml', 'pandas', 'jsonschema') if m in sys.modules])"
    )
    output = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=ROOT
    ).stdout
    assert output == "[]\n"
