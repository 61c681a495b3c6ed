"""A STOMP connection for asyncio: the twin of `connector` where thousands of nodes share a process.

It parses in `data_received`, hands each message to its subscription's handler at once, and writes
what one turn of the loop has sent with a single system call. It does not reconnect: `on_lost` says
why the connection ended, and the caller opens another.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import ssl
import time
from typing import TYPE_CHECKING

from mcshell.errors import (
    ConnectError,
    ConnectionLost,
    FrameError,
    ReceiptTimeout,
    UnknownBroker,
)
from mcshell.wire.dialects import VHOST, Dialect, dialect_of
from mcshell.wire.endpoint import check_login, parse_url, reason_of, tls_context, words_of
from mcshell.wire.frame import HEARTBEAT, Frame, Parser, dump
from mcshell.wire.transport import Delivery

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from mcshell.wire.endpoint import TLSFiles
    from mcshell.wire.transport import AckMode

__all__ = ["AioConnection"]

log = logging.getLogger(__name__)

_epochs = itertools.count(1)
_FLUSH_AT = 256 * 1024
_HIGH_WATER = 4 * 1024 * 1024
_BYE = 2.0


def _words_of(failure: OSError) -> str:
    """Say what went wrong; asyncio puts the address where the system's words would be."""
    number = failure.errno or 0  # getaddrinfo's are negative
    if number > 0 and not isinstance(failure, ssl.SSLError):
        return os.strerror(number).lower()
    return words_of(failure)


