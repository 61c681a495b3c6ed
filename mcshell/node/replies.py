"""A node's replies about a request: signed, addressed by the verified caller and session, sent."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from mcshell.errors import AgentError, ConnectionLost, ReceiptTimeout, Rejected
from mcshell.message import Reply, ReplySequence, Request, State, StatusCode
from mcshell.node.store.records import OutboxMessage
from mcshell.node.verdicts import Outcome
from mcshell.wire import destinations
from mcshell.wire.documents.envelope import CERTIFICATE, SIGNATURE, read_reply, seal_reply

if TYPE_CHECKING:
    from collections.abc import Callable

    from mcshell.message import Request
    from mcshell.node.host import Host
    from mcshell.wire.documents.envelope import SealedMessage
    from mcshell.wire.documents.signatures import Signer
    from mcshell.wire.stomp.transport import Receipt, Transport

    Steps = Callable[[str, str], None]
    """Told the name of a step and a request's id."""

__all__ = ["LARGE", "ReplySender", "ReplyWriter", "no_steps"]

LARGE = 128 << 10
"""Bytes of a body that some broker may not take (RabbitMQ's own limit for a frame begins at 192 KiB)."""
_PATIENCE = 30.0
_LOST = 20.0
_WATCHED = 16
_LOOK = 0.2
_WORKING = {State.RECEIVED: ReplySequence.RECEIVED, State.RUNNING: ReplySequence.RUNNING}


class ReplyWriter:
    """Writes the replies of one identity. `max_reply` in bytes; `machine` as of a `Reply`."""

    def __init__(self, signer: Signer, max_reply: int, machine: str = "") -> None:
        self._machine = machine
        self._signer = signer
        self._max_reply = max_reply

    @staticmethod
    def destination(request: Request) -> str:
        """The queue of the session that asked: derived, never taken from the request.

        Empty for a job that a rule has brought: no session waits for it.
        """
        if not request.session:
            return ""
        return destinations.reply(request.collective, request.caller, request.session)

    def working(self, request: Request, state: State, attempt: int = 1) -> SealedMessage:
        """Write the reply that says that the request was received or is running."""
        sequence = _numbered(_WORKING[state], attempt)
        return self._sealed(request, sequence, Outcome(state, 0, ""), None)

    def final(self, request: Request, outcome: Outcome, attempt: int = 1) -> SealedMessage:
        """Write the final reply; what cannot be sent is said to have failed, and why."""
        sequence = _numbered(ReplySequence.FINAL, attempt)
        try:
            sealed = self._sealed(request, sequence, outcome, outcome.statuscode)
        except AgentError as error:
            text = str(error)
        else:
            size = len(sealed.body)
            if size <= self._max_reply:
                return sealed
            text = f"reply too large: {size} bytes, {self._max_reply} are allowed (max_reply)"
        unsendable = Outcome(State.FAILED, StatusCode.UNKNOWN_ERROR, text)
        return self._sealed(request, sequence, unsendable, unsendable.statuscode)

    def kept(self, request: Request, outcome: Outcome, attempt: int = 1) -> OutboxMessage:
        """Write the final reply as the outbox keeps it."""
        sealed = self.final(request, outcome, attempt)
        return self._message(request, _numbered(ReplySequence.FINAL, attempt), sealed)

    def _message(self, request: Request, sequence: int, sealed: SealedMessage) -> OutboxMessage:
        return OutboxMessage(
            identity=self._signer.identity.name,
            request=request.id,
            sequence=sequence,
            destination=self.destination(request),
            body=sealed.body,
            signature=sealed.headers[SIGNATURE],
            certificate=sealed.headers[CERTIFICATE],
        )

    def noted(self, request: Request, state: State) -> OutboxMessage:
        """Write the reply `received` or `running` as the outbox keeps it."""
        sealed = self.working(request, state)
        return self._message(request, _WORKING[state], sealed)

    def renewed(self, message: OutboxMessage) -> OutboxMessage:
        """Sign a reply again that was kept under an earlier version of the wire.

        What is no reply stays as it is, for the broker or the client to refuse.
        """
        try:
            return self._resealed(message, read_reply(message.body))
        except (Rejected, AgentError):
            return message

    def too_large(self, message: OutboxMessage) -> OutboxMessage | None:
        """Write what stands for a kept reply that the broker does not take; None for what is no last one."""
        try:
            reply = read_reply(message.body)
            too_large = _too_large(reply, len(message.body))
            return self._resealed(message, too_large) if reply.final else None
        except (Rejected, AgentError):
            return None

    def _resealed(self, message: OutboxMessage, reply: Reply) -> OutboxMessage:
        """A kept message with another reply in it; raises AgentError."""
        sealed = seal_reply(reply, self._signer)
        return replace(
            message,
            body=sealed.body,
            signature=sealed.headers[SIGNATURE],
            certificate=sealed.headers[CERTIFICATE],
        )

    def instead(self, sealed: SealedMessage) -> SealedMessage:
        """Write what stands for a last reply that did not come to the broker."""
        return seal_reply(_too_large(read_reply(sealed.body), len(sealed.body)), self._signer)

    def _sealed(
        self, request: Request, sequence: int, outcome: Outcome, statuscode: int | None
    ) -> SealedMessage:
        reply = Reply(
            requestid=request.id,
            sender=self._signer.identity.name,
            sequence=sequence,
            statuscode=statuscode,
            statusmsg=outcome.statusmsg,
            data=outcome.data,
            created=time.time(),
            state=outcome.state,
            job=request.job,
            run=request.run,
            digest=request.digest,
            machine=self._machine,
        )
        return seal_reply(reply, self._signer)


