"""The light node as a Debian package, in the tree of Debian 13 that tests/run makes."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from mcshell.version import VERSION
from tests.deploy.light import PROJECT, offline
from tests.interpreters import CACHE
from tests.peers.processes import said

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TREE = CACHE / "rabbitmq-trixie" / "tree"
PYTHON = "3.13"
"""Debian 13's."""

PATH = "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

pytestmark = [
    pytest.mark.timeout(400),
    pytest.mark.skipif(
        os.getuid() != 0 or not (TREE.parent / "made").exists(),
        reason="needs root, and the tree of Debian 13 that tests/run makes",
    ),
]


def inside(*argv: str) -> subprocess.CompletedProcess[str]:
    """Run a program in the tree."""
    return subprocess.run(
        ["chroot", TREE, *argv], check=False, capture_output=True, text=True, env={"PATH": PATH}
    )


@pytest.fixture
def package(tmp_path: Path) -> Iterator[str]:
    """The package, made by its one command and laid into the tree; it is gone from there afterwards."""
    quick = {"DPKG_DEB_COMPRESSOR_LEVEL": "0"}  # its packer takes half of the time else
    made = said(PROJECT / "deb", tmp_path, PYTHON, **offline(PYTHON), **quick).splitlines()[-1]
    place = f"/tmp/{tmp_path.name}.deb"
    (TREE / place[1:]).write_bytes((tmp_path / made.rpartition("/")[2]).read_bytes())
    try:
        yield place
    finally:
        inside("dpkg", "--purge", "mcshell-node")
        (TREE / place[1:]).unlink()


def test_it_installs_runs_and_goes_again(package):
    """On a Debian machine it needs nothing but Debian's Python; taken off, it leaves no file."""
    assert inside("dpkg", "--install", package).returncode == 0
    assert inside("mcshell", "version").stdout == f"mcshell {VERSION}\n"
    found = inside("mcshell", "doctor")
    assert found.returncode == 2, found.stderr
    assert "agent rpcutil" in found.stdout
    assert "Traceback" not in found.stderr
    assert inside("dpkg", "--verify", "mcshell-node").stdout == ""
    unit = (TREE / "usr/lib/systemd/system/mcshell-node.service").read_text()
    assert "\nExecStart=/usr/bin/mcshell node --config /etc/mcshell/node.toml\n" in unit
    assert inside("dpkg", "--remove", "mcshell-node").returncode == 0
    assert not (TREE / "usr/lib/mcshell-node").exists()
    assert not (TREE / "usr/bin/mcshell").exists()


@pytest.fixture
def told() -> Iterator[Path]:
    """What systemd was told in the tree, where none can run: a line a call."""
    running, program = TREE / "run/systemd/system", TREE / "usr/local/bin/systemctl"
    running.mkdir(parents=True, exist_ok=True)
    program.write_text('#!/bin/sh\necho "$*" >>/tmp/told\n')
    program.chmod(0o755)
    try:
        yield TREE / "tmp/told"
    finally:
        program.unlink()
        running.rmdir()
        (TREE / "tmp/told").unlink(missing_ok=True)


def test_a_running_node_is_started_anew_by_an_upgrade_and_ended_by_a_removal(package, told):
    """Else it would go on with some modules of the one version and some of the other, or of none."""
    anew = ["daemon-reload", "try-restart mcshell-node.service"]
    for line, calls in (
        ("--install", anew),
        ("--install", ["daemon-reload", *anew]),
        ("--remove", ["disable --now mcshell-node.service", "daemon-reload"]),
    ):
        told.write_text("")
        what = package if line == "--install" else "mcshell-node"
        assert inside("dpkg", line, what).returncode == 0
        assert told.read_text().splitlines() == calls
