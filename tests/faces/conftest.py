"""A small real fleet for the faces: the embedded broker, three node daemons, one operator."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mcshell.pki import Authority
from tests.peers.processes import Child, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.peers.brokers import Broker

ROOT = str(Path(__file__).resolve().parents[2])  # the faces run elsewhere, on the same code
ROLES = {"web1": "web", "web2": "web", "db1": "db"}
COMMON = """\
state = "state-{name}"
[broker]
urls = ["{url}"]
user = "{user}"
passcode_file = "broker.pass"
[pki]
ca = "pki/ca.pem"
cert = "{name}.pem"
key = "{name}.key"
[collective]
main = "faces"
"""
NODE = """\
[node]
facts = ["{name}.yaml"]
classes = "{name}.classes"
policies = "policies"
"""


@dataclass(frozen=True)
class Fleet:
    """Where the fleet lives; `config` is the operator's, `environ` what a face runs in."""

    folder: Path
    config: Path
    environ: dict[str, str]
    nodes: dict[str, Child]

    def cli(
        self, *words: str, stdin: str = "", timeout: float = 60.0, **more: str
    ) -> subprocess.CompletedProcess[str]:
        """Run one command line to its end."""
        return subprocess.run(
            [sys.executable, "-m", "mcshell", *words],
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout,
            cwd=self.folder,
            env={**self.environ, **more},
        )


@pytest.fixture(scope="session")
def fleet(embedded: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """Nodes web1, web2 and db1, serving; a collective of their own on the run's broker."""
    folder = tmp_path_factory.mktemp("faces")
    authority = Authority.init(folder / "pki", "faces")
    (folder / "broker.pass").write_text(f"{embedded.passcode}\n")
    (folder / "broker.pass").chmod(0o600)
    policies = folder / "policies"
    policies.mkdir()
    (policies / "default.policy").write_text("policy default deny\nallow\tcert=alice\t*\t*\t*\n")
    (policies / "exec.policy").write_text("policy default deny\nallow\tcert=alice\trun\t*\t*\n")
    for name, kind in (("alice", "operator"), *((name, "node") for name in ROLES)):
        authority.issue(name, kind, out=folder)
        text = COMMON.format(name=name, url=embedded.url, user=embedded.user)
        more = NODE.format(name=name) if kind == "node" else ""
        (folder / f"{name}.toml").write_text(text + more)
    nodes = {}
    try:
        for name, role in ROLES.items():
            (folder / f"{name}.yaml").write_text(f"role: {role}\nrack: {{row: {len(name)}}}\n")
            (folder / f"{name}.classes").write_text(f"{role}server\n")
            config = str(folder / f"{name}.toml")
            argv = [sys.executable, "-m", "mcshell", "node", "--config", config]
            nodes[name] = Child(argv, folder / f"{name}.log")
        for name, child in nodes.items():
            ready = wait_until(lambda child=child: "ready" in child.tail().splitlines(), 60.0)
            assert ready, f"{name}: {child.tail()}"
        environ = {**os.environ, "MCSHELL_CONFIG": str(folder / "alice.toml"), "PYTHONPATH": ROOT}
        yield Fleet(folder, folder / "alice.toml", environ, nodes)
    finally:
        for child in nodes.values():
            child.stop()
