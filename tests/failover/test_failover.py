"""Two brokers that share nothing: the first dies in the middle of a call, and all go on."""

from __future__ import annotations

import sqlite3
import time
import uuid
from collections import Counter
from contextlib import closing
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from mcshell import config
from mcshell.client.client import Client
from mcshell.node.queue.outbox import ResendBuffer
from mcshell.node.store.records import OutboxMessage
from tests.peers.fleet import Fleet, Node
from tests.peers.processes import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.peers.brokers import Broker

pytestmark = pytest.mark.timeout(400)

REAL = tuple(f"real{number}" for number in range(1, 6))
EMULATED = tuple(f"emu{number:04d}" for number in range(1, 21))
ALL = {*REAL, *EMULATED}
LATER = '\n[agents.emulate]\ndelay = "4s"\n'
EXEC = "policy default deny\nallow\tcert=alice\trun\t*\t*\n"
SETTLED = 90.0  # seconds: on a busy machine everybody has gone over or come back by then


class Pair:
    """A fleet of 5 daemons and 20 emulated nodes, whose list of brokers has two."""

    def __init__(self, folder: Path, first: Broker, second: Broker) -> None:
        self.first, self.second = first, second
        place = SimpleNamespace(
            urls=[first.url, second.url],
            user=first.user,
            passcode=first.passcode,
            kind=first.kind,
        )
        self.fleet = Fleet(place, folder, dict.fromkeys(REAL, Node()), policies={"exec": EXEC})

    def start(self) -> None:
        """Start all of it."""
        self.fleet.start()
        self.fleet._enrol("emulator", "node", '[node]\npolicies = "policies"\n' + LATER)
        self.fleet._enrol = lambda *_args: None  # type: ignore[method-assign] # done, with a delay
        self.fleet.emulate(len(EMULATED))

    def found_at(self, broker: Broker) -> set[str]:
        """Who answers there."""
        settings = config.load(
            self.fleet.config,
            overrides={"broker.urls": [broker.url], "state": str(self.fleet.folder / "look")},
        )
        with Client(settings) as client:
            found = client.discover(known=False)
            return set(found.sender)

    def unsaid(self) -> int:
        """How many replies wait in all outboxes."""
        count = 0
        for path in self.fleet.folder.glob("state-*/*/work.sqlite"):
            with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
                count += database.execute("SELECT count(*) FROM outbox").fetchone()[0]
        return count

    def ran(self, request: str, event: str = "started") -> Counter[str]:
        """How many times each node has run a request."""
        names = (*REAL, "emulator")
        lines = [line for name in names for line in self.fleet.audit(name)]
        return Counter(
            line["identity"]
            for line in lines
            if line.get("requestid") == request and line["event"] == event
        )


@pytest.fixture(
    params=[
        "embedded",
        pytest.param("activemq", marks=(pytest.mark.activemq, pytest.mark.soak)),
        pytest.param("rabbitmq", marks=(pytest.mark.rabbitmq, pytest.mark.soak)),
    ]
)
def pair(
    request: pytest.FixtureRequest, fresh_broker: Callable[..., Broker], tmp_path: Path
) -> Iterator[Pair]:
    """Both brokers run; everybody is at the first."""
    made = Pair(tmp_path, fresh_broker(request.param), fresh_broker(request.param))
    made.start()
    yield made
    made.fleet.stop()


@pytest.fixture
def alice(pair: Pair) -> Iterator[Client]:
    """An operator who knows all nodes."""
    with pair.fleet.client(session=f"s{uuid.uuid4().hex[:8]}") as client:
        assert wait_until(lambda: set(client.discover().sender) == ALL, 30)
        yield client


def test_what_an_interactive_call_loses_is_silent_and_the_next_one_is_whole(
    pair: Pair, alice: Client
) -> None:
    """The broker dies with the request in it: nobody is missing, all are silent; then all answer."""
    pair.first.pause()
    replies = alice.rpc("rpcutil", "ping", nodes=ALL, wait=False, timeout=8)
    assert wait_until(lambda: replies.ledger().sent.notna().all(), 30)
    pair.first.kill9()
    replies.wait(60)
    assert wait_until(lambda: replies.stats["silent"] == len(ALL), 60), replies.stats
    assert set(replies.ledger().sender) == ALL
    assert wait_until(
        lambda: alice.rpc("rpcutil", "ping", nodes=ALL, timeout=10).stats["ok"] == len(ALL), SETTLED
    )
    assert pair.found_at(pair.second) == ALL
    assert replies.stats["silent"] == len(ALL)  # it was never sent again


def test_who_could_not_be_sent_to_is_a_row_that_says_so(pair: Pair, alice: Client) -> None:
    """A background call that meets no broker at all leaves no target without a verdict."""
    pair.first.kill9()
    pair.second.kill9()
    assert wait_until(lambda: not alice.connected, 30)
    batches = {"batch": "10", "batch_sleep": 0.0}
    replies = alice.rpc("rpcutil", "ping", nodes=ALL, wait=False, timeout=8, **batches)
    replies.wait(60)
    ledger = replies.ledger()
    assert set(ledger.sender) == ALL
    assert list(ledger.state.value_counts().items()) == [("pending", 15), ("silent", 10)]
    assert ledger.reason.str.contains("no connection to a broker").all()


