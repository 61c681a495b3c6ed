"""The asyncio connection, on all three brokers and on servers that misbehave."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
import uuid

import pytest

from mcshell.errors import (
    ConnectError,
    ConnectionLost,
    ReceiptTimeout,
    UnknownBroker,
    UsageError,
)
from mcshell.wire.stomp.aio import AioConnection
from mcshell.wire.stomp.endpoint import TLSFiles
from tests.peers.processes import free_ports

LONG = 60.0


@pytest.fixture
def name() -> str:
    """A destination's name of this test's own."""
    return f"mcs.aio.{uuid.uuid4().hex[:12]}"


def login(broker) -> dict[str, str]:
    """What `open` wants to know."""
    return {"user": broker.user, "passcode": broker.passcode}


@contextlib.asynccontextmanager
async def connection(broker, **more):
    """A connection that is closed at the end."""
    conn = await AioConnection.open([broker.url], **login(broker), timeout=30, **more)
    try:
        yield conn
    finally:
        await conn.close()


class Inbox:
    """A handler that collects, and waits for a number of deliveries."""

    def __init__(self, conn: AioConnection | None = None) -> None:
        self.conn = conn
        self.got = []
        self._more = asyncio.Event()

    def __call__(self, delivery) -> None:
        """Keep one, and acknowledge it where that is wanted."""
        self.got.append(delivery)
        self._more.set()
        if self.conn:
            self.conn.ack(delivery)

    async def wait(self, count: int):
        """Wait until there are so many."""
        async with asyncio.timeout(LONG):
            while len(self.got) < count:
                self._more.clear()
                await self._more.wait()
        return self.got


def test_messages_arrive_and_are_acknowledged(broker, name):
    """What is sent arrives with body and headers, and an acknowledged message does not return."""

    async def talk() -> None:
        async with connection(broker) as conn:
            inbox = Inbox(conn)
            id_ = await conn.subscribe(f"/queue/{name}", inbox)
            headers = {"x-a": "b:c\nd"}
            await conn.send_confirmed(f"/queue/{name}", b"\0one", headers, persistent=True)
            conn.send(f"/queue/{name}", b"two", expires=time.time() + 600)
            await inbox.wait(2)
        first, second = inbox.got
        assert (first.body, second.body) == (b"\0one", b"two")
        assert (first.destination, first.subscription) == (f"/queue/{name}", id_)
        assert (first.headers["x-a"], first.redelivered) == ("b:c\nd", False)
        async with connection(broker) as conn:
            inbox = Inbox()
            await conn.subscribe(f"/queue/{name}", inbox)
            await conn.send_confirmed(f"/queue/{name}", b"three")
            await inbox.wait(1)
            assert [delivery.body for delivery in inbox.got] == [b"three"]

    asyncio.run(talk())


def test_what_was_not_acknowledged_comes_again(broker, name):
    """A delivery that nobody acknowledged comes to the next connection, marked redelivered."""

    async def talk() -> None:
        async with connection(broker) as conn:
            inbox = Inbox()
            await conn.subscribe(f"/queue/{name}", inbox)
            await conn.send_confirmed(f"/queue/{name}", b"x", persistent=True)
            await inbox.wait(1)
        async with connection(broker) as conn:
            again = Inbox(conn)
            await conn.subscribe(f"/queue/{name}", again)
            await again.wait(1)
            assert again.got[0].redelivered
            conn.ack(inbox.got[0])  # of the first connection: dropped, not sent
            await conn.send_confirmed(f"/queue/{name}", b"y")

    asyncio.run(talk())


def test_thousands_of_frames_pass_through_one_connection(broker, name):
    """20,000 messages go out and come back on one connection, complete and in order."""

    async def talk() -> None:
        async with connection(broker) as conn:
            inbox = Inbox()
            await conn.subscribe(f"/queue/{name}", inbox, ack="auto")
            for number in range(20_000):
                conn.send(f"/queue/{name}", b"%d" % number)
                if number % 500 == 0:
                    await conn.drain()
            await inbox.wait(20_000)
            assert [int(delivery.body) for delivery in inbox.got] == list(range(20_000))

    asyncio.run(talk())


def test_unsubscribe_ends_the_handler(broker, name):
    """After `unsubscribe` the handler is not called again."""

    async def talk() -> None:
        async with connection(broker) as conn:
            first, second = Inbox(), Inbox()
            id_ = await conn.subscribe(f"/topic/{name}", first, ack="auto")
            await conn.subscribe(f"/topic/{name}", second, ack="auto")
            conn.unsubscribe(id_)
            conn.unsubscribe(id_)
            conn.send(f"/topic/{name}", b"x")
            await second.wait(1)
            assert first.got == []

    asyncio.run(talk())


def test_tls_with_a_client_certificate(broker, pki_dir, name):
    """stomp+ssl:// with the CA and a certificate of it connects and carries large messages."""
    files = TLSFiles(pki_dir / "ca.pem", pki_dir / "alice.pem", pki_dir / "alice.key")

    async def talk() -> None:
        conn = await AioConnection.open([broker.tls_url], **login(broker), tls=files, timeout=30)
        inbox = Inbox()
        await conn.subscribe(f"/queue/{name}", inbox, ack="auto")
        conn.send(f"/queue/{name}", b"x" * 1_000_000)
        assert len((await inbox.wait(1))[0].body) == 1_000_000
        await conn.close()

    asyncio.run(talk())


