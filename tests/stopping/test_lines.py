"""Lines: a script ends with Ctrl-C; lines of several threads do not get into each other's way."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest

from mcshell.client.store.store import SessionStore
from tests.peers.ipython import ipython
from tests.peers.processes import wait_until
from tests.peers.terminal import Terminal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from IPython.core.interactiveshell import InteractiveShell

    from tests.peers.fleet import Fleet

pytestmark = pytest.mark.timeout(300)
NAP = "rpc mark nap sleep=4 -I web1 -I ghost1 -t 60 -y"
LINES = 125


def naps(fleet: Fleet, node: str) -> set[str]:
    """The ids of the requests to sleep that a node has seen."""
    return {one["requestid"] for one in fleet.audit(node) if one.get("action") == "nap"}


def interrupted(fleet: Fleet, *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """Run a command line, and send it SIGINT when web1 is at work for it."""
    before = naps(fleet, "web1")
    process = subprocess.Popen(
        [sys.executable, "-m", "mcshell", *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=fleet.folder,
        env={**fleet.environ, "MCSHELL_STATE": str(fleet.folder / "state-lines")},
    )
    assert process.stdin is not None
    process.stdin.write(stdin)
    process.stdin.close()
    process.stdin = None
    assert wait_until(lambda: naps(fleet, "web1") > before, 60, 0.02)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    return subprocess.CompletedProcess(words, process.returncode, out, err)


@pytest.mark.parametrize("words", [["-e", f"{NAP}; find -I web2"], []])
def test_a_script_ends_with_130(fleet: Fleet, words: list[str]) -> None:
    """The line shows what had come, and no other line of the script is run, however `-e` or typed."""
    script = "" if words else f"{NAP}\nfind -I web2\n"
    done = interrupted(fleet, *words, stdin=script)
    assert done.returncode == 130, done.stderr
    assert "ghost1" in done.stdout
    assert "web2" not in done.stdout


def test_130_comes_before_what_was_not_well(fleet: Fleet) -> None:
    """A line before it that was not all well does not hide that the script was interrupted."""
    silent = "rpc rpcutil ping -I ghost1 -t 1"
    done = interrupted(fleet, stdin=f"{silent}\n{NAP}\n")
    assert done.returncode == 130, done.stderr


@pytest.mark.parametrize("form", ["--json", "--jsonl", "--only=state=silent"])
def test_the_rows_come_in_every_form(fleet: Fleet, form: str) -> None:
    """What was not answered is judged before it is shown, as it is kept."""
    done = interrupted(fleet, *NAP.split(), form)
    assert done.returncode == 130, done.stderr
    if form == "--only=state=silent":
        assert "stopped waiting after" in done.stdout
        return
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    rows = rows[0]["replies"] if form == "--json" else rows
    states = {row["sender"]: row["state"] for row in rows}
    assert states["ghost1"] == "silent"
    assert set(states) == {"web1", "ghost1"}


def test_a_table_of_jobs_is_one_after_ctrl_c_too(fleet: Fleet, tmp_path: Path) -> None:
    """It has those who had told by then, and who had not, in the columns of the verb."""
    patient = fleet.folder / "patient.toml"
    patient.write_text(f'{fleet.config.read_text()}[client]\nprobe = "250s"\n')
    words = ["job", "list", "-I", "web1", "-I", "ghost1", "-t", "250", "--json"]
    environ = {"MCSHELL_CONFIG": str(patient), "MCSHELL_STATE": str(tmp_path / "state")}
    with subprocess.Popen(
        [sys.executable, "-m", "mcshell", *words],
        stdout=subprocess.PIPE,
        text=True,
        cwd=fleet.folder,
        env={**fleet.environ, **environ},
    ) as process:
        store = tmp_path / "state" / "sessions" / "scratch-1.sqlite"
        assert wait_until(lambda: answered(store) == 1, 60)
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    (row,) = json.loads(out)
    assert (row["sender"], row["state"]) == ("ghost1", "silent")
    assert row["progress"].startswith("stopped waiting after")


@pytest.mark.tmux
def test_a_line_at_the_prompt_ends(fleet: Fleet, tmp_path: Path) -> None:
    """Ctrl-C shows the rows of the line, and the prompt takes the next; `retry` asks who was silent."""
    environ = {**fleet.environ, "MCSHELL_STATE": str(tmp_path / "state")}
    with Terminal(tmp_path, [sys.executable, "-m", "mcshell"], environ) as terminal:
        terminal.wait_for(f"{fleet.collective}>")
        terminal.type("rpc rpcutil ping -I web1 -I ghost1 --batch 1 --batch-sleep 60")
        terminal.press("Enter")
        store = tmp_path / "state" / "sessions" / "scratch-1.sqlite"
        assert wait_until(lambda: answered(store) == 1, 60)
        terminal.press("C-c")
        terminal.wait_for("not sent: stopped")
        terminal.type("retry -t 2")
        terminal.press("Enter")
        terminal.wait_for("no answer from ghost1")
        assert "web1" in terminal.screen()


def answered(path: Path) -> int:
    """How many targets of the newest request in a session file have answered."""
    if not path.exists():
        return 0
    store = SessionStore(path)
    try:
        record = store.find_request()
        return 0 if record is None else sum(bool(one.done) for one in store.entries(record.id))
    finally:
        store.close()


@pytest.fixture
def shell(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> Iterator[InteractiveShell]:
    """An IPython shell with the extension loaded, and threads that take turns every 10 µs."""
    monkeypatch.setenv("MCSHELL_CONFIG", str(fleet.config))
    monkeypatch.setenv("MCSHELL_STATE", str(fleet.folder / "state-threads"))
    monkeypatch.chdir(fleet.folder)
    with ipython() as found:
        before = sys.getswitchinterval()
        sys.setswitchinterval(1e-5)
        yield found
        sys.setswitchinterval(before)


def test_a_thousand_lines_of_eight_threads(shell: InteractiveShell) -> None:
    """Each has its own targets and inputs, from the line, a cell's body or a variable of its own."""
    wrong: list[Any] = []

    def work(number: int) -> None:
        for turn in range(LINES):
            node = f"web{(number + turn) % 3 + 1}"
            fact = ("role", "os.name")[turn % 2]
            try:
                found = one_line(shell, turn % 3, node, fact)
            except BaseException as error:  # noqa: BLE001 - a thread's error is the test's
                wrong.append(error)
                return
            got = found[["sender", "fact"]].values.tolist()
            if got != [[node, fact]]:
                wrong.append((node, fact, got))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert wrong == []


