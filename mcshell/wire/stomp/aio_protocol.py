"""The protocol half of `aio`: bytes in, bytes out, receipts and heart-beats, in one event loop."""

from __future__ import annotations

import asyncio
import itertools
import logging
from typing import TYPE_CHECKING

from mcshell.errors import ConnectionLost, FrameError, ReceiptTimeout
from mcshell.wire.stomp.endpoint import reason_of
from mcshell.wire.stomp.frame import HEARTBEAT, Frame, Parser, dump
from mcshell.wire.stomp.transport import delivery_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from mcshell.wire.stomp.dialects import Dialect
    from mcshell.wire.stomp.transport import Delivery

__all__ = ["AioLink"]

log = logging.getLogger(__name__)

_epochs = itertools.count(1)
_FLUSH_AT = 256 * 1024
_HIGH_WATER = 4 * 1024 * 1024


class AioLink(asyncio.Protocol):
    """One connection as asyncio drives it; `aio.AioConnection` is what others use.

    Attributes:
        dialect: how the broker at the other end wants things said.
        epoch: the number of this connection, in each of its deliveries.
        on_lost: called once with the reason when the connection ends without `close`.
    """

    def __init__(
        self, url: str, heartbeat: float, on_lost: Callable[[str], None] | None = None
    ) -> None:
        self.url = url
        self.on_lost = on_lost
        self.epoch = next(_epochs)
        self.dialect: Dialect
        self._loop = asyncio.get_running_loop()
        self._heartbeat = heartbeat
        self._parser = Parser()
        self._transport: asyncio.Transport | None = None
        self._handlers: dict[str, Callable[[Delivery], None]] = {}
        self._receipts: dict[str, asyncio.Future[None]] = {}
        self._numbers = itertools.count(1)
        self._out: list[bytes] = []
        self._out_size = 0
        self._writable = asyncio.Event()
        self._writable.set()
        self._connected: asyncio.Future[Frame] = self._loop.create_future()
        self._closed: asyncio.Future[None] = self._loop.create_future()
        self._reason = ""
        self._closing = False
        self._last_read = self._last_write = self._loop.time()

    @property
    def connected(self) -> bool:
        """Whether the connection still stands."""
        return not self._closed.done() and not self._closing

    def _abandon(self) -> None:
        self._closing = True
        if self._transport:
            self._transport.abort()

    # ── writing ─────────────────────────────────────────────────────────────────────────────

    async def _confirmed(
        self, command: str, headers: dict[str, str], body: bytes, what: str, seconds: float = 10.0
    ) -> None:
        name = f"r{next(self._numbers)}"
        future = self._receipts[name] = self._loop.create_future()
        try:
            self._write(Frame(command, {**headers, "receipt": name}, body))
            async with asyncio.timeout(seconds):
                await future
        except TimeoutError:
            raise ReceiptTimeout(f"{command} {what}", seconds) from None
        finally:
            self._receipts.pop(name, None)

    def _write(self, frame: Frame) -> None:
        if not self.connected:
            raise ConnectionLost(self._reason or "the connection is closed")
        data = dump(frame)
        if not self._out:
            self._loop.call_soon(self._flush)
        self._out.append(data)
        self._out_size += len(data)
        if self._out_size >= _FLUSH_AT:
            self._flush()

    def _flush(self) -> None:
        if self._out and self._transport and not self._transport.is_closing():
            self._last_write = self._loop.time()
            self._transport.write(b"".join(self._out))
        self._out.clear()
        self._out_size = 0

    def pause_writing(self) -> None:
        """The socket is full (asyncio's call)."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """The socket has room again (asyncio's call)."""
        self._writable.set()

    # ── reading ─────────────────────────────────────────────────────────────────────────────

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport; asyncio itself has set TCP_NODELAY (asyncio's call)."""
        assert isinstance(transport, asyncio.Transport)
        transport.set_write_buffer_limits(high=_HIGH_WATER)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Hand over each complete frame (asyncio's call)."""
        self._last_read = self._loop.time()
        try:
            frames = self._parser.feed(data)
        except FrameError as error:
            self._fail(str(error))
            return
        for frame in frames:
            if frame.command == "MESSAGE":
                self._message(frame)
            else:
                self._answer(frame)

    def _message(self, frame: Frame) -> None:
        handler = self._handlers.get(frame.headers.get("subscription", ""))
        if handler is None:
            return
        delivery = delivery_of(frame, self.epoch)
        try:
            handler(delivery)
        except Exception:  # a handler's fault must not cost the other subscriptions their link
            log.exception("the handler of %s failed", delivery.destination)

    def _answer(self, frame: Frame) -> None:
        if frame.command == "RECEIPT":
            future = self._receipts.get(frame.headers.get("receipt-id", ""))
            if future and not future.done():
                future.set_result(None)
        elif frame.command == "CONNECTED" and not self._connected.done():
            self._connected.set_result(frame)
        elif frame.command == "ERROR":
            self._fail(reason_of(frame))
        else:
            self._fail(f"unexpected {frame.command} from the broker")

    def _fail(self, reason: str) -> None:
        """End a connection that is of no further use."""
        self._reason = self._reason or reason
        if self._transport:
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail whatever waits, and tell the caller (asyncio's call)."""
        reason = self._reason or (str(exc) if exc else "the broker closed the connection")
        self._reason = reason
        self._writable.set()
        waiting: list[asyncio.Future[None]] = list(self._receipts.values())
        for future in waiting:
            if not future.done():
                future.set_exception(ConnectionLost(reason))
        opening = not self._connected.done()
        if opening:
            self._connected.set_exception(ConnectionLost(reason))
            self._connected.exception()  # seen: nobody may be waiting any more
        if not self._closed.done():
            self._closed.set_result(None)
        if self.on_lost and not opening and not self._closing:
            self.on_lost(reason)

    # ── heart-beats ─────────────────────────────────────────────────────────────────────────

    def _start_heartbeats(self, theirs: float, wanted: float) -> None:
        """Begin both directions as negotiated; the broker's numbers in seconds, 0 is never."""
        ours = self._heartbeat
        write_every = max(ours, wanted) if ours and wanted else 0.0
        read_every = max(ours, theirs) if ours and theirs else 0.0
        if write_every:
            self._loop.call_later(write_every / 2, self._beat, write_every)
        if read_every:
            due = self._loop.time() + read_every / 2
            self._loop.call_at(due, self._listen, read_every, due)

    def _beat(self, every: float) -> None:
        if self._closed.done() or not self._transport:
            return
        now = self._loop.time()
        if not self._out and now - self._last_write >= every * 0.4:
            self._last_write = now
            self._transport.write(HEARTBEAT)
        self._loop.call_later(every / 2, self._beat, every)

    def _listen(self, every: float, due: float) -> None:
        if self._closed.done():
            return
        now = self._loop.time()
        late = now - due > every / 2  # our own loop was busy: what came meanwhile is unread
        if not late and now - self._last_read > every * 2:
            self._fail(f"the broker was silent for {now - self._last_read:.1f} s")
            return
        self._loop.call_later(every / 2, self._listen, every, now + every / 2)
