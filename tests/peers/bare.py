"""A bare STOMP client: one blocking socket and the project's own codec, nothing in between."""

from __future__ import annotations

import itertools
import socket
import time
from typing import TYPE_CHECKING, Self

from mcshell.wire.stomp.dialects import VHOST, dialect_of
from mcshell.wire.stomp.frame import HEARTBEAT, Frame, Parser, dump

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping

    from tests.peers.brokers import Broker

__all__ = ["Bare", "Closed"]

PATIENCE = 60.0  # seconds: how long a busy machine may take for anything


class Closed(Exception):
    """The broker closed the connection; holds its last ERROR frame, if it sent one."""

    def __init__(self, error: Frame | None) -> None:
        super().__init__(error)
        self.error = error


class Bare:
    """One connection; a context manager that cuts it without a goodbye."""

    def __init__(
        self,
        broker: Broker,
        *,
        version: str = "1.2",
        heartbeat: str = "0,0",
        user: str | None = None,
        passcode: str | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        port = broker.tls_port if tls else broker.port
        self.sock = socket.create_connection((broker.host, port), PATIENCE)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls:
            self.sock = tls.wrap_socket(self.sock, server_hostname=broker.host)
        self.version = version
        self.parser = Parser()
        self.frames: list[Frame] = []
        self.heartbeats = 0
        self.numbers = itertools.count(1)
        self.hello = {
            "accept-version": version,
            "host": VHOST,
            "login": broker.user if user is None else user,
            "passcode": broker.passcode if passcode is None else passcode,
            "heart-beat": heartbeat,
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()

    def connect(self) -> Bare:
        """Shake hands."""
        self.put("CONNECT", self.hello)
        self.connected = self.get("CONNECTED")
        self.dialect = dialect_of(self.connected.headers["server"])
        return self

    def put(self, command: str, headers: Mapping[str, str], body: bytes = b"") -> None:
        """Send one frame."""
        self.sock.sendall(dump(Frame(command, dict(headers), body), self.version))

    def confirm(self, command: str, headers: Mapping[str, str], body: bytes = b"") -> None:
        """Send one frame and wait for its receipt; what comes before it is kept."""
        receipt = f"receipt-{next(self.numbers)}"
        self.put(command, {**headers, "receipt": receipt}, body)
        kept = []
        while (frame := self.get()).headers.get("receipt-id") != receipt:
            kept.append(frame)
        assert frame.command == "RECEIPT"
        self.frames[:0] = kept

    def get(self, command: str = "", seconds: float = PATIENCE) -> Frame:
        """The next frame, which must be this command if one is named.

        Raises:
            Closed: there are no more; ERROR counts as the end.
            TimeoutError: nothing came.
        """
        deadline = time.monotonic() + seconds
        while not self.frames:
            self.sock.settimeout(max(0.001, deadline - time.monotonic()))
            try:
                data = self.sock.recv(1 << 18)
            except ConnectionError:
                data = b""
            if not data:
                raise Closed(None)
            self.heartbeats += data == HEARTBEAT
            self.frames += self.parser.feed(data)
        frame = self.frames.pop(0)
        if frame.command == "ERROR":
            raise Closed(frame)
        assert command in ("", frame.command), frame
        return frame

    def messages(self, count: int) -> list[Frame]:
        """The next messages, exactly as many as asked for."""
        return [self.get("MESSAGE") for _ in range(count)]

    def silent(self, seconds: float = 0.5) -> bool:
        """Whether nothing comes for so long."""
        try:
            self.get(seconds=seconds)
        except TimeoutError:
            return True
        return False

    def subscribe(
        self,
        destination: str,
        *,
        ack: str = "client-individual",
        prefetch: int = 100,
        id_: str = "",
    ) -> str:
        """SUBSCRIBE with a receipt, a queue of replies as the broker wants it; returns the id."""
        id_ = id_ or str(next(self.numbers))
        headers = {**self.dialect.subscribe_to(destination), "id": id_, "ack": ack}
        if ack != "auto":
            headers |= self.dialect.subscribe_headers(prefetch=prefetch)
        self.confirm("SUBSCRIBE", headers)
        return id_

    def send(
        self,
        destination: str,
        body: bytes,
        headers: Mapping[str, str] | None = None,
        *,
        persistent: bool = False,
        expires: float | None = None,
        confirm: bool = True,
    ) -> None:
        """SEND, with a receipt unless told otherwise; `expires` is seconds since the epoch."""
        how = self.dialect.send_headers(persistent=persistent, expires=expires, now=time.time())
        full = {"destination": self.dialect.send_to(destination), **(headers or {}), **how}
        (self.confirm if confirm else self.put)("SEND", full, body)

    def ack(self, frame: Frame, command: str = "ACK", **more: str) -> None:
        """ACK a message the way our version of STOMP does."""
        headers = frame.headers
        if self.version == "1.2":
            self.put(command, {"id": headers["ack"], **more})
        else:
            named = {
                name: headers[name] for name in ("message-id", "subscription") if name in headers
            }
            self.put(command, {**named, **more})

    def leave(self) -> None:
        """DISCONNECT and wait until the broker has read everything."""
        self.confirm("DISCONNECT", {})
        self.sock.close()
