"""Conversations with emulated nodes, many at a time over one connection."""

from __future__ import annotations

import time
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING

import pytest

from mcshell import config
from mcshell.errors import ConversationError
from mcshell.message import Turn, made_id, new_nonce
from mcshell.wire import destinations
from mcshell.wire.credentials import connector, load_credentials
from mcshell.wire.documents.strict_json import loads
from mcshell.wire.documents.turn import seal_turn
from tests.peers.fleet import Fleet
from tests.peers.processes import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mcshell.client.messaging.conversations import Conversation
    from tests.peers.brokers import Broker

pytestmark = pytest.mark.timeout(240)
HANDLERS = Path(__file__).resolve().parents[1] / "agents_for_tests"
POLICY = "policy default deny\nallow\tcert=alice\techo\t*\t*\n"
NAMES = [f"emu{number:04d}" for number in range(1, 21)]
WAIT = 60.0


@pytest.fixture
def talkers(broker: Broker, tmp_path: Path) -> Iterator[Fleet]:
    """Twenty emulated nodes that alice may talk to, on each of the three brokers."""
    fleet = Fleet(broker, tmp_path, policies={"converse": POLICY}, operators=("alice", "bob"))
    with fleet:
        fleet.emulate(len(NAMES), more=f'agents = ["{HANDLERS}"]\n')
        yield fleet


def test_each_holds_its_own(talkers: Fleet) -> None:
    """Twenty nodes greet by name and answer every turn in order, all at the same time."""
    with talkers.client() as client:
        talks = [client.open(name, "echo", {"greet": "hello"}, timeout=WAIT) for name in NAMES]
        for number in range(10):
            for name, talk in zip(NAMES, talks, strict=True):
                talk.send(f"{name} {number}", WAIT)
        for name, talk in zip(NAMES, talks, strict=True):
            assert talk.receive(WAIT) == {"from": name, "to": "cert=alice", "said": "hello"}
            heard = [talk.receive(WAIT) for _ in range(10)]
            assert heard == [f"{name} {number}" for number in range(10)]
            talk.close(WAIT)
            assert talk.state == "closed"

    def ended() -> set[str]:
        lines = talkers.audit("emulator")
        return {one["identity"] for one in lines if one["event"] == "finished"}

    assert wait_until(lambda: ended() == set(NAMES), WAIT)


def test_a_turn_costs_the_same_beside_many_others(embedded: Broker, tmp_path: Path) -> None:
    """Two hundred conversations that are idle add nothing to what a turn of another takes of the processor."""
    with Fleet(embedded, tmp_path, policies={"converse": POLICY}) as fleet:
        fleet.emulate(201, more=f'agents = ["{HANDLERS}"]\n')
        with fleet.client() as client:
            talk, *names = (f"emu{number:04d}" for number in range(1, 202))
            one = client.open(talk, "echo", timeout=WAIT)
            alone = spent(one)
            others = [client.open(name, "echo", timeout=WAIT) for name in names]
            assert spent(one) < 2 * alone
            assert {other.state for other in others} == {"open"}


def spent(talk: Conversation) -> float:
    """Processor seconds of this process for 100 turns and their answers, the least of three times."""
    found = []
    for _ in range(3):
        began = time.process_time()
        for number in range(100):
            talk.send(number, WAIT)
            assert talk.receive(WAIT) == number
        found.append(time.process_time() - began)
    return min(found)


def test_who_may_not_is_told_so(talkers: Fleet) -> None:
    """The policy is asked for emulated nodes too."""
    refused = pytest.raises(ConversationError, match=r"denied by policy: converse\.policy")
    with talkers.client("bob", state="state-bob") as client, refused:
        client.open(NAMES[0], "echo", timeout=WAIT)


def test_the_id_of_one_is_nobody_elses(talkers: Fleet) -> None:
    """Two nodes of one process hold two conversations under one id."""
    settings = config.load(talkers.config)
    signer = load_credentials(settings.pki).signer
    wire, inbox = connector(settings), SimpleQueue()
    wire.start(WAIT)
    try:
        wire.subscribe(
            destinations.reply(talkers.collective, "cert=alice", "raw"), inbox, ack="auto"
        )
        nonce = new_nonce()
        number = made_id("turn", "cert=alice", nonce)
        for name in NAMES[:2]:
            turn = Turn(
                id=number,
                nonce=nonce,
                protocol="echo",
                caller="cert=alice",
                node=name,
                collective=talkers.collective,
                session="raw",
                word="open",
                sequence=1,
                ack=0,
                limit=32,
                created=time.time(),
                data={"greet": name},
            )
            sealed = seal_turn(turn, signer)
            where = destinations.node(talkers.collective, name)
            wire.send(where, sealed.body, sealed.headers)
        said = set()
        while len(said) < 2:
            document = loads(inbox.get(timeout=WAIT).body)
            assert document["word"] != "reset", document
            if document["word"] == "turn":
                said.add((document["node"], document["data"]["said"]))
        assert said == {(name, name) for name in NAMES[:2]}
    finally:
        wire.close()
