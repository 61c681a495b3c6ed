"""The broker's end of one STOMP connection: bytes, handshake, receipts, heart-beats, back-pressure.

Where a server of ours may listen is here too.

What the commands mean is for the subclass (`mcshell.broker.server`).
"""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import logging
import math
import os
import socket
from typing import TYPE_CHECKING

from mcshell.errors import ConfigError, WireError
from mcshell.wire.stomp.frame import HEARTBEAT, MAX_BODY, Frame, Parser, dump, negotiate
from mcshell.wire.stomp.tcp import keep_alive

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

__all__ = [
    "Listener",
    "ServerConnection",
    "address_of",
    "is_login",
    "is_loopback",
    "listen_on",
    "number",
]

log = logging.getLogger(__name__)

_LAST_PORT = 65535
BEAT = 1.0
"""The shortest heart-beat that is promised and asked for, seconds."""
GREETING = 10.0
"""How long a client may take to CONNECT, TLS and all, and to read its last bytes, seconds."""
GREETING_SIZE = 8 * 1024
"""What it may send until then, bytes."""
GREETING_MANY = 256
"""How many connections may be about to CONNECT; one more costs the oldest its own."""
HIGH_WATER = 1024 * 1024
"""Unsent bytes above which the connection counts as full."""
STUCK = 64 * 1024 * 1024
"""Unsent bytes above which nothing more is read from it: it only asks and never listens."""
BACKLOG, AT_ONCE, NO_ROOM = 4096, 64, 1.0
"""How many may wait; are taken in a turn; seconds to the next try where there was no room."""


def number(headers: dict[str, str], name: str, default: str = "0") -> int:
    """Read a header that is a whole number; raises WireError."""
    text = headers.get(name, default)
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(2**53))):
        raise WireError(f"{name} {text[:40]!r} is not a whole number")
    return int(text)


