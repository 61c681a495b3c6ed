"""A day of two operators: 200 requests to two real nodes and ten emulated ones, each in a session."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

import mcshell
from mcshell.client.session.transfer import export_session
from tests.incident.flips import rows
from tests.peers.fleet import Fleet, Node

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mcshell.client.client import Client
    from tests.peers.brokers import Broker

PATIENCE = 60.0
EACH = 100
POLICY = "policy default deny\nallow\tcert=alice\t*\t*\t*\nallow\tcert=bob\t*\t*\t*\n"
NASTY = "`<script>alert(1)</script>` **x** $\\alpha$ ![i](http://e.x/i.png) # h"


@dataclass
class Day:
    """The fleet of that day, and the two session files, each as its operator hands it on."""

    fleet: Fleet
    folder: Path

    def cli(self, *words: str, who: str = "alice") -> subprocess.CompletedProcess[str]:
        """One command line, as one of them; nothing needs the broker."""
        config = str(self.fleet.folder / f"{who}.toml")
        return subprocess.run(
            [sys.executable, "-m", "mcshell", *words],
            capture_output=True,
            text=True,
            check=False,
            cwd=self.folder,
            env={**self.fleet.environ, "MCSHELL_CONFIG": config},
        )

    def verify(self, *words: str) -> tuple[int, list[dict[str, Any]], str]:
        """`audit verify`: exit code, rows, notes."""
        done = self.cli("audit", "verify", *words, "--json")
        found = json.loads(done.stdout) if done.stdout else []
        return done.returncode, found["rows"] if isinstance(found, dict) else found, done.stderr

    def logs(self) -> list[str]:
        """`--log` for each audit log of that day."""
        paths = [self.fleet.folder / f"state-{name}" / "node" for name in self.fleet.names]
        paths += (self.fleet.folder / "state-emulator").glob("emulate-*")
        return [word for path in paths for word in ("--log", str(path / "audit.jsonl"))]


@dataclass
class Books:
    """A notebook of both sessions, in a folder with its two session files and nothing else."""

    folder: Path
    files: list[Path]
    rows: dict[str, list[Any]] | None = field(repr=False)


def ask_all_day(client: Client) -> None:
    """A hundred requests of all kinds: to all, to some, queued, a job, failed, silent, nasty, from a tool."""
    for number in range(EACH - 6):
        if number % 10 == 0:
            client.rpc("rpcutil", "ping", via="queue", nodes=["web1"]).wait(PATIENCE)
        elif number % 10 == 1:
            client.rpc("rpcutil", "get_fact", fact="os.name")
        else:
            client.rpc("rpcutil", "ping", nodes=["web1", "web2"])
    with mcshell.origin("nightly <check>"):
        client.rpc("rpcutil", "get_fact", fact=NASTY, nodes=["web1"])
        client.rpc("service", "status", name="there-is-none", nodes=["web1", "web2"])
    client.rpc("rpcutil", "ping", nodes=["web1", "nobody"], timeout=0.5)
    client.rpc("rpcutil", "daemon_stats")
    client.rpc("rpcutil", "agent_inventory", nodes=["web1"])
    client.jobs.submit("rpcutil", "ping", nodes=["web1"], name="hello").wait(PATIENCE)


@pytest.fixture(scope="session")
def day(embedded: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Day]:
    """The day is over: nodes are down, alice has her session, and bob's as a file of his."""
    folder = tmp_path_factory.mktemp("incident")
    nodes = {"web1": Node(), "web2": Node()}
    policies = {"default": POLICY}
    operators = ("alice", "bob")
    with Fleet(embedded, folder, nodes, policies=policies, operators=operators) as fleet:
        fleet.start()
        fleet.emulate(10)
        for who in operators:
            with fleet.client(who, session=f"day-{who}") as client:
                ask_all_day(client)
        fleet.stop()
        work = folder / "work"
        work.mkdir()
        export_session(folder / "state-bob", "day-bob", work / "bob.mcs")
        yield Day(fleet, work)


@pytest.fixture(scope="session")
def books(day: Day, tmp_path_factory: pytest.TempPathFactory) -> Books:
    """What `notebook` writes of that day, with what nodes wrote down."""
    folder = tmp_path_factory.mktemp("books")
    done = day.cli("notebook", "day-alice", "bob.mcs", "-o", str(folder / "day.ipynb"), *day.logs())
    assert done.returncode == 0, done.stdout + done.stderr
    files = [folder / "day-day-alice.mcs", folder / "day-bob.mcs"]
    assert sorted(folder.iterdir()) == sorted([*files, folder / "day.ipynb"])
    return Books(folder, files, rows(files[0]))
