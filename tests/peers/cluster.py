"""Three RabbitMQ as `mcshell broker config rabbitmq --cluster` sets them up, each a host of its own.

A host is a network namespace on a bridge (root only): a member may be killed, stopped or cut off from
the others. It has to be RabbitMQ 4 (`rabbitmq_of`).
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import ssl
import subprocess
from typing import TYPE_CHECKING, Final, Self

from tests.peers.brokers import greet
from tests.peers.processes import Child, PeerError, wait_until

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from tests.peers.fleet import Fleet

__all__ = ["Cluster", "Hosts"]

READY: Final = 180.0  # seconds: three Erlangs start at once
PORT: Final = 61614
_SERIAL = itertools.count(1)
_ENVIRON: Final = {
    "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 2:2 +sbwtdcpu none +sbwtdio none",
    "LC_ALL": "C.UTF-8",
}


def _ip(*words: str) -> str:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False, timeout=30)
    if done.returncode:
        raise PeerError(f"ip {' '.join(words)}: {done.stderr}")
    return done.stdout


class Hosts:
    """So many network namespaces that reach one another and this one; a context manager."""

    def __init__(self, count: int) -> None:
        pid = os.getpid() % 65536
        self._bridge = f"mt{pid}-{next(_SERIAL)}"
        net = f"10.{100 + pid % 150}.{pid // 256 % 256}"
        self.here = f"{net}.1"
        """By what they reach this one."""
        self.names = {f"{net}.{10 + n}": f"{self._bridge}h{n}" for n in range(1, count + 1)}
        """The namespace of each address."""

    def __enter__(self) -> Self:
        _ip("link", "add", self._bridge, "type", "bridge")
        try:
            _ip("addr", "add", f"{self.here}/24", "dev", self._bridge)
            _ip("link", "set", self._bridge, "up")
            for address, name in self.names.items():
                self._add(address, name)
        except BaseException:
            self.__exit__()
            raise
        return self

    def _add(self, address: str, name: str) -> None:
        _ip("netns", "add", name)
        _ip("link", "add", name, "type", "veth", "peer", "name", "e0", "netns", name)
        _ip("link", "set", name, "master", self._bridge, "up")
        _ip("-n", name, "addr", "add", f"{address}/24", "dev", "e0")
        _ip("-n", name, "link", "set", "e0", "up")
        _ip("-n", name, "link", "set", "lo", "up")

    def __exit__(self, *_: object) -> None:
        for name in self.names.values():
            for pid in _pids(name):
                os.kill(pid, signal.SIGKILL)
            subprocess.run(["ip", "netns", "delete", name], check=False, capture_output=True)
            subprocess.run(["ip", "link", "delete", name], check=False, capture_output=True)
        subprocess.run(["ip", "link", "delete", self._bridge], check=False, capture_output=True)

    def inside(self, address: str, argv: Sequence[str]) -> list[str]:
        """The words that run a command on a host."""
        return ["ip", "netns", "exec", self.names[address], *argv]

    def cut(self, address: str) -> None:
        """Cut a host off from all others: what is sent is lost, and nobody is told."""
        _ip("link", "set", self.names[address], "down")

    def join(self, address: str) -> None:
        """Let it back in."""
        _ip("link", "set", self.names[address], "up")


def _pids(name: str) -> list[int]:
    done = subprocess.run(
        ["ip", "netns", "pids", name], capture_output=True, text=True, check=False, timeout=30
    )
    return [int(pid) for pid in done.stdout.split()]


class Cluster:
    """Three members on three hosts; a broker for `Fleet`, before there is any: it has its CA."""

    user, passcode, kind = "", "", "rabbitmq"

    def __init__(self, hosts: Hosts, folder: Path) -> None:
        self.hosts, self.folder = hosts, folder
        self.members = list(hosts.names)
        self.urls = [f"stomp+ssl://{member}:{PORT}" for member in self.members]
        self._children: dict[str, Child] = {}
        self.more: Mapping[str, str] = {}
        """Environment that members have beside ours."""

    def configure(self, fleet: Fleet, *more: str) -> None:
        """Have the configurations written for all who are in the fleet."""
        words = ["--cluster", ",".join(self.members), "--tls-port", str(PORT), *more]
        where = ["--pki", "pki", "--dir", str(self.folder), "--json"]
        done = fleet.cli("broker", "config", "rabbitmq", *words, *where)
        assert done.returncode == 0, done.stderr
        assert [row["url"] for row in json.loads(done.stdout)] == self.urls

    def let_in(self, name: str) -> None:
        """Give the one login of an emulator, which has many names, a right to all of them."""
        for member in self.members:
            path = self.folder / member / "definitions.json"
            rights = json.loads(path.read_text())
            user = {"user": f"mcshell:node:{name}", "vhost": "/", "read": ".*", "write": ".*"}
            rights["users"].append({**rights["users"][0], "name": user["user"]})
            rights["permissions"].append({**user, "configure": ".*"})
            rights["topic_permissions"].append({**user, "exchange": "amq.topic"})
            path.write_text(json.dumps(rights))

    def start(self, *members: str) -> None:
        """Start these, by default all, and wait until they take the fleet in."""
        for member in members or self.members:
            argv = self.hosts.inside(member, [str(self.folder / member / "start")])
            log = self.folder / f"{member}.log"
            self._children[member] = Child(argv, log, {**_ENVIRON, **self.more})
        for member in members or self.members:
            child = self._children[member]
            if not wait_until(lambda: not child.running or self.ready(member), READY):  # noqa: B023 - called here
                raise PeerError(f"{member} does not take the fleet in:\n{child.tail()}")
            if not child.running:
                raise PeerError(f"{member} did not come up:\n{child.tail()}")

    def ready(self, member: str) -> bool:
        """Whether a member takes logins; with its own certificate, which has no rights."""
        folder = self.folder / member
        tls = ssl.create_default_context(cafile=str(folder / "ca.pem"))
        tls.load_cert_chain(folder / "server.pem", folder / "server.key")
        return greet(member, PORT, "", "", tls) in ("CONNECTED", "ERROR")

    def kill9(self, member: str) -> None:
        """Kill a member without a warning."""
        self._children.pop(member).kill9()

    def pause(self, member: str) -> None:
        """SIGSTOP: its connections stand, and nothing answers."""
        self._children[member].signal(signal.SIGSTOP)

    def resume(self, member: str) -> None:
        """Let it run on after `pause`."""
        self._children[member].signal(signal.SIGCONT)

    def ctl(self, member: str, *words: str) -> str:
        """What rabbitmqctl says on a member."""
        argv = self.hosts.inside(member, [str(self.folder / member / "ctl"), "--quiet", *words])
        done = subprocess.run(
            argv,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
            env={**os.environ, **_ENVIRON},
        )
        assert done.returncode == 0, done.stderr + done.stdout
        return done.stdout

    def stop(self) -> None:
        """End all members at once, as nobody needs them any more."""
        for child in self._children.values():
            child.kill9()
        self._children.clear()