def _numbered(sequence: int, attempt: int) -> int:
    return sequence + ReplySequence.STEP * (max(1, attempt) - 1)


def _too_large(reply: Reply, size: int) -> Reply:
    text = (
        f"reply too large for the broker: the connection broke over its {size} bytes "
        f"(RabbitMQ: stomp.max_frame_size); it came out as {reply.state}"
    )
    return replace(
        reply,
        state=State.FAILED,
        statuscode=StatusCode.UNKNOWN_ERROR,
        statusmsg=text,
        data={},
        created=time.time(),
    )


def _arrived(receipt: Receipt | None) -> bool:
    try:
        if receipt is not None:
            receipt.wait(0)
    except (ConnectionLost, ReceiptTimeout):
        return False
    return receipt is not None


log = logging.getLogger(__name__)


def no_steps(step: str, requestid: str) -> None:
    """Watch no steps: so does every daemon but those that tests kill at a step."""


class ReplySender:
    """Sends the replies of one node. One that cannot leave is counted, and lost: what must not be
    lost goes through the outbox. Of a large one that the connection breaks over, a small one says so.
    The last word on what took long, which is waited for, goes out once more where a connection ended
    over it: that may have been dead for a while, and nobody had noticed.
    """

    def __init__(self, writer: ReplyWriter, transport: Transport, host: Host) -> None:
        self._writer = writer
        self._transport = transport
        self._host = host
        self._watching = threading.BoundedSemaphore(_WATCHED)
        # an emulator has thousands: an empty dict and list are smaller than a set and a deque
        self._slow: dict[str, bool] = {}
        """Interactive requests of which it was said that they are being worked on."""
        self._unconfirmed: list[tuple[Request, SealedMessage, Receipt | None]] = []

    def working(self, request: Request, state: State, attempt: int = 1) -> None:
        """Say that the request was received or is running."""
        if not request.session:
            return  # a rule has brought it: nobody waits for a reply
        if request.via.durable and not self._transport.connected:
            return  # no worker waits for a connection here: the last reply will come
        if not request.via.durable:
            self._slow[request.id] = True
        self._send(request, self._writer.working(request, state, attempt))

    def final(self, request: Request, outcome: Outcome) -> None:
        """Say how it came out, and remember it."""
        journal = self._host.journal
        journal.note(request.id, outcome.state.value, statuscode=outcome.statuscode)
        journal.count(outcome.state.value)
        sealed = self._writer.final(request, outcome)
        large = len(sealed.body) >= LARGE
        slow = self._slow.pop(request.id, False)
        receipt = self._send(request, sealed, receipt=large or slow)
        if slow and not large:
            self._unconfirmed.append((request, sealed, receipt))
            del self._unconfirmed[:-_WATCHED]
            self.again()
        elif receipt is not None and self._watching.acquire(blocking=False):
            watch = (request, sealed, receipt)
            threading.Thread(
                target=self._watch, args=watch, name="mcshell-large", daemon=True
            ).start()

    def again(self) -> None:
        """Send once more what was not confirmed when its connection ended, if there is one again."""
        for _ in range(len(self._unconfirmed)):
            try:
                request, sealed, receipt = one = self._unconfirmed.pop(0)
            except IndexError:  # another thread looks, too
                return
            if receipt is not None and not receipt.done:
                self._unconfirmed.append(one)
            elif not _arrived(receipt):
                if self._transport.connected:
                    self._send(request, sealed)
                else:
                    self._unconfirmed.append(one)

    def _watch(self, request: Request, sealed: SealedMessage, receipt: Receipt) -> None:
        """Say that a large reply did not arrive, once there is a connection again."""
        try:
            receipt.wait(_PATIENCE)
        except ConnectionLost:
            end = time.monotonic() + _LOST
            while not self._transport.connected and time.monotonic() < end:
                time.sleep(_LOOK)
            size = len(sealed.body)
            log.warning("the answer to %s, %d bytes, broke the connection", request.id, size)
            self._send(request, self._writer.instead(sealed))
        except ReceiptTimeout:
            log.warning("the answer to %s is not confirmed", request.id)
        finally:
            self._watching.release()

    def _send(
        self, request: Request, sealed: SealedMessage, *, receipt: bool = False
    ) -> Receipt | None:
        try:
            return self._transport.send(
                ReplyWriter.destination(request),
                sealed.body,
                sealed.headers,
                persistent=request.via.durable,
                receipt=receipt,
            )
        except ConnectionLost as error:
            self._host.journal.count("unsent")
            log.warning("the answer to %s is lost: %s", request.id, error)
            return None
