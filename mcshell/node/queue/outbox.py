"""Out of the outbox to the broker, until it has confirmed; what is sent again is the same bytes.

When a broker dies that has confirmed a reply, and nodes and clients go on to the next of `broker.urls`,
the reply lies where nobody reads; and what it confirmed in its last seconds it may have lost. So replies
are remembered for a while, and sent again: a client keeps one of them. In memory only: it serves where
one broker fails, not where the node fails with it.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from mcshell.errors import StorageError
from mcshell.node.process.watchdog import ThreadPulse
from mcshell.node.replies import LARGE
from mcshell.node.store.records import OutboxMessage
from mcshell.node.store.spool import EVERYBODY
from mcshell.wire.documents.envelope import CERTIFICATE, SIGNATURE, is_old
from mcshell.wire.stomp.confirmed import ConfirmedSender

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from mcshell.node.context import NodeContext
    from mcshell.wire.stomp.transport import Receipt

__all__ = ["Outbox", "ResendBuffer"]

log = logging.getLogger(__name__)

_AGE: Final = 600.0  # seconds: far longer than it takes to notice that a broker has died
_MOST: Final = 1 << 20  # bytes


class Outbox(ConfirmedSender[OutboxMessage]):
    """Sends what the spool holds unconfirmed; `wake` tells it that there is more.

    `names`: the first and the last of the identities that speak over this connection
    (`Spool.unconfirmed`). What an earlier version of mcshell has left is signed again as it goes out.
    """

    def __init__(self, context: NodeContext, *, names: tuple[str, str] = EVERYBODY) -> None:
        super().__init__("mcshell-outbox", context.transport)
        self.pulse = ThreadPulse("the outbox", self.wake)
        self._nodes = context.nodes
        self._spool = context.spool
        self._names = names
        self._steps = context.steps
        self._resend_buffer = ResendBuffer()
        self._url = ""
        """Where the replies of this window go."""
        self._undropped: set[int] = set()
        """What the broker has, and the disk, which takes nothing, still holds."""

    def unconfirmed(self, limit: int) -> Sequence[OutboxMessage]:
        """The oldest replies; before them comes what only another broker has."""
        self.pulse.beat()
        self._url = self._transport.url
        if self._url:
            self._send_again(self._resend_buffer.elsewhere(self._url, time.time()))
        self._drop(())
        most = limit + len(self._undropped)
        found = self._spool.unconfirmed(limit=most, names=self._names)
        return [
            self._nodes[one.identity].writer.renewed(one) if is_old(one.body) else one
            for one in found
            if one.number not in self._undropped
        ]

    def doubt(self, since: float) -> None:
        """The replies that are remembered since then."""
        self._send_again(self._resend_buffer.since(since))

    def _send_again(self, messages: Sequence[OutboxMessage]) -> None:
        if messages:
            self._spool.add_messages([replace(message, number=None) for message in messages])
            self._resend_buffer.forget(messages)
            log.warning("%d replies are sent again", len(messages))

    def _drop(self, numbers: Iterable[int]) -> None:
        """Have the spool forget replies; on a full disk later, so that they are not sent again."""
        self._undropped.update(numbers)
        if self._undropped:
            try:
                self._spool.confirmed(self._undropped)
            except StorageError as error:
                log.warning("%d replies are sent and still kept: %s", len(self._undropped), error)
            else:
                self._undropped.clear()

    def send(self, message: OutboxMessage) -> Receipt:
        """Send one reply."""
        headers = {SIGNATURE: message.signature, CERTIFICATE: message.certificate}
        receipt = self._transport.send(
            message.destination, message.body, headers, persistent=True, receipt=True
        )
        assert receipt is not None, "a receipt was asked for"
        return receipt

    def replaced(self, message: OutboxMessage) -> bool:
        """Say that it is too large for the broker, where it can be that."""
        if len(message.body) < LARGE:
            return False
        smaller = self._nodes[message.identity].writer.too_large(message)
        if smaller is None:
            return False
        size = len(message.body)
        log.error("the broker does not take the reply to %s, %d bytes", message.request, size)
        self._spool.replace_message(smaller)
        return True

    def confirmed(self, messages: Sequence[OutboxMessage]) -> None:
        """Drop what the broker has."""
        for message in messages:
            self._steps("sent", message.request)
        if messages:
            self._drop(message.number or 0 for message in messages)
            self._resend_buffer.keep(self._url, messages, time.time())


class ResendBuffer:
    """What was confirmed of late, by which broker and when (epoch); one thread owns it."""

    def __init__(self) -> None:
        self._messages: deque[tuple[float, str, OutboxMessage]] = deque()
        self._size = 0

    def keep(self, url: str, messages: Iterable[OutboxMessage], now: float) -> None:
        """Remember what the broker at `url` has confirmed."""
        for message in messages:
            self._messages.append((now, url, message))
            self._size += len(message.body)
        while self._messages and (self._messages[0][0] < now - _AGE or self._size > _MOST):
            self._size -= len(self._messages.popleft()[2].body)

    def elsewhere(self, url: str, now: float) -> list[OutboxMessage]:
        """What only other brokers than this one have."""
        return [
            message for at, where, message in self._messages if where != url and at >= now - _AGE
        ]

    def since(self, moment: float) -> list[OutboxMessage]:
        """What was confirmed since then."""
        return [message for at, _where, message in self._messages if at >= moment]

    def forget(self, messages: Sequence[OutboxMessage]) -> None:
        """Remember these no more: they are on their way again."""
        gone = {id(message) for message in messages}
        self._messages = deque(entry for entry in self._messages if id(entry[2]) not in gone)
        self._size = sum(len(message.body) for _, _, message in self._messages)
