"""Client, broker and nodes are killed while a file goes to all: the same line ends it, whole."""

from __future__ import annotations

import hashlib
import json
import os
import random
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from tests.files.conftest import MORE, NAMES
from tests.peers.fleet import Fleet, Node
from tests.peers.processes import Child, wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.peers.brokers import Broker

pytestmark = pytest.mark.timeout(600)
SIZE = 24_000_000
POLICY = "policy default deny\nallow\tcert=alice\t*\t*\t*\n"
RABBITMQ = pytest.param("rabbitmq", marks=pytest.mark.rabbitmq)
ACTIVEMQ = pytest.param("activemq", marks=[pytest.mark.activemq, pytest.mark.soak])
SEEDS = [0, *(pytest.param(seed, marks=pytest.mark.soak) for seed in range(1, 10))]


@pytest.mark.parametrize("broker_kind", ["embedded", RABBITMQ, ACTIVEMQ])
@pytest.mark.parametrize("seed", SEEDS)
def test_it_is_resumed_whatever_is_killed(mortal_broker: Broker, tmp_path: Path, seed: int) -> None:
    """A node and the broker die and come back, then the client dies; the line again, and all have it."""
    dice = random.Random(seed)
    content = os.urandom(SIZE)
    (tmp_path / "app").write_bytes(content)
    (root := tmp_path / "root").mkdir()
    (folder := tmp_path / "fleet").mkdir()
    more, nodes = MORE.format(root=root), {name: Node() for name in NAMES}
    with Fleet(mortal_broker, folder, nodes, policies={"file": POLICY}, more=more) as fleet:
        fleet.start()
        words = ["cp", str(tmp_path / "app"), f"n[1-3]:{root}/app", "-y", "-t", "120s"]
        argv = [sys.executable, "-m", "mcshell", *words, "--rate", "6M"]
        first = Child(argv, tmp_path / "cp.log", fleet.environ)
        pause = threading.Event()
        for what in dice.sample(("node", "broker"), 2):
            pause.wait(dice.uniform(0.5, 2.5))
            if what == "broker":
                mortal_broker.kill9()
                mortal_broker.restart()
            else:
                name = dice.choice(NAMES)
                fleet.kill9(name)
                fleet.start(name)
        pause.wait(dice.uniform(0.0, 1.0))
        first.kill9()
        with fleet.client() as client:  # a node comes back to a broker by itself, in its own time
            wait_until(lambda: client.discover(fresh=True).answered.sum() == len(NAMES), 60, 0.5)
        done = fleet.cli(*words, "-j", timeout=300)
        assert done.returncode == 0, done.stdout + done.stderr
        rows = json.loads(done.stdout)
        assert [(one["sender"], one["state"]) for one in rows] == [(name, "ok") for name in NAMES]
        assert (root / "app").read_bytes() == content
        assert {one["sha256"] for one in rows} == {hashlib.sha256(content).hexdigest()}
        assert [path.name for path in root.iterdir()] == ["app"]
