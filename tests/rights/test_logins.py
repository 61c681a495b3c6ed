"""Logins on brokers that demand a client's certificate: they open the connection, and no more."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from mcshell.wire import destinations
from mcshell.wire.documents.envelope import seal_request
from tests.peers.agents import SSHAgent
from tests.peers.bare import Closed
from tests.peers.processes import wait_until
from tests.rights.test_guarded_fleet import _refusals, _request
from tests.rights.test_rights import read, take_over

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.rights.conftest import Guarded

FILES = (("CERT", "pem"), ("KEY", "key"))
pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[SSHAgent]:
    """A real ssh-agent."""
    running = SSHAgent(tmp_path)
    yield running
    running.stop()


@pytest.fixture
def web1(guarded: Guarded) -> Iterator[Guarded]:
    """One node, serving, that logs in with its login; its own certificate only signs."""
    config = guarded.folder / "web1.toml"
    text = config.read_text()
    more = '[broker]\ncert = "web1.login.pem"\nkey = "web1.login.key"\n'
    config.write_text(text.replace("[broker]\n", more))
    guarded.fleet.start("web1")
    yield guarded
    guarded.fleet.stop()
    config.write_text(text)


def test_a_login_beside_a_key_in_an_agent(web1: Guarded, agent: SSHAgent) -> None:
    """Alice's messages are signed in the agent, the connection is the login's; without one the line
    says what TLS wants.
    """
    key = Ed25519PrivateKey.generate()
    agent.add(key)
    folder = web1.folder / "away"
    authority = web1.fleet.authority
    authority.issue_for("alice", "operator", key.public_key(), folder, renew=True)
    where = {
        "MCSHELL_PKI_CERT": str(folder / "alice.pem"),
        "MCSHELL_PKI_KEY": f"ssh-agent:{agent.socket}",
    }
    ping = ("rpc", "rpcutil", "ping", "-I", "web1", "--json")
    refused = web1.fleet.cli(*ping, **where)
    assert refused.returncode == 64
    assert "broker.cert and broker.key name them" in refused.stderr
    login = {f"MCSHELL_BROKER_{k}": str(web1.folder / f"alice.login.{v}") for k, v in FILES}
    done = web1.fleet.cli(*ping, **where, **login)
    assert [row["state"] for row in json.loads(done.stdout)["replies"]] == ["ok"], done.stderr


def test_what_a_login_signs_is_refused_by_a_node(web1: Guarded) -> None:
    """A request that the login's own key has signed comes to the node, and is `wrong_kind` there."""
    request = _request(web1, "web1")
    sealed = seal_request(request, web1.signer("alice.login"))
    queue = destinations.work(web1.fleet.collective, "web1")
    with web1.enter("alice.login") as thief:
        thief.confirm(
            "SEND", {"destination": queue, "persistent": "true", **sealed.headers}, sealed.body
        )
    assert wait_until(lambda: "wrong_kind" in _refusals(web1, "web1"), 60)
    events = [e for e in web1.fleet.audit("web1") if e.get("requestid") == request.id]
    assert {e["event"] for e in events} == {"refused"}


def test_a_login_in_the_place_of_the_key_that_signs_is_refused(guarded: Guarded) -> None:
    """In `[pki] cert` it is one line that says where it belongs; nothing is sent."""
    login = {f"MCSHELL_PKI_{k}": str(guarded.folder / f"alice.login.{v}") for k, v in FILES}
    done = guarded.fleet.cli("ping", **login)
    assert done.returncode == 64
    (line,) = done.stderr.splitlines()
    assert "a login, which signs nothing: it goes into broker.cert" in line


def test_a_login_comes_and_goes_with_its_list(guarded: Guarded) -> None:
    """One whose name nobody bears is not let in; one that was revoked alone is not either, once the
    rights are written again, and its identity still is.
    """
    authority = guarded.fleet.authority
    authority.issue("dual", "node", out=guarded.folder)
    for name in ("dual", "nobody"):
        authority.issue(name, "login", out=guarded.folder)
    guarded.configure()
    take_over(guarded)
    assert wait_until(lambda: _enters(guarded, "dual.login"), 30)
    assert _enters(guarded, "dual")
    assert not _enters(guarded, "nobody.login")
    authority.revoke("dual", "login")
    guarded.configure()
    take_over(guarded)
    assert wait_until(lambda: not _enters(guarded, "dual.login"), 30)
    assert wait_until(lambda: _enters(guarded, "dual"), 30)


def test_who_has_no_rights_yet_is_told_how_they_come(guarded: Guarded) -> None:
    """An operator with a certificate that the broker has not heard of gets the next step in the line."""
    guarded.fleet.authority.issue("tardy", "operator", out=guarded.folder)
    where = {f"MCSHELL_PKI_{k}": str(guarded.folder / f"tardy.{v}") for k, v in FILES}
    done = guarded.fleet.cli("ping", **where)
    assert done.returncode != 0
    (line,) = done.stderr.splitlines()
    assert "`mcshell broker config` has written them again" in line


def _enters(guarded: Guarded, who: str) -> bool:
    """Whether it may read its identity's queue."""
    queue = destinations.work(guarded.fleet.collective, who.removesuffix(".login"))
    try:
        with guarded.enter(who) as bare:
            read(bare, queue)
    except (Closed, OSError):
        return False
    return True
