"""The shim's surroundings: what it loads, what it inherits, how soon it begins."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from mcshell.message import State
from mcshell.node.execution.run_directory import RunDirectory, boot_id, start_time, write_whole

if TYPE_CHECKING:
    import pytest

    from tests.peers.workbench import Bench

ROOT = Path(__file__).resolve().parents[2]
HEAVY = ("cryptography", "stomp", "pandas", "psutil", "yaml", "lark", "jsonschema", "asyncio")


def test_shim_loads_nothing_heavy() -> None:
    """What an action's process loads has no broker, no keys and no data frames in it."""
    code = f"import sys, mcshell.node.execution.shim_main; print([m for m in {HEAVY} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout.strip() == "[]"


def test_shim_begins_soon(tmp_path: Path) -> None:
    """From its start to its outcome a shim takes a fraction of a second."""
    times = []
    for number in range(5):
        folder = RunDirectory(tmp_path / str(number))
        folder.path.mkdir()
        document = {
            "source": str(ROOT / "tests" / "agents_for_tests" / "mark.py"),
            "timeout": 10.0,
            "limits": {"memory": None, "output": None},
            "max_reply": 1 << 20,
            "request": {
                "id": "a" * 32,
                "agent": "mark",
                "action": "once",
                "caller": "cert=alice",
                "collective": "mcs",
                "via": "queue",
                "session": "s",
                "created": 0.0,
                "expires": 1.0,
                "data": {"file": str(tmp_path / "marks")},
            },
            "node": {
                "identity": "n1",
                "facts": {},
                "classes": [],
                "agents": [],
                "collectives": [],
                "inventory": [],
                "stats": {},
                "private": [],
                "settings": {},
            },
        }
        folder.request.write_text(json.dumps(document))
        lock = folder.take_lock()
        assert lock is not None
        began = time.monotonic()
        command = [
            sys.executable,
            "-m",
            "mcshell.node.execution.shim_main",
            str(folder.path),
            str(lock),
        ]
        subprocess.run(command, pass_fds=(lock,), start_new_session=True, check=False, cwd=ROOT)
        times.append(time.monotonic() - began)
        os.close(lock)
        assert json.loads(folder.outcome.read_text())["state"] == "ok"
    print(f"\nshim, start to outcome: median {sorted(times)[2] * 1000:.0f} ms")
    assert sorted(times)[2] < 3.0


def test_no_code_comes_from_where_the_daemon_was_started(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A module that lies in the daemon's working directory is not what a shim loads."""
    trap = tmp_path / "trap"
    trap.mkdir()
    (trap / "resource.py").write_text("raise SystemExit('trapped')")
    (trap / "mcshell.py").write_text("raise SystemExit('trapped')")
    monkeypatch.chdir(trap)
    bench.start()
    assert bench.final(bench.ask("once", {"file": str(tmp_path / "marks")})).state is State.OK


def test_lock_tells_who_lives(tmp_path: Path) -> None:
    """A folder whose lock is held is alive, whatever its pid file says; a free one is not."""
    folder = RunDirectory(tmp_path / "work")
    assert not folder.alive()
    folder.path.mkdir()
    assert not folder.alive()
    lock = folder.take_lock()
    assert lock is not None
    assert folder.alive()
    os.close(lock)
    assert not folder.alive()


def test_pid_is_believed_only_of_the_same_process_and_boot(tmp_path: Path) -> None:
    """A pid file of another boot, of a process that is gone, or a broken one, names nobody."""
    folder = RunDirectory(tmp_path)
    assert folder.shim_pid() is None
    folder.note_pid()
    assert folder.shim_pid() == os.getpid()
    mine = {"pid": os.getpid(), "start": start_time(os.getpid()), "boot": boot_id()}
    for wrong in ({"boot": "another"}, {"start": 1}, {"pid": 2**22 - 1}):
        folder.pid.write_text(json.dumps({**mine, **wrong}))
        assert folder.shim_pid() is None
    folder.pid.write_text("{")
    assert folder.shim_pid() is None


def test_whole_or_not_at_all(tmp_path: Path) -> None:
    """A file is written beside its place and moved there; the old one stays until then."""
    path = tmp_path / "outcome.json"
    write_whole(path, b"one")
    write_whole(path, b"two")
    assert path.read_bytes() == b"two"
    assert path.stat().st_mode & 0o777 == 0o600
    assert [one.name for one in tmp_path.iterdir()] == ["outcome.json"]