def one_line(shell: InteractiveShell, way: int, node: str, fact: str) -> Any:
    """Ask one node for one fact."""
    if way == 0:
        return shell.run_line_magic("mco", f"rpc rpcutil get_fact fact={fact} -I {node}")
    if way == 1:
        return shell.run_cell_magic("mco", f"rpc rpcutil get_fact -I {node}", f"fact: {fact}\n")
    mine = [node]
    assert mine
    return shell.run_line_magic("mco", f"rpc rpcutil get_fact fact={fact} --nodes mine")


def test_clients_that_are_dropped_are_closed(fleet: Fleet) -> None:
    """Who keeps neither the client nor its replies keeps no connection, lock or thread of it."""
    program = (
        "import gc, json, os, threading, time, mcshell\n"
        "count = lambda: (len(os.listdir('/proc/self/fd')), threading.active_count())\n"
        "mcshell.connect().close()\n"
        "before = count()\n"
        "kept = [mcshell.connect().rpc('rpcutil', 'ping', nodes=['web1'], wait=False)]\n"
        "jobs = mcshell.connect().jobs\n"
        "for _ in range(5):\n"
        "    mcshell.connect().rpc('rpcutil', 'ping', nodes=['web1'])\n"
        "gc.collect()\n"
        "states = [one.wait(60).frame().state.tolist() for one in kept] + [len(jobs.rows(nodes=['web1']))]\n"
        "del kept[:], jobs\n"
        "end = time.monotonic() + 60\n"
        "while time.monotonic() < end and count() > before:\n"
        "    gc.collect(); time.sleep(0.1)\n"
        "print(json.dumps([states, before, count()]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        timeout=200,
        cwd=fleet.folder,
        env={**fleet.environ, "MCSHELL_STATE": os.fspath(fleet.folder / "state-dropped")},
    )
    states, before, after = json.loads(done.stdout)
    assert states == [["ok"], 0], done.stderr
    assert after == before