class ServerConnection(asyncio.Protocol):
    """One client. What it is sent is collected until its owner calls `flush`.

    Args:
        name: what we call ourselves in CONNECTED.
        login: the user and passcode that CONNECT must say; an empty user asks nobody.
        on_output: called when there begins to be something to flush.
        peers: all connections that stand; each adds and removes itself.
        greeting: those that have not logged in, the oldest first; kept in the same way.
        tls: what to shake hands with; None is plain.
    """

    transport: asyncio.Transport
    largest = MAX_BODY
    """Bytes of a message that it may send."""

    def __init__(
        self,
        name: str,
        login: tuple[str, str],
        on_output: Callable[[ServerConnection], None],
        peers: set[ServerConnection],
        greeting: dict[ServerConnection, None],
        tls: ssl.SSLContext | None,
    ) -> None:
        self.version = ""
        self.closing = False
        self.out_size = 0
        self._name = name
        self._login = login
        self._on_output = on_output
        self._peers = peers
        self._greeting = greeting
        self._tls = tls
        self._early: bytes | None = None if tls is None else b""
        """What has come before our side of the handshake is done; None once it is."""
        self._parser = Parser(max_body=0, max_header=GREETING_SIZE)
        self._unread = GREETING_SIZE
        self._paused = False
        self._out: list[bytes] = []
        self._loop = asyncio.get_running_loop()
        self._clock = self._loop.time
        self._last_read = self._last_write = self._clock()
        self._until = self._last_read + GREETING
        self._read_every = self._write_every = 0.0

    def execute(self, frame: Frame) -> None:
        """Do what a client's frame asks; raises WireError when it can't be done."""
        raise NotImplementedError

    def has_room_again(self) -> None:
        """Go on with what waited while the connection was full."""
        raise NotImplementedError

    def log_in(self, user: str, passcode: str) -> None:
        """Take who CONNECT says that it is, or raise WireError."""
        if self._login[0] and not is_login((user, passcode), self._login):
            raise WireError("login refused: user or passcode is wrong")

    # ── asyncio's calls ─────────────────────────────────────────────────────────────────────

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client is there; asyncio itself has set TCP_NODELAY."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self._peers.add(self)
        self._greeting[self] = None
        if len(self._greeting) > GREETING_MANY:
            next(iter(self._greeting)).drop("too many are about to log in")
        if self._tls is None:
            transport.set_write_buffer_limits(high=HIGH_WATER)
        else:
            self._handshake = self._loop.create_task(self._secure(transport, self._tls))

    async def _secure(self, plain: asyncio.Transport, tls: ssl.SSLContext) -> None:
        """Shake hands in here, where who only begins to is counted and timed too."""
        try:
            transport = await self._loop.start_tls(
                plain, self, tls, server_side=True, ssl_handshake_timeout=GREETING
            )
        except OSError as error:
            log.info("no TLS with a client: %s", error)
            transport = None
        if transport is None or self.closing:
            plain.abort()
            self.connection_lost(None)
            return
        transport.set_write_buffer_limits(high=HIGH_WATER)
        self.transport = transport
        early, self._early = self._early, None
        if early:
            self.data_received(early)

    def drop(self, why: str) -> None:
        """End the connection at once, whatever it has not read."""
        log.info("a client is disconnected: %s", why)
        self.closing = True
        self._greeting.pop(self, None)
        self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # asyncio's signature
        """The client is gone."""
        self.closing = True
        self._peers.discard(self)
        self._greeting.pop(self, None)

    def pause_writing(self) -> None:
        """The client reads slower than we write."""
        self._paused = True

    def resume_writing(self) -> None:
        """The client has caught up."""
        self._paused = False
        self.transport.resume_reading()
        self.has_room_again()

    def data_received(self, data: bytes) -> None:
        """Do what the client says, up to the first thing that is wrong: that gets ERROR."""
        if (
            self._early is not None
        ):  # with the last of the handshake: nothing may go out as plain text
            self._early += data
            return
        self._last_read = self._clock()
        receipt: str | None = None
        try:
            if not self.version:
                self._spend(len(data))
            for frame in self._parser.feed(data):
                if self.closing:
                    return
                receipt = frame.headers.get("receipt")
                if self.version:
                    self.execute(frame)
                else:
                    self._greet(frame)
                if receipt:
                    self.send("RECEIPT", {"receipt-id": receipt})
                self.closing = frame.command == "DISCONNECT"
        except WireError as error:
            more = {"receipt-id": receipt} if receipt else {}
            self.send("ERROR", {"message": str(error).replace("\n", " "), **more})
            self.closing = True
        if self.closing:
            self._until = self._clock() + GREETING
            self.flush_later()
        elif self.backlog() > STUCK:
            self.transport.pause_reading()

    def _spend(self, size: int) -> None:
        self._unread -= size
        if self._unread < 0:
            raise WireError(f"more than {GREETING_SIZE} bytes before CONNECTED")

    def _greet(self, frame: Frame) -> None:
        """Agree on a version, check the login (in constant time), agree on heart-beats."""
        headers = frame.headers
        if frame.command not in ("CONNECT", "STOMP"):
            raise WireError(f"{frame.command} before CONNECT")
        version = negotiate(headers.get("accept-version"))
        if version is None:
            raise WireError("this broker speaks STOMP 1.0, 1.1 and 1.2")
        self.log_in(headers.get("login", ""), headers.get("passcode", ""))
        theirs, _, wanted = headers.get("heart-beat", "0,0").partition(",")
        reads, writes = (number({"heart-beat": beat}, "heart-beat") for beat in (theirs, wanted))
        self._read_every = max(BEAT, reads / 1000) if reads else 0.0
        self._write_every = max(BEAT, writes / 1000) if writes else 0.0
        self.version = version
        self._until = math.inf
        del self._greeting[self]
        self._parser.allow(max_body=self.largest)
        beats = f"{BEAT * 1000:.0f},{BEAT * 1000:.0f}"
        self.send("CONNECTED", {"version": version, "server": self._name, "heart-beat": beats})

    # ── sending ─────────────────────────────────────────────────────────────────────────────

    def push(self, *pieces: bytes) -> None:
        """Have these bytes sent by the next `flush`."""
        if not self._out:
            self._on_output(self)
        self._out += pieces
        self.out_size += sum(map(len, pieces))

    def send(self, command: str, headers: dict[str, str]) -> None:
        """Have a frame sent by the next `flush`."""
        self.push(dump(Frame(command, headers), self.version or "1.2"))

    def flush_later(self) -> None:
        """Have `flush` called even though there may be nothing to send."""
        self.push(b"")

    def flush(self) -> None:
        """Give what was collected to the socket."""
        self._last_write = self._clock()
        if not self.transport.is_closing():
            self.transport.write(b"".join(self._out))
        self._out.clear()
        self.out_size = 0
        if self.closing:
            self.transport.close()
        elif not self._paused:
            # TLS takes what is too much at once, and says neither that it is nor when it has gone
            self.transport.resume_reading()
            self.has_room_again()

    def backlog(self) -> int:
        """How many bytes are not sent yet."""
        return self.out_size + self.transport.get_write_buffer_size()

    def has_room(self) -> bool:
        """Whether a queue may give it more."""
        return self.out_size < HIGH_WATER and not (self._paused or self.closing)

    def beat(self, *, late: bool) -> None:
        """Send a heart-beat when one is due; end a client that is silent for two of its own.

        `late` says that our own loop was busy: what the client sent meanwhile is unread.
        """
        now = self._clock()
        silence = now - self._last_read
        # a broker that is kept busy must not keep who never logs in
        if now > self._until + (GREETING if late else 0.0):
            self.drop("its time to log in, or to leave, is over")
        elif 0 < 2 * self._read_every < silence and not late:
            self.drop(f"it was silent for {silence:.1f} s")
        elif 0 < self._write_every <= 2 * (now - self._last_write):
            self.push(HEARTBEAT)