class AioConnection(asyncio.Protocol):
    """One STOMP 1.2 connection; made by `open`, belongs to the loop that opened it.

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

    @classmethod
    async def open(
        cls,
        urls: Sequence[str],
        *,
        user: str = "",
        passcode: str = "",
        tls: TLSFiles | None = None,
        heartbeat: float = 10.0,
        timeout: float = 5.0,  # noqa: ASYNC109  # shared out over the urls, so not one scope
        on_lost: Callable[[str], None] | None = None,
    ) -> AioConnection:
        """Connect to the first of the brokers that takes us; all times are in seconds.

        Raises:
            ConnectError: none did within `timeout`; it carries the last one's own reason.
            UnknownBroker: the broker answers but is none whose dialect we know.
        """
        check_login(user, passcode)
        deadline = time.monotonic() + timeout
        error = ConnectError("", "no broker's URL is set")
        for number, url in enumerate(urls):
            share = max(0.1, (deadline - time.monotonic()) / (len(urls) - number))
            link = cls(url, heartbeat, on_lost)
            try:
                async with asyncio.timeout(share):
                    await link._connect(user, passcode, tls)  # its own
            except TimeoutError:
                waited = "no STOMP answer" if link._transport else "no answer"  # its own
                error = ConnectError(url, f"{waited} within {share:.1f} s")
            except ConnectionLost as lost:
                error = ConnectError(url, lost.reason)
            except OSError as failed:
                error = ConnectError(url, _words_of(failed))
            else:
                return link
            link._abandon()  # its own
        raise error

    async def _connect(self, user: str, passcode: str, tls: TLSFiles | None) -> None:
        where = parse_url(self.url)
        context = tls_context(tls) if where.tls else None
        await self._loop.create_connection(lambda: self, where.host, where.port, ssl=context)
        beat = int(self._heartbeat * 1000)
        headers = {"accept-version": "1.2", "host": VHOST, "heart-beat": f"{beat},{beat}"}
        if user:
            headers |= {"login": user, "passcode": passcode}
        self._write(Frame("CONNECT", headers))
        answer = await self._connected
        try:
            self.dialect = dialect_of(answer.headers.get("server", ""))
        except UnknownBroker:
            self._abandon()
            raise
        beats = answer.headers.get("heart-beat", "0,0")
        try:
            theirs, wanted = (int(beat) / 1000 for beat in beats.split(","))
        except ValueError:
            raise ConnectionLost(f"the broker's heart-beat {beats[:40]!r} is no pair") from None
        self._start_heartbeats(theirs, wanted)

    def _abandon(self) -> None:
        self._closing = True
        if self._transport:
            self._transport.abort()

    # ── what the caller does ────────────────────────────────────────────────────────────────

    @property
    def connected(self) -> bool:
        """Whether the connection still stands."""
        return not self._closed.done() and not self._closing

    async def subscribe(
        self,
        destination: str,
        handler: Callable[[Delivery], None],
        *,
        ack: AckMode = "client-individual",
        prefetch: int = 200,
    ) -> str:
        """Have every message of a destination handed to `handler`; returns the subscription's id.

        Returns when the broker has confirmed; `handler` runs in the loop and must not block.
        """
        number = str(next(self._numbers))
        self._handlers[number] = handler
        headers = {"id": number, "ack": ack, **self.dialect.subscribe_to(destination)}
        if ack != "auto":
            headers |= self.dialect.subscribe_headers(prefetch=prefetch)
        try:
            await self._confirmed("SUBSCRIBE", headers, b"", destination)
        except BaseException:
            del self._handlers[number]
            raise
        return number

    def unsubscribe(self, subscription: str) -> None:
        """End a subscription; what is still on its way is dropped and stays unacknowledged."""
        if self._handlers.pop(subscription, None):
            self._write(Frame("UNSUBSCRIBE", {"id": subscription}))

    def send(
        self,
        destination: str,
        body: bytes,
        headers: Mapping[str, str] | None = None,
        *,
        persistent: bool = False,
        expires: float | None = None,
    ) -> None:
        """SEND into the buffer at once; `drain` waits while it is full.

        Raises:
            ConnectionLost: there is no connection any more.
        """
        self._write(
            Frame("SEND", self._send_headers(destination, headers, persistent, expires), body)
        )

    async def send_confirmed(
        self,
        destination: str,
        body: bytes,
        headers: Mapping[str, str] | None = None,
        *,
        persistent: bool = False,
        expires: float | None = None,
        timeout: float = 10.0,  # noqa: ASYNC109  # becomes ReceiptTimeout
    ) -> None:
        """SEND and wait until the broker has it.

        Raises:
            ReceiptTimeout: it did not confirm within `timeout` seconds.
            ConnectionLost: the connection ended first; nobody knows whether it arrived.
        """
        full = self._send_headers(destination, headers, persistent, expires)
        await self._confirmed("SEND", full, body, destination, timeout)

    async def drain(self) -> None:
        """Wait until the buffer has room again."""
        self._flush()
        await self._writable.wait()

    def ack(self, delivery: Delivery) -> None:
        """Acknowledge a delivery; one of another connection, or after the end, is dropped."""
        known = delivery.epoch == self.epoch and delivery.subscription in self._handlers
        if known and delivery.ack_id and self.connected:
            self._write(Frame("ACK", {"id": delivery.ack_id}))

    async def close(self) -> None:
        """Say goodbye, wait (2 s at most) for the broker to have read it all, and disconnect."""
        if self.connected:
            self.on_lost = None
            try:
                await self._confirmed("DISCONNECT", {}, b"", "the goodbye", _BYE)
            except (ReceiptTimeout, ConnectionLost) as error:
                log.debug("closing %s: %s", self.url, error)
        self._closing = True
        if self._transport:
            self._transport.close()
        await asyncio.wait([self._closed], timeout=_BYE)

    # ── writing ─────────────────────────────────────────────────────────────────────────────

    def _send_headers(
        self,
        destination: str,
        headers: Mapping[str, str] | None,
        persistent: bool,  # noqa: FBT001  # passed on
        expires: float | None,
    ) -> dict[str, str]:
        full = {"destination": self.dialect.send_to(destination)}
        if headers:
            full.update(headers)
        full |= self.dialect.send_headers(persistent=persistent, expires=expires, now=time.time())
        return full

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
        headers = frame.headers
        subscription = headers.get("subscription", "")
        handler = self._handlers.get(subscription)
        if handler is None:
            return
        delivery = Delivery(
            headers.get("destination", ""),
            frame.body,
            headers,
            subscription,
            headers.get("ack", ""),
            self.epoch,
            headers.get("redelivered") == "true",
        )
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
