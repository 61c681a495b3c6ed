"""A STOMP connection for asyncio: bare peers by the thousand, for benchmarks and for the broker's tests.

It parses in `data_received`, hands each message to its subscription's handler at once, and writes
what one turn of the loop has sent with a single system call. It knows no TLS, no heart-beats and no
second broker, and does not reconnect.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from typing import TYPE_CHECKING

from mcshell.errors import ConnectionLost
from mcshell.wire.stomp.dialects import VHOST, dialect_of
from mcshell.wire.stomp.endpoint import parse_url, reason_of
from mcshell.wire.stomp.frame import Frame, Parser, dump
from mcshell.wire.stomp.transport import delivery_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mcshell.wire.stomp.transport import AckMode, Delivery

__all__ = ["AioConnection"]

_FLUSH_AT = 256 * 1024
_PATIENCE = 60.0  # seconds: how long a busy machine may take
_HIGH_WATER = 4 * 1024 * 1024


class AioConnection(asyncio.Protocol):
    """One STOMP 1.2 connection; made by `open`, belongs to the loop that opened it."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._parser = Parser()
        self._handlers: dict[str, Callable[[Delivery], None]] = {}
        self._receipts: dict[str, asyncio.Future[None]] = {}
        self._numbers = itertools.count(1)
        self._out: list[bytes] = []
        self._size = 0
        self._writable = asyncio.Event()
        self._writable.set()
        self._connected: asyncio.Future[Frame] = self._loop.create_future()
        self._closed: asyncio.Future[None] = self._loop.create_future()
        self._reason = ""

    @classmethod
    async def open(cls, url: str, *, user: str = "", passcode: str = "") -> AioConnection:
        """Connect and log in; raises ConnectionLost, OSError, TimeoutError."""
        where = parse_url(url)
        async with asyncio.timeout(_PATIENCE):
            _, link = await asyncio.get_running_loop().create_connection(
                cls, where.host, where.port
            )
            hello = {"accept-version": "1.2", "host": VHOST, "heart-beat": "0,0"}
            link._write(Frame("CONNECT", hello | {"login": user, "passcode": passcode}))
            answer = await link._connected
        link.dialect = dialect_of(answer.headers.get("server", ""))
        return link

    async def subscribe(
        self,
        destination: str,
        handler: Callable[[Delivery], None],
        *,
        ack: AckMode = "client-individual",
        prefetch: int = 200,
    ) -> None:
        """Have every message of a destination handed to `handler`, once the broker has confirmed."""
        number = str(next(self._numbers))
        self._handlers[number] = handler
        headers = {"id": number, "ack": ack, **self.dialect.subscribe_to(destination)}
        if ack != "auto":
            headers |= self.dialect.subscribe_headers(prefetch=prefetch)
        await self._confirmed("SUBSCRIBE", headers)

    def send(
        self,
        destination: str,
        body: bytes,
        headers: Mapping[str, str] | None = None,
        *,
        persistent: bool = False,
    ) -> None:
        """SEND into the buffer at once; `drain` waits while it is full. Raises ConnectionLost."""
        full = self._headers(destination, headers, persistent=persistent)
        self._write(Frame("SEND", full, body))

    async def send_confirmed(
        self,
        destination: str,
        body: bytes,
        headers: Mapping[str, str] | None = None,
        *,
        persistent: bool = False,
    ) -> None:
        """SEND and wait until the broker has it."""
        full = self._headers(destination, headers, persistent=persistent)
        await self._confirmed("SEND", full, body)

    def ack(self, delivery: Delivery) -> None:
        """Acknowledge a delivery."""
        self._write(Frame("ACK", {"id": delivery.ack_id}))

    async def drain(self) -> None:
        """Wait until the buffer has room again."""
        self._flush()
        await self._writable.wait()

    async def close(self) -> None:
        """Say goodbye, and disconnect once the broker has read it all."""
        await self._confirmed("DISCONNECT", {})
        self._transport.close()
        await self._closed

    def _headers(
        self, destination: str, headers: Mapping[str, str] | None, *, persistent: bool
    ) -> dict[str, str]:
        full = {"destination": self.dialect.send_to(destination), **(headers or {})}
        return full | self.dialect.send_headers(
            persistent=persistent, expires=None, now=time.time()
        )

    async def _confirmed(self, command: str, headers: dict[str, str], body: bytes = b"") -> None:
        name = f"r{next(self._numbers)}"
        self._receipts[name] = self._loop.create_future()
        self._write(Frame(command, {**headers, "receipt": name}, body))
        await self._receipts[name]

    def _write(self, frame: Frame) -> None:
        if self._closed.done():
            raise ConnectionLost(self._reason)
        data = dump(frame)
        if not self._out:
            self._loop.call_soon(self._flush)
        self._out.append(data)
        self._size += len(data)
        if self._size >= _FLUSH_AT:
            self._flush()

    def _flush(self) -> None:
        self._transport.write(b"".join(self._out))
        self._out.clear()
        self._size = 0

    # --- called by asyncio ---------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport; asyncio itself has set TCP_NODELAY."""
        assert isinstance(transport, asyncio.Transport)
        transport.set_write_buffer_limits(high=_HIGH_WATER)
        self._transport = transport

    def pause_writing(self) -> None:
        """The socket is full."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """The socket has room again."""
        self._writable.set()

    def data_received(self, data: bytes) -> None:
        """Hand over each complete frame."""
        for frame in self._parser.feed(data):
            if frame.command == "MESSAGE":
                self._handlers[frame.headers["subscription"]](delivery_of(frame, 1))
            elif frame.command == "RECEIPT":
                self._receipts.pop(frame.headers["receipt-id"]).set_result(None)
            elif frame.command == "CONNECTED":
                self._connected.set_result(frame)
            else:
                self._reason = reason_of(frame)
                self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail whatever waits."""
        self._reason = self._reason or str(exc or "the broker closed the connection")
        self._writable.set()
        for future in (self._connected, *self._receipts.values()):
            if not future.done():
                future.set_exception(ConnectionLost(self._reason))
        self._closed.set_result(None)
