"""One real daemon with handlers of conversations, and two operators of whom one may talk."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.peers.agents import SSHAgent
from tests.peers.fleet import Fleet, Node
from tests.peers.processes import Child

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
HANDLERS = ROOT / "tests" / "agents_for_tests"
STARTER = ROOT / "tests" / "peers" / "daemon_that_drops.py"
POLICY = "policy default deny\nallow\tcert=alice\techo broken absent\t*\t*\n"


class Talkers(Fleet):
    """A fleet whose one node, n1, can be told to drop its connection."""

    def __init__(self, broker, folder):
        super().__init__(
            broker,
            folder,
            {"n1": Node()},
            policies={"converse": POLICY},
            operators=("alice", "bob"),
            more=f'agents = ["{HANDLERS}"]\n',
        )

    def begin(self):
        """Start n1, and wait until it serves."""
        before = self._said_ready("n1")
        argv = [sys.executable, STARTER, self.folder / "n1.toml"]
        self.nodes["n1"] = Child(argv, self.folder / "n1.log", self.environ)
        self._wait("n1", self.nodes["n1"], before)

    def drop(self, number):
        """Have n1 lose its connection."""
        os.kill(self.nodes["n1"].pid, number)


@pytest.fixture(scope="module")
def talkers(broker, tmp_path_factory) -> Iterator[Talkers]:
    """The node on each of the three brokers in turn."""
    with Talkers(broker, tmp_path_factory.mktemp("talkers")) as fleet:
        fleet.begin()
        yield fleet


@pytest.fixture
def own(embedded, tmp_path) -> Iterator[Talkers]:
    """A node on the embedded broker that a test may kill."""
    with Talkers(embedded, tmp_path) as fleet:
        fleet.begin()
        yield fleet


@pytest.fixture
def agent(tmp_path) -> Iterator[SSHAgent]:
    """A real ssh-agent."""
    running = SSHAgent(tmp_path)
    yield running
    running.stop()
