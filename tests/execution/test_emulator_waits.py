"""An emulator that is started before its broker serves as soon as the broker is there."""

from __future__ import annotations

import sys

from tests.peers.fleet import Fleet
from tests.peers.processes import Child, wait_until


def test_it_waits_for_its_broker(fresh_broker, tmp_path):
    """Started while the broker is down it says so, tries again, and serves once it is up."""
    broker = fresh_broker()
    broker.kill9()
    with Fleet(broker, tmp_path) as fleet:
        fleet._enrol("emulator", "node", '[node]\npolicies = "policies"\n')
        config = str(tmp_path / "emulator.toml")
        argv = [sys.executable, "-m", "mcshell", "emulate", "3", "--config", config]
        child = Child([*argv, "--pki", str(tmp_path / "pki")], tmp_path / "log", fleet.environ)
        try:
            assert wait_until(lambda: "next try in" in child.tail(), 30)
            broker.restart()
            assert wait_until(lambda: "ready" in child.tail().splitlines(), 30)
            with fleet.client() as client:
                assert len(client.discover()) == 3
        finally:
            child.stop()
