"""Faults of the machine: each is one plain line and a documented exit code, never a traceback."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.faces.conftest import STRANGE
from tests.peers.small_disk import small_disk
from tests.peers.terminal import Terminal

if TYPE_CHECKING:
    from pathlib import Path

    from tests.peers.fleet import Fleet

pytestmark = pytest.mark.timeout(240)
MACHINE = 74


def shell(
    fleet: Fleet, line: str, folder: Path | None = None, **more: str
) -> subprocess.CompletedProcess[str]:
    """What a line of `sh` comes to, in which `mcshell` is ours; UTF-8 is not taken for granted."""
    environ = {key: value for key, value in fleet.environ.items() if key != "PYTHONIOENCODING"}
    return subprocess.run(
        ["sh", "-c", f'mcshell() {{ "{sys.executable}" -m mcshell "$@"; }}; {line}'],
        cwd=folder,
        env={**environ, **more},
        capture_output=True,
        encoding=more.get("PYTHONIOENCODING", "utf-8"),
        timeout=120,
        check=False,
    )


def one_line(done: subprocess.CompletedProcess[str], says: str) -> None:
    """Standard error is that one line, and nothing that only we could read."""
    assert says in done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    assert done.stderr.startswith("mcshell: ")
    for word in ("Traceback", "internal error", "Exception", "Error:"):
        assert word not in done.stderr


FAULTS = {
    "full": ("mcshell ping > /dev/full", "standard output: No space left on device", MACHINE),
    "full, json": ("mcshell ping --json > /dev/full", "No space left on device", MACHINE),
    "full, jsonl": (
        "mcshell rpc rpcutil ping --jsonl > /dev/full", "No space left on device", MACHINE,
    ),
    "full, prose": ("mcshell help > /dev/full", "No space left on device", MACHINE),
    "closed": ("mcshell ping >&-", "standard output is closed", MACHINE),
    "closed, a script": ("mcshell -e ping >&-", "standard output is closed", MACHINE),
    "closed, standard input": ("echo ping | mcshell >&-", "standard output is closed", MACHINE),
    "closed, help": ("mcshell help pki >&-", "standard output is closed", MACHINE),
    "closed, the version": ("mcshell --version >&-", "standard output is closed", MACHINE),
    "closed, prose": ("mcshell completion bash >&-", "standard output is closed", MACHINE),
    "invalid bytes": (
        "mcshell ping -I \"$(printf '\\377')\"", "argument 3, b'\\xff': not UTF-8", 64,
    ),
    "invalid bytes in an input": (
        "mcshell rpc rpcutil get_fact \"fact=$(printf 'a\\377')\"", "not UTF-8", 64,
    ),
    "no state": ("MCSHELL_STATE=/proc/none mcshell ping", "/proc/none", MACHINE),
    "state that is a file": ("MCSHELL_STATE=/etc/passwd mcshell ping", "/etc/passwd: Not a directory", MACHINE),
    "a script that is no text": ("printf 'ping\\n\\377' | mcshell", "standard input: line 2", 64),
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_one_line(fleet: Fleet, name: str) -> None:
    """What is wrong is said once, and the exit code is one of the table."""
    line, says, code = FAULTS[name]
    done = shell(fleet, line)
    one_line(done, says)
    assert done.returncode == code, done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize("buffered", ["-u PYTHONUNBUFFERED", "PYTHONUNBUFFERED=1"])
def test_lines_end_where_nothing_can_be_shown(fleet: Fleet, buffered: str) -> None:
    """A script ends with the line whose rows nobody sees; a file that is full is that line's fault."""
    done = shell(fleet, f"env {buffered} mcshell -e 'ping; nonsense' > /dev/full")
    assert done.stderr == "standard output: No space left on device\n"
    assert done.returncode == MACHINE
    done = shell(fleet, "mcshell -e 'ping > /dev/full'")
    assert done.stderr == "> /dev/full: No space left on device\n"
    assert done.returncode == MACHINE


def test_nobody_is_told_and_nobody_sees(fleet: Fleet) -> None:
    """With both outputs closed the exit code is all there is; nothing lands in a file of ours."""
    done = shell(fleet, "mcshell ping >&- 2>&-")
    assert (done.returncode, done.stdout, done.stderr) == (MACHINE, "", "")
    done = shell(fleet, "mcshell find --senders <&- 2>&-")
    assert (done.returncode, done.stdout.split()) == (0, ["db1", "web1", "web2"])


