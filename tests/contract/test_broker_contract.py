"""What mcshell asks of a broker, shown on all three: embedded, ActiveMQ, RabbitMQ.

The client is a bare socket with the project's codec. What the brokers want said differently comes
from the dialect table; a test that would need an `if` here has found a gap in that table.
"""

from __future__ import annotations

import contextlib
import threading
import time
import uuid

import pytest

from tests.peers.bare import Bare, Closed

TOLD = 0.2  # seconds in which a message that must not come would have come


@pytest.fixture
def name() -> str:
    """A destination's name of this test's own."""
    return f"mcs.contract.{uuid.uuid4().hex[:12]}"


@pytest.fixture
def bare(broker):
    """A factory of connections to the broker that are all cut at the end."""
    opened: list[Bare] = []

    def factory(**options) -> Bare:
        opened.append(Bare(broker, **options))
        return opened[-1].connect()

    yield factory
    for one in opened:
        one.sock.close()


def bodies(frames) -> list[bytes]:
    """What the messages say."""
    return [frame.body for frame in frames]


def numbered(count: int) -> list[bytes]:
    """As many different bodies."""
    return [b"%06d" % number for number in range(count)]


# ── the protocol ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("version", ["1.0", "1.1", "1.2"])
def test_each_version_of_stomp_is_spoken(bare, name, version):
    """A client of any version connects, sends, receives and acknowledges."""
    one = bare(version=version)
    assert one.connected.headers.get("version", "1.0") == version
    one.subscribe(f"/queue/{name}", ack="client")
    one.send(f"/queue/{name}", b"hello")
    [message] = one.messages(1)
    assert message.body == b"hello"
    one.ack(message)
    one.leave()
    later = bare()
    later.subscribe(f"/queue/{name}")
    assert later.silent(TOLD)


@pytest.mark.parametrize("persistent", [True, False])
def test_a_message_says_whether_it_is_persistent(bare, name, persistent):
    """By that a client tells a stray reply of a queued request from the late answer to a question."""
    one = bare()
    one.subscribe(f"/queue/{name}")
    one.send(f"/queue/{name}", b"hello", **({"persistent": "true"} if persistent else {}))
    [message] = one.messages(1)
    assert (message.headers.get("persistent") == "true") is persistent


def test_the_newest_common_version_is_taken(bare):
    """Of several versions offered the broker takes the newest."""
    assert bare(version="1.0,1.1,1.2").connected.headers["version"] == "1.2"


def test_an_unknown_version_is_an_error(broker):
    """Without a common version there is ERROR, not a connection."""
    with Bare(broker, version="9.9") as one, pytest.raises(Closed) as caught:
        one.connect()
    assert caught.value.error is not None


def test_a_wrong_login_is_refused_with_words(broker):
    """A wrong passcode gets ERROR with a reason."""
    with Bare(broker, passcode="wrong") as one:
        with pytest.raises(Closed) as caught:
            one.connect()
        assert caught.value.error.headers["message"]


def test_nothing_is_done_before_connect(broker, bare, name):
    """A SEND without CONNECT never reaches a consumer."""
    reader = bare()
    reader.subscribe(f"/queue/{name}")
    with Bare(broker) as one:
        one.put("SEND", {"destination": f"/queue/{name}"}, b"sneaked in")
        with pytest.raises((Closed, TimeoutError)):
            one.get(seconds=TOLD)
    assert reader.silent(TOLD)


@pytest.mark.parametrize("version", ["1.1", "1.2"])
def test_headers_arrive_as_they_were_sent(bare, name, version):
    """Colons, line breaks, backslashes and any language survive in names and values."""
    sent = {"x-colon": "a:b::c", "x-break": "one\ntwo", "x-slash": "c:\\n\\", "x:name": "v"}
    sent |= {"x-text": "Zoë 漢字 \U0001f980", "x-empty": "", "x-space": " both sides "}
    one = bare(version=version)
    one.subscribe(f"/queue/{name}", ack="auto")
    one.send(f"/queue/{name}", b"x", sent)
    [message] = one.messages(1)
    assert {key: message.headers.get(key) for key in sent} == sent