def test_a_call_under_way_is_answered_over_the_second_broker(pair: Pair, alice: Client) -> None:
    """Nodes that work while the broker dies answer over the next one."""
    replies = alice.rpc(
        "exec", "run", argv=["sleep", "4"], nodes=REAL, wait=False, timeout=60, via="direct"
    )
    assert wait_until(lambda: replies.stats["running"] == len(REAL), 30), replies.stats
    pair.first.kill9()
    assert replies.wait(60).stats["ok"] == len(REAL), replies.ledger()


def test_what_was_queued_arrives_though_the_first_broker_stays_dead(
    pair: Pair, alice: Client
) -> None:
    """Amid the answers of a queued call the broker dies for good: every node ran it once, and says so."""
    replies = alice.rpc("rpcutil", "ping", nodes=ALL, via="queue", wait=False)
    assert wait_until(lambda: 3 <= replies.stats["ok"] < len(ALL), 30), replies.stats
    pair.first.kill9()
    assert replies.wait(SETTLED).stats["ok"] == len(ALL), replies.ledger()
    assert pair.ran(replies.requestid) == Counter(ALL)
    ledger = replies.ledger()
    assert not ledger.unexpected.any()
    assert len(ledger) == len(ALL)
    assert not alice.junk


def test_replies_that_only_the_dead_broker_had_are_said_again(pair: Pair, alice: Client) -> None:
    """An operator who was away finds at the second broker what lay in the first when it died."""
    if pair.first.kind == "rabbitmq":
        pytest.skip("RabbitMQ keeps them as `broker config` sets it up: tests/rights")
    session = alice.session.name
    request = alice.rpc("rpcutil", "ping", nodes=ALL, via="queue", wait=False).requestid
    alice.close()
    assert wait_until(lambda: pair.ran(request, "finished") == Counter(ALL), SETTLED)
    assert wait_until(lambda: not pair.unsaid(), SETTLED)
    pair.first.kill9()
    with pair.fleet.client(session=session) as again:
        replies = again.replies(request)
        assert replies.wait(SETTLED).stats["ok"] == len(ALL), replies.ledger()
        assert not again.junk
    assert pair.ran(request) == Counter(ALL)


def test_work_for_a_node_that_is_off_goes_to_the_second_broker_too(
    pair: Pair, alice: Client
) -> None:
    """A request that only the dead broker had is sent again where the node will look for it."""
    pair.fleet.kill9("real1")
    replies = alice.rpc("rpcutil", "ping", nodes=["real1"], via="queue", wait=False)
    assert wait_until(lambda: replies.confirmed, 30)
    pair.first.kill9()
    assert wait_until(lambda: alice._transport.url == pair.second.url, 60)
    pair.fleet.start("real1")
    assert replies.wait(SETTLED).stats["ok"] == 1
    assert pair.ran(replies.requestid) == {"real1": 1}


def test_all_come_back_to_the_first_broker(pair: Pair, alice: Client) -> None:
    """Once it runs again they meet there, with what waited in it and what was asked meanwhile."""
    pair.fleet.kill9("real1")
    waiting = alice.rpc("rpcutil", "ping", nodes=["real1"], via="queue", wait=False)
    pair.first.kill9()
    assert wait_until(lambda: pair.found_at(pair.second) == ALL - {"real1"}, SETTLED)
    meanwhile = alice.rpc("rpcutil", "ping", nodes=["real1"], via="queue", wait=False)
    pair.first.restart()
    pair.fleet.start("real1")
    assert wait_until(lambda: pair.found_at(pair.first) == ALL, SETTLED)
    assert wait_until(lambda: alice._transport.url == pair.first.url, SETTLED)
    for replies in (waiting, meanwhile):
        assert replies.wait(SETTLED).stats["ok"] == 1
        assert pair.ran(replies.requestid) == {"real1": 1}
    assert alice.rpc("rpcutil", "ping", timeout=20).stats["ok"] == len(ALL)


def _word(number: int, size: int = 10) -> OutboxMessage:
    return OutboxMessage(
        identity="n1",
        request=f"r{number}",
        sequence=2,
        destination="/queue/x",
        body=b"x" * size,
        signature="s",
        certificate="c",
        number=number,
    )


def test_words_are_said_again_once_and_elsewhere_only() -> None:
    """What another broker has comes back until it is forgotten; what is old or too much does not."""
    buffer = ResendBuffer()
    now = time.time()
    buffer.keep("a", [_word(1)], now - 10_000)
    buffer.keep("a", [_word(2), _word(3)], now)
    assert buffer.elsewhere("a", now) == []
    again = buffer.elsewhere("b", now)
    assert [word.request for word in again] == ["r2", "r3"]
    buffer.forget(again)
    assert buffer.elsewhere("b", now) == []
    buffer.keep("a", again, now)
    assert buffer.since(now - 1) == again
    assert buffer.since(now + 1) == []
    buffer.forget(again)
    buffer.keep("a", [_word(number, 1 << 18) for number in range(10)], now)
    assert len(buffer.elsewhere("b", now)) == 4
