"""A TCP or TLS connection on which no call waits without a bound.

One thread receives, any number send. The socket never blocks, every wait is a poll with a
deadline, and the receiving thread keeps STOMP's heart-beats in both directions, so that no thread
of their own is needed. Only the receiving thread closes the descriptor; others `shutdown` it, and
never through `ssl`'s own method, which would leave a socket that writes plain text.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import socket
import ssl
import threading
import time
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from mcshell import forking
from mcshell.errors import ConnectionLost
from mcshell.wire.stomp.frame import HEARTBEAT

if TYPE_CHECKING:
    from collections.abc import Callable

    from mcshell.wire.stomp.endpoint import Endpoint

__all__ = [
    "NO_HEARTBEAT",
    "BatchWriter",
    "PatientSocket",
    "agree_heartbeat",
    "is_heartbeat",
    "keep_alive",
]

NO_HEARTBEAT = "0,0"

CHUNK = 64 * 1024
_BACKLOG = 4096  # frames that may wait to be written
_LINGER = 0.005  # seconds in which more of them may come together
_FLOOD = 100  # small chunks, each soon after the one before
_SOON = 0.006  # seconds
_ENDED = 0.1  # seconds of silence that end a flood; ActiveMQ pauses between its pages
_REST = 0.005  # seconds in which more of a flood comes together
_WORTH = 3000  # bytes that a rest must have brought
_SLICE = 0.1  # seconds between looks at whether the attempt was called off
_GRACE = 3.0  # intervals of silence that end a connection; ActiveMQ begins after two
_INTERVALS = re.compile(r" *([0-9]{1,8}) *, *([0-9]{1,8}) *").fullmatch  # milliseconds
_EAGER = 0.7  # the part of the interval after which we send ours
_WOULD_BLOCK = (BlockingIOError, InterruptedError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


def is_heartbeat(header: str) -> bool:
    """Whether the header of a CONNECTED says what it is meant to say."""
    return _INTERVALS(header) is not None


def agree_heartbeat(ours: float, theirs: str) -> tuple[float, float]:
    """Settle the intervals (seconds; 0: none) in which we send and they do.

    `theirs` is the header of CONNECTED: what the broker can send and wants to get, milliseconds.
    """
    match = _INTERVALS(theirs)
    if not ours or match is None:
        return 0.0, 0.0
    sends, wants = (int(word) / 1000 for word in match.groups())
    return max(ours, wants) if wants else 0.0, max(ours, sends) if sends else 0.0


def keep_alive(sock: socket.socket) -> None:
    """Have the system find out within two minutes that the other machine is gone, where no heart-beat does."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 15), ("TCP_KEEPCNT", 4)):
        if (option := getattr(socket, name, None)) is not None:  # not every system has each
            sock.setsockopt(socket.IPPROTO_TCP, option, value)


