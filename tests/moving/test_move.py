"""`mcshell broker move` between two brokers with a login that may do everything."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from mcshell.broker import move as mover
from mcshell.wire.stomp.connector import Connector
from tests.peers.bare import Bare
from tests.peers.brokers import RABBITMQ
from tests.peers.fleet import Fleet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from mcshell.wire.stomp.transport import Receipt
    from tests.peers.brokers import Broker

WAYS = {
    "to RabbitMQ": ("activemq", "rabbitmq"),
    "to ActiveMQ": ("rabbitmq", "activemq"),
    "from the lab": ("embedded", "rabbitmq"),
}


def ways(*ordinary: str) -> pytest.MarkDecorator:
    """Those that a test is run on, the others in soaks only."""
    found = []
    for name, kinds in WAYS.items():
        marks = [getattr(pytest.mark, kind) for kind in kinds if kind != "embedded"]
        marks += [] if name in ordinary else [pytest.mark.soak]
        found.append(pytest.param(*kinds, id=name, marks=marks))
    return pytest.mark.parametrize(("old", "new"), found)


class Move:
    """Two brokers, and an operator at the command line."""

    def __init__(self, folder: Path, old: Broker, new: Broker) -> None:
        self.old, self.new = old, new
        self.fleet = Fleet(old, folder)
        self.name = self.fleet.collective

    def __call__(self, *queues: str) -> tuple[int, dict[str, dict[str, object]], str]:
        """Move; exit code, rows by queue, standard error."""
        words = ["--from", self.old.url, "--to", self.new.url, "--json"]
        if self.old.kind != "activemq":
            words += ["--queues", "-"]
        done = self.fleet.cli("broker", "move", *words, stdin=self.listing(*queues), timeout=200)
        rows = json.loads(done.stdout) if done.returncode in (0, 2) else []
        return done.returncode, {row["queue"]: row for row in rows}, done.stderr

    def listing(self, *queues: str) -> str:
        """What the old broker says of its queues; our own lists none."""
        if self.old.kind != "rabbitmq":
            return "".join(f"{queue}\n" for queue in queues)
        done = subprocess.run(
            [RABBITMQ.with_name("rabbitmqctl"), "-q", "list_queues", "name", "messages"],
            env={**self.fleet.environ, **self.old.environment},
            capture_output=True,
            text=True,
            check=True,
        )
        head, *lines = done.stdout.splitlines()
        return "\n".join([head, *(line for line in lines if f".{self.name}." in line)])

    def queue(self, kind: str, rest: str) -> str:
        """A queue of this fleet's."""
        return f"mcs.{self.name}.{kind}.{rest}"


@pytest.fixture
def move(request: pytest.FixtureRequest, old: str, new: str, tmp_path: Path) -> Iterator[Move]:
    """From one kind of broker to another."""
    return Move(tmp_path, request.getfixturevalue(old), request.getfixturevalue(new))


def _all(broker: Broker, queue: str, count: int) -> list:
    with Bare(broker).connect() as bare:
        bare.subscribe(f"/queue/{queue}")
        found = bare.messages(count)
        assert bare.silent(0.5)
        for frame in found:
            bare.ack(frame)
        return found


