"""`Transport` over stomp.py: the only module that knows stomp.py.

What stomp.py does here: it builds the frames that we send but for SEND, runs the thread that
receives, and knows the state of the protocol. What it does not do is left to others, through the
methods that it means to be overridden: the socket (`tcp`: it never hangs, TLS with a private CA),
messages in both directions (`frame`: twice as fast as `stomp.utils.parse_headers`), heart-beats,
receipts and reconnecting (`reconnect`).
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from typing import TYPE_CHECKING

from mcshell.errors import (
    ConfigError,
    ConnectError,
    ConnectionLost,
    FrameError,
    Rejected,
    printable,
)
from mcshell.unused import unused
from mcshell.wire.stomp.dialects import VHOST, Dialect, dialect_of
from mcshell.wire.stomp.endpoint import (
    Endpoint,
    TLSFiles,
    check_login,
    reason_of,
    tls_context,
    words_of,
)
from mcshell.wire.stomp.frame import Frame, Parser, dump
from mcshell.wire.stomp.reconnect import PATIENCE, ConnectionState, ReconnectingConnection
from mcshell.wire.stomp.tcp import (
    NO_HEARTBEAT,
    BatchWriter,
    PatientSocket,
    agree_heartbeat,
    is_heartbeat,
)
from mcshell.wire.stomp.transport import PendingReceipt, ReceiptTable, delivery_of

# Without it, importing stomp.py asks DNS for our own name, which can take a minute. The environment is
# the program's that uses us, and its children's: it is looked at there, and nowhere else.
_NO_SCAN = "STOMP_SKIP_HOSTNAME_SCAN"
_was = os.environ.get(_NO_SCAN)
os.environ[_NO_SCAN] = "1"
with unused("websocket"):  # as long to load as all of stomp.py
    import stomp.connect
    import stomp.listener
    import stomp.protocol
    import stomp.transport
    import stomp.utils
os.environ.pop(_NO_SCAN)
if _was is not None:
    os.environ[_NO_SCAN] = _was

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mcshell.wire.stomp.reconnect import Subscription
    from mcshell.wire.stomp.transport import Delivery

__all__ = ["ConnectionState", "Connector", "TLSFiles"]

log = logging.getLogger(__name__)
CLOSED = "the broker closed the connection"
STALL = 20.0  # seconds, at least, in which the broker must take some of what we send
# What a broker has taken and we do not would come again for ever. A body, in bytes; the headers: ActiveMQ
# passes on a thousand of 10 KiB, RabbitMQ 128 KiB, our own what 64 KiB hold.
_LARGEST = 128 << 20
_LARGEST_HEAD = 16 << 20
_MOST_HEADERS = 100_000
_ANSWERS = ("CONNECTED", "ERROR")


class _Forward(logging.Handler):
    """Hands stomp.py's own records on to our logger, whose name is in our tree."""

    def emit(self, record: logging.LogRecord) -> None:
        target = logging.getLogger("mcshell.wire.stomp")
        if target.isEnabledFor(record.levelno):
            target.handle(record)


def _route_log() -> None:
    """Bring the logger `stomp.py` into our tree, once, unless the application handles it."""
    theirs = logging.getLogger("stomp.py")
    if not theirs.handlers:
        theirs.addHandler(_Forward())
        theirs.propagate = False


class _Transport(stomp.transport.BaseTransport):  # type: ignore[misc]  # stomp.py has no types
    """stomp.py's transport with our socket under it and our parser in front."""

    def __init__(
        self, sock: PatientSocket, on_frame: Callable[[Frame], None], *, batches: bool
    ) -> None:
        super().__init__(auto_decode=False)
        self.failure = ""
        self._patient = sock
        self._writer = BatchWriter(sock) if batches else None
        self._parser = Parser(
            max_body=_LARGEST, max_header=_LARGEST_HEAD, max_headers=_MOST_HEADERS
        )
        self._on_frame = on_frame
        self.thread: threading.Thread | None = None
        self.override_threading(self._start_thread)

    def _start_thread(self, loop: Callable[[], None]) -> threading.Thread:
        thread = threading.Thread(target=loop, name="mcshell-stomp-io", daemon=True)
        thread.start()
        self.thread = thread  # one that was never begun is not waited for
        return thread

    def attempt_connection(self) -> None:
        """The socket stands already: an attempt of stomp.py has no bound, and hides its reason."""
        self.current_host_and_port = ("", 0)

    def send(self, encoded_frame: bytes) -> None:
        """Write a frame; raises ConnectionLost."""
        (self._writer or self._patient).send(encoded_frame)

    def receive(self) -> bytes:
        """Hand on every frame that comes, to the end of the connection, which is b"" to stomp.py.

        Its own loop has nothing to cut, then, and starts no search for NULs.
        """
        chunk = b""
        try:
            while chunk := self._patient.receive():
                for frame in self._parser.feed(chunk):
                    self._on_frame(frame)
            self.failure = CLOSED
        except ConnectionLost as ended:
            self.failure = ended.reason
        except FrameError as wrong:
            self.failure = _not_stomp(chunk, wrong, connected=self.connected)
        except OSError as broken:
            self.failure = words_of(broken)
        return b""

    def disconnect_socket(self) -> None:
        """End it; stomp.py calls this when the receipt for DISCONNECT has come."""
        self.running = False
        self._patient.shutdown("closed")

    def cleanup(self) -> None:
        """Close the socket; stomp.py's thread calls this at its end."""
        self._patient.close()
        if self._writer is not None:
            self._writer.close()


