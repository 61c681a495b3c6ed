"""Emulated machines, supervisors that are killed, and rules; a context manager that ends them all.

Every run of `mark.once` appends a line to a file, so that what ran is counted, not asked.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import uuid
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from mcshell.wire import destinations
from mcshell.wire.stomp.connector import Connector
from tests.peers.fleet import READY, Fleet, Node, common
from tests.peers.processes import Child, wait_until

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.peers.brokers import Broker

__all__ = ["RuleFleet"]

AGENTS = Path(__file__).resolve().parents[1] / "agents_for_tests"
SUPERVISOR = """\
[supervisor]
rules = "rules"
[pools.inventory]
members = ["sup*"]
"""


class RuleFleet:
    """A fleet, emulated but for `nodes`; `sup1` and `sup2` share a folder of rules."""

    def __init__(
        self,
        broker: Broker,
        folder: Path,
        *nodes: str,
        policies: Mapping[str, str] | None = None,
        every: str = "2s",
    ) -> None:
        self.folder = folder
        self.marks = folder / "marks"
        self.rules = folder / "rules"
        self.more = f'agents = ["{AGENTS}"]\nregister_every = "{every}"\n'
        self.fleet = Fleet(
            broker,
            folder,
            {name: Node({"role": "web"}) for name in nodes},
            policies=policies,
            operators=("alice", "bob"),
            more=self.more,
        )
        with self.fleet.config.open("a") as file:
            file.write(f'[node]\nagents = ["{AGENTS}"]\n[pools.inventory]\nmembers = ["sup*"]\n')
        self.emulators: dict[str, Child] = {}
        self.supervisors: dict[str, Child] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for child in [*self.emulators.values(), *self.supervisors.values()]:
            child.stop()
        self.fleet.stop()

    # --- machines --------------------------------------------------------------------------

    def emulate(
        self, count: int, prefix: str = "emu", seed: int = 1, *, rebuilt: bool = False
    ) -> None:
        """Start so many machines; `rebuilt` ones have lost what they had on disk."""
        name = f"emulator-{prefix}"
        if prefix in self.emulators:
            self.emulators.pop(prefix).stop()
        if rebuilt:
            shutil.rmtree(self.folder / f"state-{name}")
        words = ("--prefix", prefix, "--seed", str(seed))
        if not (self.folder / f"{name}.toml").exists():
            self.fleet.authority.issue(name, "node", out=self.folder)
        text = common(name, self.fleet.broker, self.fleet.collective)
        (self.folder / f"{name}.toml").write_text(
            f'{text}[node]\npolicies = "policies"\naudit_every = "0s"\n{self.more}'
        )
        argv = ["emulate", str(count), "--config", f"{self.folder / name}.toml"]
        argv += ["--pki", str(self.folder / "pki"), *words]
        self.emulators[prefix] = self._run(name, argv)

    def audit(self, prefix: str, event: str) -> list[dict[str, Any]]:
        """The audit events of one kind of the machines of an emulator."""
        path = self.folder / f"state-emulator-{prefix}" / f"emulate-{prefix}" / "audit.jsonl"
        lines = path.read_bytes().splitlines() if path.exists() else []
        events = [json.loads(line) for line in lines if line.endswith(b"}")]
        return [one for one in events if one["event"] == event]

    # --- supervisors -----------------------------------------------------------------------

    def supervise(self, name: str = "sup1", *, kind: str = "node") -> Child:
        """Start a supervisor, and wait until it serves."""
        if not (self.folder / f"{name}.toml").exists():
            self.fleet.authority.issue(name, kind, out=self.folder)
            text = common(name, self.fleet.broker, self.fleet.collective)
            (self.folder / f"{name}.toml").write_text(text + SUPERVISOR)
        argv = ["supervisor", "--config", f"{self.folder / name}.toml"]
        self.supervisors[name] = self._run(name, argv)
        return self.supervisors[name]

    def kill9(self, name: str) -> None:
        """Kill a supervisor without a warning."""
        self.supervisors.pop(name).kill9()

    def sign(self, text: str, /, **more: str) -> str:
        """Sign a rule as alice, for the supervisors to carry; its digest."""
        path = self.folder / f"rule-{uuid.uuid4().hex[:6]}.yaml"
        path.write_text(text.format(file=self.marks, **more))
        done = self.fleet.cli("supervisor", "sign", str(path), "-o", str(self.rules), "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)[0]["digest"]

    def bring(self, name: str, body: bytes, headers: Mapping[str, str]) -> None:
        """Carry a rule to a machine, as anyone may."""
        broker = self.fleet.broker
        link = Connector([broker.url], user=broker.user, passcode=broker.passcode)
        link.start(timeout=20)
        try:
            place = destinations.node(self.fleet.collective, name)
            receipt = link.send(place, body, dict(headers), receipt=True)
            assert receipt is not None
            receipt.wait(20)
        finally:
            link.close()

    # --- what ran --------------------------------------------------------------------------

    def runs(self) -> Counter[str]:
        """How often each text was marked."""
        lines = self.marks.read_text().splitlines() if self.marks.exists() else []
        return Counter(line.partition(" ")[2] for line in lines)

    def ids(self, text: str) -> Counter[str]:
        """How often each job with a text has run, by its id."""
        lines = self.marks.read_text().splitlines() if self.marks.exists() else []
        return Counter(one.partition(" ")[0] for one in lines if one.partition(" ")[2] == text)

    def _run(self, name: str, words: list[str]) -> Child:
        log = self.folder / f"{name}.log"

        def ready() -> int:
            return (
                log.read_text(errors="replace").splitlines().count("ready") if log.exists() else 0
            )

        before = ready()
        child = Child([sys.executable, "-m", "mcshell", *words], log, self.fleet.environ)
        wait_until(lambda: not child.running or ready() > before, READY)
        assert ready() > before, child.tail()
        return child

    @staticmethod
    def end(child: Child) -> int:
        """SIGTERM; the exit code."""
        os.kill(child.pid, 15)
        return child.process.wait(20)
