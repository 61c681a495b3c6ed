"""Strangers at the port for enrolment: they hold up enrolment at most, and never the fleet."""

from __future__ import annotations

import time
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

import pytest

from mcshell.broker.config.enrolment import ANSWER, CONNECTIONS
from mcshell.wire import destinations
from mcshell.wire.destinations import ENROLMENT_SERVICE
from tests.peers.bare import Closed
from tests.peers.processes import wait_until
from tests.rights.test_enrolment_listener import ONLY_RABBITMQ, unknown
from tests.rights.test_rights import read, write

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.rights.conftest import Guarded

pytestmark = pytest.mark.timeout(300)
REQUEST = 16 << 10
LOGIN_TIMEOUT = 40.0  # seconds: ActiveMQ waits 30 for a CONNECT, RabbitMQ 10


@pytest.fixture(scope="module")
def serving(enrolling: Guarded) -> Iterator[Guarded]:
    """A node works at the broker."""
    enrolling.fleet.start("web1")
    yield enrolling
    enrolling.fleet.stop()


def _works(serving: Guarded) -> None:
    """A request of the fleet goes out and is answered, on connections that are new."""
    with serving.fleet.client() as alice:
        assert (
            alice.rpc("rpcutil", "ping", nodes=["web1"], via="queue", timeout=60).stats["ok"] == 1
        )


def _reaches(serving: Guarded) -> bool:
    """Whether a new machine's request comes to who serves the CA."""
    topic = destinations.enrolment(serving.fleet.collective)
    with suppress(OSError, Closed), ExitStack() as held:
        service = held.enter_context(unknown(serving, ENROLMENT_SERVICE)).connect()
        machine = held.enter_context(unknown(serving)).connect()
        read(service, topic)
        write(machine, topic, b"another")
        return service.get("MESSAGE").body == b"another"
    return False


def test_a_fleet_works_beside_the_port(serving: Guarded) -> None:
    """Nodes and operators come in with their certificates as without it."""
    _works(serving)
    assert _reaches(serving)


def test_many_idle_machines_keep_no_node_out(serving: Guarded) -> None:
    """Of two hundred that log in and say no more a hundred are let in; nodes and operators come in as before."""
    topic = destinations.enrolled(serving.fleet.collective)
    with ExitStack() as held:
        inside = 0
        for _ in range(2 * CONNECTIONS):
            with suppress(OSError, Closed):
                machine = held.enter_context(unknown(serving)).connect()
                read(machine, topic)
                inside += 1
        assert CONNECTIONS // 2 < inside <= CONNECTIONS + 10  # RabbitMQ counts them a little later
        with serving.enter("db1") as db1:
            read(db1, destinations.work(serving.fleet.collective, "db1"))
        _works(serving)
    assert wait_until(lambda: _reaches(serving), 30)


@pytest.mark.parametrize("start", [b"x", b"CONNECT\nlogin:", b"SEND\ndestination:/topic/x\n"])
def test_junk_before_connect_is_cut_off(serving: Guarded, start: bytes) -> None:
    """A line that does not end is no way to stay: the connection is closed, and the fleet works meanwhile."""
    began = time.monotonic()
    with unknown(serving) as stranger:
        stranger.sock.settimeout(LOGIN_TIMEOUT)
        with suppress(OSError):
            stranger.sock.sendall(start + b"x" * (1 << 20))
            _works(serving)
            while stranger.sock.recv(1 << 16):
                pass
    assert time.monotonic() - began < LOGIN_TIMEOUT
    assert wait_until(lambda: _reaches(serving), 30)


def test_a_frame_that_is_too_large_is_refused(serving: Guarded) -> None:
    """ActiveMQ takes little more there than the largest answer, RabbitMQ what it takes of the fleet."""
    size = 2 * ANSWER if serving.kind == "activemq" else 18 << 20
    with unknown(serving) as stranger:
        stranger.connect()
        with pytest.raises((OSError, Closed)):
            write(stranger, destinations.enrolment(serving.fleet.collective), b"x" * size)
    _works(serving)
    assert _reaches(serving)


def test_a_flood_that_nobody_reads_is_dropped(serving: Guarded) -> None:
    """More requests than there is room for are lost, or wait where they are; the fleet works on, and enrolment after."""
    topic = destinations.enrolment(serving.fleet.collective)
    with unknown(serving, ENROLMENT_SERVICE) as service:
        service.connect()
        service.subscribe(topic, prefetch=1)
        sent = _flood(serving, topic)
        _works(serving)
    assert sent > 100
    assert wait_until(lambda: _reaches(serving), 60)


def _flood(serving: Guarded, topic: str) -> int:
    """Send 80 MB as requests, or until no more is taken; returns how many went."""
    with unknown(serving) as stranger:
        stranger.connect()
        stranger.sock.settimeout(5)
        for number in range(5000):
            try:
                stranger.put("SEND", {"destination": topic}, b"x" * REQUEST)
            except OSError:
                return number
    return number


@ONLY_RABBITMQ
def test_queues_that_would_last_are_small_and_end(enrolling: Guarded) -> None:
    """A stranger may ask for a durable queue or a stream: the one ends unread, the other is small and ends
    with the next reload.
    """
    c = enrolling.fleet.collective
    for number, more in enumerate(({}, {"x-queue-type": "stream", "prefetch-count": "1"})):
        with unknown(enrolling) as stranger:
            stranger.connect()
            lasting = {"durable": "true", "auto-delete": "false", "ack": "client", "id": "1"}
            name = {"x-queue-name": f"stomp-subscription-{number}"}
            where = {"destination": destinations.enrolled(c)}
            stranger.confirm("SUBSCRIBE", {**where, **lasting, **name, **more})
    kept = {
        row["name"]: row["policy"] for row in _queues(enrolling) if row["name"].endswith(("0", "1"))
    }
    assert kept == {
        "stomp-subscription-0": "mcshell-kept",
        "stomp-subscription-1": "mcshell-streams",
    }
    enrolling.broker.command("reload")
    assert "stomp-subscription-1" not in {row["name"] for row in _queues(enrolling)}
    assert wait_until(lambda: not _queues(enrolling), 120, 2.0)


def _queues(enrolling: Guarded) -> list[dict[str, str]]:
    return enrolling.ctl("list_queues", "-p", "mcshell-enrolment", "name", "policy")