_UNKNOWN = (
    " (the certificate is the login: one that is new gets its rights when `mcshell broker config` has"
    " written them again and the broker has taken them, `reload`)"
)


def _not_stomp(chunk: bytes, wrong: FrameError, *, connected: bool) -> str:
    """Say what the other end is, when it isn't a STOMP broker."""
    if connected:
        return f"the broker sent what is not STOMP: {wrong}"
    if chunk[:2] == b"\x15\x03":  # a TLS alert
        return "does not speak STOMP here but TLS: stomp+ssl:// is meant"
    start = chunk.partition(b"\n")[0][:60].decode("latin-1").strip()
    said = start if start.isprintable() else wrong
    return f"does not speak STOMP: it said {said!r}"


class _Protocol(stomp.protocol.Protocol12, stomp.connect.BaseConnection):  # type: ignore[misc]  # as above
    """stomp.py's STOMP 1.2 over a transport of ours, without its heart-beats."""

    def __init__(self, transport: _Transport) -> None:
        stomp.connect.BaseConnection.__init__(self, transport)
        stomp.protocol.Protocol12.__init__(self, transport, heartbeats=(0, 0))

    def on_connected(self, frame: stomp.utils.Frame) -> None:
        """Leave the header of heart-beats to `StompLink`: stomp.py raises over an odd one."""


