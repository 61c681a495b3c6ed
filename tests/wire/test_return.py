"""On the way back to a broker that is named earlier: the connection that stands is used meanwhile, as before."""

from __future__ import annotations

import contextlib
import socket
import threading
import uuid
from queue import SimpleQueue
from typing import TYPE_CHECKING, Self

import pytest

from mcshell.wire.stomp import reconnect
from mcshell.wire.stomp.connector import Connector
from mcshell.wire.stomp.frame import Frame, Parser, dump
from tests.peers.processes import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.peers.brokers import Broker

SOON = 30.0  # seconds: a bound for what takes milliseconds on an idle machine
HELLO = {"version": "1.2", "server": "mcshell/1", "heart-beat": "0,0"}


class Hesitant:
    """A broker that closes at first, and once it is `back` says CONNECTED and keeps its receipts until `open`."""

    def __init__(self) -> None:
        self.back, self.open = threading.Event(), threading.Event()
        self.subscribed: list[str] = []
        self._sockets = [socket.create_server(("127.0.0.1", 0))]
        self.url = f"stomp://127.0.0.1:{self._sockets[0].getsockname()[1]}"
        self._thread = threading.Thread(target=self._listen, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.open.set()
        for one in self._sockets:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
        self._thread.join(SOON)

    def _listen(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                peer, _address = self._sockets[0].accept()
                self._sockets.append(peer)
                if self.back.is_set():
                    threading.Thread(target=self._serve, args=(peer,), daemon=True).start()
                else:
                    peer.close()

    def _serve(self, peer: socket.socket) -> None:
        parser = Parser()
        with contextlib.suppress(OSError):
            while data := peer.recv(4096):
                for frame in parser.feed(data):
                    self._answer(peer, frame)

    def _answer(self, peer: socket.socket, frame: Frame) -> None:
        if frame.command == "STOMP":
            peer.sendall(dump(Frame("CONNECTED", HELLO)))
        if frame.command == "SUBSCRIBE":
            self.subscribed.append(frame.headers["destination"])
        if receipt := frame.headers.get("receipt"):
            self.open.wait(SOON)
            peer.sendall(dump(Frame("RECEIPT", {"receipt-id": receipt})))


@pytest.fixture
def first() -> Iterator[Hesitant]:
    """The broker that is named first."""
    with Hesitant() as made:
        yield made


@pytest.fixture
def link(first: Hesitant, embedded: Broker, monkeypatch: pytest.MonkeyPatch) -> Iterator[Connector]:
    """A connection to the second, which looks for the first again and again."""
    monkeypatch.setattr(reconnect, "RETURN", 0.05)
    made = Connector(
        [first.url, embedded.url], user=embedded.user, passcode=embedded.passcode, patience=SOON
    )
    made.start(SOON)
    assert made.url == embedded.url
    yield made
    made.close()


def queue_name() -> str:
    """A queue that no other test uses."""
    return f"/queue/test.{uuid.uuid4().hex}"


def on_its_way(first: Hesitant) -> None:
    """Have the first say CONNECTED, and wait until it is to take over the subscriptions."""
    first.back.set()
    assert wait_until(lambda: first.subscribed, SOON)


def assert_all_come(reader: Connector, queue: str) -> None:
    """Whoever reads this queue now is the only one: of two messages both come to him."""
    inbox = SimpleQueue()
    reader.subscribe(queue, inbox)
    for body in (b"1", b"2"):
        reader.send(queue, body)
    assert [inbox.get(timeout=SOON).body for _ in range(2)] == [b"1", b"2"]


def test_what_is_acknowledged_meanwhile_is_acknowledged(first: Hesitant, link: Connector) -> None:
    """A broker that says CONNECTED and then nothing costs the one that serves no acknowledgement."""
    inbox, queue = SimpleQueue(), queue_name()
    link.subscribe(queue, inbox, prefetch=1)
    link.send(queue, b"1")
    delivery = inbox.get(timeout=SOON)
    on_its_way(first)
    link.ack(delivery)
    link.send(queue, b"2")
    assert inbox.get(timeout=SOON).body == b"2"


def test_what_is_subscribed_meanwhile_is_subscribed_at_both(
    first: Hesitant, link: Connector
) -> None:
    """A subscription that begins on the way back gets messages at once, and is taken along."""
    early, late = queue_name(), queue_name()
    inbox = SimpleQueue()
    link.subscribe(early, inbox)
    on_its_way(first)
    link.subscribe(late, inbox)
    link.send(late, b"x")
    assert inbox.get(timeout=SOON).body == b"x"
    assert link.connections == 1
    first.open.set()
    assert wait_until(lambda: link.url == first.url, SOON)
    assert first.subscribed == [early, late]


def test_what_ends_meanwhile_ends(first: Hesitant, link: Connector) -> None:
    """A subscription that ends on the way back gets nothing more from the broker that serves."""
    inbox, queue, other = SimpleQueue(), queue_name(), queue_name()
    ended = link.subscribe(queue, inbox)
    link.subscribe(other, inbox)
    on_its_way(first)
    link.unsubscribe(ended)
    assert_all_come(link, queue)


def test_who_closes_meanwhile_is_gone_from_both(
    first: Hesitant, link: Connector, embedded: Broker
) -> None:
    """After `close` the broker that served gives what comes to others: no subscription is left there."""
    inbox, queue = SimpleQueue(), queue_name()
    link.subscribe(queue, inbox)
    on_its_way(first)
    link.close()
    with Connector([embedded.url], user=embedded.user, passcode=embedded.passcode) as other:
        other.start(SOON)
        assert_all_come(other, queue)


def test_what_was_never_paused_is_not_begun_twice(link: Connector) -> None:
    """To resume what is read already breaks no connection: one of two queues may have begun before the other failed."""
    inbox, queue = SimpleQueue(), queue_name()
    number = link.subscribe(queue, inbox)
    link.resume(number)
    link.send(queue, b"x")
    assert inbox.get(timeout=SOON).body == b"x"
    assert link.connections == 1
