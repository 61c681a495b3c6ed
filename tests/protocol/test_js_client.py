"""A client in JavaScript, written by the protocol's text alone, on each broker and against forgeries."""

from __future__ import annotations

import json
import subprocess
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from mcshell.message import Reply, State, Turn
from mcshell.pki import Authority
from mcshell.wire import destinations
from mcshell.wire.documents.envelope import digest_of, seal_reply
from mcshell.wire.documents.signatures import Signer
from mcshell.wire.documents.turn import seal_turn
from tests.hostile.forge import changed, signed, stripped
from tests.peers.bare import Bare
from tests.peers.fleet import Fleet, Node

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mcshell.wire.documents.envelope import SealedMessage
    from tests.peers.brokers import Broker

pytestmark = [pytest.mark.nodejs, pytest.mark.timeout(240)]

SCRIPT = Path(__file__).with_name("js") / "client.js"
HANDLERS = Path(__file__).resolve().parents[1] / "agents_for_tests"
CONVERSE = "policy default deny\nallow\tcert=alice\techo\t*\t*\n"
TURNS = 100


@pytest.fixture(scope="module")
def fleet(broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """Two nodes that talk; ghost has a certificate and no daemon."""
    with Fleet(
        broker,
        tmp_path_factory.mktemp("javascript"),
        {"n1": Node(), "n2": Node()},
        policies={"converse": CONVERSE},
        more=f'agents = ["{HANDLERS}"]\n',
    ) as one:
        one.authority.issue("ghost", "node", out=one.folder)
        one.start()
        yield one


def start(fleet: Fleet, command: str, *words: str) -> subprocess.Popen[str]:
    """Run the client as alice."""
    place = fleet.broker.url.removeprefix("stomp://")
    keys = [str(fleet.folder / name) for name in ("pki/ca.pem", "alice.pem", "alice.key")]
    login = [place, fleet.broker.user, fleet.broker.passcode, *keys]
    argv = ["node", str(SCRIPT), command, *login, fleet.collective, "cert=alice", *words]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def end(process: subprocess.Popen[str]) -> tuple[list[Any], dict[str, int]]:
    """What it printed, and what it refused."""
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    *words, last = map(json.loads, out.splitlines())
    return words, last["refused"]


def test_it_is_short() -> None:
    """250 lines of code at most, and one library."""
    lines = [line.strip() for line in SCRIPT.read_text().splitlines()]
    assert len([line for line in lines if line and not line.startswith("//")]) <= 250
    package = json.loads(SCRIPT.with_name("package.json").read_text())
    assert list(package["dependencies"]) == ["@stomp/stompjs"]


def test_it_asks_a_fleet_and_verifies_the_answers(fleet: Fleet) -> None:
    """One verified final reply of each node, and nothing refused."""
    words, refused = end(start(fleet, "ask", "rpcutil", "ping", "3"))
    assert refused == {}
    assert sorted((one["sender"], one["state"]) for one in words) == [("n1", "ok"), ("n2", "ok")]


def test_it_holds_a_conversation(fleet: Fleet) -> None:
    """A hundred turns go there and come back, in order, and both ends part in peace."""
    words, refused = end(start(fleet, "talk", "n1", "echo", str(TURNS)))
    assert words == [{"number": number} for number in range(1, TURNS + 1)]
    assert refused == {}
    ended = [one for one in fleet.audit("n1") if one["event"] == "finished"]
    assert (ended[-1]["state"], ended[-1]["turns"]) == ("closed", TURNS)


def test_a_node_that_says_no_ends_it(fleet: Fleet) -> None:
    """What the policy refuses is an error with the reason."""
    process = start(fleet, "talk", "n1", "other", "1")
    _, err = process.communicate(timeout=60)
    assert process.returncode != 0
    assert "denied: denied by policy: converse.policy" in err


def people(fleet: Fleet, folder: Path) -> dict[str, Signer]:
    """Who signs: ghost itself, others, and one of that name by another CA."""
    found = {
        name: Signer.load(fleet.folder / f"{name}.pem", fleet.folder / f"{name}.key")
        for name in ("ghost", "n1", "alice")
    }
    stranger = Authority.init(folder / "stranger", "stranger")
    return {**found, "stranger": Signer.from_pem(*stranger.issue_pem("ghost", "node"))}


def forgeries(honest: SealedMessage, unbound: SealedMessage, by: dict[str, Signer]) -> list[Any]:
    """Each forgery of an honest message, with the reason it is refused for."""
    return [
        ("unbound", unbound),
        ("bad_signature", changed(honest, created=1.0)),
        ("wrong_sender", signed(honest.body, by["n1"])),
        ("wrong_kind", signed(honest.body, by["alice"])),
        ("foreign_ca", signed(honest.body, by["stranger"])),
        ("unsigned", stripped(honest, "mcs-signature")),
        ("unsigned", stripped(honest, "mcs-certificate")),
        ("not_json", signed(honest.body[:-1], by["ghost"])),
        ("unknown_request", signed(changed(honest, v=1).body, by["ghost"])),
    ]


def counted(some: list[Any]) -> dict[str, int]:
    """How many are refused for each reason."""
    reasons = [reason for reason, _ in some]
    return {reason: reasons.count(reason) for reason in reasons}


def test_it_believes_no_forged_reply(fleet: Fleet, tmp_path: Path) -> None:
    """A changed byte, another's signature, another digest: each is refused, the honest one is not."""
    by = people(fleet, tmp_path)
    with Bare(fleet.broker).connect() as bare:
        bare.subscribe(destinations.broadcast(fleet.collective), ack="auto")
        process = start(fleet, "ask", "rpcutil", "ping", "4")
        asked = bare.get("MESSAGE").body
        request = json.loads(asked)
        reply = Reply(
            requestid=request["id"],
            sender="ghost",
            sequence=2,
            statuscode=0,
            statusmsg="OK",
            data={"pong": 1},
            created=time.time(),
            state=State.OK,
            digest=digest_of(asked),
        )
        honest = seal_reply(reply, by["ghost"])
        unbound = seal_reply(replace(reply, digest=digest_of(b"another")), by["ghost"])
        hostile = forgeries(honest, unbound, by)
        where = destinations.reply(fleet.collective, "cert=alice", request["session"])
        for sealed in (*(one for _, one in hostile), honest):
            bare.send(where, sealed.body, sealed.headers)
        words, refused = end(process)
    assert refused == counted(hostile)
    assert sorted(one["sender"] for one in words) == ["ghost", "n1", "n2"]


def test_it_believes_no_forged_turn(fleet: Fleet, tmp_path: Path) -> None:
    """Nothing opens, and nothing is read, but what the node has signed about this very opening."""
    by = people(fleet, tmp_path)
    with Bare(fleet.broker).connect() as bare:
        bare.subscribe(destinations.node(fleet.collective, "ghost"), ack="auto")
        process = start(fleet, "talk", "ghost", "echo", "1")
        opening = bare.get("MESSAGE").body
        asked = json.loads(opening)
        names = ("id", "protocol", "caller", "node", "collective", "session")
        turn = Turn(
            **{name: asked[name] for name in names},
            word="open",
            sequence=1,
            ack=1,
            limit=33,
            created=time.time(),
            digest=digest_of(opening),
        )
        honest = seal_turn(turn, by["ghost"])
        unbound = seal_turn(replace(turn, digest=digest_of(b"another")), by["ghost"])
        hostile = forgeries(honest, unbound, by)
        where = destinations.reply(fleet.collective, "cert=alice", asked["session"])
        told = replace(turn, word="turn", sequence=2, ack=2, data="honest")
        last = replace(turn, word="close", sequence=3, ack=3)
        for sealed in (*(one for _, one in hostile), honest, seal_turn(told, by["ghost"])):
            bare.send(where, sealed.body, sealed.headers)
        while json.loads(bare.get("MESSAGE").body)["word"] != "close":
            pass
        goodbye = seal_turn(last, by["ghost"])
        bare.send(where, goodbye.body, goodbye.headers)
        words, refused = end(process)
    assert (words, refused) == (["honest"], counted(hostile))
