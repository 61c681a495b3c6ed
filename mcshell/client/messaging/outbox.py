"""Durable requests on their way: what is committed and not confirmed is sent until it is.

One thread. It sends signed bytes as they were committed, many with receipts under way, and marks
what the broker confirms. After a lost connection, or in a later process, whatever has no mark is
sent again: the same id, so that a node that has it already drops the second.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING

from mcshell.errors import ConnectionLost, ReceiptTimeout
from mcshell.wire.documents.envelope import CERTIFICATE, SIGNATURE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mcshell.client.store.records import OutgoingMessage
    from mcshell.client.store.store import SessionStore
    from mcshell.wire.stomp.transport import Receipt, Transport

__all__ = ["Outbox"]

log = logging.getLogger(__name__)

_BATCH = 250
_RECEIPT = 30.0
_PAUSE = 0.5


class Outbox:
    """Sends the durable requests of one session. `on_sent` is told names and time of each batch."""

    def __init__(
        self,
        transport: Transport,
        store: SessionStore,
        on_sent: Callable[[str, list[str], float], None],
    ) -> None:
        self._transport = transport
        self._store = store
        self._on_sent = on_sent
        self._wakeup = threading.Condition()
        self._wanted = False
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="mcshell-dispatch", daemon=True)

    def start(self) -> None:
        """Begin, with whatever an earlier process left."""
        self._thread.start()
        self.wake()

    def stop(self) -> None:
        """End; what is not confirmed stays for the next process."""
        with self._wakeup:
            self._stopped = True
            self._wakeup.notify_all()
        if self._thread.is_alive():
            self._thread.join(timeout=_RECEIPT + 5)

    def wake(self) -> None:
        """Say that there is something to send."""
        with self._wakeup:
            self._wanted = True
            self._wakeup.notify_all()

    def wait(self, request: str, timeout: float) -> bool:
        """Wait (seconds) until the broker has confirmed every SEND of a request."""
        end = time.monotonic() + timeout
        while self._store.open_outgoing(request):
            left = end - time.monotonic()
            if left <= 0:
                return False
            with self._wakeup:
                self._wakeup.wait(min(left, 0.1))
        return True

    def _run(self) -> None:
        while self._next():
            try:
                self._meet()
                while batch := self._store.unconfirmed(_BATCH, time.time()):
                    self._send(batch)
                    if self._stopped:
                        return
            except (ConnectionLost, ReceiptTimeout) as error:
                log.warning("durable requests wait for a broker: %s", error)
                self._retry()
            except Exception:
                log.exception("durable requests could not be sent")
                self._retry()

    def _meet(self) -> None:
        """On another broker than last time, send again what no node has said that it has."""
        url = self._transport.url
        before = self._store.meta("broker")
        if url and url != before:
            if before is not None:
                self._store.doubt(time.time())
            self._store.set_meta("broker", url)

    def _next(self) -> bool:
        """Wait until there is something to do; False when it is time to end."""
        with self._wakeup:
            self._wakeup.wait_for(lambda: self._wanted or self._stopped)
            self._wanted = False
            return not self._stopped

    def _retry(self) -> None:
        with self._wakeup:
            self._wakeup.wait_for(lambda: self._stopped, _PAUSE)
            self._wanted = True

    def _send(self, batch: Sequence[OutgoingMessage]) -> None:
        """Send a batch and mark what is confirmed, also when the connection breaks amid it."""
        at = time.time()
        under_way: list[tuple[OutgoingMessage, Receipt]] = []
        try:
            for one in batch:
                headers = {SIGNATURE: one.signature, CERTIFICATE: one.certificate}
                receipt = self._transport.send(
                    one.destination,
                    one.body,
                    headers,
                    persistent=True,
                    expires=one.expires,
                    receipt=True,
                )
                assert receipt is not None
                under_way.append((one, receipt))
        finally:
            self._mark(under_way, at)

    def _mark(self, under_way: Sequence[tuple[OutgoingMessage, Receipt]], at: float) -> None:
        names: dict[str, list[str]] = {}
        for one, _receipt in under_way:
            names.setdefault(one.request, []).append(one.sender)
        for request, some in names.items():
            self._store.mark_sent(request, some, at)
            self._on_sent(request, some, at)
        confirmed: list[OutgoingMessage] = []
        failures: Counter[str] = Counter()
        end = time.monotonic() + _RECEIPT
        for one, receipt in under_way:
            try:
                receipt.wait(max(0.0, end - time.monotonic()))
                confirmed.append(one)
            except (ConnectionLost, ReceiptTimeout) as error:
                failures[str(error)] += 1
        self._store.mark_confirmed(confirmed, time.time())
        with self._wakeup:
            self._wakeup.notify_all()
        if failures:
            reason, _count = failures.most_common(1)[0]
            raise ConnectionLost(f"{failures.total()} not confirmed: {reason}")
