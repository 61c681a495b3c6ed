"""The embedded broker: STOMP 1.0-1.2 on asyncio and SQLite, for a first try, tests and a lab.

It speaks ActiveMQ's dialect and keeps the contract that tests/contract checks on all three
brokers. All that one turn of the event loop brought in is committed together, and only then do
its receipts and deliveries leave. One thread, no features beyond the contract: in production use
ActiveMQ or RabbitMQ.
"""

from __future__ import annotations

import asyncio
import hmac
import importlib.metadata
import ipaddress
import itertools
import logging
import signal
import sqlite3
import ssl
import sys
import time
from typing import TYPE_CHECKING

from mcshell.broker.queues import Queue, Subscription, Topics, head_for
from mcshell.broker.store import Message, Store
from mcshell.errors import ConfigError, FrameError
from mcshell.wire.frame import HEARTBEAT, Frame, Parser, dump, dump_head, negotiate

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Broker", "run", "server_context"]

log = logging.getLogger(__name__)

BEAT = 1.0
"""The shortest heart-beat that we promise and ask for, seconds."""
GREETING = 10.0
"""How long a connection may take to CONNECT, seconds."""
ROOM = 1024 * 1024
"""Unsent bytes above which a queue waits for its consumer's connection."""
TOPIC_BACKLOG = 16 * 1024 * 1024
TOPIC_BACKLOG_EACH = 64 * 1024
"""Unsent bytes (and so much more a subscription) above which a connection loses topic messages."""
STUCK = 64 * 1024 * 1024
"""Unsent bytes above which nothing more is read from a connection."""
STORED = 2 * 1024**3
"""Bytes of bodies in all queues above which SEND is refused."""
PREFETCH = 100
DEAD_LETTERS = "/queue/DLQ"
_SWEEP = 0.5
_EXPIRE = 5.0
_DIGITS = 18
_KINDS = ("/queue/", "/topic/")
_NOT_PASSED_ON = frozenset(
    ["receipt", "transaction", "content-length", "subscription", "message-id", "ack", "redelivered"]
)


class Refused(Exception):
    """What a client asked is not possible: it gets ERROR with these words and is disconnected."""


