"""A site that takes in machines: a CA, a broker that `broker config` has set up, and `pki serve`.

Everything is what an administrator would type. In one folder:

    ca/  alice.toml  alice.pem  alice.key  conf/ (the broker)  machines/NAME/ (what is on a machine)
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import pytest

from mcshell import config
from mcshell.client.client import Client
from tests.peers.brokers import Configured
from tests.peers.processes import Child, PeerError, free_ports, wait_until

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["KINDS", "Site"]

KINDS = [
    pytest.param("embedded"),
    pytest.param("activemq", marks=pytest.mark.activemq),
    pytest.param("rabbitmq", marks=pytest.mark.rabbitmq),
]

AGENTS = Path(__file__).resolve().parents[1] / "agents_for_tests"
MCSHELL = [sys.executable, "-m", "mcshell"]
READY = 120.0
_CONFIG = """\
state = "{folder}/state-{name}"
[broker]
urls = ["{url}"]
[pki]
ca = "{folder}/ca/ca.pem"
crl = "{folder}/ca/crl.pem"
cert = "{folder}/{name}.pem"
key = "{folder}/{name}.key"
[pools.inventory]
members = ["sup1"]
[supervisor]
rules = "{folder}/rules"
[node]
agents = ["{agents}"]
"""
_STATE = "/var/lib/mcshell-of-tests"
_NODE = """\
state = "{state}"
[broker]
urls = ["{url}"]
[node]
policies = "{folder}/policies"
agents = ["{agents}"]
facts = ["{folder}/facts.yaml"]
register_every = "5s"
"""


class Site:
    """The CA, its broker and its service; a context manager that ends all that it has started.

    Args:
        kind: the broker.
        folder: an empty one.
        host: the address by which machines reach the broker.
        supervised: whether a supervisor is to have a certificate, too.
    """

    def __init__(self, kind: str, folder: Path, host: str = "127.0.0.1") -> None:
        self.kind, self.folder, self.host = kind, folder, host
        self.port, self.enrol_port = free_ports(2)
        self.children: dict[str, Child] = {}
        self.url = f"stomp+ssl://{host}:{self.port}"
        self.listener = f"stomp+ssl://{host}:{self.enrol_port}"
        policies = folder / "policies"
        policies.mkdir()
        (policies / "default.policy").write_text(
            "policy default deny\nallow\tcert=alice\t*\t*\t*\n"
        )
        (folder / "facts.yaml").write_text("role: web\n")
        self.run("pki", "init", str(folder / "ca"))
        for name, kind_of in (("alice", "operator"), ("sup1", "node")):
            self.run("pki", "issue", name, "--kind", kind_of, *self.pki, "--out", str(folder))
            text = _CONFIG.format(folder=folder, name=name, url=self.url, agents=AGENTS)
            (folder / f"{name}.toml").write_text(text)
        (folder / "ca.pem").symlink_to(folder / "ca" / "ca.pem")
        words = ("broker", "config", kind, *self.pki, "--dir", str(folder / "conf"), "--json")
        ports = ("--tls-port", str(self.port), "--enrol-port", str(self.enrol_port))
        (told,) = self.json(*words, "--listen", host, "--host", host, *ports, config="alice")
        command = folder / "mcshell"
        command.write_text(f'#!/bin/sh\nexec {sys.executable} -m mcshell "$@"\n')
        command.chmod(0o755)
        self.broker = Configured(
            kind, told["start"], self.port, folder, host=host, MCSHELL=str(command)
        )

    @property
    def pki(self) -> tuple[str, str]:
        """Which CA."""
        return "--pki", str(self.folder / "ca")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for child in self.children.values():
            child.stop()
        self.broker.stop()

    def run(self, *words: str, config: str | None = None, code: int = 0) -> str:
        """Type a line; returns what it wrote."""
        argv = [*MCSHELL, *words]
        argv += ["--config", str(self.folder / f"{config}.toml")] if config else []
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=180)
        assert done.returncode == code, (words, done.stdout, done.stderr)
        return done.stdout

    def json(self, *words: str, config: str | None = None, code: int = 0) -> Any:
        """What a line with `--json` wrote."""
        return json.loads(self.run(*words, config=config, code=code))

    def serve(self, *more: str) -> Child:
        """Start the CA's service."""
        node = self.folder / "node.toml"
        node.write_text(_NODE.format(url=self.url, folder=self.folder, agents=AGENTS, state=_STATE))
        words = ["pki", "serve", *self.pki, "--broker", str(self.folder / "conf")]
        words += ["--config", str(self.folder / "alice.toml"), "--node-config", str(node)]
        return self.start("pki", [*words, "--log-level", "info", *more], self.broker.environment)

    def start(
        self, name: str, words: Sequence[str], env: Any = None, prefix: Sequence[str] = ()
    ) -> Child:
        """Start a part, and wait until it is ready."""
        log = self.folder / f"{name}.log"
        log.unlink(missing_ok=True)
        child = self.children[name] = Child([*prefix, *MCSHELL, *words], log, env)
        done = wait_until(lambda: "\nready\n" in f"\n{log.read_text()}" or not child.running, READY)
        if not done or not child.running:
            raise PeerError(f"{name} is not ready: {child.tail()}")
        return child

    def token(self, matching: str, *more: str) -> Path:
        """Make a token, in a file of its own."""
        (told,) = self.json("pki", "token", "--matching", matching, *self.pki, "--json", *more)
        path = self.folder / f"token-{len(list(self.folder.glob('token-*')))}"
        path.touch(mode=0o600)
        path.write_text(told["token"])
        return path

    def machine(self, name: str) -> Path:
        """The folder of what is on a machine."""
        return self.folder / "machines" / name

    def enroll(self, name: str, *more: str, token: Path | None = None, code: int = 0) -> Any:
        """Have a machine ask; returns the row that it is told."""
        words = ["node", "enroll", name, "--broker", self.listener, "--json"]
        words += ["--wait", "150s", "--out", str(self.machine(name)), *more]
        words += ["--token-file", str(token)] if token else []
        (row,) = self.json(*words, code=code)
        return row

    def node(self, name: str) -> Child:
        """Start a machine's daemon with the configuration that came with its certificate."""
        path = self.machine(name) / "node.toml"
        text = path.read_text().replace(_STATE, str(self.machine(name) / "state"))
        path.write_text(text)
        return self.start(name, ["node", "--config", str(path), "--log-level", "info"])

    def supervise(self) -> Child:
        """Start the supervisor."""
        return self.start("sup1", ["supervisor", "--config", str(self.folder / "sup1.toml")])

    def client(self, session: str = "s1") -> Client:
        """Alice's."""
        return Client(config.load(self.folder / "alice.toml"), session=session)
