"""The connector over each of the three real brokers."""

from __future__ import annotations

import re
import threading
import time
import uuid
from datetime import date
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

import pytest

from mcshell.errors import ConnectError, ConnectionLost, FrameError
from mcshell.wire.stomp.connector import ConnectionState, Connector, TLSFiles
from mcshell.wire.stomp.support import caution
from tests.peers.bare import Bare
from tests.peers.processes import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mcshell.wire.stomp.transport import Delivery
    from tests.peers.brokers import Broker

SOON = 20.0  # seconds: a bound for what takes milliseconds on an idle machine
Inbox = SimpleQueue  # of Delivery


@pytest.fixture(autouse=True)
def _all_is_said(caplog: pytest.LogCaptureFixture) -> None:
    """Where a test fails, what it saw has each connection that stood, not only those that broke."""
    caplog.set_level("INFO")


@pytest.fixture
def connect(request: pytest.FixtureRequest) -> Iterator[Callable[..., Connector]]:
    """A factory of started connectors, `connect(broker)`; all are closed, no thread remains."""
    made: list[Connector] = []
    before = set(threading.enumerate())

    def factory(*brokers: Broker, **options: object) -> Connector:
        first = brokers[0]
        urls = options.pop("urls", [one.url for one in brokers])
        settings = {"user": first.user, "passcode": first.passcode, **options}
        made.append(Connector(urls, **settings))
        made[-1].start(SOON)
        return made[-1]

    yield factory
    for one in made:
        one.close()
    left = {thread for thread in threading.enumerate() if thread not in before}
    assert not left, "threads remain"


def queue_name() -> str:
    """A queue that no other test uses."""
    return f"/queue/test.{uuid.uuid4().hex}"


def take(inbox: Inbox, count: int, seconds: float = SOON) -> list[Delivery]:
    """Take that many deliveries."""
    deadline = time.monotonic() + seconds
    return [inbox.get(timeout=max(0.001, deadline - time.monotonic())) for _ in range(count)]


def tls(pki: Path, who: str = "alice", ca: str = "ca.pem") -> TLSFiles:
    """TLS files as `who`."""
    return TLSFiles(pki / ca, pki / f"{who}.pem", pki / f"{who}.key")


def test_a_broker_says_its_version(broker: Broker, connect: Callable) -> None:
    """Name and version are known once we are connected, which is what `doctor` judges by."""
    link = connect(broker)
    assert re.match(rf"{link.dialect.name}/\d+\.\d+", link.server, re.IGNORECASE), link.server
    assert "does not say" not in caution(link.server, date(2026, 11, 26))


def test_headers_and_bodies_arrive_as_sent(broker: Broker, connect: Callable) -> None:
    """Binary, empty and large bodies, and values that need escapes, come out as they went in."""
    link, inbox, queue = connect(broker), Inbox(), queue_name()
    link.subscribe(queue, inbox)
    values = {"x-a": "a:b\\c\nd\re", "x-b": "grüße ☃", "x-c": ""}
    for body in (bytes(range(256)) * 3, b"", "grüße".encode(), b"\0" * 200_000):
        link.send(queue, body, values)
        (got,) = take(inbox, 1)
        assert got.body == body
        assert {name: got.headers[name] for name in values} == values
        assert got.destination == queue
        link.ack(got)


def test_no_size_that_a_broker_takes_stops_what_follows(broker: Broker, connect: Callable) -> None:
    """Headers beyond any of ours come too: refused, they would come again with each connection, for ever."""
    queue, inbox = queue_name(), Inbox()
    with Bare(broker).connect() as one:
        # a colon takes two bytes on its way out
        large = "".join(f"x-{number}:{':' * 1500}\n" for number in range(40))
        head = f"SEND\ndestination:{queue}\npersistent:true\n{large}\n"
        one.sock.sendall(head.encode() + b"large\0")
        one.send(queue, b"next", persistent=True)
    link = connect(broker)
    link.subscribe(queue, inbox)
    assert [got.body for got in take(inbox, 2)] == [b"large", b"next"]


def test_a_burst_arrives_whole_and_in_order(broker: Broker, connect: Callable) -> None:
    """5,000 messages sent back to back all arrive, in order, through a prefetch of 200."""
    link, inbox, queue = connect(broker), Inbox(), f"/queue/unexpired.{uuid.uuid4().hex}"
    link.subscribe(queue, inbox)
    for number in range(5000):
        link.send(queue, b"%d" % number)
    for number in range(5000):
        (got,) = take(inbox, 1)
        assert got.body == b"%d" % number
        link.ack(got)


