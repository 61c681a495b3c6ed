"""Last replies on their way: as they were signed, until the broker has them, and at the next one again."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from mcshell.errors import ConnectionLost, StorageError
from mcshell.message import Request, State, Via
from mcshell.node.queue.outbox import Outbox, ResendBuffer
from mcshell.node.replies import LARGE, ReplyWriter
from mcshell.node.store.spool import Spool
from mcshell.node.verdicts import Outcome
from mcshell.pki import Authority
from mcshell.wire.documents.envelope import CERTIFICATE, SIGNATURE, read_reply
from mcshell.wire.documents.signatures import Signer
from tests.unit.node.spool_rows import row, word
from tests.unit.wire.links import HeldTransport

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mcshell.node.store.records import OutboxMessage

TWO = "stomp://two:1"


@dataclass
class Bench:
    """A spool, a connection and the outbox between them; `steps` is what it says it has done."""

    spool: Spool
    writer: ReplyWriter
    link: HeldTransport
    steps: list[tuple[str, str]]

    def outbox(self, *, names: tuple[str, str] = ("n1", "n1")) -> Outbox:
        """The outbox of a connection, as a daemon makes it."""
        context = SimpleNamespace(
            nodes={"n1": SimpleNamespace(writer=self.writer)},
            spool=self.spool,
            transport=self.link,
            steps=lambda step, request: self.steps.append((step, request)),
        )
        return Outbox(context, names=names)  # type: ignore[arg-type]

    def kept(self, number: int = 1, text: str = "OK") -> OutboxMessage:
        """Put a signed reply into the spool."""
        request = Request(
            id=f"{number:032x}",
            agent="mark",
            action="once",
            caller="cert=alice",
            collective="mcs",
            via=Via.QUEUE,
            session="s",
            created=1.0,
            expires=2.0,
        )
        message = self.writer.kept(request, Outcome(State.OK, 0, text))
        self.spool.add_messages([message])
        return message


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """An empty spool of n1, and a broker that confirms."""
    authority = Authority.init(tmp_path / "ca")
    writer = ReplyWriter(Signer.from_pem(*authority.issue_pem("n1", "node")), 1 << 20)
    spool = Spool(tmp_path / "work.sqlite")
    yield Bench(spool, writer, HeldTransport(), [])
    spool.close()


def full(spool: Spool) -> None:
    """Have its disk take nothing more."""

    def refuse(_numbers: object) -> None:
        raise StorageError("the disk is full")

    spool.confirmed = refuse  # type: ignore[method-assign]


def test_a_reply_goes_out_as_it_was_signed_and_is_dropped(bench: Bench) -> None:
    """To the session's queue, persistent, with what vouches for it; confirmed, it is gone."""
    message = bench.kept()
    assert bench.outbox()._send_window()
    (sent,) = bench.link.sent
    assert (sent.destination, sent.body) == (message.destination, message.body)
    assert sent.headers == {SIGNATURE: message.signature, CERTIFICATE: message.certificate}
    assert sent.options == {"persistent": True, "receipt": True}
    assert bench.spool.unconfirmed() == []
    assert bench.steps == [("sent", message.request)]


def test_what_is_not_confirmed_stays_and_goes_out_again(bench: Bench) -> None:
    """The same bytes, as often as it takes; of a batch only what the broker did not take."""
    first, second = bench.kept(1), bench.kept(2)
    outbox = bench.outbox()
    bench.link.answer = None
    messages = outbox.unconfirmed(9)
    assert [one.body for one in messages] == [first.body, second.body]
    outbox.confirmed(messages[:1])
    assert [one.body for one in outbox.unconfirmed(9)] == [second.body]
    bench.link.answer = "the broker hung up"
    with pytest.raises(ConnectionLost):
        outbox._send_window()
    assert [one.body for one in bench.spool.unconfirmed()] == [second.body]
    assert outbox.unconfirmed(0) == []


def test_replies_of_other_connections_are_theirs(bench: Bench) -> None:
    """Each outbox sends for the identities that speak over its connection."""
    bench.kept()
    bench.spool.add_messages([word(("n2", "f" * 32))])
    assert bench.outbox()._send_window()
    assert [one.identity for one in bench.spool.unconfirmed()] == ["n2"]


def test_what_the_disk_cannot_drop_is_not_sent_twice(bench: Bench) -> None:
    """On a full disk the reply stays in the file; it is dropped with the next that can be."""
    bench.kept(1)
    works = bench.spool.confirmed
    full(bench.spool)
    outbox = bench.outbox()
    assert outbox._send_window()
    assert len(bench.spool.unconfirmed()) == 1
    second = bench.kept(2)
    assert [one.body for one in outbox.unconfirmed(1)] == [second.body]
    assert outbox._send_window()
    assert len(bench.link.sent) == 2
    assert not outbox._send_window()
    bench.spool.confirmed = works  # type: ignore[method-assign]
    assert not outbox._send_window()
    assert bench.spool.unconfirmed() == []
    assert outbox._undropped == set()


