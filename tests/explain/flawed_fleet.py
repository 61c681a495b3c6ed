"""A small world in which things go wrong: daemons, each with a flaw of its own, and operators."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from mcshell.ddl.ddl_library import shipped_dir
from tests.peers.fleet import ROOT, Fleet, Node
from tests.peers.processes import Child, wait_until

if TYPE_CHECKING:
    from mcshell.client.client import Client
    from tests.peers.brokers import Broker

__all__ = ["PATIENCE", "FlawedFleet"]

PATIENCE = 60.0
AGENTS = Path(ROOT) / "tests" / "agents_for_tests"
STARTER = Path(ROOT) / "tests" / "peers" / "daemon_with_clock.py"
NAMES = ("web1", "busy", "full", "gone", "moved", "late", "lost", "fast")
MORE = f"""\
agents = ["{AGENTS}"]
register_every = "1s"
slots = 1
limits.mark = {{ timeout = "30s" }}
"""
SPECIAL = {
    "web1": 'max_reply = "4kB"\nlimits.mark = { timeout = "1s" }\n',
    "full": "spool_max = 1\n",
}
POLICIES = {"package": "policy default deny\n# nobody may\n"}
POOLS = '[pools.sms]\nmembers = ["nobody*"]\n'


class FlawedFleet(Fleet):
    """All of them on one broker, alice with an open client, bob with his trouble to come."""

    def __init__(self, broker: Broker, folder: Path) -> None:
        nodes = {name: Node({"role": "old"}) for name in NAMES}
        super().__init__(
            broker, folder, nodes, policies=POLICIES, operators=("alice", "bob"), more=MORE
        )
        for name, text in SPECIAL.items():
            path = folder / f"{name}.toml"
            kept = [line for line in path.read_text().splitlines() if _key(line) not in text]
            path.write_text("\n".join(kept) + "\n" + text)
        for operator in ("alice", "bob"):
            path = folder / f"{operator}.toml"
            path.write_text(f'{path.read_text()}[node]\nagents = ["ddls", "{AGENTS}"]\n{POOLS}')
        self._write_ddls(folder / "ddls")
        self._clients: list[Client] = []

    def _write_ddls(self, folder: Path) -> None:
        """The operators' own idea of two agents: an action that no node has, an input too few."""
        folder.mkdir()
        mark = json.loads((AGENTS / "mark.json").read_text())
        by_name = {action["action"]: action for action in mark["actions"]}
        by_name["nap"]["input"]["sleep"]["optional"] = True
        mark["actions"].append({**by_name["fail"], "action": "novel"})
        (folder / "mark.json").write_text(json.dumps(mark))
        (folder / "other.json").write_text(
            (shipped_dir() / "rpcutil.json").read_text().replace('"rpcutil"', '"other"')
        )

    def open(self, name: str, session: str | None = None) -> Client:
        """Another client of an operator, with a state directory of his; closed at the end."""
        client = self.client(name, state=f"state-{name}", session=session)
        self._clients.append(client)
        return client

    def start_fast(self, ahead: float) -> None:
        """Start the node whose clock is ahead."""
        argv = [sys.executable, STARTER, self.folder / "fast.toml", str(ahead)]
        self.nodes["fast"] = Child(argv, self.folder / "fast.log", self.environ)
        self._wait("fast", self.nodes["fast"], 0)

    def known(self, client: Client, *names: str) -> None:
        """Wait until the client has heard of these."""

        def heard() -> bool:
            return {node.identity for node in client.known.nodes(self.collective)} >= set(names)

        assert wait_until(heard, PATIENCE), client.known.nodes(self.collective)

    def stop(self) -> None:
        """End everything."""
        for client in self._clients:
            client.close()
        self._clients.clear()
        super().stop()


def _key(line: str) -> str:
    return line.partition(" =")[0] + " =" if " = " in line else line
