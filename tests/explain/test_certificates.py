"""`explain` where certificates are the cause, and how a revocation list comes to the nodes."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import pytest

from mcshell.errors import MCShellError
from mcshell.message import Reply, State
from mcshell.pki import Authority
from mcshell.wire import destinations
from mcshell.wire.documents.envelope import CERTIFICATE, seal_reply
from mcshell.wire.documents.signatures import Signer
from mcshell.wire.stomp.connector import Connector
from tests.peers.fleet import Fleet, Node
from tests.peers.processes import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.peers.brokers import Broker

PATIENCE = 60.0
NAMES = ("web1", "web2", "web3")


@pytest.fixture
def fleet(embedded: Broker, tmp_path: Path) -> Iterator[Fleet]:
    """Three nodes and two operators; nodes read their own copy of the first CRL."""
    nodes = {name: Node() for name in NAMES}
    policy = {"default": "policy default deny\nallow\t*\t*\t*\t*\n"}
    with Fleet(
        embedded,
        tmp_path,
        nodes,
        policies=policy,
        operators=("alice", "bob"),
        more='register_every = "1s"\n',
    ) as fleet:
        fleet.start()
        yield fleet


def published(fleet: Fleet) -> dict[str, dict[str, object]]:
    """Run `pki publish`; its rows by node."""
    done = fleet.cli("pki", "publish", "--json")
    return {row["sender"]: row for row in json.loads(done.stdout)}


def test_a_list_is_brought_to_those_who_need_it_and_outlives_a_restart(fleet):
    """Nodes put a newer CRL in force, audit it and know it after a restart; then all have it."""
    number = fleet.authority.revoke("bob")
    rows = published(fleet)
    assert {name: row["crl"] for name, row in rows.items()} == dict.fromkeys(NAMES, number)
    events = [event for event in fleet.audit("web1") if event["event"] == "crl"]
    assert [(one["crl"], one["caller"]) for one in events] == [(number, "cert=alice")]
    assert {row["statusmsg"] for row in published(fleet).values()} == {"has it"}
    fleet.kill9("web1")
    text = (fleet.folder / "web1.toml").read_text()
    (fleet.folder / "web1.toml").write_text(text.replace('crl = "pki/crl.pem"\n', ""))
    fleet.start("web1")
    assert published(fleet)["web1"]["before"] == number


def test_a_ca_that_is_an_older_copy_is_told(fleet):
    """Nodes have a newer list than its folder, and what it revokes next none of them would take."""
    file = fleet.authority.directory / "crl.pem"
    old = file.read_bytes()
    fleet.authority.revoke("bob")
    published(fleet)
    file.write_bytes(old)
    done = fleet.cli("pki", "publish")
    assert "crl.pem has the number 1, " in done.stderr
    assert "put that list (pki.crl) in its place before anything else is revoked" in done.stderr


def test_a_foreign_list_is_refused_and_audited(fleet, tmp_path):
    """Whoever carries it: what our CA has not signed is not put in force."""
    foreign = Authority.init(tmp_path / "foreign", fleet.collective)
    with fleet.client("alice") as alice:
        answers = alice.monitor.publish(foreign.crl_pem, ["web1"], 60.0)
        with pytest.raises(MCShellError):
            alice.monitor.newest_crl([foreign.crl_pem])
    assert answers["web1"].statuscode == 1
    refusals = [event for event in fleet.audit("web1") if event["event"] == "refused"]
    assert refusals[-1]["reason"] in ("bad_signature", "foreign_ca")


def test_an_older_list_takes_nothing_back(fleet):
    """What is in force stays in force."""
    old = fleet.authority.crl_pem
    number = fleet.authority.revoke("bob")
    published(fleet)
    with fleet.client("alice") as alice:
        answers = alice.monitor.publish(old, ["web1"], 60.0)
    assert dict(answers["web1"].data) == {"crl": number, "newer": False}


def test_a_node_under_a_stale_list_takes_the_newer_one(fleet):
    """It refuses all work under a list too old, and yet a newer one comes through."""
    text = (fleet.folder / "web1.toml").read_text()
    text = text.replace("[collective]", 'crl_max_age = "2s"\n[collective]')
    (fleet.folder / "web1.toml").write_text(text)
    fleet.kill9("web1")
    time.sleep(2.1)  # the list is too old from now on
    fleet.start("web1")
    with fleet.client("alice") as alice:
        assert alice.rpc("rpcutil", "ping", nodes="web1", timeout=2).stats["silent"] == 1
        number = fleet.authority.publish()
        pem = fleet.authority.crl_pem
        answers = alice.monitor.publish(pem, ["web1"], 60.0)
    assert answers["web1"].data["crl"] == number


def test_a_revoked_operator_hears_why(fleet):
    """By our own list, by the node's words to the renewed certificate."""
    fleet.authority.revoke("bob")
    published(fleet)
    with fleet.client("bob", state="state-bob", session="bobs") as bob:
        request = bob.rpc("rpcutil", "ping", nodes="web1", timeout=2).requestid
        first = bob.causes("web1", request)[0]
    assert (first.cause, first.kind) == ("our own certificate: revoked", "observed")
    fleet.authority.issue("bob", "operator", out=fleet.folder, renew=True)
    with fleet.client("bob", state="state-bob", session="bobs") as bob:
        first = bob.causes("web1", request)[0]
        assert (first.cause, first.kind) == (
            "our certificate is revoked, says the node",
            "observed",
        )
        assert "bob" in first.evidence


