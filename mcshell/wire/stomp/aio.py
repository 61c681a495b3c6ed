"""A STOMP connection for asyncio: the twin of `connector` where thousands of nodes share a process.

It parses in `data_received`, hands each message to its subscription's handler at once, and writes
what one turn of the loop has sent with a single system call (`aiolink`). It does not reconnect:
`on_lost` says why the connection ended, and the caller opens another.
"""

from __future__ import annotations

import asyncio
import logging
import os
import ssl
import time
from typing import TYPE_CHECKING

from mcshell.errors import ConnectError, ConnectionLost, ReceiptTimeout, UnknownBroker
from mcshell.wire.stomp.aio_protocol import AioLink
from mcshell.wire.stomp.dialects import VHOST, dialect_of
from mcshell.wire.stomp.endpoint import check_login, parse_url, tls_context, words_of
from mcshell.wire.stomp.frame import Frame

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from mcshell.wire.stomp.endpoint import TLSFiles
    from mcshell.wire.stomp.transport import AckMode, Delivery

__all__ = ["AioConnection"]

log = logging.getLogger(__name__)

_BYE = 2.0


def _words_of(failure: OSError) -> str:
    """Say what went wrong; asyncio puts the address where the system's words would be."""
    number = failure.errno or 0  # getaddrinfo's are negative
    if number > 0 and not isinstance(failure, ssl.SSLError):
        return os.strerror(number).lower()
    return words_of(failure)


class AioConnection(AioLink):
    """One STOMP 1.2 connection; made by `open`, belongs to the loop that opened it."""

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
