"""What commands write where there is no room: they say so, leave nothing, and go on when there is some."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from mcshell.client.store.store import SessionStore
from mcshell.pki.authority import Authority
from tests.peers.small_disk import small_disk

if TYPE_CHECKING:
    from pathlib import Path

LINES = [
    "ddl export {disk}/ddl service",
    "agent new hello --dir {disk}/agents",
    "broker config embedded --pki {here}/ca --dir {disk}/broker --host 127.0.0.1",
    "config import {here}/client.cfg -o {disk}/alice.toml",
]


@pytest.mark.parametrize("line", LINES, ids=[" ".join(line.split()[:2]) for line in LINES])
def test_a_full_disk_is_named_and_left_as_it_was(tmp_path: Path, line: str) -> None:
    """A file that cannot be written is one line and 74, nothing is left of it, and the same line works later."""
    Authority.init(tmp_path / "ca", "mcs")
    (tmp_path / "client.cfg").write_text(
        "plugin.activemq.pool.size = 1\nplugin.activemq.pool.1.host = mq\n"
    )

    def run() -> subprocess.CompletedProcess[str]:
        argv = [sys.executable, "-m", "mcshell", *words]
        return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)

    with small_disk(tmp_path / "disk", size="1m") as disk:
        words = line.format(disk=disk.path, here=tmp_path).split()
        filler = disk.fill()
        done = run()
        (said,) = done.stderr.splitlines()
        assert said.startswith(f"mcshell: {disk.path}/")
        assert said.endswith(": No space left on device")
        assert done.returncode == 74
        assert [path for path in disk.path.rglob("*") if path.is_file()] == [filler]
        disk.empty()
        assert run().returncode == 0, said


@pytest.mark.parametrize(
    "line", [*LINES, "sql select 1"], ids=lambda line: " ".join(line.split()[:2])
)
def test_a_limit_of_files_is_named(tmp_path: Path, line: str) -> None:
    """Whose files may not grow (`ulimit -f`) has 74 as on a full disk, and a line that says of which file."""
    Authority.init(tmp_path / "ca", "mcs")
    (tmp_path / "client.cfg").write_text(
        "plugin.activemq.pool.size = 1\nplugin.activemq.pool.1.host = mq\n"
    )
    (tmp_path / "mcshell.toml").write_text('state = "state"\n')
    sessions = tmp_path / "state" / "sessions"
    sessions.mkdir(parents=True)
    SessionStore(sessions / "kept.sqlite").close()
    words = line.format(disk=tmp_path, here=tmp_path).split()
    done = subprocess.run(
        ["prlimit", "--fsize=0", sys.executable, "-m", "mcshell", *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={**os.environ, "MCSHELL_CONFIG": str(tmp_path / "mcshell.toml")},
    )
    (said,) = done.stderr.splitlines()
    assert said.startswith("mcshell: ")
    assert "File too large" in said or "disk I/O error" in said
    assert done.returncode == 74