@ways("to RabbitMQ")
def test_all_that_waits_goes_over_in_order(move: Move) -> None:
    """Work, direct requests, pools and replies: bodies, headers, persistence; each queue has a row."""
    kinds = {"work": "web1", "node": "web1.example.com", "pool": "sms", "reply": "cert~3dalice.s1"}
    queues = [move.queue(kind, rest) for kind, rest in kinds.items()]
    with Bare(move.old).connect() as bare:
        for queue in queues:
            if ".reply." in queue:  # where replies go by topic, the session has made its queue
                bare.subscribe(f"/queue/{queue}", id_="mine")
                bare.put("UNSUBSCRIBE", {"id": "mine"})
            for number in range(90):
                bare.send(
                    f"/queue/{queue}", b"%d" % number, {"mcs-a": "b:c\\d\nü"}, persistent=True
                )
    code, rows, said = move(*queues)
    assert code == 0, said
    assert {name: row["taken"] for name, row in rows.items()} == dict.fromkeys(queues, 90)
    for queue in queues:
        found = _all(move.new, queue, 90)
        assert [frame.body for frame in found] == [b"%d" % number for number in range(90)]
        assert {frame.headers["mcs-a"] for frame in found} == {"b:c\\d\nü"}
        assert {frame.headers.get("persistent") for frame in found} == {"true"}
        assert not any("mcs-redelivered" in frame.headers for frame in found)
    code, rows, said = move(*queues)
    assert (code, rows) == (0, {}), said


@ways("to RabbitMQ")
def test_a_list_that_was_made_by_hand_has_its_spaces(move: Move) -> None:
    """A number behind a space is no part of the queue's name: what waits there is taken."""
    queue = move.queue("work", "web1")
    with Bare(move.old).connect() as bare:
        bare.send(f"/queue/{queue}", b"wait", {}, persistent=True)
    code, rows, said = move(f"{queue} 1")
    assert (code, rows[queue]["taken"]) == (0, 1), said


@pytest.mark.activemq
def test_of_many_queues_none_is_forgotten(
    activemq: Broker, embedded: Broker, tmp_path: Path
) -> None:
    """ActiveMQ is asked for patterns, as it lists no queues: all messages of 150 queues are found."""
    move = Move(tmp_path, activemq, embedded)
    queues = [
        move.queue(kind, f"n{number}") for kind in ("work", "pool", "reply") for number in range(50)
    ]
    with Bare(activemq).connect() as bare:
        for queue in queues:
            for number in range(3):
                bare.send(f"/queue/{queue}", b"%d" % number, persistent=True)
    code, rows, said = move()
    assert code == 0, said
    assert {name: row["taken"] for name, row in rows.items()} == dict.fromkeys(queues, 3)


@ways()
def test_what_has_an_end_has_the_same_there(move: Move) -> None:
    """A message that is good for some seconds is not for longer at the new broker."""
    queue = move.queue("work", "web1")
    with Bare(move.old).connect() as bare:
        bare.send(f"/queue/{queue}", b"short", persistent=True, expires=time.time() + 6)
        bare.send(f"/queue/{queue}", b"long", persistent=True, expires=time.time() + 3600)
    code, _rows, said = move(queue)
    assert code == 0, said
    with Bare(move.new).connect() as bare:
        time.sleep(7)  # from RabbitMQ it is good for as long again
        bare.subscribe(f"/queue/{queue}")
        assert [frame.body for frame in bare.messages(1)] == [b"long"]
        assert bare.silent()


@ways("to ActiveMQ")
def test_what_a_worker_died_with_says_so_there(move: Move) -> None:
    """A message that had been handed out before is marked, so that no second worker begins it."""
    queue = move.queue("pool", "sms")
    with Bare(move.old).connect() as bare:
        bare.send(f"/queue/{queue}", b"begun", persistent=True)
        bare.send(f"/queue/{queue}", b"fresh", persistent=True)
    with Bare(move.old).connect() as worker:
        worker.subscribe(f"/queue/{queue}", prefetch=1)
        assert worker.get("MESSAGE").body == b"begun"
    code, rows, said = move(queue)
    assert (code, rows[queue]["taken"]) == (0, 2), said
    marks = {frame.body: frame.headers.get("mcs-redelivered") for frame in _all(move.new, queue, 2)}
    assert marks == {b"begun": "true", b"fresh": None}


