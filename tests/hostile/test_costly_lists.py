"""Revocation lists that cost, brought to running daemons: nobody waits, and it is refused in words."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from mcshell.wire import destinations
from mcshell.wire.documents.crl import seal_crl
from mcshell.wire.documents.signatures import Signer
from tests.peers.bare import Bare
from tests.peers.fleet import Fleet, Node
from tests.peers.processes import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mcshell.client.client import Client
    from tests.peers.brokers import Broker

PATIENCE = 60.0
HEADS = "-----BEGIN X509 CRL-----" * 42_000
MIB = 1 << 20


@pytest.fixture
def fleet(embedded: Broker, tmp_path: Path) -> Iterator[Fleet]:
    """One node, an operator who may all, and bob, who may nothing."""
    with Fleet(embedded, tmp_path, {"web1": Node()}, operators=("alice", "bob")) as fleet:
        fleet.start()
        yield fleet


def refusals(fleet: Fleet) -> list[dict[str, Any]]:
    """What the node has refused."""
    return [event for event in fleet.audit("web1") if event["event"] == "refused"]


def spent(fleet: Fleet) -> tuple[float, int]:
    """Seconds of processor and private bytes of the node's daemon, so far."""
    process = psutil.Process(fleet.nodes["web1"].pid)
    return sum(process.cpu_times()[:2]), process.memory_full_info().uss


def brought(what: str, fleet: Fleet, number: int) -> tuple[bytes, dict[str, str]]:
    """A megabyte of junk as a list: of nobody's, of an old kind, of a node's signing."""
    junk = f"{number}{HEADS}".encode()
    if what == "version 1":
        return json.dumps({"v": 1, "kind": "crl", "crl": junk.decode()}).encode(), {}
    signer = Signer.load(fleet.folder / "web1.pem", fleet.folder / "web1.key")
    sealed = seal_crl([junk[: 700 << 10]], signer, time.time())
    return sealed.body, dict(sealed.headers) if what == "signed" else {}


@pytest.mark.parametrize(
    ("what", "reasons"),
    [
        ("unsigned", {"unsigned"}),
        ("version 1", {"unsigned"}),
        ("signed", {"bad_certificate", "foreign_ca", "too_often"}),
    ],
)
def test_a_megabyte_of_junk_holds_up_nobody(fleet: Fleet, what: str, reasons: set[str]) -> None:
    """Ten of them, and a ping by an operator is answered; a second of processor, 20 MB for all."""
    with fleet.client("alice") as alice, Bare(fleet.broker).connect() as bare:
        assert alice.rpc("rpcutil", "ping", nodes="web1", timeout=20).stats["ok"] == 1
        before, memory = spent(fleet)
        for number in range(10):
            body, headers = brought(what, fleet, number)
            bare.send(destinations.node(fleet.collective, "web1"), body, headers)
        # On a busy machine it may be silent for longer than a probe waits.
        assert wait_until(lambda: answered(alice), PATIENCE)
        assert wait_until(lambda: len(refusals(fleet)) >= 10, PATIENCE)
        after, grown = spent(fleet)
    assert {event["reason"] for event in refusals(fleet)} <= reasons
    assert after - before < 1.0
    assert grown - memory < 20 * MIB


def answered(alice: Client) -> bool:
    """Whether the node answers a ping now."""
    return alice.rpc("rpcutil", "ping", nodes="web1", timeout=20).stats["ok"] == 1


def test_an_operator_without_rights_costs_no_more(fleet: Fleet) -> None:
    """What bob has signed is refused to his face, and cost a second of processor at most."""
    with fleet.client("bob", state="state-bob") as bob:
        before, _ = spent(fleet)
        answers = bob.monitor.publish(HEADS.encode(), ["web1"], PATIENCE)
        after, _ = spent(fleet)
    assert "42000 PEM revocation lists; 1 to 16 are meant" in answers["web1"].statusmsg
    assert after - before < 1.0
    (refused,) = refusals(fleet)
    assert (refused["caller"], refused["reason"]) == ("cert=bob", "bad_certificate")