class Connection(asyncio.Protocol):
    """One client: its protocol state, its subscriptions, and what is to be sent to it."""

    def __init__(self, broker: Broker) -> None:
        self.broker = broker
        self.transport: asyncio.Transport
        self.parser = Parser()
        self.version = ""
        self.closing = False
        self.paused = False
        self.subscriptions: dict[str, Subscription] = {}
        self.inflight: dict[str, Subscription] = {}
        self.starved: set[Queue] = set()
        self.transactions: dict[str, list[Frame]] = {}
        self.out: list[bytes] = []
        self.out_size = 0
        self.overrun = (0, False)
        self.last_read = self.last_write = broker.loop.time()
        self.read_every = self.write_every = 0.0

    # ── asyncio's calls ─────────────────────────────────────────────────────────────────────

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client is there."""
        assert isinstance(transport, asyncio.Transport)
        transport.set_write_buffer_limits(high=ROOM)
        self.transport = transport
        self.broker.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone: what it has not acknowledged goes back."""
        self.closing = True
        self.broker.connections.discard(self)
        for subscription in list(self.subscriptions.values()):
            self.unsubscribe(subscription)

    def pause_writing(self) -> None:
        """The client reads slower than we write."""
        self.paused = True

    def resume_writing(self) -> None:
        """The client has caught up."""
        self.paused = False
        self.transport.resume_reading()
        self.feed_starved()

    def data_received(self, data: bytes) -> None:
        """Do what the client says."""
        self.last_read = self.broker.loop.time()
        frame = Frame("")
        try:
            for frame in self.parser.feed(data):
                if self.closing:
                    return
                self.execute(frame)
                if receipt := frame.headers.get("receipt"):
                    self.send(Frame("RECEIPT", {"receipt-id": receipt}))
                if frame.command == "DISCONNECT":
                    self.closing = True
        except (Refused, FrameError) as error:
            self.refuse(str(error), frame.headers.get("receipt"))
        if self.backlog() > STUCK and not self.closing:
            self.transport.pause_reading()

    # ── sending ─────────────────────────────────────────────────────────────────────────────

    def push(self, *pieces: bytes) -> None:
        """Send these bytes at the end of the turn, after its commit."""
        if not self.out:
            self.broker.unsent.append(self)
            self.broker.wake()
        self.out.extend(pieces)
        self.out_size += sum(map(len, pieces))

    def send(self, frame: Frame) -> None:
        """Send a frame at the end of the turn."""
        self.push(dump(frame, self.version or "1.2"))

    def refuse(self, reason: str, receipt: str | None = None) -> None:
        """Send ERROR and disconnect."""
        headers = {"message": reason.replace("\n", " ")}
        if receipt:
            headers["receipt-id"] = receipt
        if not self.version:
            headers["version"] = "1.0,1.1,1.2"
        self.send(Frame("ERROR", headers))
        self.closing = True

    def flush(self) -> None:
        """Give the turn's bytes to the socket."""
        if self.transport.is_closing():
            return
        self.last_write = self.broker.loop.time()
        self.transport.write(b"".join(self.out))
        self.out.clear()
        self.out_size = 0
        if self.closing:
            self.transport.close()
        elif not self.paused:
            self.feed_starved()

    def feed_starved(self) -> None:
        """Have the queues that waited for this connection go on."""
        if self.starved:
            self.broker.dirty |= self.starved
            self.starved.clear()
            self.broker.wake()

    def backlog(self) -> int:
        """How many bytes are not sent yet."""
        return self.out_size + self.transport.get_write_buffer_size()

    def has_room(self) -> bool:
        """Whether a queue may give it more."""
        return not self.paused and self.out_size < ROOM and not self.closing

    def loses(self, publication: int) -> bool:
        """Whether it is too far behind to get this topic message; judged once a publication."""
        if self.overrun[0] != publication:
            limit = TOPIC_BACKLOG + TOPIC_BACKLOG_EACH * len(self.subscriptions)
            self.overrun = (publication, self.closing or self.backlog() > limit)
        return self.overrun[1]

    # ── commands ────────────────────────────────────────────────────────────────────────────

    def execute(self, frame: Frame) -> None:
        """Do one frame's command, or put it by for its transaction."""
        command, headers = frame.command, frame.headers
        if not self.version:
            if command not in ("CONNECT", "STOMP"):
                raise Refused(f"{command} before CONNECT")
            self.connect(headers)
        elif command in ("SEND", "ACK", "NACK"):
            if (name := headers.get("transaction")) is not None:
                self.transaction(name).append(frame)
            elif command == "SEND":
                self.broker.publish(headers, frame.body)
            else:
                self.settle(headers, nack=command == "NACK")
        elif command == "SUBSCRIBE":
            self.subscribe(headers)
        elif command == "UNSUBSCRIBE":
            self.unsubscribe(self.subscription(headers))
        elif command in ("BEGIN", "COMMIT", "ABORT"):
            self.end_or_begin(command, headers.get("transaction", ""))
        elif command != "DISCONNECT":
            raise Refused(f"{command} is not for a client to say here")

    def connect(self, headers: dict[str, str]) -> None:
        """Agree on a version, check the login, agree on heart-beats."""
        version = negotiate(headers.get("accept-version"))
        if version is None:
            raise Refused("this broker speaks STOMP 1.0, 1.1 and 1.2")
        if not self.broker.admits(headers.get("login", ""), headers.get("passcode", "")):
            raise Refused("login refused: user or passcode is wrong")
        theirs, _, wanted = headers.get("heart-beat", "0,0").partition(",")
        if not (theirs.isascii() and theirs.isdigit() and wanted.isascii() and wanted.isdigit()):
            raise Refused("heart-beat is two numbers of milliseconds")
        self.read_every = max(BEAT, int(theirs[:9]) / 1000) if int(theirs) else 0.0
        self.write_every = max(BEAT, int(wanted[:9]) / 1000) if int(wanted) else 0.0
        self.version = version
        beat = f"{BEAT * 1000:.0f}"
        answer = {"version": version, "server": self.broker.name, "heart-beat": f"{beat},{beat}"}
        self.send(Frame("CONNECTED", answer))

    def subscribe(self, headers: dict[str, str]) -> None:
        """Begin a subscription."""
        destination = headers.get("destination", "")
        id_ = headers.get("id") or (destination if self.version == "1.0" else "")
        ack = headers.get("ack", "auto")
        prefetch = headers.get("activemq.prefetchSize", "")
        if not destination.startswith(_KINDS):
            raise Refused(f"destination {destination!r} begins with neither /queue/ nor /topic/")
        if not id_ or id_ in self.subscriptions:
            raise Refused(f"the subscription's id {id_!r} is missing or in use")
        if ack not in ("auto", "client", "client-individual"):
            raise Refused(f"the ack mode {ack!r} is unknown")
        size = int(prefetch[:9]) if prefetch.isascii() and prefetch.isdigit() else PREFETCH
        subscription = Subscription(self, id_, destination, ack, max(1, size))
        self.subscriptions[id_] = subscription
        self.broker.attach(subscription)

    def subscription(self, headers: dict[str, str]) -> Subscription:
        """The one that UNSUBSCRIBE means."""
        id_ = headers.get("id") or headers.get("destination", "")
        if id_ not in self.subscriptions:
            raise Refused(f"there is no subscription {id_!r}")
        return self.subscriptions[id_]

    def unsubscribe(self, subscription: Subscription) -> None:
        """End a subscription."""
        del self.subscriptions[subscription.id]
        for name in subscription.unacked:
            del self.inflight[name]
        self.broker.detach(subscription)

    def settle(self, headers: dict[str, str], *, nack: bool) -> None:
        """ACK forgets messages, NACK sets them aside."""
        name = headers.get("id" if self.version == "1.2" else "message-id", "")
        subscription = self.inflight.get(name)
        if subscription is None:
            raise Refused(f"no message {name!r} waits for an ACK here")
        for message in subscription.acknowledged(name):
            self.broker.settled(message, nack=nack)

    def transaction(self, name: str) -> list[Frame]:
        """The frames put by for a transaction."""
        if name not in self.transactions:
            raise Refused(f"there is no transaction {name!r}")
        return self.transactions[name]

    def end_or_begin(self, command: str, name: str) -> None:
        """BEGIN, COMMIT or ABORT a transaction; all of it falls into one commit."""
        if command == "BEGIN":
            if not name or name in self.transactions:
                raise Refused(f"the transaction's name {name!r} is missing or in use")
            self.transactions[name] = []
            return
        frames = self.transaction(name)
        del self.transactions[name]
        for frame in frames if command == "COMMIT" else ():
            del frame.headers["transaction"]
            self.execute(frame)