def test_many_threads_send_through_one_connection(broker: Broker, connect: Callable) -> None:
    """Frames of several threads, small and large, don't mix."""
    link, inbox, queue = connect(broker), Inbox(), queue_name()
    link.subscribe(queue, inbox, ack="auto")
    bodies = {bytes([65 + n]) * size for n, size in enumerate((1, 100, 5_000, 60_000))}
    threads = [
        threading.Thread(target=lambda body=body: [link.send(queue, body) for _ in range(100)])
        for body in bodies
    ]
    for thread in threads:
        thread.start()
    got = take(inbox, 400, 60)
    for thread in threads:
        thread.join()
    assert {one.body for one in got} == bodies


def test_batches_arrive_whole_in_order_and_before_the_goodbye(
    broker: Broker, connect: Callable
) -> None:
    """What is written in batches is as complete as what is not; `close` loses nothing of it."""
    link, reader, inbox, queue = (
        connect(broker, batches=True),
        connect(broker),
        Inbox(),
        queue_name(),
    )
    reader.subscribe(queue, inbox, ack="auto")
    for number in range(5000):
        link.send(queue, b"%d" % number)
    link.close()
    assert [int(one.body) for one in take(inbox, 5000, 60)] == list(range(5000))


def test_who_has_no_patience_is_told_at_once(fresh_broker: Callable, connect: Callable) -> None:
    """With a patience of 0 a send without a connection is an error, and no wait."""
    broker = fresh_broker("embedded")
    link = connect(broker, batches=True, patience=0.0)
    link.send(queue_name(), b"x")
    broker.kill9()
    assert wait_until(lambda: not link.connected, SOON)
    began = time.monotonic()
    for _ in range(100):
        with pytest.raises(ConnectionLost):
            link.send(queue_name(), b"x")
    assert time.monotonic() - began < 20  # a fifth of a second each would be a wait


def test_many_subscriptions_begin_together(broker: Broker, connect: Callable) -> None:
    """Five hundred queues, each with its inbox, are subscribed to at once, and come back at once."""
    link, speaker = connect(broker), connect(broker)
    pairs = [(queue_name(), Inbox()) for _ in range(500)]
    ids = link.subscribe_all(pairs, ack="auto")
    assert len(set(ids)) == len(pairs)
    for round_ in (b"1", b"2"):
        for queue, _inbox in pairs:
            speaker.send(queue, round_)
        assert {take(inbox, 1)[0].body for _queue, inbox in pairs} == {round_}
        link.renew("dropped by the test")
        assert wait_until(lambda: link.connected, SOON)


def test_subscriptions_begin_all_or_none(broker: Broker, connect: Callable) -> None:
    """When the broker refuses one of several, none of them is left."""
    link, inbox, queue = connect(broker), Inbox(), queue_name()
    with pytest.raises((ConnectionLost, FrameError)):
        link.subscribe_all([(queue, inbox), ("", inbox)], ack="auto")
    assert link._subscriptions == {}


def test_ten_thousand_subscriptions_share_a_connection(embedded: Broker, connect: Callable) -> None:
    """One message to a topic reaches each of 10,000 subscriptions of one connection."""
    link, inbox, topic = connect(embedded), Inbox(), f"/topic/test.{uuid.uuid4().hex}"
    ids = link.subscribe_all([(topic, inbox)] * 10_000, ack="auto")
    link.send(topic, b"x" * 2000)
    assert {one.subscription for one in take(inbox, 10_000, 60)} == set(ids)


def test_receipts_confirm(broker: Broker, connect: Callable) -> None:
    """A SEND with a receipt is confirmed by the broker, and then it is in the queue."""
    link, inbox, queue = connect(broker), Inbox(), queue_name()
    receipts = [link.send(queue, b"x", persistent=True, receipt=True) for _ in range(50)]
    for receipt in receipts:
        receipt.wait(SOON)
        assert receipt.done
    link.subscribe(queue, inbox)
    take(inbox, 50)


def test_subscribing_is_over_when_the_broker_knows(broker: Broker, connect: Callable) -> None:
    """What another connection sends to a topic right after `subscribe` returned is not missed."""
    listener, speaker = connect(broker), connect(broker)
    for _ in range(10):
        inbox, topic = Inbox(), f"/topic/test.{uuid.uuid4().hex}"
        listener.subscribe(topic, inbox, ack="auto")
        speaker.send(topic, b"hello")
        assert take(inbox, 1)[0].body == b"hello"