def test_an_expired_operator_is_named(fleet):
    """The dates of our own certificate are looked at too."""
    fleet.authority.issue("bob", "operator", out=fleet.folder, renew=True, lifetime=1.0)
    with fleet.client("bob", state="state-bob") as bob:
        time.sleep(1.1)  # its last second is over
        request = bob.rpc("rpcutil", "ping", nodes="web1", timeout=2).requestid
        first = bob.causes("web1", request)[0]
    assert (first.cause, first.kind) == ("our own certificate: cert_expired", "observed")


def test_a_revoked_node_is_named(fleet):
    """Its answers come, and are not believed."""
    fleet.authority.revoke("web2")
    with fleet.client("alice") as alice:
        request = alice.rpc("rpcutil", "ping", nodes="web2", timeout=2).requestid
        first = alice.causes("web2", request)[0]
    assert (first.cause, first.kind) == ("the node's certificate is revoked", "observed")


def test_ping_says_whose_answers_were_refused_and_what_to_do(fleet):
    """One line beside the table, whether the node is found or named by hand."""
    fleet.authority.revoke("web2")
    for words in (("ping",), ("ping", "-I", "web2", "-t", "2")):
        done = fleet.cli(*words)
        assert "1 answer was refused: revoked (web2): " in done.stderr
        assert "mcshell pki issue NAME --kind node --renew" in done.stderr


def test_who_finds_nobody_hears_that_answers_were_refused(fleet, tmp_path):
    """An operator who trusts another CA does not take the fleet for empty."""
    (fleet.folder / "other.pem").write_bytes(Authority.init(tmp_path / "foreign", "mcs").ca_pem)
    text = (fleet.folder / "alice.toml").read_text().replace('crl = "pki/crl.pem"\n', "")
    (fleet.folder / "astray.toml").write_text(text.replace("pki/ca.pem", "other.pem"))
    for words in (("ping",), ("rpc", "rpcutil", "ping")):
        done = fleet.cli(*words, MCSHELL_CONFIG=str(fleet.folder / "astray.toml"))
        assert done.returncode == 1
        assert "3 answers were refused: foreign_ca (in the name of web1, web2, web3)" in done.stderr


def test_a_copied_certificate_accuses_nobody(fleet):
    """Certificates are public: who has not signed with its key says nothing about the node."""
    old = Signer.load(fleet.folder / "web3.pem", fleet.folder / "web3.key").certificate
    fleet.authority.revoke("web3")
    fleet.authority.issue("web3", "node", out=fleet.folder, renew=True)
    fleet.kill9("web3")
    thief = Signer.from_pem(*fleet.authority.issue_pem("thief", "node"))
    link = Connector([fleet.broker.url], user=fleet.broker.user, passcode=fleet.broker.passcode)
    link.start(timeout=20)
    with fleet.client("alice") as alice, link:
        request = alice.rpc("rpcutil", "ping", nodes="web3", timeout=1).requestid
        word = Reply(
            requestid=request,
            sender="web3",
            sequence=2,
            statuscode=0,
            statusmsg="OK",
            data={},
            created=time.time(),
            state=State.OK,
        )
        sealed = seal_reply(word, thief)
        queue = destinations.reply(fleet.collective, alice.caller, alice.session.address)
        link.send(queue, sealed.body, {**sealed.headers, CERTIFICATE: old})
        assert wait_until(lambda: alice.junk["revoked"] == 1, PATIENCE)
        found = alice.causes("web3", request)
    assert {cause.kind for cause in found} == {"inferred"}
    assert found[-1].cause == "someone who claims to be it is not believed"
    assert "in its name was refused here: revoked" in found[-1].evidence


def test_a_node_whose_certificate_has_expired_is_named(fleet):
    """The same for its dates."""
    fleet.authority.issue("web3", "node", out=fleet.folder, renew=True, lifetime=20.0)
    fleet.kill9("web3")
    fleet.start("web3")
    with fleet.client("alice") as alice:
        path = fleet.folder / "web3.pem"
        assert wait_until(lambda: _over(path), 60)
        request = alice.rpc("rpcutil", "ping", nodes="web3", timeout=2).requestid
        first = alice.causes("web3", request)[0]
    assert (first.cause, first.kind) == ("the node's certificate has expired", "observed")


def _over(path: Path) -> bool:
    from cryptography import x509

    certificate = x509.load_pem_x509_certificate(path.read_bytes())
    return time.time() > certificate.not_valid_after_utc.timestamp() + 0.1
