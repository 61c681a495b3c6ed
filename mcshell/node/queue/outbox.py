"""Out of the outbox to the broker, until it has confirmed; what is sent again is the same bytes."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from mcshell.node.queue.resend import ResendBuffer
from mcshell.node.replies.sender import no_steps
from mcshell.node.store.records import OutboxMessage
from mcshell.node.store.spool import EVERYBODY
from mcshell.wire.documents.envelope import CERTIFICATE, SIGNATURE
from mcshell.wire.stomp.confirmed import ConfirmedSender

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mcshell.node.replies.sender import Steps
    from mcshell.node.store.spool import Spool
    from mcshell.wire.stomp.transport import Receipt, Transport

__all__ = ["Outbox", "headers_of"]

log = logging.getLogger(__name__)


def headers_of(message: OutboxMessage) -> dict[str, str]:
    """The headers that vouch for a kept reply."""
    return {SIGNATURE: message.signature, CERTIFICATE: message.certificate}


class Outbox(ConfirmedSender[OutboxMessage]):
    """Sends what the spool holds unsaid; `wake` tells it that there is more.

    `several`: there is more than one broker, so that the next may have to be told again. `names`:
    the first and the last of the identities that speak over this connection (`Spool.unsaid`).
    """

    def __init__(
        self,
        spool: Spool,
        transport: Transport,
        steps: Steps = no_steps,
        *,
        several: bool = False,
        names: tuple[str, str] = EVERYBODY,
    ) -> None:
        super().__init__("mcshell-outbox")
        self._spool = spool
        self._names = names
        self._transport = transport
        self._steps = steps
        self._resend_buffer = ResendBuffer(several=several)
        self._url = ""
        """Where the replies of this window go."""

    def unconfirmed(self, limit: int) -> Sequence[OutboxMessage]:
        """The oldest replies; before them comes what only another broker has."""
        self._url = self._transport.url
        if self._url and (again := self._resend_buffer.elsewhere(self._url, time.monotonic())):
            log.warning("%d replies are said again at %s", len(again), self._url)
            self._spool.say(again)
        return self._spool.unsaid(limit=limit, names=self._names)

    def send(self, message: OutboxMessage) -> Receipt:
        """Send one reply."""
        receipt = self._transport.send(
            message.destination, message.body, headers_of(message), persistent=True, receipt=True
        )
        assert receipt is not None, "a receipt was asked for"
        return receipt

    def confirmed(self, messages: Sequence[OutboxMessage]) -> None:
        """Drop what the broker has."""
        for message in messages:
            self._steps("sent", message.request)
        if messages:
            self._spool.said(message.number or 0 for message in messages)
            self._resend_buffer.keep(self._url, messages, time.monotonic())