def test_only_the_unacknowledged_come_again(broker: Broker, connect: Callable) -> None:
    """An acknowledged message is gone; one that was not comes again and says so."""
    link, inbox, queue = connect(broker), Inbox(), queue_name()
    link.subscribe(queue, inbox)
    for body in (b"1", b"2", b"3"):
        link.send(queue, body, persistent=True)
    first, second, third = take(inbox, 3)
    link.ack(first)
    link.ack(third)
    link.close()
    again = Inbox()
    other = connect(broker)
    other.subscribe(queue, again)
    (got,) = take(again, 1)
    assert (got.body, got.redelivered) == (second.body, True)
    with pytest.raises(Empty):
        again.get(timeout=0.3)


def test_an_unsubscribed_inbox_gets_nothing_more(broker: Broker, connect: Callable) -> None:
    """After `unsubscribe` the messages stay in the broker for others."""
    link, inbox, queue = connect(broker), Inbox(), queue_name()
    number = link.subscribe(queue, inbox)
    link.unsubscribe(number)
    link.send(queue, b"x", receipt=True).wait(SOON)
    other = Inbox()
    link.subscribe(queue, other)
    assert take(other, 1)[0].body == b"x"
    assert inbox.empty()


def test_nobody_reading_the_inbox_holds_nothing_up(broker: Broker, connect: Callable) -> None:
    """2,000 deliveries that nobody takes out don't keep a receipt from being confirmed."""
    link, inbox, queue = connect(broker), Inbox(), queue_name()
    link.subscribe(queue, inbox, prefetch=5000)
    for _ in range(2000):
        link.send(queue, b"x" * 200)
    link.send(queue_name(), b"y", receipt=True).wait(SOON)
    assert wait_until(lambda: inbox.qsize() == 2000, SOON)


def test_an_ed25519_certificate_serves_for_tls(broker: Broker, connect: Callable) -> None:
    """TLS with a private CA and an Ed25519 client certificate works on each broker."""
    link = connect(broker, urls=[broker.tls_url], tls=tls(broker.pki))
    inbox, queue = Inbox(), queue_name()
    link.subscribe(queue, inbox)
    for number in range(300):
        link.send(queue, b"%d" % number * 1000)
    for number in range(300):
        (got,) = take(inbox, 1)
        assert got.body == b"%d" % number * 1000
        link.ack(got)


def refusal(broker: Broker, url: str, **options: object) -> str:
    """The reason for which the broker does not take us."""
    began = time.monotonic()
    settings = {"user": broker.user, "passcode": broker.passcode, **options}
    with pytest.raises(ConnectError) as caught:
        Connector([url], **settings).start()
    assert time.monotonic() - began < 9.5, "the 5 s that are meant were waited twice"
    return caught.value.reason


def test_a_wrong_passcode_says_so(broker: Broker) -> None:
    """The broker's own words are in the error."""
    assert re.search("refused|invalid", refusal(broker, broker.url, passcode="wrong"))


def test_a_tls_port_takes_no_plain_text(broker: Broker) -> None:
    """Plain STOMP at a TLS port is refused with a hint."""
    assert "TLS" in refusal(broker, broker.tls_url.replace("stomp+ssl", "stomp"))


def test_tls_never_falls_back_to_plain_text(broker: Broker) -> None:
    """`stomp+ssl://` at a port that speaks plain STOMP gets no connection."""
    plain = broker.url.replace("stomp", "stomp+ssl")
    assert "TLS" in refusal(broker, plain, tls=tls(broker.pki))


def test_another_ca_is_not_trusted(broker: Broker) -> None:
    """A broker whose certificate our CA did not sign is refused by us."""
    assert "not trusted" in refusal(broker, broker.tls_url, tls=tls(broker.pki, ca="other-ca.pem"))


def test_an_unknown_certificate_is_refused(broker: Broker) -> None:
    """The broker refuses a certificate of another CA, and one that is missing."""
    for files in (tls(broker.pki, "mallory"), TLSFiles(broker.pki / "ca.pem")):
        assert re.search("certificate|unknown ca", refusal(broker, broker.tls_url, tls=files))