class StompLink(stomp.listener.ConnectionListener):  # type: ignore[misc]  # as above
    """One connection from its first byte to its last; never used again after that."""

    def __init__(
        self,
        endpoint: Endpoint,
        epoch: int,
        deliver: Callable[[Delivery], None],
        sock: PatientSocket,
        *,
        batches: bool = False,
    ) -> None:
        self.endpoint = endpoint
        self.epoch = epoch
        self.receipts = ReceiptTable()
        self.dead = threading.Event()
        self.reason = ""
        self.refusal = ""
        """The broker's ERROR, when it sent one."""
        self.dialect: Dialect
        self.server = ""
        self._deliver = deliver
        self._sock = sock
        self._heartbeat = 0.0
        self._answer: Frame | None = None
        self._answered = threading.Event()
        self._transport = _Transport(sock, self._take, batches=batches)
        self._protocol = _Protocol(self._transport)
        self._transport.set_listener("link", self)

    # -- called by stomp.py's thread: enqueue, and nothing else --------------------------------

    def _take(self, frame: Frame) -> None:
        """Take one frame; whatever goes wrong in here must not end stomp.py's thread."""
        try:
            if frame.command == "MESSAGE":
                self._deliver(delivery_of(frame, self.epoch))
            else:
                if frame.command == "RECEIPT" and "receipt-id" not in frame.headers:
                    raise FrameError("a RECEIPT without receipt-id")  # noqa: TRY301  as the parser does
                theirs = stomp.utils.Frame(frame.command, frame.headers, frame.body)
                self._answer = self._answer or frame
                self._transport.process_frame(theirs, frame.body)
        except FrameError:
            raise
        except Exception:  # an error here would end the connection without a word
            log.exception("could not take a %s frame", frame.command)

    def on_connected(self, frame: stomp.utils.Frame) -> None:
        # in this thread, which is the one that keeps them
        theirs = frame.headers.get("heart-beat", NO_HEARTBEAT)
        self._sock.set_heartbeat(*agree_heartbeat(self._heartbeat, theirs))
        self._answered.set()

    def on_receipt(self, frame: stomp.utils.Frame) -> None:
        self.receipts.confirm(frame.headers.get("receipt-id", ""))

    def on_error(self, frame: stomp.utils.Frame) -> None:
        self.refusal = reason_of(Frame("ERROR", frame.headers, frame.body))
        # it is the reason that the end of the connection is told with, once a kind
        log.debug("%s: ERROR: %s", self.endpoint.url, self.refusal)
        # ERROR is a connection's last frame (STOMP 1.2); ActiveMQ leaves some open all the same
        self._sock.shutdown(self.refusal)

    def on_disconnected(self) -> None:
        self.reason = self.refusal or self.reason or self._transport.failure or "connection lost"
        self.dead.set()  # first, so that who wakes up from a receipt finds it dead
        self.receipts.end(self.reason)
        self._answered.set()

    @property
    def silent(self) -> bool:
        """Whether it ended because nothing came from the broker any more."""
        return self._sock.silent

    # -- called by the supervisor and, through it, by any thread --------------------------------

    def log_in(
        self, user: str, passcode: str, heartbeat: float, timeout: float, vhost: str = VHOST
    ) -> None:
        """Say CONNECT and wait for the answer.

        Raises:
            ConnectError: with the broker's reason.
            UnknownBroker: it is none whose dialect we know.
        """
        self._heartbeat = heartbeat
        beat = int(heartbeat * 1000)
        headers = {"accept-version": "1.2", "host": vhost, "heart-beat": f"{beat},{beat}"}
        login = {"login": user, "passcode": passcode} if user or passcode else {}
        self._transport.start()
        with contextlib.suppress(ConnectionLost):  # the receiving thread learns why
            # not by stomp.py, which writes the passcode into its debug log
            self._transport.send(dump(Frame("STOMP", headers | login)))
        answered = self._answered.wait(timeout)
        answer = self._answer
        if answer is not None and answer.command not in _ANSWERS:
            why = f"said {answer.command} where CONNECTED is meant"
            raise ConnectError(self.endpoint.url, why)
        if answer is None or answer.command != "CONNECTED":
            silence = f"accepted the connection but said nothing for {timeout:.1f} s"
            unknown = _UNKNOWN if self.refusal and self.endpoint.tls and not login else ""
            raise ConnectError(self.endpoint.url, self._why() + unknown if answered else silence)
        if (version := answer.headers.get("version")) != "1.2":
            why = f"speaks STOMP {version or '1.0'}; 1.2 is needed"
            raise ConnectError(self.endpoint.url, why)
        beats = answer.headers.get("heart-beat", NO_HEARTBEAT)
        if not is_heartbeat(beats):
            why = f"said heart-beat {printable(beats[:40])!r} where two numbers of milliseconds are meant"
            raise ConnectError(self.endpoint.url, why)
        self.server = answer.headers.get("server", "")
        self.dialect = dialect_of(self.server)

    def _why(self) -> str:
        """Say why it ended before it began, with a hint when the broker itself gave none."""
        if self.refusal or self._transport.failure != CLOSED:
            return self.refusal or self.reason
        tls = self.endpoint.tls
        return f"{CLOSED} ({'is our certificate known there?' if tls else 'is it a TLS port?'})"

    def send(self, destination: str, body: bytes, headers: dict[str, str]) -> None:
        """SEND; raises ConnectionLost."""
        # not by stomp.py, which takes three times as long for what there is most of
        headers["destination"] = self.dialect.send_to(destination)
        self._transport.send(dump(Frame("SEND", headers, body)))

    def send_and_take_back(self, destination: str) -> PendingReceipt:
        """SEND what nobody gets, as its transaction is given up; raises ConnectionLost."""
        receipt = self.receipts.new("what is sent to it (an alarm of its memory or disk?)")
        self._protocol.begin(receipt.id)
        self.send(destination, b"", {"transaction": receipt.id})
        self._protocol.abort(receipt.id, headers={"receipt": receipt.id})
        return receipt

    def subscribe(self, subscription: Subscription) -> PendingReceipt:
        """SUBSCRIBE; raises ConnectionLost."""
        receipt = self.receipts.new(f"the subscription of {subscription.destination}")
        headers = self.dialect.subscribe_headers(prefetch=subscription.prefetch)
        headers |= self.dialect.subscribe_to(subscription.destination)
        headers.update(subscription.headers)
        where = headers["destination"]
        apart = self.dialect.confirms_apart(where)
        if not apart:
            headers["receipt"] = receipt.id
        self._protocol.subscribe(where, subscription.id, subscription.ack, headers=headers)
        if apart:
            self._protocol.begin(receipt.id, headers={"receipt": receipt.id})
            self._protocol.abort(receipt.id)
        return receipt

    def unsubscribe(self, number: str) -> None:
        """UNSUBSCRIBE; raises ConnectionLost."""
        self._protocol.unsubscribe(number)

    def ack(self, number: str) -> None:
        """ACK; raises ConnectionLost."""
        self._protocol.ack(number)

    def disconnect(self, timeout: float) -> None:
        """Say DISCONNECT, so that all that was sent has been taken, and wait for the end."""
        if not self.dead.is_set():
            try:
                self._protocol.disconnect()
            except ConnectionLost:
                log.debug("%s: lost before it was closed", self.endpoint.url)
            self.dead.wait(timeout)
        self.kill("closed")

    def kill(self, reason: str) -> None:
        """End it at once; its thread ends by itself, this waits for that."""
        self.reason = self.reason or reason
        self._sock.shutdown(reason)
        thread = self._transport.thread
        if thread is None:
            self._sock.close()
        elif thread is not threading.current_thread():
            thread.join(5)


