"""Brokers that are there, at the end of a line on which each answer takes its time."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Self

import pytest

from mcshell.errors import ConnectError
from mcshell.wire.stomp import reconnect
from mcshell.wire.stomp.connector import Connector, TLSFiles
from tests.peers.processes import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.peers.brokers import Broker

SOON = 60.0  # seconds: a bound for what takes a few on an idle machine
ATTEMPT = 1.0
DELAY = 0.3
"""A handshake and its answer take twice as long, which is more than a third of an attempt."""


class LongLine:
    """Forwards connections to a port, each piece a while after it came; until it is `open` it closes them."""

    def __init__(self, to: int, *, closed: bool = False) -> None:
        self.open = not closed
        self._to = to
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"stomp+ssl://127.0.0.1:{self._listener.getsockname()[1]}"
        self._peers: dict[socket.socket, socket.socket] = {}
        self._late: deque[tuple[float, socket.socket, bytes]] = deque()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join(SOON)

    def _run(self) -> None:
        with selectors.DefaultSelector() as ready, contextlib.ExitStack() as stack:
            stack.enter_context(self._listener)
            ready.register(self._listener, selectors.EVENT_READ)
            while not self._ended.is_set():
                for key, _events in ready.select(0.02):
                    if key.fileobj is self._listener:
                        self._take(ready, stack)
                    else:
                        self._read(ready, key.fileobj)
                while self._late and self._late[0][0] <= time.monotonic():
                    _due, to, data = self._late.popleft()
                    with contextlib.suppress(OSError):
                        to.sendall(data) if data else to.shutdown(socket.SHUT_WR)

    def _take(self, ready: selectors.BaseSelector, stack: contextlib.ExitStack) -> None:
        near = stack.enter_context(self._listener.accept()[0])
        if not self.open:
            near.close()
            return
        far = stack.enter_context(socket.create_connection(("127.0.0.1", self._to)))
        for one, other in ((near, far), (far, near)):
            self._peers[one] = other
            ready.register(one, selectors.EVENT_READ)

    def _read(self, ready: selectors.BaseSelector, one: socket.socket) -> None:
        data = b""
        with contextlib.suppress(OSError):
            data = one.recv(1 << 16)
        if not data:
            ready.unregister(one)
        self._late.append((time.monotonic() + DELAY, self._peers[one], data))


@pytest.fixture(autouse=True)
def _short_attempts(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the line takes is more than a connection's part of an attempt."""
    monkeypatch.setattr(reconnect, "ATTEMPT", ATTEMPT)


def tls(pki: Path) -> TLSFiles:
    """Alice's."""
    return TLSFiles(pki / "ca.pem", pki / "alice.pem", pki / "alice.key")


def _begin(link: Connector) -> None:
    with contextlib.suppress(ConnectError):  # given up
        link.start(None)


def test_brokers_that_share_too_short_a_time_are_given_more(embedded: Broker) -> None:
    """Who tries three brokers over a long line, each for a third of the time, is connected in a later round."""
    login = {"user": embedded.user, "passcode": embedded.passcode, "tls": tls(embedded.pki)}
    with contextlib.ExitStack() as stack:
        lines = [stack.enter_context(LongLine(embedded.tls_port)) for _ in range(3)]
        link = stack.enter_context(Connector([one.url for one in lines], **login))
        starting = threading.Thread(target=_begin, args=[link])
        starting.start()
        reached = wait_until(lambda: link.connected, SOON / 2)
        link.give_up()
        starting.join()
        assert reached


def test_a_first_broker_at_the_end_of_a_long_line_is_gone_back_to(
    embedded: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The way back to it has as much time as the way there."""
    monkeypatch.setattr(reconnect, "BYE", DELAY)
    monkeypatch.setattr(reconnect, "RETURN", 0.1)
    login = {"user": embedded.user, "passcode": embedded.passcode, "tls": tls(embedded.pki)}
    with (
        LongLine(embedded.tls_port, closed=True) as line,
        Connector([line.url, embedded.url], **login) as link,
    ):
        link.start(SOON)
        assert link.url == embedded.url
        line.open = True
        assert wait_until(lambda: link.url == line.url, SOON / 2)
