"""One broker of each kind, set up by `mcshell broker config` for a small fleet, and started so."""

from __future__ import annotations

import json
import ssl
import uuid
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from mcshell.wire.documents.signatures import Signer
from mcshell.wire.stomp.dialects import VHOST
from tests.peers.bare import Bare
from tests.peers.brokers import Configured
from tests.peers.fleet import Fleet, Node
from tests.peers.processes import free_ports

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NODES = ("web1", "web1.example.com", "db1", "sup1")
OPERATORS = ("alice", "alice.smith", "bob+ops@example.com")
LOGINS = ("alice", "web1")
"""Who has a certificate of kind `login`, too: NAME.login.pem."""
KINDS = [
    pytest.param("activemq", marks=pytest.mark.activemq),
    pytest.param("rabbitmq", marks=pytest.mark.rabbitmq),
]
ONLY_ACTIVEMQ = pytest.mark.parametrize("guarded", KINDS[:1], indirect=True)
ONLY_RABBITMQ = pytest.mark.parametrize("guarded", KINDS[1:], indirect=True)
POLICY = "policy default deny\n" + "".join(f"allow\tcert={name}\t*\t*\t*\n" for name in OPERATORS)
POOLS = '[pools.sms]\nmembers = ["web1"]\n[pools.inventory]\nmembers = ["sup1"]\n'


class Guarded:
    """A fleet whose broker was configured for it; nobody has a password."""

    def __init__(self, kind: str, folder: Path, *, enrolment: bool = False) -> None:
        self.kind = kind
        self.folder = folder / "fleet"
        self.folder.mkdir()
        self.port, port = free_ports(2)
        self.enrol_port = port if enrolment else 0
        place = SimpleNamespace(
            url=f"stomp+ssl://127.0.0.1:{self.port}", user="", passcode="", kind=kind
        )
        self.other = f"other{uuid.uuid4().hex[:8]}"
        """A second collective, of all of them."""
        self.fleet = Fleet(
            place,
            self.folder,
            dict.fromkeys(NODES, Node()),
            policies={"default": POLICY},
            operators=OPERATORS,
            member=(self.other,),
        )
        (self.folder / "ca.pem").write_bytes(self.fleet.authority.ca_pem)
        for name in LOGINS:
            self.fleet.authority.issue(name, "login", out=self.folder)
        for name, text in (("alice", POOLS), ("web1", 'serve = ["sms"]\n' + POOLS)):
            with (self.folder / f"{name}.toml").open("a") as config:
                config.write(text)
        told = self.configure()
        assert told["identities"] == len(NODES) + len(OPERATORS)
        self.broker = Configured(kind, told["start"], self.port, self.folder)

    def configure(self, *more: str) -> dict[str, Any]:
        """Run `broker config`, again too; returns what it printed."""
        words = ("--pki", "pki", "--dir", "conf", "--tls-port", str(self.port), "--json")
        hosts = ["--listen", "127.0.0.1", "--host", "127.0.0.1", "--host", "localhost"]
        hosts += ["--enrol-port", str(self.enrol_port)] * bool(self.enrol_port)
        done = self.fleet.cli("broker", "config", self.kind, *words, *hosts, *more)
        assert done.returncode == 0, done.stderr
        (told,) = json.loads(done.stdout)
        return told

    def ctl(self, *words: str) -> list[dict[str, Any]]:
        """What rabbitmqctl lists."""
        listed: list[dict[str, Any]] = json.loads(
            self.broker.command("ctl", "-q", *words, "--formatter", "json")
        )
        return listed

    def signer(self, who: str) -> Signer:
        """What this identity signs with."""
        return Signer.load(self.folder / f"{who}.pem", self.folder / f"{who}.key")

    def enter(self, who: str, host: str = VHOST, port: int = 0) -> Bare:
        """A bare connection with this identity's certificate, and no login."""
        tls = ssl.create_default_context(cafile=str(self.folder / "ca.pem"))
        tls.load_cert_chain(self.folder / f"{who}.pem", self.folder / f"{who}.key")
        at = SimpleNamespace(host="127.0.0.1", tls_port=port or self.port, user="", passcode="")
        bare = Bare(at, tls=tls)
        del bare.hello["login"], bare.hello["passcode"]
        bare.hello["host"] = host
        try:
            return bare.connect()
        except BaseException:
            bare.sock.close()
            raise


@pytest.fixture(scope="session", params=KINDS)
def guarded(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Guarded]:
    """Each broker of production with its rights; one for all tests here, so use own queues."""
    made = Guarded(request.param, tmp_path_factory.mktemp(f"rights-{request.param}"))
    try:
        yield made
    finally:
        made.fleet.stop()
        made.broker.stop()


@pytest.fixture(scope="session", params=KINDS)
def enrolling(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Guarded]:
    """The same with a port at which machines without a certificate may ask for one."""
    folder = tmp_path_factory.mktemp(f"enrolling-{request.param}")
    made = Guarded(request.param, folder, enrolment=True)
    try:
        yield made
    finally:
        made.fleet.stop()
        made.broker.stop()
