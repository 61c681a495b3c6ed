"""A power cut takes back exactly what was not synced, as a small C program shows."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from mcshell.pki import Authority
from tests.nemesis.power import Disk, compiled

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.gcc


def killed_after(disk: Disk, argv: list[str], folder: Path) -> None:
    """Run a program on this disk, in a folder, until it has done what it says, and kill it."""
    with subprocess.Popen(
        argv, cwd=folder, env=dict(disk.environ), stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "done\n"
        process.kill()


@pytest.mark.parametrize(
    ("steps", "left"),
    [
        ("aone s atwo", b"one"),
        ("aone d vtwo athree", b"one"),
        ("aone atwo", b""),
        ("aone s atwo s", b"onetwo"),
        ("aabcdef s t2", b"abcdef"),
        ("aabcdef s t2 axy t1", b"abcdef"),
        ("aabcdef s t9", b"abcdef"),
        ("aabcdef s z anew", b"abcdef"),
        ("aabcdef s z anew s", b"new"),
        ("aabcdef s oXY pZZZZZZ", b"abcdef"),
        ("aabcdef oXY s pZ", b"XYcdef"),
        ("aone s y aSYNCED", b"oneSYNCED"),
        ("aone s atwo nother", b"one"),
    ],
)
def test_what_is_left_is_what_was_synced(tmp_path: Path, steps: str, left: bytes) -> None:
    """Append, overwrite, truncate and rename: the file has the bytes of its last sync."""
    root = tmp_path / "disk"
    root.mkdir()
    disk = Disk(root, tmp_path)
    killed_after(disk, [str(compiled("writes.c", tmp_path)), "file", *steps.split()], root)
    disk.cut()
    assert (root / ("other" if "nother" in steps else "file")).read_bytes() == left
    assert disk.cut() == {}


def test_what_is_elsewhere_stays(tmp_path: Path) -> None:
    """Files outside the disk keep what was written to them, synced or not."""
    (tmp_path / "disk").mkdir()
    disk = Disk(tmp_path / "disk", tmp_path)
    argv = [str(compiled("writes.c", tmp_path)), "disk-like", "aone"]
    killed_after(disk, argv, tmp_path)
    assert disk.cut() == {}
    assert (tmp_path / "disk-like").read_bytes() == b"one"


def test_a_certificate_that_is_there_after_a_power_cut_is_in_the_journal(tmp_path: Path) -> None:
    """Else nobody could revoke it by its name, which would be signed a second time."""
    home = tmp_path / "ca"
    made = Authority.init(home)
    disk = Disk(home, tmp_path / "disk")
    line = [
        sys.executable,
        "-m",
        "mcshell",
        "pki",
        "issue",
        "web1",
        "--kind",
        "node",
        "--pki",
        str(home),
    ]
    subprocess.run(line, cwd=home, env=os.environ | disk.environ, check=True, timeout=300)
    disk.cut()
    assert (home / "web1.pem").read_bytes()
    assert [one["name"] for one in Authority.open(made.directory).listing()] == ["web1"]