class Connector(ReconnectingConnection):
    """A supervised connection to the first of `urls` that takes us; see `Transport`.

    Args:
        urls: `stomp://host:port` or `stomp+ssl://host:port`, in the order of preference.
        user: the login.
        passcode: its secret.
        tls: needed for `stomp+ssl://`; never is anything but TLS spoken there. The files are read
            for each connection.
        vhost: RabbitMQ's virtual host; the others do not care.
        heartbeat: seconds between heart-beats that we offer and want; 0 for none.
        patience: seconds that a send waits for a connection; 0 where one thread speaks for many.
        batches: whether a thread of its own writes what is sent, much at a time; then a send that
            is lost with the connection may not say so.
        refuse: given the broker's certificate (DER) once TLS has verified it; raises Rejected when it
            is not to be spoken to.
        on_state: told of each change by the supervisor's thread; must not block.

    Raises:
        UsageError: an URL that is none.
        ConfigError: TLS files or a login that cannot be used.
    """

    def __init__(
        self,
        urls: Sequence[str],
        *,
        user: str = "",
        passcode: str = "",
        tls: TLSFiles | None = None,
        vhost: str = VHOST,
        heartbeat: float = 10.0,
        patience: float = PATIENCE,
        batches: bool = False,
        refuse: Callable[[bytes], None] | None = None,
        on_state: Callable[[ConnectionState], None] | None = None,
    ) -> None:
        super().__init__(urls, patience=patience, on_state=on_state)
        check_login(user, passcode)
        self._login = (user, passcode, heartbeat)
        self._vhost = vhost
        self._batches = batches
        self._refuse = refuse
        self._tls = tls
        if any(endpoint.tls for endpoint in self._endpoints):
            tls_context(tls)
        _route_log()

    def check_sending(self, destination: str, timeout: float) -> None:
        """See within some seconds whether the broker takes what is sent (`Transport.check_sending`)."""
        for _ in range(2):  # RabbitMQ under an alarm reads each connection up to its first message
            link = self._usable(time.monotonic() + timeout)
            assert isinstance(link, StompLink), "made by `_open`"
            link.send_and_take_back(destination).wait(timeout)

    def _open(self, endpoint: Endpoint, epoch: int, timeout: float) -> StompLink:
        """Make one attempt; raises ConnectError or UnknownBroker within the timeout (seconds)."""
        user, passcode, heartbeat = self._login
        try:
            # for each attempt anew: a certificate may have been renewed since the last
            context = tls_context(self._tls) if endpoint.tls else None
            sock = PatientSocket(
                endpoint,
                context,
                timeout=timeout,
                stall=max(STALL, 2 * heartbeat),
                called_off=self._called_off,
            )
        except OSError as failure:
            raise ConnectError(endpoint.url, words_of(failure)) from None
        except ConfigError as failure:
            raise ConnectError(endpoint.url, str(failure)) from failure
        self._refuse_broker(endpoint, sock)
        try:
            link = StompLink(endpoint, epoch, self._deliver, sock, batches=self._batches)
            self._opening = link
            try:
                link.log_in(user, passcode, heartbeat, timeout, self._vhost)
            except BaseException:
                link.kill("the attempt failed")
                raise
        except (RuntimeError, MemoryError) as lack:  # no thread, or no memory: there may be later
            sock.close()
            raise ConnectError(endpoint.url, str(lack) or "no memory") from None
        return link

    def _refuse_broker(self, endpoint: Endpoint, sock: PatientSocket) -> None:
        """Nothing is said to a broker whose certificate is not to be taken; raises ConnectError."""
        certificate = sock.certificate
        if self._refuse is None or certificate is None:
            return
        try:
            self._refuse(certificate)
        except Rejected as error:
            sock.close()
            why = f"TLS: the broker's certificate is {error.reason.value} ({error.detail})"
            raise ConnectError(endpoint.url, why) from None
