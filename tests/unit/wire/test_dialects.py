"""The dialect table: three brokers, one way to ask."""

from __future__ import annotations

import pytest

from mcshell.errors import UnknownBroker
from mcshell.wire.stomp.dialects import ACTIVEMQ, MCSHELL, RABBITMQ, dialect_of, passing

NOW = 1_800_000_000.0


@pytest.mark.parametrize(
    ("server", "dialect"),
    [
        ("ActiveMQ/5.17.2", ACTIVEMQ),
        ("RabbitMQ/3.10.8", RABBITMQ),
        ("mcshell/0.1.0", MCSHELL),
    ],
)
def test_a_broker_is_known_by_its_server_header(server, dialect):
    """The name before the slash decides; the version does not."""
    assert dialect_of(server) is dialect


@pytest.mark.parametrize("server", ["", "ActiveMQ", "apache-apollo/1.7", "xActiveMQ/5", "/1"])
def test_an_unknown_broker_is_refused_by_name(server):
    """A broker whose habits nobody measured is not guessed at, and the error names it."""
    with pytest.raises(UnknownBroker) as caught:
        dialect_of(server)
    assert caught.value.server == server


@pytest.mark.parametrize("dialect", [ACTIVEMQ, MCSHELL])
def test_activemq_expires_at_an_instant(dialect):
    """ActiveMQ and our broker want the instant in milliseconds since the epoch."""
    assert dialect.send_headers(persistent=True, expires=NOW + 2, now=NOW) == {
        "persistent": "true",
        "expires": "1800000002000",
    }


def test_rabbitmq_expires_after_a_time():
    """RabbitMQ wants the milliseconds from now, and at least one of them."""
    headers = RABBITMQ.send_headers(persistent=False, expires=NOW + 2, now=NOW)
    assert headers == {"expiration": "2000"}
    assert RABBITMQ.send_headers(persistent=False, expires=NOW - 9, now=NOW) == {"expiration": "1"}


def test_a_time_too_long_for_rabbitmq_is_left_out():
    """180 days are said; eleven years would make RabbitMQ close the connection, so they are not."""
    for days, headers in ((180, {"expiration": "15552000000"}), (11 * 365, {})):
        until = NOW + days * 86400
        assert RABBITMQ.send_headers(persistent=False, expires=until, now=NOW) == headers


def test_nothing_is_said_that_was_not_asked():
    """A message without persistence and expiry needs no header."""
    assert all(
        dialect.send_headers(persistent=False, expires=None, now=NOW) == {}
        for dialect in (ACTIVEMQ, MCSHELL, RABBITMQ)
    )


def test_prefetch_has_two_names():
    """Each broker is told the prefetch under its own header."""
    assert ACTIVEMQ.subscribe_headers(prefetch=7) == {"activemq.prefetchSize": "7"}
    assert MCSHELL.subscribe_headers(prefetch=7) == {"activemq.prefetchSize": "7"}
    assert RABBITMQ.subscribe_headers(prefetch=7) == {"prefetch-count": "7"}


def test_when_a_message_that_came_is_over():
    """An instant stays one; a time is good again from now on; no word, or none that is a number, is none."""
    assert ACTIVEMQ.expiry_of({"expires": "1800000002000"}, NOW) == NOW + 2
    assert RABBITMQ.expiry_of({"expiration": "2000"}, NOW) == NOW + 2
    for said in ({}, {"expires": "0"}, {"expires": "soon"}, {"expiration": "2000"}):
        assert ACTIVEMQ.expiry_of(said, NOW) is None


def test_a_queue_is_read_as_it_is():
    """On RabbitMQ by a name that makes none and compares nothing; elsewhere by its own."""
    assert RABBITMQ.existing("/queue/mcs.a.work.b") == "/amq/queue/mcs.a.work.b"
    assert ACTIVEMQ.existing("/queue/mcs.a.work.b") == "/queue/mcs.a.work.b"


@pytest.mark.parametrize(
    ("said", "soon"),
    [
        ("not_found: NOT_FOUND - failed to perform operation on queue 'q' in vhost '/' due to timeout", True),
        ("NOT_FOUND - home node 'rabbit@a' of durable queue 'q' in vhost '/' is down or inaccessible", True),
        ("Subscription not found: There is no current subscription with tag 'T_s11'.", True),
        ("Persistent store is Full, 100% of 1024. Stopping producer (ID:vm-3:8:-1:1) to prevent flooding queue://q.", True),
        ("Usage Manager Memory Limit (1024) reached. Rejecting send for producer", True),
        ("not_found: NOT_FOUND - no queue 'q' in vhost '/'", False),
        ("access_refused: ACCESS_REFUSED - read access to queue 'q' refused for user 'u'", False),
        ("User u is not authorized to read from: queue://q", False),
    ],
)  # fmt: skip
def test_what_a_broker_refuses_for_now_is_told_from_a_no(said, soon):
    """A member that is looked for and a store that is full are no answer; a missing right is one."""
    assert passing(said) is soon
