"""What lies in the folder where somebody stands is never run: by the command, the demo, a node, a shim."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mcshell.children import python_environment, python_module
from mcshell.message import State
from tests.peers.fleet import Fleet, Node
from tests.peers.processes import Child, wait_until

if TYPE_CHECKING:
    from tests.peers.brokers import Broker

pytestmark = pytest.mark.timeout(240)
MODULES = (
    "mcshell",
    "json",
    "sitecustomize",
    "usercustomize",
    "tomllib",
    "cryptography",
    "jupyterlab",
)
COMMAND = str(Path(sys.executable).with_name("mcshell"))


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    """A folder with modules of names that mcshell imports; each leaves a mark when it is run."""
    folder = tmp_path / "hostile"
    folder.mkdir()
    for name in MODULES:
        mark = f"open({str(folder)!r} + '/ran-{name}', 'w').close()\nraise SystemExit('hostile')\n"
        (folder / f"{name}.py").write_text(mark)
    return folder


def marks(folder: Path) -> list[str]:
    """What has run."""
    return sorted(path.name for path in folder.glob("ran-*"))


def test_such_a_folder_is_dangerous(hostile: Path) -> None:
    """Plain `python -m` runs what lies there: the test's folder is what it is meant to be."""
    subprocess.run(
        [sys.executable, "-m", "json"], cwd=hostile, capture_output=True, check=False, timeout=60
    )
    assert marks(hostile) == ["ran-json"]


@pytest.mark.parametrize("path", ["", ":/nowhere", ".:", "relative"])
def test_children_take_nothing_from_it(
    hostile: Path, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However PYTHONPATH names the current folder, a process that we start does not look there."""
    (hostile / "relative").mkdir()
    done = subprocess.run(
        python_module("mcshell", "config", "show"),
        env=python_environment({**os.environ, "PYTHONPATH": path}),
        cwd=hostile,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert marks(hostile) == []


def test_the_demo_starts_its_fleet_there(hostile: Path) -> None:
    """The command, its broker, its node, its emulator and a request: nothing of the folder has run."""
    words = ("demo", "--nodes", "3", "--exec", "rpc rpcutil ping", "--json")
    done = subprocess.run(
        [COMMAND, *words], cwd=hostile, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert marks(hostile) == []


def test_python_m_takes_nothing_after_its_start(hostile: Path) -> None:
    """`python -m mcshell`, where the folder has no mcshell.py, loads the rest from where it is."""
    (hostile / "mcshell.py").unlink()
    done = subprocess.run(
        [sys.executable, "-m", "mcshell", "config", "show"],
        cwd=hostile,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert marks(hostile) == []


def test_a_node_and_its_shim_there(embedded: Broker, tmp_path: Path, hostile: Path) -> None:
    """A daemon started in the folder runs queued work in a shim: nothing of the folder has run."""
    (tmp_path / "fleet").mkdir()
    with Fleet(embedded, tmp_path / "fleet", {"web1": Node()}) as fleet:
        log = tmp_path / "web1.log"
        argv = ["env", "--chdir", hostile, COMMAND, "node", "--config", fleet.folder / "web1.toml"]
        child = Child(argv, log)
        try:
            assert wait_until(lambda: "ready" in log.read_text().splitlines(), 60), child.tail()
            with fleet.client() as client:
                (row,) = client.rpc("rpcutil", "inventory", nodes=["web1"], via="queue").rows()
            assert row.state is State.OK, row
        finally:
            child.stop()
    assert marks(hostile) == []