@pytest.mark.rabbitmq
def test_a_queue_made_otherwise_is_read_as_it_is(
    rabbitmq: Broker, embedded: Broker, tmp_path: Path
) -> None:
    """A queue of another type, or with arguments of its own, is emptied like any other."""
    move = Move(tmp_path, rabbitmq, embedded)
    queue = move.queue("work", "web1")
    with Bare(rabbitmq).connect() as bare:
        own = {"x-max-length": "50", "id": "1", "ack": "client-individual"}
        bare.confirm("SUBSCRIBE", {"destination": f"/queue/{queue}", **own})
        bare.put("UNSUBSCRIBE", {"id": "1"})
        bare.send(f"/amq/queue/{queue}", b"there", persistent=True)
    code, rows, said = move()
    assert (code, rows[queue]["taken"]) == (0, 1), said
    assert [frame.body for frame in _all(embedded, queue, 1)] == [b"there"]


@pytest.mark.rabbitmq
@pytest.mark.timeout(500)
def test_what_a_new_broker_confirms_and_loses_is_sent_again(
    fresh_broker: Callable[..., Broker],
    embedded: Broker,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A RabbitMQ that is killed before the queues it has made are on its disk costs no message."""
    rabbitmq = fresh_broker("rabbitmq")
    move = Move(tmp_path, embedded, rabbitmq)
    queues = [move.queue(kind, "web1") for kind in ("work", "pool")]
    with Bare(embedded).connect() as bare:
        for queue in queues:
            for number in range(20):
                bare.send(f"/queue/{queue}", b"%d" % number, persistent=True)
    confirms = mover._refused
    lost = []

    def loses(receipt: Receipt, seconds: float) -> str:
        why = confirms(receipt, seconds)
        if not (why or lost):
            lost.append(rabbitmq.directory)
            rabbitmq.child.kill9()
            shutil.rmtree(rabbitmq.directory / "mnesia")
            rabbitmq.restart()
        return why

    monkeypatch.setattr(mover, "_refused", loses)
    with ExitStack() as open_:
        old, new = (
            open_.enter_context(Connector([one.url], user=one.user, passcode=one.passcode))
            for one in (embedded, rabbitmq)
        )
        old.start()
        new.start()
        done = mover.Mover(old, new, lambda: new).move(dict.fromkeys(queues, 20))
    assert lost
    assert not [one for one in done if one.left]
    for queue in queues:
        with Bare(rabbitmq).connect() as bare:
            bare.subscribe(f"/queue/{queue}")
            assert {frame.body for frame in bare.messages(20)} == {b"%d" % n for n in range(20)}


@pytest.mark.rabbitmq
def test_what_the_new_broker_refuses_stays_and_is_named(
    rabbitmq: Broker, embedded: Broker, tmp_path: Path
) -> None:
    """A queue that is there with another type or arguments is given up with the reason; others go."""
    move = Move(tmp_path, embedded, rabbitmq)
    queues = [move.queue("work", name) for name in ("web1", "web2")]
    with Bare(rabbitmq).connect() as bare:
        own = {"x-max-length": "50", "id": "1", "ack": "client-individual"}
        bare.confirm("SUBSCRIBE", {"destination": f"/queue/{queues[0]}", **own})
    with Bare(embedded).connect() as bare:
        for queue in queues:
            for number in range(5):
                bare.send(f"/queue/{queue}", b"%d" % number, persistent=True)
    code, rows, said = move(*queues)
    assert code == 2, said
    assert {name: row["taken"] for name, row in rows.items()} == {queues[0]: 0, queues[1]: 5}
    assert "inequivalent arg" in str(rows[queues[0]]["left"])
    assert not rows[queues[1]]["left"]
    assert [frame.body for frame in _all(embedded, queues[0], 5)] == [b"%d" % n for n in range(5)]
    with Bare(rabbitmq).connect() as bare:
        bare.subscribe(f"/queue/{queues[1]}")
        # what was under way when the connection broke over the other queue was sent once more
        found: set[bytes] = set()
        while len(found) < 5:
            found.add(bare.get("MESSAGE").body)
