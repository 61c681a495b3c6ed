"""A fleet for tests of jobs: real daemons whose clocks the test sets, operators, marks on disk.

Each daemon reads its clock from one file of the job_fleet (`tests/peers/daemon_with_clock.py`), and so
does this process while `JobFleet.ahead` is used, so that a day is over when the test says so.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import pytest

from mcshell import config
from mcshell.client.client import Client
from tests.peers.fleet import READY, Fleet, Node
from tests.peers.processes import Child, wait_until

if TYPE_CHECKING:
    from tests.peers.brokers import Broker

__all__ = ["JobFleet"]

ROOT = Path(__file__).resolve().parents[2]
AGENTS = ROOT / "tests" / "agents_for_tests"
STARTER = ROOT / "tests" / "peers" / "daemon_with_clock.py"
TRUE_TIME = time.time


class JobFleet:
    """A context manager that ends all it started. `policies` as of a `Fleet`."""

    def __init__(
        self,
        broker: Broker,
        folder: Path,
        *nodes: str,
        policies: dict[str, str] | None = None,
        operators: tuple[str, ...] = ("alice",),
        node: str = "",
    ) -> None:
        self.folder = folder
        self.marks = folder / "marks"
        self.clock = folder / "clock"
        self.clock.write_text("0")
        self._patch = pytest.MonkeyPatch()
        more = f'agents = ["{AGENTS}"]\n{node}'
        self.fleet = Fleet(
            broker,
            folder,
            {name: Node() for name in nodes},
            policies=policies,
            operators=operators,
            more=more,
        )
        for name in operators:
            with (folder / f"{name}.toml").open("a") as file:
                file.write(f'[node]\nagents = ["{AGENTS}"]\n')
        self.children: dict[str, Child] = {}
        self.clients: list[Client] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for client in self.clients:
            client.close()
        for child in self.children.values():
            child.signal(15)
        for child in self.children.values():
            child.stop()
        self.fleet.stop()
        self._patch.undo()

    # --- nodes -----------------------------------------------------------------------------

    def start(self, *names: str) -> None:
        """Start daemons by the job_fleet's clock, and wait until they serve."""
        before = {name: self._ready(name) for name in names}
        for name in names:
            argv = [sys.executable, STARTER, self.folder / f"{name}.toml", "0", self.clock]
            environ = {"PYTHONPATH": str(ROOT)}
            self.children[name] = Child(argv, self.folder / f"{name}.log", environ)
        for name in names:
            up = wait_until(lambda name=name: self._ready(name) > before[name], READY)
            assert up, self.children[name].tail()

    def _ready(self, name: str) -> int:
        log = self.folder / f"{name}.log"
        return log.read_text(errors="replace").splitlines().count("ready") if log.exists() else 0

    def kill(self, name: str) -> None:
        """SIGKILL to the daemon alone; what runs lives on."""
        child = self.children[name]
        child.family()
        os.kill(child.pid, 9)
        child.process.wait(60)

    def set_clock(self, ahead: float) -> None:
        """Put all clocks, of the daemons and of this process, so many seconds ahead."""
        draft = self.clock.with_suffix(".new")
        draft.write_text(f"{ahead}")
        draft.replace(self.clock)
        self._patch.setattr(time, "time", lambda: TRUE_TIME() + ahead)

    def audit(self, name: str) -> list[dict[str, Any]]:
        """A node's audit events."""
        return self.fleet.audit(name)

    # --- operators -------------------------------------------------------------------------

    def client(
        self, operator: str = "alice", session: str | None = None, state: str | None = None
    ) -> Client:
        """Connect as an operator."""
        overrides = {} if state is None else {"state": str(self.folder / state)}
        path = self.folder / f"{operator}.toml"
        client = Client(config.load(path, overrides=overrides), session=session)
        self.clients.append(client)
        return client

    def runs(self) -> Counter[str]:
        """How often each text was marked."""
        lines = self.marks.read_text().splitlines() if self.marks.exists() else []
        return Counter(line.partition(" ")[2] for line in lines)

    def states(self, client: Client, job: str) -> dict[str, str]:
        """The state of a job on each node that answers."""
        return {one["sender"]: one["state"] for one in client.jobs.rows(job)}

    def logs(self) -> str:
        """The ends of all logs, for a message."""
        return json.dumps({name: child.tail(10) for name, child in self.children.items()}, indent=1)
