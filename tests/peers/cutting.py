"""A TCP proxy that cuts connections: after so many bytes in a direction, and in one of several ways."""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import threading
import time
from dataclasses import dataclass
from typing import Literal, Self

__all__ = ["Cut", "CuttingProxy"]

CHUNK = 65536
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER of no seconds: close() sends RST


@dataclass(frozen=True, slots=True)
class Cut:
    """Where one connection ends: behind the first `after` bytes `up` (to the broker) or `down`.

    `fin` and `rst` end it so at both ends; `silence` ends nothing: no byte goes through any more.
    """

    way: Literal["up", "down"]
    after: int
    how: Literal["fin", "rst", "silence"] = "fin"


class CuttingProxy:
    """Passes on to a port of this machine; a context manager that ends it.

    Args:
        port: where to.
        cuts: one for each connection, in their order; those that come later are whole.
        piece: so many bytes are passed on at a time.
        pause: seconds between two pieces.
    """

    def __init__(
        self, port: int, *cuts: Cut, piece: int = CHUNK, pause: float = 0.0, host: str = "127.0.0.1"
    ) -> None:
        self._to = host, port
        self._cuts = list(cuts)
        self._piece = piece
        self._pause = pause
        self._ended = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._socks: list[socket.socket] = [self._listener]
        self.port: int = self._listener.getsockname()[1]
        self.connections = 0
        self.passed = {"up": 0, "down": 0}
        """Bytes of the connection that was made last."""
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for sock in self._socks:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        self._thread.join(30)
        for sock in self._socks:
            sock.close()

    def cut(self, *cuts: Cut) -> None:
        """Have the next connections cut so."""
        self._cuts += cuts

    def _listen(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                self._socks.append(near)
                try:
                    far = socket.create_connection(self._to, 30)
                except OSError:
                    near.close()
                    continue
                self._socks.append(far)
                for sock in (near, far):
                    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                cut = self._cuts.pop(0) if self._cuts else None
                self.connections += 1
                self.passed = {"up": 0, "down": 0}
                threading.Thread(
                    target=self._relay, args=(near, far, cut, self.passed), daemon=True
                ).start()

    def _relay(
        self, near: socket.socket, far: socket.socket, cut: Cut | None, passed: dict[str, int]
    ) -> None:
        ways = {near: ("up", far), far: ("down", near)}
        open_ = [near, far]
        with contextlib.suppress(OSError, ValueError):
            while open_ and not self._ended.is_set():
                for sock in select.select(open_, [], [], 1.0)[0]:
                    way, other = ways[sock]
                    left = self._piece
                    if cut is not None and cut.way == way:
                        left = min(left, cut.after - passed[way])
                        if left <= 0:
                            self._end(near, far, cut)
                            return
                    data = sock.recv(left)
                    if not data:
                        other.shutdown(socket.SHUT_WR)
                        open_.remove(sock)
                        continue
                    other.sendall(data)
                    passed[way] += len(data)
                    if cut is not None and cut.way == way and passed[way] >= cut.after:
                        self._end(near, far, cut)
                        return
                    if self._pause:
                        time.sleep(self._pause)
        self._end(near, far, None)

    def _end(self, near: socket.socket, far: socket.socket, cut: Cut | None) -> None:
        if cut is not None and cut.how == "silence":
            return
        for sock in (near, far):
            if cut is not None and cut.how == "rst":
                with contextlib.suppress(OSError):
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            with contextlib.suppress(OSError):
                if cut is None or cut.how == "fin":
                    sock.shutdown(socket.SHUT_RDWR)
            sock.close()
