"""The unit files that ship: systemd reads them, and they say what the daemons rest on."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

UNITS = Path(__file__).resolve().parents[2] / "mcshell" / "deploy" / "systemd"
NAMES = sorted(path.name for path in UNITS.glob("*.service"))


def lines(name):
    """What a unit says, without comments."""
    text = (UNITS / name).read_text(encoding="utf-8")
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def test_there_is_one_for_each_service():
    """By the names under which they are enabled: the node, the CA, the supervisor."""
    assert NAMES == ["mcshell-node.service", "mcshell-pki.service", "mcshell-supervisor.service"]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not here")
@pytest.mark.parametrize("name", NAMES)
def test_systemd_has_nothing_against_them(name, tmp_path):
    """`systemd-analyze verify` says nothing about them, with a program where ours would be.

    What each commented line would harden is read, too: without its # it is one that systemd knows.
    """
    text = (UNITS / name).read_text(encoding="utf-8")
    text = re.sub(r"^#(?=[A-Z]\w+=)", "", text, flags=re.MULTILINE)
    (tmp_path / name).write_text(text.replace("/opt/mcshell/bin/mcshell", sys.executable))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(tmp_path / name)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "SYSTEMD_COLORS": "0"},
    )
    assert [line for line in done.stderr.splitlines() if "mcshell" in line] == []
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", NAMES)
def test_they_are_started_again_without_a_limit(name):
    """And are services that speak with systemd, and are watched."""
    wanted = {"StartLimitIntervalSec=0", "Restart=always", "Type=notify", "LimitCORE=0"}
    assert wanted <= {*lines(name)}
    assert any(line.startswith("WatchdogSec=") for line in lines(name))


def test_a_restart_of_the_node_leaves_its_work_alone():
    """Only the daemon is ended."""
    assert "KillMode=process" in lines("mcshell-node.service")
    assert "KillMode=process" not in lines("mcshell-supervisor.service")
