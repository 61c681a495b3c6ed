"""A session's durable requests on their way: sent with their headers, marked, told of, sent again."""

from __future__ import annotations

import time
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from mcshell.client.messaging.outbox import Outbox
from mcshell.client.messaging.tracker import RequestTracker
from mcshell.client.store.store import SessionStore
from mcshell.errors import ConnectionLost
from mcshell.message import State, Via
from mcshell.wire.documents.envelope import CERTIFICATE, SIGNATURE
from mcshell.wire.stomp.transport import REDELIVERED
from tests.unit.client.session_files import asked, message, said
from tests.unit.wire.links import HeldTransport

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mcshell.client.store.records import OutgoingMessage

BOTH = ["web1", "web2"]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SessionStore]:
    """A session with one queued request to two nodes, good for an hour."""
    made = SessionStore(tmp_path / "s.sqlite")
    request = one()
    made.add(request, BOTH, [message(request, name) for name in BOTH])
    yield made
    made.close()


def one(number: int = 0):
    """A queued request of now."""
    return asked(number, expires=time.time() // 1 + 3600)


def test_a_request_goes_out_as_it_was_signed(store: SessionStore) -> None:
    """To its queue, with the two headers that vouch for it, kept by the broker until it expires."""
    link = HeldTransport()
    outbox = Outbox(link, store, {})
    assert outbox._send_window()
    first = link.sent[0]
    assert (first.destination, first.body) == ("/queue/web1", message(one(), "web1").body)
    assert first.headers == {SIGNATURE: "s", CERTIFICATE: "c"}
    expires = store.requests()[0][0].expires
    assert first.options == {"persistent": True, "expires": expires, "receipt": True}
    assert store.open_outgoing(one().id) == 0
    assert not outbox._send_window()


def test_when_it_went_out_is_known_before_it_is_confirmed(store: SessionStore) -> None:
    """In the file and in the live ledger of that request, for each of its targets."""
    other = one(1)
    store.add(other, ["web3"], [message(other, "web3")])
    tracker = RequestTracker(store.requests()[0][0], BOTH)
    began = time.time()
    link = HeldTransport(answer="the broker hung up")
    outbox = Outbox(link, store, {one().id: tracker})
    with pytest.raises(Exception, match="3 not confirmed"):
        outbox._send_window()
    assert all(began <= entry.sent <= time.time() for entry in tracker.entries())
    for request, names in ((one(), BOTH), (other, ["web3"])):
        entries = store.entries(request.id)
        assert [entry.sender for entry in entries if entry.sent is not None] == names
    assert store.open_outgoing(one().id) == 2


def test_what_was_not_confirmed_is_sent_again_and_only_that(store: SessionStore) -> None:
    """The same bytes, by this or a later process, until the broker has them."""
    link = HeldTransport(answer=None)
    outbox = Outbox(link, store, {})
    sent = outbox.unconfirmed(9)
    outbox.confirmed(sent[:1])
    assert [known.sender for known in outbox.unconfirmed(9)] == ["web2"]
    again = HeldTransport()
    assert Outbox(again, store, {})._send_window()
    assert again.bodies == [message(one(), "web2").body]


def test_whoever_waits_is_told_once_all_of_it_is_confirmed(store: SessionStore) -> None:
    """Not before, and not for ever; a request without messages is confirmed already."""
    outbox = Outbox(HeldTransport(), store, {})
    began = time.monotonic()
    assert not outbox.wait(one().id, 0.05)
    assert time.monotonic() - began >= 0.05
    outbox.start()
    assert outbox.wait(one().id, 30)
    assert outbox.wait("f" * 32, 0.0)
    outbox.stop()


def test_another_broker_is_told_what_only_the_first_has(store: SessionStore) -> None:
    """What no node has taken goes out again there, also by a later process; the first is told once."""
    link = HeldTransport()
    outbox = Outbox(link, store, {})
    assert outbox._send_window()
    assert not outbox._send_window()
    store.enter([said(one(), "web1", State.RECEIVED)], durable=True)
    elsewhere = HeldTransport(url="stomp://two:1")
    later = Outbox(elsewhere, store, {})
    assert later._send_window()
    assert elsewhere.bodies == [message(one(), "web2").body]
    assert not later._send_window()
    assert store.meta("broker") == "stomp://two:1"


def test_what_was_confirmed_just_before_a_break_is_sent_again(store: SessionStore) -> None:
    """What no node has taken, of the five seconds before: the broker may have lost it, too."""
    link = HeldTransport()
    outbox = Outbox(link, store, {})
    assert outbox._send_window()
    store.enter([said(one(), "web1", State.RECEIVED)], durable=True)
    link.broken_at = time.time() + 60
    assert not outbox._send_window()
    link.broken_at = time.time() + 1
    assert outbox._send_window()
    assert link.bodies[2:] == [message(one(), "web2").body]
    assert not outbox._send_window()


def test_no_connection_is_no_other_broker(store: SessionStore) -> None:
    """While there is none, nothing is taken for lost, and the last broker stays the last."""
    link = HeldTransport()
    outbox = Outbox(link, store, {})
    assert outbox._send_window()
    link.url = ""
    assert not outbox._send_window()
    assert store.meta("broker") == "stomp://one:1"


@pytest.fixture
def pooled(tmp_path: Path) -> Iterator[tuple[SessionStore, OutgoingMessage]]:
    """A session with one request to a pool, and its message."""
    with closing(SessionStore(tmp_path / "pool.sqlite")) as made:
        request = asked(via=Via.POOL, pool="p", expires=time.time() // 1 + 3600)
        what = message(request, "pool:p")
        made.add(request, ["pool:p"], [what])
        yield made, what


def test_what_a_pool_may_have_had_says_so_when_it_goes_out_again(
    pooled: tuple[SessionStore, OutgoingMessage],
) -> None:
    """The second time, by this process or a later one, and only if the first may have left it."""
    store, _what = pooled
    link = HeldTransport(down=True)
    outbox = Outbox(link, store, {})
    for _ in range(2):  # nothing of it was sent
        with pytest.raises(ConnectionLost, match="is down"):
            outbox._send_window()
    link.down, link.answer = False, "the broker hung up"
    for _ in range(2):
        with pytest.raises(ConnectionLost, match="1 not confirmed"):
            outbox._send_window()
    assert [one.headers.get(REDELIVERED) for one in link.sent] == [None, "true"]
    later = HeldTransport()
    assert Outbox(later, store, {})._send_window(), "it has seen what is under way"
    assert later.sent == []
    link.answer = ""
    assert outbox._send_window()
    assert link.sent[-1].headers[REDELIVERED] == "true"
    assert (outbox._tried, outbox._copies) == (set(), set())


def test_what_another_process_has_begun_is_left_to_it_for_a_while(
    pooled: tuple[SessionStore, OutgoingMessage],
) -> None:
    """Ten seconds; then it has died with it, and the message says that it may be the second."""
    store, what = pooled
    store.begin([what], time.time() - 8.0, since=0.0)
    link = HeldTransport()
    outbox = Outbox(link, store, {})
    assert outbox._send_window()
    assert link.sent == []
    (until,) = outbox._aside.values()
    assert 9.0 < until - time.monotonic() <= 10.0
    store.begin([what], time.time() - 12.0, since=time.time())
    outbox._aside = {}
    assert outbox._send_window()
    assert [one.headers.get(REDELIVERED) for one in link.sent] == ["true"]