def is_login(said: tuple[str, str], right: tuple[str, str]) -> bool:
    """Whether a user and a passcode are the right ones; it takes as long whichever is wrong."""
    alike = [
        hmac.compare_digest(one.encode(), other.encode())
        for one, other in zip(said, right, strict=True)
    ]
    return all(alike)


def address_of(listen: str) -> tuple[str, int]:
    """Read HOST:PORT or [IPV6]:PORT; port 0 means any free one.

    Raises:
        ConfigError: it is something else.
    """
    host, colon, port = listen.rpartition(":")
    bare = host.removeprefix("[").removesuffix("]")
    number = int(port) if port.isascii() and port.isdigit() and len(port) <= len("65535") else -1
    if not colon or not bare or not 0 <= number <= _LAST_PORT or (":" in bare and bare == host):
        raise ConfigError(f"listen {listen!r}: HOST:PORT is meant", key="listen")
    return bare, number


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a listener there."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class Listener:
    """Takes clients; without a descriptor for one more it says so once.

    asyncio's own server would log thousands of tries a second.
    """

    def __init__(
        self, factory: Callable[[], ServerConnection], sockets: list[socket.socket]
    ) -> None:
        self.sockets = sockets
        self._factory = factory
        self._loop = asyncio.get_running_loop()
        self._taken: set[asyncio.Task[object]] = set()
        self._full = False

    def start(self) -> None:
        """Take those that come, and those that have."""
        for sock in self.sockets:
            sock.listen(BACKLOG)
            self._loop.add_reader(sock, self._take, sock)

    def close(self) -> None:
        """Take nobody any more."""
        while self.sockets:
            sock = self.sockets.pop()
            self._loop.remove_reader(sock)
            sock.close()

    def _take(self, listening: socket.socket) -> None:
        try:
            for _ in range(AT_ONCE):
                sock, _address = listening.accept()
                sock.setblocking(False)
                keep_alive(sock)
                serve = self._loop.connect_accepted_socket(self._factory, sock)
                self._taken.add(task := self._loop.create_task(serve))
                task.add_done_callback(self._taken.discard)
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            self._full = False
        except OSError as error:
            if not self._full:
                log.warning("no room for another client, they wait: %s", error.strerror)
            self._full = True
            self._loop.remove_reader(listening)
            self._loop.call_later(NO_ROOM, self.start)


async def listen_on(
    factory: Callable[[], ServerConnection], host: str, port: int, *, tls: bool
) -> Listener:
    """Take the address, as asyncio does; `start` is the caller's.

    `tls` says whether the factory's connections shake hands.

    Raises:
        ConfigError: it cannot be had, or is off loopback without TLS.
    """
    if not tls and not is_loopback(host):
        raise ConfigError(f"{host} is off loopback: TLS is needed there", key="listen")
    loop = asyncio.get_running_loop()
    try:
        server = await loop.create_server(factory, host, port, start_serving=False)
        sockets = [socket.socket(fileno=os.dup(one.fileno())) for one in server.sockets]
    except OSError as error:
        reason = error.strerror or str(error)
        raise ConfigError(f"cannot listen on {host}:{port}: {reason}", key="listen") from None
    server.close()
    return Listener(factory, sockets)