def test_nothing_is_asked_where_nothing_could_be_shown(fleet: Fleet) -> None:
    """A closed output is refused before the request, so that no change happens unseen."""
    before = shell(fleet, "mcshell requests --jsonl --session unseen").stdout
    shell(fleet, "mcshell rpc rpcutil ping --session unseen >&-")
    shell(fleet, "mcshell -e 'rpc rpcutil ping --session unseen' >&-")
    assert shell(fleet, "mcshell requests --jsonl --session unseen").stdout == before


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252"])
def test_letters_outside_the_locale(fleet: Fleet, encoding: str) -> None:
    """They are escaped, JSON stays JSON, and one line says so; in UTF-8 nothing is said."""
    facts = shell(fleet, "mcshell facts emoji --json", PYTHONIOENCODING=encoding)
    assert json.loads(facts.stdout)[0]["value"] == STRANGE
    one_line(facts, "standard output takes")
    assert facts.returncode == 0
    done = shell(
        fleet, f"mcshell sql \"select '{STRANGE}' as x\" --json", PYTHONIOENCODING=encoding
    )
    assert json.loads(done.stdout) == [{"x": STRANGE}]
    one_line(done, r"letters are written as \uXXXX")
    assert done.returncode == 0
    one = shell(fleet, "mcshell sql \"select '\u0416' as x\" --json", PYTHONIOENCODING=encoding)
    one_line(one, r"1 letter is written as \uXXXX")
    table = shell(fleet, f"mcshell sql \"select '{STRANGE}' as x\"", PYTHONIOENCODING=encoding)
    one_line(table, "standard output takes")
    assert r"\u4e2d \ud83d\ude00" in table.stdout
    fine = shell(fleet, f"mcshell sql \"select '{STRANGE}' as x\"", PYTHONIOENCODING="utf-8")
    assert (STRANGE in fine.stdout, fine.stderr) == (True, "")


def test_a_folder_that_somebody_has_deleted(fleet: Fleet, tmp_path: Path) -> None:
    """Who needs nothing of it works; who does is told which file."""
    gone = f'mkdir "{tmp_path}/gone"; cd "{tmp_path}/gone"; rmdir "{tmp_path}/gone"; '
    done = shell(fleet, f"{gone} mcshell find --senders")
    assert (done.returncode, done.stdout.split()) == (0, ["db1", "web1", "web2"]), done.stderr
    done = shell(fleet, f"{gone} mcshell find --nodes here.txt")
    one_line(done, "--nodes here.txt: there is no such file")
    assert done.returncode == 64
    done = shell(fleet, f"{gone} MCSHELL_STATE=here mcshell ping")
    one_line(done, "here")
    assert done.returncode == MACHINE


def test_a_state_that_is_read_only(fleet: Fleet, tmp_path: Path) -> None:
    """A session file that cannot be written is named."""
    state = tmp_path / "state"
    assert shell(fleet, "mcshell find --senders", MCSHELL_STATE=str(state)).returncode == 0
    for path in state.rglob("*.sqlite*"):
        path.unlink()
        path.mkdir()
    done = shell(fleet, "mcshell find", MCSHELL_STATE=str(state))
    one_line(done, str(state))
    assert done.returncode == 64


@pytest.mark.tmux
def test_a_prompt_without_a_state(fleet: Fleet, tmp_path: Path) -> None:
    """On a disk that is full or read-only the prompt is there, and says what it cannot keep."""
    environ = {**fleet.environ, "MCSHELL_STATE": str(tmp_path / "disk" / "state")}
    with small_disk(tmp_path / "disk") as disk:
        disk.fill()
        for mode, why in (("rw", "No space left on device"), ("ro", "Read-only file system")):
            disk.remount(mode)
            folder = tmp_path / mode
            folder.mkdir()
            with Terminal(
                folder, [sys.executable, "-m", "mcshell"], environ, (250, 30)
            ) as terminal:
                terminal.wait_for("faces>")
                terminal.type("version")
                terminal.press("Enter")
                screen = terminal.wait_for(why)
                assert "lines are not kept" in screen
                assert "Traceback" not in screen
                terminal.wait(lambda screen: "\nmcshell " in screen)


@pytest.mark.tmux
def test_replies_that_find_a_full_disk_are_told_in_lines(fleet: Fleet, tmp_path: Path) -> None:
    """What came in the background and could not be kept is a line each time, and no traceback."""
    with small_disk(tmp_path / "disk") as disk:
        environ = {**fleet.environ, "MCSHELL_STATE": str(disk.path / "state")}
        with Terminal(tmp_path, [sys.executable, "-m", "mcshell"], environ, (250, 30)) as terminal:
            terminal.wait_for("faces>")
            terminal.type("rpc exec run -I web1 -b -- sleep 4")
            terminal.press("Enter")
            terminal.wait_for("1 open")
            disk.fill()
            screen = terminal.wait_for("could not keep 1 replies: ")
            assert "disk is full" in screen
            assert "Traceback" not in screen
            disk.empty()


@pytest.mark.parametrize(
    ("line", "code"), [("rpc rpcutil ping", 0), ("rpc rpcutil ping -I gone", 4), ("nonsense", 64)]
)
def test_what_cannot_be_said_beside_the_data_changes_no_exit_code(
    fleet: Fleet, line: str, code: int
) -> None:
    """With standard error on a full disk the data is whole, and the exit code is the request's."""
    done = shell(fleet, f"mcshell {line} 2>/dev/full")
    assert done.returncode == code
    assert done.stdout.count("sender") == (code != 64)
