"""Out of the outbox to the broker, until it has confirmed; what is sent again is the same bytes."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, Final

from mcshell.errors import ConnectionLost, MCShellError, ReceiptTimeout
from mcshell.node.queue.resend import ResendBuffer
from mcshell.node.replies.sender import no_steps
from mcshell.wire.documents.envelope import CERTIFICATE, SIGNATURE

if TYPE_CHECKING:
    from mcshell.node.replies.sender import Steps
    from mcshell.node.store.records import OutboxMessage
    from mcshell.node.store.spool import Spool
    from mcshell.wire.stomp.transport import Receipt, Transport

__all__ = ["Outbox", "headers_of"]

log = logging.getLogger(__name__)

_WINDOW: Final = 200
_PATIENCE: Final = 20.0
_PAUSE: Final = 0.5
_STRIKES: Final = 3
_ASIDE: Final = 600.0


def headers_of(message: OutboxMessage) -> dict[str, str]:
    """The headers that vouch for a kept reply."""
    return {SIGNATURE: message.signature, CERTIFICATE: message.certificate}


class Outbox:
    """One thread that sends what the spool holds unsaid; `wake` tells it that there is more.

    `several`: there is more than one broker, so that the next may have to be told again.
    """

    def __init__(
        self,
        spool: Spool,
        transport: Transport,
        steps: Steps = no_steps,
        *,
        several: bool = False,
    ) -> None:
        self._spool = spool
        self._transport = transport
        self._steps = steps
        self._resend_buffer = ResendBuffer(several=several)
        self._wakeup = threading.Event()
        self._wakeup.set()
        self._stopping = False
        self._window = _WINDOW
        self._strikes: Counter[int] = Counter()
        self._aside: dict[int, float] = {}
        """Replies over which the broker ended the connection, and until when (monotonic)."""
        self._thread = threading.Thread(target=self._run, name="mcshell-outbox", daemon=True)

    def start(self) -> None:
        """Begin, with what an earlier process left."""
        self._thread.start()

    def wake(self) -> None:
        """Say that there is something to send, or another broker."""
        self._wakeup.set()

    def stop(self) -> None:
        """Send what is there, if that takes no time, and end."""
        self._stopping = True
        self._wakeup.set()
        if self._thread.is_alive():
            self._thread.join(5.0)

    def _run(self) -> None:
        while not self._stopping:
            self._wakeup.wait(_ASIDE / 10 if self._aside else None)
            self._wakeup.clear()
            try:
                while self._send_some():
                    pass
            except (ConnectionLost, ReceiptTimeout, MCShellError) as error:
                if not self._stopping:
                    log.warning("the outbox waits: %s", error)
                    time.sleep(_PAUSE)
                    self._wakeup.set()
            except Exception:  # what it holds was promised: it never ends by itself
                log.exception("the outbox stumbled")
                time.sleep(_PAUSE)
                self._wakeup.set()

    def _send_some(self) -> bool:
        """Send a window of replies, the oldest first; False when there were none.

        When the connection breaks the next windows are small, so that a reply that breaks it (no
        right to that queue) is found, and does not keep back the others.
        """
        now = time.monotonic()
        url = self._transport.url
        if url and (again := self._resend_buffer.elsewhere(url, now)):
            log.warning("%d replies are said again at %s", len(again), url)
            self._spool.say(again)
        self._aside = {number: until for number, until in self._aside.items() if until > now}
        found = self._spool.unsaid(limit=self._window + len(self._aside))
        messages = [message for message in found if message.number not in self._aside]
        receipts: list[Receipt] = []
        try:
            receipts.extend(map(self._send, messages))
        finally:
            self._confirm(messages, receipts, url)
        self._window = min(_WINDOW, self._window * 2)
        return bool(messages)

    def _confirm(self, messages: list[OutboxMessage], receipts: list[Receipt], url: str) -> None:
        """Wait for what was sent of these replies, and drop what the broker has."""
        said: list[OutboxMessage] = []
        deadline = time.monotonic() + _PATIENCE
        try:
            for message, receipt in zip(messages, receipts, strict=False):
                receipt.wait(deadline - time.monotonic())
                self._steps("sent", message.request)
                said.append(message)
        except (ConnectionLost, ReceiptTimeout):
            self._suspect(messages, receipts)
            raise
        finally:
            if said:
                self._spool.said(message.number or 0 for message in said)
                self._resend_buffer.keep(url, said, time.monotonic())

    def _suspect(self, messages: list[OutboxMessage], receipts: list[Receipt]) -> None:
        """After a break: one that was alone on its way, again and again, is set aside."""
        self._window = 1
        if len(receipts) != 1:
            return
        number = messages[0].number or 0
        self._strikes[number] += 1
        if self._strikes[number] >= _STRIKES:
            log.error("no broker takes the answer to %s: set aside", messages[0].request)
            self._aside[number] = time.monotonic() + _ASIDE
            del self._strikes[number]

    def _send(self, message: OutboxMessage) -> Receipt:
        receipt = self._transport.send(
            message.destination, message.body, headers_of(message), persistent=True, receipt=True
        )
        assert receipt is not None, "a receipt was asked for"
        return receipt
