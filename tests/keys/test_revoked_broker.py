"""A broker whose certificate was revoked is not spoken to, by clients or by nodes."""

from __future__ import annotations

import json
import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from tests.peers.fleet import ROOT, Fleet, Node
from tests.peers.processes import Child, free_ports, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.timeout(240)
PING = ("rpc", "rpcutil", "ping", "-I", "web1", "--json")
WHY = "TLS: the broker's certificate is revoked"


class Secured:
    """Our broker, which demands a certificate, beside a fleet of its CA."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (self.port,) = free_ports(1)
        place = SimpleNamespace(url=f"stomp+ssl://127.0.0.1:{self.port}", user="", passcode="")
        self.fleet = Fleet(place, folder, {"web1": Node()})
        self.broker: Child
        self.serve()

    def serve(self) -> None:
        """Start the broker, with a new certificate."""
        self.fleet.authority.issue("mq", "node", self.folder, ip=["127.0.0.1"], renew=True)
        words = {"listen": f"127.0.0.1:{self.port}", "data": "data", "tls-cert": "mq.pem"}
        words |= {"tls-key": "mq.key", "tls-ca": "pki/ca.pem"}
        argv = [f"--{k}={self.folder / v if k != 'listen' else v}" for k, v in words.items()]
        log = self.folder / "broker.log"
        log.unlink(missing_ok=True)
        self.broker = Child(
            [sys.executable, "-m", "mcshell.broker", *argv], log, {"PYTHONPATH": ROOT}
        )
        assert wait_until(lambda: "ready" in log.read_text(), 30), self.broker.tail()

    def states(self) -> list[str]:
        """What becomes of a ping."""
        done = self.fleet.cli(*PING)
        return [row["state"] for row in json.loads(done.stdout)["replies"]]


@pytest.fixture
def secured(tmp_path: Path) -> Iterator[Secured]:
    """A fleet with TLS, its node serving."""
    made = Secured(tmp_path)
    try:
        made.fleet.start()
        yield made
    finally:
        made.fleet.stop()
        made.broker.stop()


def test_a_revoked_broker_is_not_spoken_to(secured: Secured) -> None:
    """Once the list is known the client and the node end with the reason before they log in; with
    a new certificate both are back.
    """
    assert secured.states() == ["ok"]
    secured.fleet.authority.revoke("mq")
    done = secured.fleet.cli(*PING)
    assert done.returncode != 0
    (line,) = done.stderr.splitlines()
    assert WHY in line
    doctor = json.loads(secured.fleet.cli("doctor", "--json").stdout)
    (row,) = [row for row in doctor if row["check"].startswith("broker stomp")]
    assert row["state"] == "fail"
    assert WHY in row["detail"]

    secured.fleet.kill9("web1")
    log = secured.folder / "web1.log"
    log.write_text("")
    child = secured.fleet._run("web1", ["node", "--config", str(secured.folder / "web1.toml")])
    secured.fleet.nodes["web1"] = child
    assert wait_until(lambda: WHY in log.read_text(), 30), log.read_text()
    assert "ready" not in log.read_text().splitlines()

    secured.broker.stop()
    secured.serve()
    assert wait_until(lambda: "ready" in log.read_text().splitlines(), 60), log.read_text()
    assert secured.states() == ["ok"]


def test_a_login_enters_our_own_broker(secured: Secured) -> None:
    """Where our own broker demands certificates a login is one, and the key that signs is not used."""
    folder = secured.folder
    secured.fleet.authority.issue("alice", "login", folder)
    (folder / "alice.key").rename(folder / "alice.secret")
    login = {"MCSHELL_BROKER_CERT": "alice.login.pem", "MCSHELL_BROKER_KEY": "alice.login.key"}
    done = secured.fleet.cli(*PING, **login, MCSHELL_PKI_KEY=str(folder / "alice.secret"))
    assert [row["state"] for row in json.loads(done.stdout)["replies"]] == ["ok"], done.stderr