class PatientSocket:
    """One connection, made by the constructor.

    Args:
        endpoint: where to; TLS, or nothing, when it says so.
        context: the TLS side of it.
        timeout: seconds for connecting and the handshake together.
        stall: seconds after which a send without progress ends the connection.
        called_off: asked again and again while connecting; true gives up at once.

    Raises:
        OSError: it was refused, or the handshake failed.
        TimeoutError: it took too long, or was called off.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        context: ssl.SSLContext | None,
        *,
        timeout: float,
        stall: float,
        called_off: Callable[[], bool] = lambda: False,
    ) -> None:
        self._stall = stall
        self._called_off = called_off
        self._frames = threading.Lock()
        """Held while one frame is written: nothing may come into its middle."""
        self.silent = False
        """Whether it was ended because nothing came from the broker, or nothing was taken."""
        self._shut = ""
        self._owed = b""
        """A heart-beat that did not fit into the socket's buffer."""
        self._beat_out = self._beat_in = 0.0
        self._small = 0
        """How many small chunks have come, each soon after the one before."""
        self._sock: socket.socket
        forking.hold(self)
        deadline = time.monotonic() + timeout
        self._connect(endpoint, deadline)
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        keep_alive(self._sock)
        # OpenSSL's object takes one caller at a time; a plain socket minds nobody
        self._guard: contextlib.AbstractContextManager[object] = contextlib.nullcontext()
        if endpoint.tls:
            assert context is not None, "TLS without a context"
            self._guard = threading.Lock()
            try:
                self._handshake(context, endpoint.host, deadline)
            except BaseException:
                self._sock.close()
                raise
        self._sent = self._heard = time.monotonic()

    def rest(self, timeout: float) -> bool:  # noqa: ARG002 - as `forking.Inherited` has it
        """Be ready for a fork, as it always is."""
        return True

    def go_on(self) -> None:
        """Stay the parent's connection."""

    def let_go(self) -> None:
        """Close what a child has inherited of it; the broker is told nothing."""
        if (sock := getattr(self, "_sock", None)) is not None and sock.fileno() >= 0:
            os.close(sock.detach())

    def _connect(self, endpoint: Endpoint, deadline: float) -> None:
        """Try each address of the host; raises what the last one failed with."""
        failure: OSError = TimeoutError("no host")
        # As bytes, a name is not sent through Python's tables of international ones (0.4 MiB).
        host = endpoint.host.encode() if endpoint.host.isascii() else endpoint.host
        batch = socket.getaddrinfo(host, endpoint.port, type=socket.SOCK_STREAM)
        for count, (*how, _, address) in enumerate(batch):
            now = time.monotonic()
            # one that says nothing leaves time to the others
            due = now + (deadline - now) / (len(batch) - count)
            try:
                self._sock = sock = socket.socket(*how)  # refused for IPv6 where there is none
                sock.setblocking(False)
                with contextlib.suppress(BlockingIOError):
                    sock.connect(address)
                self._await(sock, select.POLLOUT, due, "connection attempt")
                if code := sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                    raise OSError(code, os.strerror(code))  # noqa: TRY301  # joins what connect raises
            except OSError as refused:
                self.let_go()
                failure = refused
            else:
                return
        raise failure

    def _handshake(self, context: ssl.SSLContext, host: str, deadline: float) -> None:
        self._sock = secured = context.wrap_socket(
            self._sock, server_hostname=host, do_handshake_on_connect=False
        )
        while True:
            try:
                secured.do_handshake()
            except ssl.SSLWantReadError:
                self._await(secured, select.POLLIN, deadline, "TLS handshake")
            except ssl.SSLWantWriteError:
                self._await(secured, select.POLLOUT, deadline, "TLS handshake")
            else:
                return

    @property
    def certificate(self) -> bytes | None:
        """The other side's certificate (DER); None without TLS."""
        sock = self._sock
        return sock.getpeercert(binary_form=True) if isinstance(sock, ssl.SSLSocket) else None

    def _await(self, sock: socket.socket, event: int, deadline: float, what: str) -> None:
        """Wait for the socket while connecting."""
        poll = select.poll()
        poll.register(sock, event)
        while True:
            progress = poll.poll(_SLICE * 1000)
            if self._called_off():
                raise TimeoutError("called off")
            # what came while the machine was busy is in time, a byte now and then is no answer
            if time.monotonic() > deadline + (self._stall if progress else 0.0):
                raise TimeoutError(f"no answer to the {what}")
            if progress:
                return

    def set_heartbeat(self, out: float, into: float) -> None:
        """Begin to keep heart-beats (seconds; 0: none in that direction)."""
        self._beat_out, self._beat_in = out, into
        self._heard = time.monotonic()

    def send(self, data: bytes) -> None:
        """Write a whole frame.

        Raises:
            ConnectionLost: it is closed, or the broker takes nothing any more.
        """
        start = time.monotonic()
        while not self._frames.acquire(timeout=_SLICE):
            self._check_progress(max(start, self._sent))
        try:
            self._write(self._owed + data)
            self._owed = b""
        except KeyboardInterrupt:
            self.shutdown("a frame was broken off")  # what comes next would be read as its rest
            raise
        finally:
            self._frames.release()

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        progress = time.monotonic()
        poll: select.poll | None = None
        while view:
            if self._shut:
                raise ConnectionLost(self._shut)
            wait_for = select.POLLOUT
            try:
                with self._guard:
                    count = self._sock.send(view)
            except ssl.SSLWantReadError:
                wait_for = select.POLLIN
            except _WOULD_BLOCK:
                pass
            except OSError as failure:
                # the receiving thread learns why: a TLS alert or the broker's ERROR may wait there
                raise ConnectionLost(failure.strerror or str(failure)) from None
            else:
                view = view[count:]
                self._sent = progress = time.monotonic()
                continue
            self._check_progress(progress)
            poll = poll or select.poll()
            poll.register(self._sock, wait_for)
            poll.poll(_SLICE * 1000)

    def _check_progress(self, since: float) -> None:
        """End the connection when nothing was written since then for too long."""
        if time.monotonic() - since > self._stall:
            self.silent = True
            self.shutdown(f"the broker has taken nothing for {self._stall:g} s")
            raise ConnectionLost(self._shut)

    def receive(self) -> bytes:
        """Wait for bytes, keeping the heart-beats; returns b"" when the other side has closed.

        Of a flood that comes message by message several are left to come together: to be woken up
        for each costs more than the message.

        Raises:
            ConnectionLost: it is closed from our side, or the broker fell silent.
            OSError: the connection broke.
        """
        poll = select.poll()
        rested = self._small >= _FLOOD
        if rested:
            time.sleep(_REST)
        while not self._shut:
            wait_for = select.POLLIN
            try:
                with self._guard:
                    chunk = self._sock.recv(CHUNK)
            except ssl.SSLWantWriteError:
                wait_for = select.POLLOUT
            except _WOULD_BLOCK:
                pass
            else:
                if rested and isinstance(self._sock, ssl.SSLSocket):
                    chunk = self._with_more(chunk)
                self._hear(len(chunk), rested=rested)
                return chunk
            poll.register(self._sock, wait_for)
            if not poll.poll(self._until_beat()):
                self._keep_beat()
        raise ConnectionLost(self._shut)

    def _with_more(self, chunk: bytes) -> bytes:
        """Add what has come behind it: TLS hands out one record a call, and so often one message."""
        records, size = [chunk], len(chunk)
        # how it ended, where it has, the next call is told too
        with contextlib.suppress(OSError), self._guard:
            while records[-1] and size < CHUNK:
                records.append(self._sock.recv(CHUNK - size))
                size += len(records[-1])
        return b"".join(records)

    def _hear(self, size: int, *, rested: bool) -> None:
        """Note that so many bytes came, perhaps after a rest, and whether it is a flood."""
        now = time.monotonic()
        silent = now - self._heard
        # Question and answer, one by one, are not to be held up again soon.
        if size >= CHUNK // 2 or silent >= _ENDED or (rested and size < _WORTH):
            self._small = 0
        elif rested or silent < _SOON:
            self._small = min(self._small + 1, _FLOOD)
        self._heard = now

    def _until_beat(self) -> float | None:
        """Milliseconds until a heart-beat is due in either direction."""
        due = []
        if self._beat_out:
            due.append(self._sent + self._beat_out * _EAGER)
        if self._beat_in:
            due.append(self._heard + self._beat_in * _GRACE)
        return max(1.0, (min(due) - time.monotonic()) * 1000) if due else None

    def _keep_beat(self) -> None:
        """Send ours when it is due; judge theirs, now that nothing waits to be read."""
        now = time.monotonic()
        if self._beat_in and now - self._heard >= self._beat_in * _GRACE:
            self.silent = True
            self.shutdown(f"the broker has been silent for {now - self._heard:.0f} s")
        # a frame that is being written is as good as a heart-beat
        elif (
            self._beat_out
            and now - self._sent >= self._beat_out * _EAGER
            and self._frames.acquire(blocking=False)
        ):
            self._sent = now
            try:
                with self._guard:
                    self._sock.send(HEARTBEAT)
            except _WOULD_BLOCK:
                # OpenSSL has it already; the next write must begin with it
                self._owed = HEARTBEAT
            finally:
                self._frames.release()

    def shutdown(self, reason: str) -> None:
        """Wake up whoever waits on it, with a reason; `close` is the receiving thread's."""
        self._shut = self._shut or reason
        with contextlib.suppress(OSError):
            socket.socket.shutdown(self._sock, socket.SHUT_RDWR)

    def close(self) -> None:
        """Give the descriptor back; senders that come later find it shut."""
        self.shutdown("closed")
        with self._frames, self._guard:
            self._sock.close()