def test_a_reply_of_version_1_is_signed_again(bench: Bench) -> None:
    """What an earlier mcshell has left goes out under today's signature; what is no reply as it is."""
    message = bench.kept()
    bench.spool.confirmed([1])
    old = message.body.replace(b'{"v":2,', b'{"v":1,', 1)
    bench.spool.add_messages([replace(message, body=old, signature="old"), word(("n1", "f" * 32))])
    first, second = bench.outbox().unconfirmed(9)
    assert first.body.startswith(b'{"v":2,')
    assert read_reply(first.body).requestid == message.request
    assert first.signature == message.signature
    assert second.body == word(("n1", "f" * 32)).body


def test_a_reply_that_breaks_the_connection_is_said_to_be_too_large(bench: Bench) -> None:
    """A large one is replaced by a failed one in its place; a small one is not what breaks it."""
    large, small = bench.kept(1, "x" * LARGE), bench.kept(2)
    outbox = bench.outbox()
    first, second = outbox.unconfirmed(9)
    assert not outbox.replaced(second)
    assert outbox.replaced(first)
    stood, other = bench.spool.unconfirmed()
    assert (other.body, stood.number) == (small.body, first.number)
    reply = read_reply(stood.body)
    assert (reply.requestid, reply.state, reply.statuscode) == (large.request, State.FAILED, 5)
    assert "too large for the broker" in reply.statusmsg
    exact = replace(first, body=b"{" + b"x" * (LARGE - 1))
    assert not outbox.replaced(exact)


def test_a_broker_that_died_is_not_the_last_to_know(bench: Bench) -> None:
    """The replies of the last minutes go to the next broker, too, and what it has confirmed stays there."""
    first = bench.kept(1)
    outbox = bench.outbox()
    assert outbox._send_window()
    assert not outbox._send_window()
    bench.link.url = TWO
    second = bench.kept(2)
    while outbox._send_window():
        pass
    assert sorted(bench.link.bodies[1:]) == sorted([first.body, second.body])
    bench.link.url = ""
    assert not outbox._send_window()
    bench.link.url = TWO
    assert not outbox._send_window()


def test_what_was_confirmed_just_before_a_break_is_sent_again(bench: Bench) -> None:
    """The replies of the last five seconds, once for each break: the broker may not have them."""
    reply = bench.kept(1)
    outbox = bench.outbox()
    assert outbox._send_window()
    assert not outbox._send_window()
    bench.link.broken_at = time.time() + 60
    assert not outbox._send_window()
    bench.link.broken_at = time.time() + 1
    assert outbox._send_window()
    assert bench.link.bodies == [reply.body, reply.body]
    assert not outbox._send_window()


def test_what_is_remembered_has_a_bound_in_time_and_bytes() -> None:
    """Ten minutes, and a megabyte of bodies: beyond either the oldest are forgotten."""
    now = 5000.0
    keys = [row(number=number).key for number in range(4)]

    def at_two(buffer: ResendBuffer, when: float) -> list[str]:
        return [one.request for one in buffer.elsewhere("two", when)]

    buffer = ResendBuffer()
    buffer.keep("one", [word(keys[0])], now)
    buffer.keep("one", [word(keys[1])], now + 1)
    buffer.keep("two", [word(keys[2])], now + 2)
    assert at_two(buffer, now + 600.0) == [keys[0][1], keys[1][1]]
    assert at_two(buffer, now + 600.5) == [keys[1][1]]
    assert [one.request for one in buffer.elsewhere("one", now + 2)] == [keys[2][1]]
    assert [one.request for one in buffer.since(now + 1)] == [keys[1][1], keys[2][1]]
    buffer.forget(buffer.elsewhere("two", now))
    assert at_two(buffer, now) == []
    half = 1 << 19
    buffer = ResendBuffer()
    buffer.keep("one", [word(key, size=half) for key in keys[:2]], now)
    assert at_two(buffer, now) == [keys[0][1], keys[1][1]]
    buffer.keep("one", [word(keys[2], size=1)], now)
    assert at_two(buffer, now) == [keys[1][1], keys[2][1]]
    buffer.forget(buffer.since(now))
    buffer.keep("one", [word(key, size=half) for key in keys[:2]], now)
    assert at_two(buffer, now) == [keys[0][1], keys[1][1]]
    buffer.keep("one", [word(keys[2], size=1)], now + 601)
    assert at_two(buffer, now) == [keys[2][1]]
