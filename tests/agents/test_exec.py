"""exec: programs run as an argument list, bounded in time and output."""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path

import pytest

from mcshell.errors import InputError


def alive(pid: int) -> bool:
    """Whether the process runs (a zombie does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def until(condition, seconds=20.0):
    """Wait for a condition; False when it does not come in time."""
    limit = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > limit:
            return False
        time.sleep(0.02)
    return True


def test_output_exit_code_and_time_come_back(tester):
    """A program that succeeds is answered with its output and exit code 0."""
    found = tester.call("exec", "run", argv=["printf", "%s", "grüß dich"])
    assert found["stdout"] == "grüß dich"
    assert (found["exitcode"], found["signal"], found["stderr"]) == (0, "", "")
    assert found["truncated"] is False
    assert 0 <= found["elapsed"] < 60


def test_no_shell_ever_sees_the_arguments(tester):
    """What a shell would act on arrives at the program as it was written."""
    nasty = "$(id) `id` ; | > /tmp/x && * ~ $HOME \"' \\ \n"
    assert tester.call("exec", "run", argv=["printf", "%s", nasty])["stdout"] == nasty


def test_a_string_is_no_argument_list(tester):
    """A command line in one string is refused before it reaches the agent."""
    with pytest.raises(InputError):
        tester.call("exec", "run", argv="ls -l")


def test_arguments_must_be_strings(tester):
    """A number in the list is refused: its spelling would be a guess."""
    assert "list of strings" in str(tester.fails("exec", "run", argv=["sleep", 1]))
    assert "argv is empty" in str(tester.fails("exec", "run", argv=[]))
    assert tester.fails("exec", "run", argv=["true"], timeout=0).statuscode == 4


def test_failure_keeps_the_output(tester):
    """A non-zero exit code is a failure whose data still holds everything."""
    error = tester.fails(
        "exec", "run", argv=["sh", "-c", "echo out; echo 'the reason' >&2; exit 3"]
    )
    assert str(error) == "exit code 3: the reason"
    assert error.data["exitcode"] == 3
    assert (error.data["stdout"], error.data["stderr"]) == ("out\n", "the reason\n")


def test_a_program_that_is_not_there_is_named(tester):
    """A missing program, a missing directory and a file that may not run each say so."""
    assert (
        str(tester.fails("exec", "run", argv=["/nosuch/prog"])) == "no such program: /nosuch/prog"
    )
    error = tester.fails("exec", "run", argv=["true"], cwd="/nosuch")
    assert str(error) == "no such directory: /nosuch"
    assert "Permission denied" in str(tester.fails("exec", "run", argv=["/etc/passwd"]))


def test_stdin_of_a_megabyte_goes_through(tester):
    """A program that reads and writes a lot at once never blocks against us."""
    text = "0123456789abcdef" * 65536
    found = tester.call("exec", "run", argv=["cat"], stdin=text, output_limit=262144)
    half, line = 131072, f"\n[... {len(text) - 262144} bytes left out ...]\n"
    assert found["stdout"] == text[:half] + line + text[-half:]
    assert found["truncated"] is True


def test_a_program_that_does_not_read_its_stdin_is_no_failure(tester):
    """Input that nobody wants is dropped."""
    assert tester.call("exec", "run", argv=["true"], stdin="x" * 1_000_000)["exitcode"] == 0


def test_output_is_cut_at_the_limit_between_characters(tester):
    """Head and tail are kept, what is between is dropped, and no character is cut in two."""
    found = tester.call("exec", "run", argv=["printf", "%s", "ää" * 100], output_limit=101)
    assert found["stdout"] == f"{'ä' * 25}\n[... 300 bytes left out ...]\n{'ä' * 25}"
    assert found["truncated"] is True


def test_the_nodes_own_bound_on_output_counts(tester):
    """A request cannot ask for more output than the node's max_output."""
    tester.configure("exec", max_output=10)
    found = tester.call("exec", "run", argv=["printf", "%s", "x" * 100], output_limit=1000)
    assert found["stdout"] == "xxxxx\n[... 90 bytes left out ...]\nxxxxx"