@pytest.mark.parametrize("body", [b"", b"\0", bytes(range(256)) * 8, b"\n\n\0\n", "Zoë".encode()])
def test_bodies_are_bytes(bare, name, body):
    """Any bytes arrive unchanged, NULs and nothing at all included."""
    one = bare()
    one.subscribe(f"/queue/{name}", ack="auto")
    one.send(f"/queue/{name}", body)
    assert bodies(one.messages(1)) == [body]


@pytest.mark.parametrize("size", [1 << 20, (5 << 20) + 1])
def test_large_bodies_arrive(bare, name, size):
    """A body of several megabytes arrives whole."""
    body = b"\0mcs\n" * (size // 5)
    one = bare()
    one.subscribe(f"/queue/{name}", ack="auto")
    one.send(f"/queue/{name}", body)
    assert bodies(one.messages(1)) == [body]


def test_frames_may_come_byte_by_byte(broker, name):
    """The broker reads a conversation whose every byte is a packet of its own."""
    with Bare(broker) as one:
        one.sock = _Dripping(one.sock)
        one.connect()
        one.subscribe(f"/queue/{name}", ack="auto")
        one.send(f"/queue/{name}", b"drop\0by\0drop", {"x-a": "b:c"})
        [message] = one.messages(1)
        assert (message.body, message.headers["x-a"]) == (b"drop\0by\0drop", "b:c")


class _Dripping:
    """A socket that sends one byte at a time."""

    def __init__(self, sock) -> None:
        self.sock = sock

    def sendall(self, data: bytes) -> None:
        for place in range(len(data)):
            self.sock.sendall(data[place : place + 1])

    def __getattr__(self, attribute: str):
        return getattr(self.sock, attribute)


def test_receipts_confirm_what_was_done(bare, name):
    """SUBSCRIBE, SEND, UNSUBSCRIBE and DISCONNECT are confirmed when a receipt is asked for."""
    one = bare()
    subscription = one.subscribe(f"/queue/{name}", ack="auto")
    one.send(f"/queue/{name}", b"x")
    assert bodies(one.messages(1)) == [b"x"]
    one.confirm("UNSUBSCRIBE", {"id": subscription})
    one.leave()


def test_heart_beats_go_both_ways(bare):
    """Line breaks alone keep a connection, and the broker sends its own."""
    one = bare(heartbeat="1000,1000")
    for _ in range(12):
        one.sock.sendall(b"\n")
        assert one.silent(0.4)
    assert one.heartbeats


def test_a_silent_client_is_disconnected(bare):
    """Who promised heart-beats and sends none loses the connection within seconds."""
    one = bare(heartbeat="1000,0")
    started = time.monotonic()
    with pytest.raises(Closed):
        one.get(seconds=30)
    assert 1.0 < time.monotonic() - started < 20


# ── queues ──────────────────────────────────────────────────────────────────────────────────────


def test_a_queue_keeps_messages_in_order_for_who_comes_later(bare, name):
    """What was sent before anyone subscribed arrives, in order."""
    sender = bare()
    for body in numbered(20):
        sender.send(f"/queue/{name}", body)
    reader = bare()
    reader.subscribe(f"/queue/{name}", ack="auto")
    assert bodies(reader.messages(20)) == numbered(20)


def test_the_mode_auto_needs_no_ack(bare, name):
    """A message delivered in the mode auto is gone."""
    one = bare()
    one.subscribe(f"/queue/{name}", ack="auto")
    one.send(f"/queue/{name}", b"x")
    one.messages(1)
    one.leave()
    later = bare()
    later.subscribe(f"/queue/{name}")
    assert later.silent(TOLD)


def test_the_mode_client_acknowledges_all_before(bare, name):
    """One ACK in the mode client covers every earlier message of the subscription."""
    one = bare()
    one.subscribe(f"/queue/{name}", ack="client")
    for body in numbered(4):
        one.send(f"/queue/{name}", body)
    one.ack(one.messages(4)[2])
    one.leave()
    later = bare()
    later.subscribe(f"/queue/{name}", ack="auto")
    assert bodies(later.messages(1)) == [b"000003"]
    assert later.silent(TOLD)


def test_the_mode_client_individual_acknowledges_one(bare, name):
    """An ACK in the mode client-individual covers its own message alone."""
    one = bare()
    one.subscribe(f"/queue/{name}")
    for body in numbered(3):
        one.send(f"/queue/{name}", body)
    one.ack(one.messages(3)[1])
    one.leave()
    later = bare()
    later.subscribe(f"/queue/{name}", ack="auto")
    assert bodies(later.messages(2)) == [b"000000", b"000002"]
    assert later.silent(TOLD)


def test_each_subscription_has_its_own_mode(bare, name):
    """Two subscriptions of one connection do not mix their messages or their modes."""
    one = bare()
    automatic = one.subscribe(f"/queue/{name}.auto", ack="auto")
    careful = one.subscribe(f"/queue/{name}.careful")
    for kind in ("auto", "careful"):
        one.send(f"/queue/{name}.{kind}", kind.encode())
    got = {frame.headers["subscription"]: frame.body for frame in one.messages(2)}
    assert got == {automatic: b"auto", careful: b"careful"}
    one.leave()
    later = bare()
    later.subscribe(f"/queue/{name}.auto", ack="auto")
    later.subscribe(f"/queue/{name}.careful", ack="auto")
    assert bodies(later.messages(1)) == [b"careful"]
    assert later.silent(TOLD)


def test_prefetch_bounds_what_a_slow_consumer_holds(bare, name):
    """A consumer with prefetch 1 that never acknowledges holds one message, a fast one the rest."""
    slow, fast, sender = bare(), bare(), bare()
    slow.subscribe(f"/queue/{name}", prefetch=1)
    fast.subscribe(f"/queue/{name}", prefetch=1)
    for body in numbered(30):
        sender.send(f"/queue/{name}", body)
    held = slow.messages(1)
    done = []
    for _ in range(29):
        done += fast.messages(1)
        fast.ack(done[-1])
    assert sorted(bodies(held + done)) == numbered(30)
    assert slow.silent(TOLD)


def test_prefetch_is_a_window(bare, name):
    """No more than the prefetch is ever unacknowledged; each ACK brings one more."""
    one, sender = bare(), bare()
    one.subscribe(f"/queue/{name}", prefetch=3)
    for body in numbered(5):
        sender.send(f"/queue/{name}", body)
    held = one.messages(3)
    assert one.silent(TOLD)
    one.ack(held[0])
    assert bodies(one.messages(1)) == [b"000003"]
    assert one.silent(TOLD)


def test_consumers_compete(bare, name):
    """Consumers of one queue share its messages: each message goes to one, and each gets some."""
    readers, sender = [bare(), bare()], bare()
    for reader in readers:
        reader.subscribe(f"/queue/{name}", ack="auto")
    for body in numbered(40):
        sender.send(f"/queue/{name}", body)
    got: list[list[bytes]] = [[], []]
    deadline = time.monotonic() + 60
    while len(got[0]) + len(got[1]) < 40 and time.monotonic() < deadline:
        for reader, share in zip(readers, got, strict=True):
            with contextlib.suppress(TimeoutError):
                share.append(reader.get("MESSAGE", seconds=0.1).body)
    assert sorted(got[0] + got[1]) == numbered(40)
    assert all(len(share) >= 10 for share in got)


def test_what_a_crashed_consumer_held_comes_to_the_next(bare, name):
    """Unacknowledged messages of a consumer that is cut off come again, marked, in order."""
    one = bare()
    one.subscribe(f"/queue/{name}")
    for body in numbered(3):
        one.send(f"/queue/{name}", body, persistent=True)
    assert all(
        "redelivered" not in f.headers or f.headers["redelivered"] == "false"
        for f in one.messages(3)
    )
    one.sock.close()
    later = bare()
    later.subscribe(f"/queue/{name}")
    again = later.messages(3)
    assert bodies(again) == numbered(3)
    assert [frame.headers.get("redelivered") for frame in again] == ["true"] * 3


def test_what_was_handed_out_before_the_broker_died_is_marked(mortal_broker, name):
    """A broker that is killed knows afterwards what a consumer may have seen."""
    broker = mortal_broker
    with Bare(broker).connect() as one:
        one.subscribe(f"/queue/{name}", prefetch=1)
        one.send(f"/queue/{name}", b"x", persistent=True)
        assert one.get("MESSAGE").headers.get("redelivered") != "true"
        broker.kill9()
    broker.restart()
    with Bare(broker).connect() as one:
        one.subscribe(f"/queue/{name}", prefetch=1)
        frame = one.get("MESSAGE")
        assert (frame.body, frame.headers.get("redelivered")) == (b"x", "true")


def test_what_a_crashed_consumer_held_comes_to_one_that_waits(bare, name):
    """A consumer that is already waiting gets what the crashed one held."""
    one, waiting = bare(), bare()
    one.subscribe(f"/queue/{name}")
    one.send(f"/queue/{name}", b"x")
    one.messages(1)
    waiting.subscribe(f"/queue/{name}")
    assert waiting.silent(TOLD)
    one.sock.close()
    [again] = waiting.messages(1)
    assert (again.body, again.headers.get("redelivered")) == (b"x", "true")


def test_crashes_do_not_use_a_message_up(bare, name):
    """A message comes again after every crash, as often as it takes."""
    bare().send(f"/queue/{name}", b"x", persistent=True)
    for _ in range(8):
        one = bare()
        one.subscribe(f"/queue/{name}")
        assert bodies(one.messages(1)) == [b"x"]
        one.sock.close()


def test_expired_messages_are_not_delivered(bare, name):
    """A message past its time does not arrive, whether it is persistent or not."""
    sender = bare()
    soon = time.time() + 0.5
    for persistent in (False, True):
        sender.send(f"/queue/{name}", b"old", persistent=persistent, expires=soon)
    sender.send(f"/queue/{name}", b"good", persistent=True, expires=time.time() + 600)
    sender.send(f"/queue/{name}", b"long", persistent=True, expires=time.time() + 180 * 86400)
    time.sleep(max(0.0, soon + 0.3 - time.time()))  # the behaviour is that time passes
    reader = bare()
    reader.subscribe(f"/queue/{name}", ack="auto")
    assert bodies(reader.messages(2)) == [b"good", b"long"]
    assert reader.silent(TOLD)


def test_unsubscribe_ends_delivery(bare, name):
    """After UNSUBSCRIBE nothing comes, and what is sent then goes to another consumer."""
    one, other = bare(), bare()
    subscription = one.subscribe(f"/queue/{name}", ack="auto")
    one.confirm("UNSUBSCRIBE", {"id": subscription})
    one.send(f"/queue/{name}", b"x")
    assert one.silent(TOLD)
    other.subscribe(f"/queue/{name}", ack="auto")
    assert bodies(other.messages(1)) == [b"x"]


def test_transactions_are_all_or_nothing(bare, name):
    """What a transaction sends is there after COMMIT, and never after ABORT or a crash."""
    one, reader = bare(), bare()
    reader.subscribe(f"/queue/{name}", ack="auto")
    for transaction, end in (("t1", "ABORT"), ("t2", "COMMIT")):
        one.put("BEGIN", {"transaction": transaction})
        # unconfirmed: RabbitMQ gives the receipt only at the end of the transaction
        headers = {"transaction": transaction}
        one.send(f"/queue/{name}", transaction.encode(), headers, confirm=False)
        assert reader.silent(TOLD)
        one.confirm(end, {"transaction": transaction})
    one.put("BEGIN", {"transaction": "t3"})
    one.send(f"/queue/{name}", b"t3", {"transaction": "t3"}, confirm=False)
    one.sock.close()
    assert bodies(reader.messages(1)) == [b"t2"]
    assert reader.silent(TOLD)


def test_a_burst_arrives_complete_and_in_order(bare, name):
    """50,000 messages of 200 bytes sent without a pause arrive all, each in its place."""
    count, queue = 50_000, f"/queue/unexpired.{name}"
    sender, reader = bare(), bare()
    reader.subscribe(queue, ack="auto")

    def burst() -> None:
        for number in range(count):
            sender.send(queue, b"%0200d" % number, confirm=False)

    thread = threading.Thread(target=burst)
    thread.start()
    got = [int(body) for body in bodies(reader.messages(count))]
    thread.join()
    elsewhere = [(place, number) for place, number in enumerate(got) if place != number]
    assert elsewhere[:20] == [], (len(elsewhere), elsewhere[-3:], len(set(got)))


# ── topics ──────────────────────────────────────────────────────────────────────────────────────


def test_a_topic_reaches_every_subscription(bare, name):
    """Each subscription gets each message in order, two on one connection too."""
    readers = [bare() for _ in range(5)]
    for reader in readers:
        for _ in range(2):
            reader.subscribe(f"/topic/{name}", ack="auto")
    sender = bare()
    for body in numbered(10):
        sender.send(f"/topic/{name}", body)
    for reader in readers:
        got: dict[str, list[bytes]] = {}
        for frame in reader.messages(20):
            got.setdefault(frame.headers["subscription"], []).append(frame.body)
        assert list(got.values()) == [numbered(10)] * 2


def test_a_topic_keeps_nothing(bare, name):
    """What was sent before a subscription does not come to it."""
    one = bare()
    one.send(f"/topic/{name}", b"early")
    one.subscribe(f"/topic/{name}", ack="auto")
    one.send(f"/topic/{name}", b"now")
    assert bodies(one.messages(1)) == [b"now"]


def test_wildcards_match_words_of_a_topic(bare, name):
    """One wildcard stands for a word, the other for all the rest."""
    one, rest, sender = bare(), bare(), bare()
    one.subscribe(f"/topic/{name}.{one.dialect.any_word}.x", ack="auto")
    rest.subscribe(f"/topic/{name}.{one.dialect.any_rest}", ack="auto")
    for topic in ("a.x", "a.y", "a.b.x", "b.x"):
        sender.send(f"/topic/{name}.{topic}", topic.encode())
    assert bodies(one.messages(2)) == [b"a.x", b"b.x"]
    assert bodies(rest.messages(4)) == [b"a.x", b"a.y", b"a.b.x", b"b.x"]
    assert one.silent(TOLD)


def test_a_slow_reader_of_a_topic_stops_nobody(bare, name):
    """Who never reads does not keep 40 MB from another subscriber, nor from the sender."""
    slow, reader, sender = bare(), bare(), bare()
    slow.subscribe(f"/topic/{name}", ack="auto")
    reader.subscribe(f"/topic/{name}", ack="auto")
    body = b"x" * 100_000
    thread = threading.Thread(
        target=lambda: [sender.send(f"/topic/{name}", body, confirm=False) for _ in range(400)]
    )
    thread.start()
    assert all(frame.body == body for frame in reader.messages(400))
    thread.join(60)
    assert not thread.is_alive()


def test_a_slow_reader_of_a_queue_stops_nobody(bare, name):
    """Who takes messages of a queue and never reads them does not hold up another queue."""
    slow, reader, sender = bare(), bare(), bare()
    slow.subscribe(f"/queue/{name}.slow", ack="auto")
    reader.subscribe(f"/queue/{name}", ack="auto")
    for number in range(50):
        sender.send(f"/queue/{name}.slow", b"x" * 200_000, confirm=False)
        sender.send(f"/queue/{name}", b"%d" % number, confirm=False)
    assert bodies(reader.messages(50)) == [b"%d" % number for number in range(50)]


# ── crashes of the broker ───────────────────────────────────────────────────────────────────────


def test_receipted_messages_survive_the_broker(mortal_broker, name):
    """After kill -9 of the broker 100 receipted messages are there, those in flight too."""
    broker = mortal_broker
    with Bare(broker).connect() as sender, Bare(broker).connect() as holder:
        holder.subscribe(f"/queue/{name}", prefetch=3)
        for body in numbered(100):
            sender.send(f"/queue/{name}", body, persistent=True)
        assert bodies(holder.messages(3)) == numbered(3)
        broker.kill9()
    broker.restart()
    got: list[bytes] = []
    deadline = time.monotonic() + 120
    while len(got) < 100 and time.monotonic() < deadline:
        # a subscription that gets nothing is tried again: what it held goes back to the queue
        with Bare(broker).connect() as reader, contextlib.suppress(TimeoutError):
            reader.subscribe(f"/queue/{name}", prefetch=200)
            while len(got) < 100:
                message = reader.get("MESSAGE", seconds=10)
                got.append(message.body)
                reader.ack(message)
            reader.leave()
    assert sorted(got) == numbered(100), broker.log.read_text()[-3000:]