class Broker:
    """The broker; all of it belongs to the loop that `start` runs in.

    Args:
        data: the directory of its one file.
        user: with `passcode` what CONNECT must say; without a user nobody is asked.
        tls: a server's context (`server_context`); off loopback there must be one.
    """

    def __init__(
        self, data: Path, *, user: str = "", passcode: str = "", tls: ssl.SSLContext | None = None
    ) -> None:
        self.loop: asyncio.AbstractEventLoop
        self.connections: set[Connection] = set()
        self.dirty: set[Queue] = set()
        self.unsent: list[Connection] = []
        self.failed: asyncio.Future[str]
        try:
            self.name = f"mcshell/{importlib.metadata.version('mcshell')}"
        except importlib.metadata.PackageNotFoundError:
            self.name = "mcshell/0"
        self._login = (user.encode(), passcode.encode())
        self._tls = tls
        self._awake = False
        self._queues: dict[str, Queue] = {}
        self._topics = Topics()
        self._store = Store(data)
        # from the clock, so that an id that was never written does not come again after a restart
        self._ids = itertools.count(time.time_ns() // 1000)
        for message in self._store.load():
            self._queue(message.queue).ready.append(message)

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> tuple[str, int]:
        """Serve; returns the address, with the real port where 0 was asked.

        Raises:
            ConfigError: the address cannot be had, or is off loopback without TLS.
        """
        if self._tls is None and not _is_loopback(host):
            raise ConfigError(f"{host} is off loopback: the broker needs TLS there (--tls-cert)")
        self.loop = asyncio.get_running_loop()
        self.failed = self.loop.create_future()
        try:
            self._server = await self.loop.create_server(
                lambda: Connection(self), host, port, ssl=self._tls, backlog=4096
            )
        except OSError as error:
            raise ConfigError(f"cannot listen on {host}:{port}: {error.strerror}") from error
        self._sweeper = self.loop.create_task(self._sweep())
        address = self._server.sockets[0].getsockname()
        return address[0], address[1]

    async def stop(self) -> None:
        """Send what can be sent, disconnect everybody, and commit."""
        self._sweeper.cancel()
        self._server.close()
        self._turn()
        self._awake = True  # no more turns
        for connection in list(self.connections):
            connection.closing = True
            connection.transport.close()
        await asyncio.sleep(0)
        self._store.close()

    def admits(self, user: str, passcode: str) -> bool:
        """Compare a login in constant time."""
        right_user = hmac.compare_digest(user.encode(), self._login[0])
        right_code = hmac.compare_digest(passcode.encode(), self._login[1])
        return not self._login[0] or (right_user and right_code)

    # ── messages ────────────────────────────────────────────────────────────────────────────

    def publish(self, headers: dict[str, str], body: bytes) -> None:
        """Take a message that a client sent."""
        destination = headers.get("destination", "")
        if not destination.startswith(_KINDS):
            raise Refused(f"destination {destination!r} begins with neither /queue/ nor /topic/")
        expires = headers.get("expires", "0")
        if not (expires.isascii() and expires.isdigit() and len(expires) < _DIGITS):
            raise Refused(f"expires {expires[:40]!r} is not a number of milliseconds")
        until = int(expires) / 1000
        passed_on = {name: headers[name] for name in headers if name not in _NOT_PASSED_ON}
        head = dump_head("MESSAGE", passed_on)
        if destination.startswith("/topic/"):
            if not until or until > time.time():
                self._fan_out(destination, head, body)
            return
        if self._store.held + len(body) > STORED:
            raise Refused(f"the broker is full: it holds {STORED} bytes")
        persistent = headers.get("persistent") == "true"
        self._enqueue(Message(next(self._ids), destination, head, body, until, persistent))

    def _enqueue(self, message: Message) -> None:
        self._store.put(message)
        queue = self._queue(message.queue)
        queue.ready.append(message)
        self.dirty.add(queue)
        self.wake()

    def _queue(self, name: str) -> Queue:
        queue = self._queues.get(name)
        if queue is None:
            queue = self._queues[name] = Queue(name)
        return queue

    def _fan_out(self, destination: str, head: bytes, body: bytes) -> None:
        """Give a topic's message to all who listen; who is too far behind loses it."""
        number = next(self._ids)
        tail = b"message-id:%d\ncontent-length:%d\n\n%s\0" % (number, len(body), body)
        heads: dict[str, bytes] = {}
        for subscription in self._topics.route(destination):
            outlet = subscription.outlet
            if outlet.loses(number):
                continue
            version = outlet.version
            if version not in heads:
                heads[version] = head_for(head, version)
            outlet.push(heads[version], subscription.line, tail)

    def attach(self, subscription: Subscription) -> None:
        """Begin to deliver."""
        if subscription.destination.startswith("/topic/"):
            self._topics.add(subscription)
            return
        queue = self._queue(subscription.destination)
        queue.consumers.append(subscription)
        self.dirty.add(queue)
        self.wake()

    def detach(self, subscription: Subscription) -> None:
        """End delivery; what was not acknowledged goes back to its place, for others."""
        if subscription.destination.startswith("/topic/"):
            self._topics.remove(subscription)
            return
        queue = self._queue(subscription.destination)
        queue.consumers.remove(subscription)
        queue.give_back(subscription.unacked.values())
        self.dirty.add(queue)
        self.wake()

    def settled(self, message: Message, *, nack: bool) -> None:
        """Be done with a message; a persistent one that was refused is set aside."""
        self._store.delete(message)
        if nack and message.persistent:
            aside = (message.head, message.body, 0.0, True)
            self._enqueue(Message(next(self._ids), DEAD_LETTERS, *aside))
        self.dirty.add(self._queue(message.queue))
        self.wake()

    # ── a turn ──────────────────────────────────────────────────────────────────────────────

    def wake(self) -> None:
        """Have a turn once the loop has read all sockets that are ready now."""
        if not self._awake:
            self._awake = True
            self.loop.call_soon(self._turn)

    def _turn(self) -> None:
        """Dispatch, commit, send: nothing leaves before it is on the disk."""
        self._awake = False
        dirty, self.dirty = self.dirty, set()
        now = time.time()
        for queue in dirty:
            queue.dispatch(self._store, now)
            if not (queue.ready or queue.consumers) and self._queues.get(queue.name) is queue:
                del self._queues[queue.name]
        try:
            self._store.commit()
        except sqlite3.Error as error:  # without a disk nothing may be confirmed
            if not self.failed.done():
                self.failed.set_result(f"the broker's disk: {error}")
            return
        unsent, self.unsent = self.unsent, []
        for connection in unsent:
            connection.flush()

    async def _sweep(self) -> None:
        """Send heart-beats, close who is silent, expire what nobody reads."""
        expire_at = due = self.loop.time()
        while True:
            due = self.loop.time() + _SWEEP
            await asyncio.sleep(_SWEEP)
            now = self.loop.time()
            late = now - due > _SWEEP  # we were busy: what clients sent meanwhile is unread
            for connection in list(self.connections):
                self._look_after(connection, now, late=late)
            if now >= expire_at:
                expire_at = now + _EXPIRE
                for queue in self._queues.values():
                    queue.expire(self._store, time.time())
                self.wake()

    def _look_after(self, connection: Connection, now: float, *, late: bool) -> None:
        silence = now - connection.last_read
        if not late and connection.read_every and silence > 2 * connection.read_every:
            log.info("a client was silent for %.1f s", silence)
            connection.transport.abort()
        elif not connection.version and silence > GREETING:
            connection.transport.abort()
        elif connection.write_every and now - connection.last_write >= connection.write_every / 2:
            connection.push(HEARTBEAT)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def server_context(cert: Path, key: Path, ca: Path | None = None) -> ssl.SSLContext:
    """Make the TLS context of a broker; with a `ca` clients must show a certificate of it.

    Raises:
        ConfigError: one of the files is not what it should be.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(cert, key)
        if ca:
            context.load_verify_locations(ca)
            context.verify_mode = ssl.CERT_REQUIRED
    except OSError as error:
        raise ConfigError(f"the broker's TLS files ({cert}, {key}): {error}") from error
    return context


def address_of(listen: str) -> tuple[str, int]:
    """Read HOST:PORT; raises ConfigError."""
    host, colon, port = listen.rpartition(":")
    if not colon or not host or not (port.isascii() and port.isdigit()) or int(port) > 65535:  # noqa: PLR2004  # the largest port
        raise ConfigError(f"listen {listen!r}: what is meant is HOST:PORT")
    return host.strip("[]"), int(port)


async def _serve(broker: Broker, host: str, port: int) -> int:
    ended: asyncio.Event = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signal_ in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signal_, ended.set)
    where, number = await broker.start(host, port)
    broker.failed.add_done_callback(lambda _: ended.set())
    print(f"ready {where}:{number}", file=sys.stderr, flush=True)
    await ended.wait()
    if broker.failed.done():
        print(broker.failed.result(), file=sys.stderr)
        return 70
    await broker.stop()
    return 0


def run(
    listen: str,
    data: Path,
    *,
    user: str = "",
    passcode: str = "",
    tls_cert: Path | None = None,
    tls_key: Path | None = None,
    tls_ca: Path | None = None,
) -> int:
    """Serve until SIGTERM or SIGINT; says `ready HOST:PORT` on standard error; returns an exit code.

    Raises:
        ConfigError: the address, the directory or the TLS files cannot be used.
    """
    host, port = address_of(listen)
    context = None
    if tls_cert or tls_key or tls_ca:
        if not (tls_cert and tls_key):
            raise ConfigError("TLS needs a certificate and its key (--tls-cert, --tls-key)")
        context = server_context(tls_cert, tls_key, tls_ca)
    broker = Broker(data, user=user, passcode=passcode, tls=context)
    return asyncio.run(_serve(broker, host, port))