def test_a_refused_login_carries_the_brokers_words(broker):
    """The reason of ConnectError is what the broker said."""
    with pytest.raises(ConnectError) as caught:
        asyncio.run(AioConnection.open([broker.url], user=broker.user, passcode="no", timeout=30))
    assert caught.value.url == broker.url
    assert any(word in caught.value.reason.lower() for word in ("refused", "password", "passcode"))


# ── the embedded broker alone ───────────────────────────────────────────────────────────────────


def test_ten_thousand_subscriptions_share_a_connection(embedded, name):
    """One topic message reaches each of 10,000 subscriptions of one connection."""

    async def talk() -> None:
        async with connection(embedded) as conn:
            inbox = Inbox()
            subscribing = (
                conn.subscribe(f"/topic/{name}", inbox, ack="auto") for _ in range(10_000)
            )
            await asyncio.gather(*subscribing)
            conn.send(f"/topic/{name}", b"x" * 2000)
            await inbox.wait(10_000)
            assert len({delivery.subscription for delivery in inbox.got}) == 10_000

    asyncio.run(talk())


def test_a_failing_handler_costs_only_its_delivery(embedded, name, caplog):
    """A handler that raises is logged; the connection and its other deliveries go on."""

    async def talk() -> None:
        async with connection(embedded) as conn:
            inbox = Inbox()

            def handler(delivery) -> None:
                inbox(delivery)
                if len(inbox.got) == 1:
                    raise ValueError("the first one fails")

            await conn.subscribe(f"/queue/{name}", handler, ack="auto")
            conn.send(f"/queue/{name}", b"1")
            conn.send(f"/queue/{name}", b"2")
            await inbox.wait(2)

    with caplog.at_level(logging.ERROR):
        asyncio.run(talk())
    assert "the first one fails" in caplog.text


def test_a_lost_connection_says_so_once(fresh_broker, name):
    """When the broker dies, `on_lost` is called, waiting confirmations fail, and so does SEND."""
    broker = fresh_broker()

    async def talk() -> None:
        lost: list[str] = []
        conn = await AioConnection.open([broker.url], **login(broker), on_lost=lost.append)
        broker.pause()
        waiting = asyncio.create_task(conn.send_confirmed(f"/queue/{name}", b"x", timeout=LONG))
        await asyncio.sleep(0)
        broker.kill9()
        with pytest.raises(ConnectionLost):
            await waiting
        assert len(lost) == 1
        assert not conn.connected
        with pytest.raises(ConnectionLost):
            conn.send(f"/queue/{name}", b"x")
        await conn.close()
        assert len(lost) == 1

    asyncio.run(talk())


def test_a_silent_broker_is_given_up(fresh_broker):
    """A broker that stops without closing is noticed by its missing heart-beats."""
    broker = fresh_broker()

    async def talk() -> str:
        lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        await AioConnection.open(
            [broker.url], **login(broker), heartbeat=1.0, on_lost=lost.set_result
        )
        broker.pause()
        try:
            return await asyncio.wait_for(lost, 30)
        finally:
            broker.resume()

    assert "silent" in asyncio.run(talk())