def test_bytes_that_are_no_text_stay_bytes(tester):
    """Output that is not UTF-8 comes back byte for byte."""
    code = "import sys; sys.stdout.buffer.write(bytes(range(256)))"
    assert tester.call("exec", "run", argv=[sys.executable, "-c", code])["stdout"] == bytes(
        range(256)
    )


def test_environment_and_directory(tester, tmp_path):
    """Variables are laid over the daemon's; the program runs where it was told to."""
    argv = ["sh", "-c", 'echo "$COLOUR"; pwd; command -v cat >/dev/null && echo path']
    found = tester.call("exec", "run", argv=argv, environment={"COLOUR": "blue"}, cwd=str(tmp_path))
    assert found["stdout"].splitlines() == ["blue", str(tmp_path), "path"]


def test_no_secret_of_the_daemon_is_inherited(tester, monkeypatch):
    """MCSHELL_ variables, of which one may hold the broker's passcode, are not passed on."""
    monkeypatch.setenv("MCSHELL_PASSCODE", "hunter2")
    assert "hunter2" not in tester.call("exec", "run", argv=["env"])["stdout"]


def test_a_broken_environment_is_refused(tester):
    """A name with "=" or a value that is a list cannot be a variable."""
    for environment in ({"A=B": "1"}, {"A": ["x"]}):
        error = tester.fails("exec", "run", argv=["true"], environment=environment)
        assert error.statuscode == 4


def test_timeout_ends_the_whole_group(tester, tmp_path):
    """Out of time, the program and its children are ended, also those that ignore SIGTERM."""
    script = tmp_path / "stubborn"
    script.write_text(
        f"trap '' TERM; sleep 600 & echo $! > {tmp_path}/child; echo started; while :; do wait; done"
    )
    error = tester.fails("exec", "run", argv=["sh", str(script)], timeout=1)
    assert str(error).endswith("out of time")
    assert error.data["stdout"] == "started\n"
    assert error.data["signal"] == "SIGKILL"
    assert error.data["exitcode"] is None
    child = int((tmp_path / "child").read_text())
    assert until(lambda: not alive(child))


def test_the_calls_own_time_bounds_every_program(tester):
    """Without a timeout the action's own holds, and the answer comes before it is over."""
    began = time.monotonic()
    error = tester.fails("exec", "run", argv=["sleep", "600"], within=4)
    assert "out of time" in str(error)
    assert error.data["elapsed"] < 4
    assert time.monotonic() - began < 60


def test_cancelling_ends_the_program(tester):
    """A cancelled request ends its program at once and says so."""
    cancelled = threading.Event()
    timer = threading.Timer(0.3, cancelled.set)
    timer.start()
    error = tester.fails("exec", "run", argv=["sleep", "600"], cancelled=cancelled)
    timer.join()
    assert "cancelled" in str(error)
    assert error.data["signal"] == "SIGTERM"


def test_a_background_child_does_not_hold_the_answer(tester, tmp_path):
    """A program that leaves a daemon behind is answered when it ends; the daemon lives on."""
    argv = ["sh", "-c", f"sleep 600 & echo $! > {tmp_path}/pid; echo done"]
    found = tester.call("exec", "run", argv=argv)
    assert found["stdout"] == "done\n"
    assert found["elapsed"] < 30
    child = int((tmp_path / "pid").read_text())
    assert alive(child)
    tester.call("exec", "run", argv=["kill", str(child)])
    assert until(lambda: not alive(child))


def test_a_signal_is_named(tester):
    """A program that a signal ended has no exit code but the signal's name."""
    error = tester.fails("exec", "run", argv=["sh", "-c", "kill -SEGV $$"])
    assert str(error) == "killed by SIGSEGV"
    assert (error.data["exitcode"], error.data["signal"]) == (None, "SIGSEGV")


def test_stdin_and_environment_are_marked_sensitive(tester):
    """The DDL has them redacted in audit, history and display."""
    action = tester.ddl("exec").action("run")
    assert set(action.sensitive) == {"stdin", "environment"}
    assert action.rerun_safe is False
    assert action.changes is True