def test_a_refused_subscription_says_why(broker: Broker, connect: Callable) -> None:
    """A destination that the broker refuses raises with its reason; the connection lives on."""
    link, inbox, queue = connect(broker), Inbox(), queue_name()
    link.subscribe(queue, inbox)
    with pytest.raises(ConnectionLost) as caught:
        link.subscribe("", Inbox())
    assert "destination" in caught.value.reason.lower()
    assert wait_until(lambda: link.connected, SOON)
    link.send(queue, b"still here")
    assert take(inbox, 1)[0].body == b"still here"


@pytest.mark.parametrize("name", ["a:b", "a\nb", "", "a b", "destination", "receipt", "a\0"])
def test_a_header_that_breaks_the_frame_is_refused(
    name: str, embedded: Broker, connect: Callable
) -> None:
    """Names are checked before anything is sent: stomp.py would escape values only."""
    link = connect(embedded)
    with pytest.raises(FrameError):
        link.send("/queue/x", b"", {name: "value"})
    with pytest.raises(FrameError):
        link.send("/queue/x", b"", {"name": "a\0b"})


def test_subscriptions_survive_the_death_of_the_broker(
    mortal_broker: Broker, connect: Callable
) -> None:
    """After kill -9 and restart the connection, its subscriptions and what was durable are back."""
    broker, states = mortal_broker, SimpleQueue[ConnectionState]()
    link, inbox, queue = connect(broker, on_state=states.put), Inbox(), queue_name()
    link.subscribe(queue, inbox)
    link.send(queue, b"durable", persistent=True, receipt=True).wait(SOON)
    (old,) = take(inbox, 1)
    broker.kill9()
    assert wait_until(lambda: not link.connected, SOON)
    broker.restart()
    assert wait_until(lambda: not inbox.empty(), 100), broker.child.tail()
    (again,) = take(inbox, 1)
    assert (again.body, again.epoch > old.epoch) == (b"durable", True)
    link.ack(old)  # of a connection that is no more: it must not disturb the new one
    link.ack(again)
    link.send(queue, b"new", receipt=True).wait(SOON)
    assert take(inbox, 1)[0].body == b"new"
    seen = [states.get() for _ in range(states.qsize())]
    assert (seen[0].connected, seen[1].connected, seen[-1].connected) == (True, False, True)
    assert seen[1].reason
    assert seen[-1].epoch == again.epoch


def test_a_receipt_fails_with_the_connection(fresh_broker: Callable, connect: Callable) -> None:
    """Who waits for a confirmation is told at once that the connection broke."""
    broker = fresh_broker("embedded")
    link = connect(broker)
    broker.pause()
    receipt = link.send("/queue/x", b"x", receipt=True)
    broker.kill9()
    with pytest.raises(ConnectionLost):
        receipt.wait(SOON)
    assert receipt.done


def test_the_next_broker_takes_over(fresh_broker: Callable, connect: Callable) -> None:
    """With two brokers the second serves when the first dies, subscriptions included."""
    one, two = fresh_broker("embedded"), fresh_broker("embedded")
    link, inbox = connect(one, two), Inbox()
    link.subscribe("/topic/x", inbox, ack="auto")
    assert link.url == one.url
    one.kill9()
    assert wait_until(lambda: link.url == two.url, SOON)
    connect(two).send("/topic/x", b"over here")
    assert take(inbox, 1)[0].body == b"over here"


def test_a_broker_that_falls_silent_is_left(fresh_broker: Callable, connect: Callable) -> None:
    """A stopped broker, whose connections stand, is noticed by its missing heart-beats."""
    one, two = fresh_broker("embedded"), fresh_broker("embedded")
    states = SimpleQueue[ConnectionState]()
    link = connect(one, two, heartbeat=0.5, on_state=states.put)
    one.pause()
    assert wait_until(lambda: link.url == two.url, SOON)
    one.resume()
    assert "silent" in [states.get(timeout=60) for _ in range(2)][1].reason


def test_a_broker_that_fell_silent_is_tried_after_the_others(
    fresh_broker: Callable, connect: Callable
) -> None:
    """Nobody waits for a stopped broker first when another takes us."""
    one, two = fresh_broker("embedded"), fresh_broker("embedded")
    states = SimpleQueue[ConnectionState]()
    link = connect(one, two, heartbeat=0.5, patience=SOON, on_state=states.put)
    one.pause()
    assert wait_until(lambda: link.url == two.url, SOON)
    seen = [states.get(timeout=60) for _ in range(3)]
    assert [(state.url, state.connected) for state in seen] == [
        (one.url, True),
        (one.url, False),
        (two.url, True),
    ]
    assert seen[2].epoch == seen[0].epoch + 1, "the stopped broker was tried in between"
    one.resume()