def test_heart_beats_keep_an_idle_connection(embedded, name):
    """An idle connection outlives its heart-beat's time, and closes in silence."""

    async def talk() -> None:
        lost: list[str] = []
        async with connection(embedded, heartbeat=1.0, on_lost=lost.append) as conn:
            await asyncio.sleep(4)  # longer than two heart-beats of each side
            await conn.send_confirmed(f"/queue/{name}", b"x")
        assert lost == []

    asyncio.run(talk())


def test_a_confirmation_that_does_not_come_is_a_receipt_timeout(fresh_broker, name):
    """A broker that takes a SEND and stands still makes `send_confirmed` give up in time."""
    broker = fresh_broker()

    async def talk() -> None:
        async with connection(broker) as conn:
            broker.pause()
            try:
                with pytest.raises(ReceiptTimeout):
                    await conn.send_confirmed(f"/queue/{name}", b"x", timeout=0.3)
            finally:
                broker.resume()

    asyncio.run(talk())


def test_the_next_url_is_tried(embedded):
    """A broker that is down is passed over for the next one."""
    [port] = free_ports(1)
    urls = [f"stomp://127.0.0.1:{port}", embedded.url]

    async def talk() -> None:
        conn = await AioConnection.open(urls, **login(embedded))
        assert conn.url == embedded.url
        await conn.close()

    asyncio.run(talk())


def test_a_broker_that_is_down_says_so_at_once():
    """Nobody listening is an error with the system's words."""
    [port] = free_ports(1)
    with pytest.raises(ConnectError, match="refused"):
        asyncio.run(AioConnection.open([f"stomp://127.0.0.1:{port}"]))


def test_plain_text_to_a_tls_port_is_refused(embedded, pki_dir):
    """Neither plain STOMP to a TLS port nor TLS to a plain port connects, and both say so soon."""
    tls = TLSFiles(pki_dir / "ca.pem", pki_dir / "alice.pem", pki_dir / "alice.key")
    started = time.monotonic()
    for url in (
        f"stomp://127.0.0.1:{embedded.tls_port}",
        f"stomp+ssl://127.0.0.1:{embedded.port}",
    ):
        with pytest.raises(ConnectError):
            asyncio.run(AioConnection.open([url], **login(embedded), tls=tls, timeout=5))
    assert time.monotonic() - started < 20


def test_a_foreign_ca_is_not_trusted(embedded, pki_dir):
    """A broker whose certificate is of another CA is refused with that reason."""
    files = TLSFiles(pki_dir / "other-ca.pem", pki_dir / "alice.pem", pki_dir / "alice.key")
    with pytest.raises(ConnectError, match="certificate"):
        asyncio.run(AioConnection.open([embedded.tls_url], **login(embedded), tls=files))


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        (b"", ConnectError, "no STOMP answer"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", ConnectError, "not STOMP"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", ConnectError, "not STOMP"),
        (b"ERROR\nmessage:go away\n\nnot today\0", ConnectError, "go away: not today"),
        (b"CONNECTED\nversion:1.2\nserver:Apollo/1.7\n\n\0", UnknownBroker, "Apollo"),
        (b"CONNECTED\nversion:1.2\nserver:mcshell/1\nheart-beat:x\n\n\0", ConnectError, "heart"),
    ],
)
def test_servers_that_are_no_broker_of_ours(answer, error, words):
    """Silence, other protocols, refusals and unknown brokers end within the timeout, by name."""

    class Server(asyncio.Protocol):
        """Says the same to everybody."""

        def connection_made(self, transport) -> None:
            transports.append(transport)
            transport.write(answer)

    transports: list[asyncio.Transport] = []

    async def talk() -> None:
        server = await asyncio.get_running_loop().create_server(Server, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        try:
            with pytest.raises(error, match=words):
                await AioConnection.open([f"stomp://127.0.0.1:{port}"], timeout=2)
        finally:
            server.close()
            for transport in transports:
                transport.abort()
            await asyncio.sleep(0)

    asyncio.run(talk())


def test_a_url_that_is_none_is_a_usage_error():
    """Another scheme is refused before anything is tried."""
    with pytest.raises(UsageError):
        asyncio.run(AioConnection.open(["http://127.0.0.1:1"]))
