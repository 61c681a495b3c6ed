"""A broker confirms what it then has not: all that it took in its last seconds is sent again."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from mcshell.message import State
from tests.peers.brokers import Broker
from tests.peers.fleet import Fleet, Node
from tests.peers.processes import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mcshell.client.client import Client
    from mcshell.client.rpc.replies import Replies

pytestmark = pytest.mark.timeout(600)

PATIENCE = 120.0
MANY = 20


def lose_all(broker: Broker) -> None:
    """Kill the embedded broker, with the disk under it, and start it anew."""
    broker.kill9()
    for folder in ("data", "tls"):
        shutil.rmtree(broker.directory / folder)
    broker.restart()


def ask(client: Client, node: str) -> Replies:
    """A queued request that the broker has confirmed."""
    replies = client.rpc("rpcutil", "ping", via="queue", ttl="1h", identities=[node], wait=False)
    assert replies.wait_confirmed(PATIENCE)
    return replies


def ended(replies: Replies) -> list[State]:
    """The states when all is said."""
    replies.wait(PATIENCE)
    return [entry.state for entry in replies.entries()]


def test_requests_that_a_broker_has_confirmed_and_lost_are_sent_again(
    fresh_broker: Callable[..., Broker], tmp_path: Path
) -> None:
    """A queued request comes to a node that was off, though the broker lost its disk meanwhile."""
    broker = fresh_broker()
    with Fleet(broker, tmp_path, {"n1": Node()}) as fleet, fleet.client() as client:
        asked = [ask(client, "n1") for _ in range(MANY)]
        lose_all(broker)
        fleet.start("n1")
        for one in asked:
            assert ended(one) == [State.OK]
        ids = [event["requestid"] for event in fleet.audit("n1") if event["event"] == "finished"]
        assert sorted(ids) == sorted(one.requestid for one in asked)


def test_replies_that_a_broker_has_confirmed_and_lost_are_sent_again(
    fresh_broker: Callable[..., Broker], tmp_path: Path
) -> None:
    """The last word on a queued request reaches who has been away, though the broker lost it once."""
    broker = fresh_broker()
    with Fleet(broker, tmp_path, {"n1": Node()}) as fleet:
        with fleet.client(session="away") as client:
            asked = ask(client, "n1").requestid
        fleet.start("n1")
        assert wait_until(lambda: _all_is_told(fleet), PATIENCE)
        lose_all(broker)
        with fleet.client(session="away") as client:
            assert ended(client.replies(asked)) == [State.OK]


def _all_is_told(fleet: Fleet) -> bool:
    """Whether the node has done it, and the broker has confirmed all that it says of it."""
    done = any(event["event"] == "finished" for event in fleet.audit("n1"))
    with closing(sqlite3.connect(fleet.folder / "state-n1/node/work.sqlite")) as spool:
        return done and not spool.execute("SELECT count(*) FROM outbox").fetchone()[0]


@pytest.mark.soak
@pytest.mark.rabbitmq
@pytest.mark.parametrize("number", range(10))
def test_a_queue_of_rabbitmq_that_was_just_made_costs_nothing(
    number: int, fresh_broker: Callable[..., Broker], tmp_path: Path
) -> None:
    """Killed right after it has made a queue, RabbitMQ may lose it: all of it is sent again."""
    broker = fresh_broker("rabbitmq")
    node = f"n{number}"
    with Fleet(broker, tmp_path, {node: Node()}) as fleet, fleet.client() as client:
        asked = [ask(client, node) for _ in range(MANY)]
        Broker.kill9(broker)
        broker.restart()
        fleet.start(node)
        for one in asked:
            assert ended(one) == [State.OK]