def test_heart_beats_keep_an_idle_connection(broker: Broker, connect: Callable) -> None:
    """A connection with heart-beats of half a second stands, idle, while many go by."""
    states = SimpleQueue[ConnectionState]()
    link = connect(broker, heartbeat=0.5, on_state=states.put)
    assert not wait_until(lambda: states.qsize() > 1, 4.0)
    assert link.connected


def test_without_heart_beats_a_machine_that_is_gone_is_found_out(
    embedded: Broker, connect: Callable
) -> None:
    """Both ends of an idle connection have the system ask the other machine (timer 2 of /proc/net/tcp)."""
    port = f":{int(embedded.url.rpartition(':')[2]):04X}"

    def ends() -> list[str]:
        """The timer of each end of every connection to the broker, the listening one left out."""
        rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        return [row[5][:2] for row in rows if port in f"{row[1]} {row[2]}" and row[3] == "01"]

    connect(embedded, heartbeat=0.0)
    assert wait_until(lambda: len(ends()) >= 2 and set(ends()) == {"02"}, SOON), ends()


def test_starting_may_wait_for_the_broker(fresh_broker: Callable) -> None:
    """`start(None)` tries on until the broker is there; a send before that waits a bounded time."""
    broker = fresh_broker("embedded")
    broker.stop()
    link = Connector([broker.url], user=broker.user, passcode=broker.passcode)
    with pytest.raises(ConnectionLost, match="not started"):
        link.send("/queue/x", b"")
    starting = threading.Thread(target=link.start, args=(None,))
    starting.start()
    try:
        broker.restart()
        starting.join(SOON)
        assert link.connected
    finally:
        link.close()
        starting.join(SOON)


def test_closing_ends_a_connection_that_was_never_made(fresh_broker: Callable) -> None:
    """`close` during `start(None)` ends it at once, with an error that says so."""
    broker = fresh_broker("embedded")
    broker.stop()
    link, outcome = Connector([broker.url]), SimpleQueue()

    def begin() -> None:
        try:
            link.start(None)
        except ConnectError as error:
            outcome.put(error.reason)

    starting = threading.Thread(target=begin)
    starting.start()
    link.close()
    starting.join(SOON)
    assert outcome.get(timeout=60) == "closed"


def test_giving_up_leaves_a_connection_that_stands(broker: Broker, connect: Callable) -> None:
    """`give_up` ends a start that waits, as `close` does, and nothing that was reached before."""
    link, inbox, queue = connect(broker), Inbox(), queue_name()
    link.give_up()
    link.subscribe(queue, inbox, ack="auto")
    link.send(queue, b"x")
    assert take(inbox, 1)[0].body == b"x"
    early = Connector(["stomp://127.0.0.1:1"])
    early.give_up()
    with pytest.raises(ConnectError, match="closed"):
        early.start(None)


@pytest.mark.bench
def test_bench_latency(broker: Broker, connect: Callable) -> None:
    """Print the median of subscribe, send and receive (stomp.py with Nagle on: 46 ms)."""
    link, times = connect(broker), []
    for _ in range(100):
        inbox, queue = Inbox(), queue_name()
        began = time.perf_counter()
        link.subscribe(queue, inbox)
        link.send(queue, b"x" * 200)
        take(inbox, 1)
        times.append(time.perf_counter() - began)
    print(f"\n{broker.kind}: subscribe + send + receive {sorted(times)[50] * 1000:.2f} ms")


@pytest.mark.bench
def test_bench_throughput(broker: Broker, connect: Callable) -> None:
    """Print how many messages a second go through a queue, acknowledged one by one."""
    link, inbox, queue, count = connect(broker), Inbox(), queue_name(), 20_000
    link.subscribe(queue, inbox)
    began = time.perf_counter()
    sender = threading.Thread(target=lambda: [link.send(queue, b"x" * 230) for _ in range(count)])
    sender.start()
    for _ in range(count):
        link.ack(inbox.get(timeout=SOON))
    sender.join()
    print(f"\n{broker.kind}: {count / (time.perf_counter() - began):,.0f} messages a second")
