"""Three machines that are folders of this host, and what an administrator has beside them.

    site/  CA and its service, broker, operator, policies and agents, as they lie at the administrator's
    NAME/  etc (node.toml, policies, agents, pki)  lib  opt (the environment)  units  calls  pid

A daemon is started as an init script would, by `start`; the role and the class are told to call the
machine's `service` where they would call systemctl: it writes the word into `calls`, and `reload` is SIGHUP.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from mcshell.pki.keys import dump_private
from tests.deploy.light import PROJECT, offline
from tests.peers.fleet import Fleet
from tests.peers.processes import Child, PeerError, free_ports, said, wait_until

__all__ = ["ENROLLED", "NAMES", "PASSCODE", "POLICY", "Machine", "Site", "light_wheel"]

NAMES = ("web1.example.com", "web-2", "db_3.example.com")
ENROLLED = NAMES[-1]
"""The one whose key is made there; the others' keys and certificates are brought."""
PASSCODE = "a-secret-of-the-broker"
POLICY = "policy default deny\nallow\tcert=alice\t*\t*\t*\n"
SERVICE = """#!/bin/sh
echo "$1" >>"{folder}/calls"
[ "$1" != reload ] || [ ! -e "{folder}/pid" ] || kill -HUP "$(cat "{folder}/pid")"
"""
READY = 60.0
DAY = 86_400.0


def light_wheel(folder: Path) -> Path:
    """The light node, built from this checkout."""
    pip = (sys.executable, "-m", "pip", "-q", "--disable-pip-version-check")
    said(*pip, "wheel", "--no-deps", "-w", folder, PROJECT, **offline())
    (wheel,) = folder.glob("*.whl")
    return wheel


class Machine:
    """A machine: its places, and its daemon when it was started."""

    def __init__(self, name: str, folder: Path, command: Path) -> None:
        self.name = name
        self.folder = folder
        self.command = command
        self.etc, self.lib, self.units = folder / "etc", folder / "lib", folder / "units"
        self.units.mkdir(parents=True)
        self.service = folder / "service"
        self.service.write_text(SERVICE.format(folder=folder))
        self.service.chmod(0o755)
        self.daemon: Child | None = None

    def start(self) -> None:
        """Start its daemon, and wait until it serves."""
        before = self.log.count("ready\n")
        argv = [self.command, "node", "--config", self.etc / "node.toml"]
        self.daemon = child = Child(argv, self.folder / "log", {"PYTHONPATH": ""})
        (self.folder / "pid").write_text(str(child.pid))
        wait_until(lambda: not child.running or self.log.count("ready\n") > before, READY)
        assert child.running, child.tail()

    def stop(self) -> None:
        """End it."""
        if self.daemon is not None:
            self.daemon.stop()
            self.daemon = None

    @property
    def log(self) -> str:
        """What its daemons have said."""
        path = self.folder / "log"
        return path.read_text() if path.exists() else ""

    def calls(self) -> list[str]:
        """What its service was told since this was asked last."""
        path = self.folder / "calls"
        said = path.read_text().split() if path.exists() else []
        path.unlink(missing_ok=True)
        return said

    def tree(self) -> dict[str, tuple[int, bytes]]:
        """Mode and content of all that is in its folders of configuration and units; no compiled Python."""
        found = [path for top in (self.etc, self.units) for path in sorted(top.rglob("*"))]
        return {
            str(path.relative_to(self.folder)): (
                path.stat().st_mode & 0o7777,
                path.read_bytes() if path.is_file() else b"",
            )
            for path in found
            if "__pycache__" not in path.parts
        }


class Site:
    """What the administrator has: CA, broker (TLS alone), operator, sources; a context manager of all that runs."""

    def __init__(self, folder: Path, wheel: Path) -> None:
        self.folder = folder
        self.wheel = wheel
        (folder / "site").mkdir()
        port, enrolment = free_ports(2)
        self.url, self.enrolment = (f"stomp+ssl://127.0.0.1:{one}" for one in (port, enrolment))
        place = SimpleNamespace(url=self.url, user="", passcode="")
        self.fleet = Fleet(place, folder / "site", operators=("alice",))
        ports = ("--tls-port", str(port), "--enrol-port", str(enrolment))
        hosts = ("--host", "127.0.0.1", "--listen", "127.0.0.1")
        self.cli("broker", "config", "embedded", "--pki", "pki", "--dir", "broker", *hosts, *ports)
        self._running: list[Child] = []
        self.command = folder / NAMES[0] / "opt" / "bin" / "mcshell"
        self.machines = {name: Machine(name, folder / name, self.command) for name in NAMES}
        self.policies, self.agents = (
            folder / "site" / "node-policies",
            folder / "site" / "node-agents",
        )
        for place in (self.policies, self.agents):
            place.mkdir()
        (self.policies / "default.policy").write_text(POLICY)
        for end in ("py", "json"):
            shutil.copy(Path(__file__).parents[1] / "agents_for_tests" / f"echo.{end}", self.agents)

    def __enter__(self) -> Self:
        mcshell, site = Path(sys.executable).with_name("mcshell"), self.fleet.folder
        serve = (mcshell, "pki", "serve", "--pki", site / "pki", "--broker", site / "broker")
        environ = {**self.fleet.environ, "MCSHELL": str(mcshell)}
        for argv in ([site / "broker" / "start"], serve):
            child = Child(argv, site / f"{Path(argv[-1]).name}.log", environ)
            self._running.append(child)
            if not wait_until(lambda child=child: "ready" in child.tail(), READY):
                self.__exit__()
                raise PeerError(f"{argv} did not come up:\n{child.tail()}")
        return self

    def __exit__(self, *_: object) -> None:
        for machine in self.machines.values():
            machine.stop()
        for child in reversed(self._running):
            child.stop()

    def cli(self, *words: str) -> str:
        """What a command line of the administrator's says, where the CA is."""
        done = self.fleet.cli(*words)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def token(self) -> str:
        """One for machines of example.com."""
        (row,) = json.loads(
            self.cli("pki", "token", "--pki", "pki", "--matching", "*.example.com", "-j")
        )
        return str(row["token"])

    def settings(self, **node: Any) -> dict[str, Any]:
        """The tables of a node's configuration that are the site's own."""
        return {
            "broker": {"urls": [self.url]},
            "collective": {"main": self.fleet.collective},
            "node": {"audit_every": "0s", **node},
        }

    def issue(self, name: str) -> dict[str, str]:
        """A node's certificate, made where the CA is: the files."""
        folder = self.fleet.folder
        if not (folder / f"{name}.pem").exists():
            self.fleet.authority.issue(name, "node", out=folder)
        pki = folder / "pki"
        own = {"cert": folder / f"{name}.pem", "key": folder / f"{name}.key"}
        return {k: str(v) for k, v in {**own, "ca": pki / "ca.pem", "crl": pki / "crl.pem"}.items()}

    def ended(self, name: str, pki: Path) -> None:
        """A node's key and certificate as they lie where the machine was off for long."""
        pki.mkdir(mode=0o700, parents=True)
        key, began = Ed25519PrivateKey.generate(), time.time() - 2 * DAY
        pem = self.fleet.authority.certify(
            name, "node", key.public_key(), not_before=began, lifetime=DAY
        )
        (pki / f"{name}.key").touch(mode=0o600)
        (pki / f"{name}.key").write_bytes(dump_private(key))
        (pki / f"{name}.pem").write_bytes(pem)

    def ping(self) -> dict[str, str]:
        """Who answers the operator, and in which state: `mcshell ping -j`."""
        return {row["sender"]: row["state"] for row in json.loads(self.cli("ping", "-j"))}
