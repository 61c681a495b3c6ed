"""A whole MCollective network on a broker of the tests: real daemons, the real `mco`, our settings.

Nodes differ by number, the same every time, and the same for a node of ours of that number: facts
(os, dc, role, …) and classes. Beside rpcutil all have the agent `rig` (in `plugins`).
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from tests.mcollective.plugins import PROVIDERS, Keys
from tests.peers.brokers import RabbitMQ
from tests.peers.mcollective import CONNECTED, SHIM
from tests.peers.processes import Child, PeerError, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tests.peers.brokers import Broker

__all__ = ["PLUGINS", "Answer", "Network", "Pair", "classes_of", "facts_of"]

PLUGINS = Path(__file__).with_name("plugins")
READY = 120.0
AT_ONCE = 6  # starts at a time: each takes half a second of one core
COMMON = """\
main_collective = mcollective
collectives = {collectives}
libdir = {plugins}:/usr/share/mcollective/plugins
identity = {name}
logger_type = {logger}
logfile = {folder}/{name}.log
loglevel = {level}
direct_addressing = 1
ttl = 60
securityprovider = {provider}
plugin.psk = {psk}
plugin.ssl_serializer = {serializer}
plugin.aes.serializer = {serializer}
connector = {kind}
plugin.{kind}.pool.size = 1
plugin.{kind}.pool.1.host = {host}
plugin.{kind}.pool.1.port = {port}
plugin.{kind}.pool.1.user = {user}
plugin.{kind}.pool.1.password = {passcode}
plugin.rabbitmq.vhost = /
plugin.ssl_server_public = {keys}/clients/server.pem
factsource = yaml
"""
SERVER = """\
daemonize = 0
registerinterval = 0
plugin.yaml = {folder}/{name}.facts.yaml
classesfile = {folder}/{name}.classes
plugin.ssl_server_private = {keys}/server-private.pem
plugin.ssl_client_cert_dir = {keys}/clients
plugin.aes.server_private = {keys}/server-private.pem
plugin.aes.server_public = {keys}/clients/server.pem
plugin.aes.client_cert_dir = {keys}/clients
"""
CLIENT = """\
color = 0
plugin.yaml = {folder}/none.yaml
plugin.ssl_client_private = {keys}/alice-private.pem
plugin.ssl_client_public = {keys}/clients/alice.pem
plugin.aes.client_private = {keys}/alice-private.pem
plugin.aes.client_public = {keys}/clients/alice.pem
"""


@dataclass(frozen=True)
class Pair:
    """A security plugin and its serializer."""

    security: str = "psk"
    serializer: str = "marshal"

    def __str__(self) -> str:
        return f"{self.security}-{self.serializer}"


@dataclass(frozen=True)
class Answer:
    """What a command came to."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        """Its document."""
        return json.loads(self.out)


def facts_of(number: int, name: str) -> dict[str, Any]:
    """The facts of the node of a number."""
    place = (number - 1) % 4
    return {
        "hostname": name,
        "fqdn": f"{name}.rig.example",
        "os": ("debian", "redhat", "ubuntu", "suse")[place],
        "osrelease": ("12", "9", "22.04", "15.5")[place],
        "dc": ("ams", "lon", "nyc")[(number - 1) % 3],
        "role": ("web", "db", "cache", "app")[(number - 1) // 3 % 4],
        "processorcount": str(2 ** (number % 4)),
        "uptime_days": number * 7 % 90,
        "virtual": str(number % 2 == 0).lower(),
        "city": "Zürich",
        "disks": ["sda", "sdb"],
        "os_full": {"name": "linux", "release": {"major": str(number)}},
    }


def classes_of(number: int) -> list[str]:
    """The classes of the node of a number."""
    some = ["base", "ntp", f"role::{('web', 'db', 'cache', 'app')[(number - 1) // 3 % 4]}"]
    return some + (["ssh::server"] if number % 2 == 0 else []) + (["odd"] if number % 2 else [])


class Network:
    """Real MCollective on one broker under one pair; a context manager that ends its daemons."""

    def __init__(
        self,
        broker: Broker,
        folder: Path,
        pair: Pair,
        *,
        collectives: str = "mcollective",
        plugins: Sequence[Path] = (),
        settings: str = "",
    ):
        """`plugins` are further libdirs of all, `settings` further lines of the nodes' server.cfg."""
        self.broker, self.folder, self.pair = broker, folder, pair
        self.plugins = [*plugins, PLUGINS]
        self.settings = settings
        folder.mkdir(parents=True, exist_ok=True)
        self.keys = Keys(folder)
        self.keys.make("alice", "server")
        for key in folder.glob("*-private.pem"):
            key.chmod(0o600)
        self.collectives = collectives
        self.daemons: dict[str, Child] = {}
        (folder / "shim.rb").write_text(SHIM)
        (folder / "none.yaml").write_text("--- {}\n")
        secret = folder / "psk"
        secret.touch(mode=0o600)
        secret.write_text("interop\n")
        (folder / "client.cfg").write_text(
            self._common("mco-client", "console", "fatal") + CLIENT.format(**self._places("x"))
        )
        if isinstance(broker, RabbitMQ):
            declare_exchanges(broker, folder, collectives.split(","))

    def _places(self, name: str) -> dict[str, Any]:
        return {"folder": self.folder, "keys": self.folder, "name": name}

    def _common(self, name: str, logger: str, level: str) -> str:
        broker = self.broker
        return COMMON.format(
            **self._places(name),
            plugins=":".join(map(str, self.plugins)),
            collectives=self.collectives,
            logger=logger,
            level=level,
            provider=PROVIDERS[self.pair.security],
            psk="interop",
            serializer=self.pair.serializer,
            kind=broker.kind,
            host=broker.host,
            port=broker.port,
            user=broker.user,
            passcode=broker.passcode,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def environ(self) -> dict[str, str]:
        """What every Ruby needs."""
        return {"RUBYOPT": f"-r{self.folder / 'shim.rb'}"}

    # -- real nodes

    def start(self, count: int, first: int = 1) -> list[str]:
        """Start so many real nodes; their names."""
        numbers = range(first, first + count)
        names = [f"node{number:04d}" for number in numbers]
        waiting: list[str] = []
        for number, name in zip(numbers, names, strict=True):
            self._start(number, name)
            waiting.append(name)
            if len(waiting) >= AT_ONCE:
                self._wait(waiting.pop(0))
        for name in waiting:
            self._wait(name)
        return names

    def _start(self, number: int, name: str) -> None:
        folder = self.folder
        (folder / f"{name}.facts.yaml").write_text(json.dumps(facts_of(number, name)))
        (folder / f"{name}.classes").write_text("\n".join([*classes_of(number), ""]))
        config = folder / f"{name}.cfg"
        lines = self._common(name, "file", "info") + SERVER.format(**self._places(name))
        config.write_text(lines + self.settings)
        (folder / f"{name}.log").unlink(missing_ok=True)
        program = shutil.which("mcollectived", path="/usr/sbin:/usr/bin") or "mcollectived"
        argv = ["ruby", program, "--config", config, "--no-daemonize"]
        self.daemons[name] = Child(argv, folder / f"{name}.out", self.environ)

    def _wait(self, name: str) -> None:
        child, log = self.daemons[name], self.folder / f"{name}.log"

        def connected() -> bool:
            return log.exists() and CONNECTED in log.read_text(errors="replace")

        wait_until(lambda: not child.running or connected(), READY)
        if not connected():
            raise PeerError(f"{name} did not come up:\n{child.tail()}")

    def stop_node(self, name: str) -> None:
        """End one."""
        self.daemons.pop(name).stop()

    def stop(self) -> None:
        """End all."""
        for child in self.daemons.values():
            child.signal(15)
        for child in self.daemons.values():
            child.stop()
        self.daemons.clear()

    # -- the real client

    def mco(
        self,
        *words: str,
        stdin: str | None = None,
        config: Path | None = None,
        timeout: float = 90.0,
    ) -> Answer:
        """Run the real `mco`, with its standard configuration or another."""
        app, *rest = words
        done = subprocess.run(
            ["mco", app, "-c", str(config or self.folder / "client.cfg"), *rest],
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout,
            env={**os.environ, **self.environ, "HOME": str(self.folder)},
        )
        return Answer(done.returncode, done.stdout, done.stderr)

    def many(self, calls: Iterable[tuple[str, ...]], at_once: int = 6) -> list[Answer]:
        """Run several side by side: each mostly waits for its window of discovery to close."""
        with ThreadPoolExecutor(at_once) as pool:
            return list(pool.map(lambda words: self.mco(*words), calls))

    # -- ours

    def section(self, role: str) -> str:
        """Our `[mcollective]` for this network, as client or node."""
        keys = {
            "enabled": True,
            "collectives": self.collectives.split(","),
            "security": self.pair.security,
            "psk_file": str(self.folder / "psk"),
            "callerid": "uid=0",
            "serializer": self.pair.serializer,
            "libdir": [str(folder) for folder in self.plugins],
            "callers": str(self.folder / "clients"),
            "nodes": str(self.folder / "clients" / "server.pem"),
        }
        who = "alice" if role == "client" else "server"
        keys["private"] = str(self.folder / f"{who}-private.pem")
        keys["public"] = str(self.folder / "clients" / f"{who}.pem")
        lines = [f"{key} = {json.dumps(value)}" for key, value in keys.items()]
        return "\n".join(["[mcollective]", *lines, ""])


def declare_exchanges(broker: RabbitMQ, folder: Path, collectives: list[str]) -> None:
    """Make the exchanges that MCollective's connector needs, by RabbitMQ's own command."""

    def exchange(name: str, kind: str) -> dict[str, Any]:
        more = {"durable": True, "auto_delete": False, "internal": False, "arguments": {}}
        return {"name": name, "vhost": "/", "type": kind, **more}

    made = [exchange("mcollective_reply", "direct")]
    for one in collectives:
        made += [exchange(f"{one}_broadcast", "topic"), exchange(f"{one}_directed", "direct")]
    document = folder / "definitions.json"
    document.write_text(json.dumps({"exchanges": made}))
    subprocess.run(
        ["/usr/lib/rabbitmq/bin/rabbitmqctl", "import_definitions", str(document)],
        check=True,
        capture_output=True,
        timeout=120,
        env={**os.environ, **broker.environment},
    )
