"""A fleet of real node daemons, an operator or more, and if wanted an emulator, on any broker.

Each fleet has a CA and a collective of its own, so that many share one broker. Every part is what
an administrator would start: `python -m mcshell node --config NAME.toml`, in a process that may
be killed, stopped and started again. Everything lies in one folder:

    pki/  policies/  broker.pass  NAME.toml  NAME.pem  NAME.key  NAME.yaml  NAME.classes  NAME.log
    state-NAME/   (a node's audit: state-NAME/node/audit.jsonl)
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from mcshell import config
from mcshell.client.client import Client
from mcshell.pki import Authority
from tests.peers.processes import Child, PeerError, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from tests.peers.brokers import Broker

__all__ = ["Fleet", "Node", "common"]

ROOT = str(Path(__file__).resolve().parents[2])  # commands run elsewhere, on the same code
READY = 90.0  # seconds: ten daemons start at once on a busy machine
POLICIES = {"default": "policy default deny\nallow\tcert=alice\t*\t*\t*\n"}
_COMMON = """\
state = "state-{name}"
[broker]
urls = {urls}
user = "{user}"
passcode_file = "broker.pass"
[pki]
ca = "pki/ca.pem"
crl = "pki/crl.pem"
cert = "{name}.pem"
key = "{name}.key"
[collective]
main = "{collective}"
"""
NODE = """\
[node]
facts = ["{name}.yaml"]
classes = "{name}.classes"
policies = "policies"
audit_every = "0s"
"""


def common(name: str, broker: Broker, collective: str, member: Sequence[str] = ()) -> str:
    """The configuration that all parts of a fleet share; `broker.urls` are several, `url` is one."""
    urls = getattr(broker, "urls", None) or [broker.url]
    text = _COMMON.format(name=name, urls=json.dumps(urls), user=broker.user, collective=collective)
    return text + (f"member = {json.dumps([*member])}\n" if member else "")


@dataclass(frozen=True, slots=True)
class Node:
    """What a node is to say of itself, beside what its machine is."""

    facts: Mapping[str, Any] = field(default_factory=dict)
    classes: Sequence[str] = ()


class Fleet:
    """Nodes by name, and the operators who may ask them; a context manager that ends them all.

    Args:
        broker: where they meet.
        folder: an empty one, for all their files.
        nodes: what there is to be; `start` starts them.
        policies: text of each AGENT.policy; by default alice may do what default.policy covers.
        operators: those who get a certificate; the first is the one that `cli` runs as.
        collective: by default a name that no other fleet has.
        member: further ones, of which all are.
        more: TOML text for the end of every node's configuration, in its [node] table.
    """

    def __init__(
        self,
        broker: Broker,
        folder: Path,
        nodes: Mapping[str, Node] | None = None,
        *,
        policies: Mapping[str, str] | None = None,
        operators: Sequence[str] = ("alice",),
        collective: str | None = None,
        member: Sequence[str] = (),
        more: str = "",
    ) -> None:
        self.broker = broker
        self.folder = folder
        self.collective = collective or f"t{uuid.uuid4().hex[:12]}"
        self.member = member
        self.nodes: dict[str, Child] = {}
        self.emulator: Child | None = None
        self.authority = Authority.init(folder / "pki", self.collective)
        secret = folder / "broker.pass"
        secret.touch(mode=0o600)
        secret.write_text(f"{broker.passcode}\n")
        (folder / "policies").mkdir()
        for agent, text in {**POLICIES, **(policies or {})}.items():
            (folder / "policies" / f"{agent}.policy").write_text(text)
        for name in operators:
            self._enrol(name, "operator")
        self.config = folder / f"{operators[0]}.toml"
        self.names = list(nodes or ())
        for name, node in (nodes or {}).items():
            self._enrol(name, "node", NODE.format(name=name) + more)
            (folder / f"{name}.yaml").write_text(
                json.dumps(node.facts, ensure_ascii=False)
            )  # JSON is YAML, but for escaped pairs
            (folder / f"{name}.classes").write_text("".join(f"{one}\n" for one in node.classes))
        self.environ = {**os.environ, "MCSHELL_CONFIG": str(self.config), "PYTHONPATH": ROOT}
        for name in ("MCSHELL_STATE", "MCSHELL_PASSCODE"):
            self.environ.pop(name, None)

    def _enrol(self, name: str, kind: str, more: str = "") -> None:
        self.authority.issue(name, kind, out=self.folder)
        text = common(name, self.broker, self.collective, self.member)
        (self.folder / f"{name}.toml").write_text(text + more)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    # --- nodes -----------------------------------------------------------------------------

    def start(self, *names: str) -> None:
        """Start these nodes (all of them without a name) at once, and wait until they serve."""
        before = {name: self._said_ready(name) for name in names or self.names}
        for name in before:
            argv = ["node", "--config", str(self.folder / f"{name}.toml")]
            self.nodes[name] = self._run(name, argv)
        for name, count in before.items():
            self._wait(name, self.nodes[name], count)

    def emulate(
        self,
        count: int,
        *words: str,
        name: str = "emulator",
        more: str = "",
        ready: float = READY,
        audit_every: str = "0s",
    ) -> Child:
        """Start an emulator of so many nodes beside them, and wait (seconds) until it serves."""
        node = f'[node]\npolicies = "policies"\naudit_every = "{audit_every}"\n{more}'
        self._enrol(name, "node", node)
        return self.emulate_again(count, *words, name=name, ready=ready)

    def emulate_again(
        self, count: int, *words: str, name: str = "emulator", ready: float = READY
    ) -> Child:
        """Start an emulator that `emulate` has configured, after its end."""
        before = self._said_ready(name)
        options = ["--config", str(self.folder / f"{name}.toml"), "--pki", str(self.folder / "pki")]
        self.emulator = self._run(name, ["emulate", str(count), *options, *words])
        self._wait(name, self.emulator, before, ready)
        return self.emulator

    def _run(self, name: str, words: Iterable[str]) -> Child:
        argv = [sys.executable, "-m", "mcshell", *words]
        return Child(argv, self.folder / f"{name}.log", self.environ)

    def _wait(self, name: str, child: Child, before: int, ready: float = READY) -> None:
        wait_until(lambda: not child.running or self._said_ready(name) > before, ready)
        if not child.running or self._said_ready(name) == before:
            raise PeerError(f"{name} did not come up:\n{child.tail()}")

    def _said_ready(self, name: str) -> int:
        log = self.folder / f"{name}.log"
        return log.read_text(errors="replace").splitlines().count("ready") if log.exists() else 0

    def kill9(self, name: str) -> None:
        """Kill a node without a warning."""
        self.nodes.pop(name).kill9()

    def pause(self, name: str) -> None:
        """SIGSTOP: its connection stands, and nothing answers."""
        os.kill(self.nodes[name].pid, signal.SIGSTOP)

    def resume(self, name: str) -> None:
        """Let it run on after `pause`."""
        os.kill(self.nodes[name].pid, signal.SIGCONT)

    def stop(self) -> None:
        """End everything."""
        running = [*self.nodes.values(), *([self.emulator] if self.emulator else [])]
        for child in running:  # all at once, then one by one to the last descendant
            child.signal(signal.SIGCONT)
            child.signal(signal.SIGTERM)
        for child in running:
            child.stop()
        self.nodes.clear()
        self.emulator = None

    def audit(self, name: str) -> list[dict[str, Any]]:
        """All events of a node's audit file but those about the file itself.

        Name the emulator for those of its nodes. Each refusal is one (`audit_every`).
        """
        folder = self.folder / f"state-{name}"
        files = [folder / "node" / "audit.jsonl", *folder.glob("emulate-*/audit.jsonl")]
        texts = [path.read_bytes() for path in files if path.exists()]
        whole = [text[: text.rfind(b"\n") + 1] for text in texts]  # the last may be half written
        events = (json.loads(line) for text in whole for line in text.splitlines())
        return [event for event in events if "identity" in event]

    # --- operators -------------------------------------------------------------------------

    def client(
        self, name: str | None = None, *, state: str | None = None, session: str | None = None
    ) -> Client:
        """Connect as an operator (the first); `state` names a state directory of its own."""
        path = self.config if name is None else self.folder / f"{name}.toml"
        overrides = {} if state is None else {"state": str(self.folder / state)}
        return Client(config.load(path, overrides=overrides), session=session)

    def cli(
        self, *words: str, stdin: str = "", timeout: float = 60.0, **more: str
    ) -> subprocess.CompletedProcess[str]:
        """Run one command line to its end, as the first operator; `more` is environment."""
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