class BatchWriter:
    """Writes what many threads send in few system calls, from a thread of its own.

    Where a process sends thousands of messages a second, each call costs more than the message, and
    the broker wakes up for each.
    """

    def __init__(self, sock: PatientSocket) -> None:
        self._sock = sock
        self._lost = ""
        self._queue: SimpleQueue[bytes | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="mcshell-stomp-out", daemon=True)
        self._thread.start()

    def send(self, data: bytes) -> None:
        """Have a whole frame written; waits while the broker does not take what was sent.

        Raises:
            ConnectionLost: it is closed, or the broker takes nothing any more.
        """
        while self._queue.qsize() >= _BACKLOG and not self._lost:
            time.sleep(_LINGER)
        if self._lost:
            raise ConnectionLost(self._lost)
        self._queue.put(data)

    def close(self) -> None:
        """End the thread."""
        self._queue.put(None)

    def _run(self) -> None:
        while (data := self._queue.get()) is not None:
            time.sleep(_LINGER)
            batch, size = [data], len(data)
            with contextlib.suppress(Empty):
                while size < CHUNK and (data := self._queue.get_nowait()) is not None:
                    batch.append(data)
                    size += len(data)
            try:
                self._sock.send(b"".join(batch))
            except ConnectionLost as ended:
                self._lost = ended.reason
                return
            if data is None:
                return
