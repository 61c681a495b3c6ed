"""Durable requests on their way: what is committed and not confirmed is sent until it is.

After a lost connection, or in a later process, whatever has no mark is sent again: the same id, so
that a node that has it already drops the second. The nodes of a pool do not know what each other have:
so before a request to a pool goes out it is written down that it does, and every copy but the first
says that it is one (`REDELIVERED`), as the broker says of what it hands out again.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from mcshell.client.store.records import OutgoingMessage
from mcshell.interrupts import InterruptibleCondition
from mcshell.wire.documents.envelope import CERTIFICATE, SIGNATURE
from mcshell.wire.stomp.confirmed import ConfirmedSender
from mcshell.wire.stomp.transport import REDELIVERED

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mcshell.client.messaging.tracker import RequestTracker
    from mcshell.client.store.store import SessionStore
    from mcshell.wire.stomp.transport import Receipt, Transport

__all__ = ["Outbox"]

_OTHERS: Final = 10.0
"""Seconds that are left to another process of the session for what it has begun to send."""


class Outbox(ConfirmedSender[OutgoingMessage]):
    """Sends the durable requests of one session; the live ledgers, by id, are told when."""

    def __init__(
        self,
        transport: Transport,
        store: SessionStore,
        trackers: Mapping[str, RequestTracker],
    ) -> None:
        super().__init__("mcshell-outbox", transport)
        self._store = store
        self._trackers = trackers
        self._marked = InterruptibleCondition()
        self._tried: set[OutgoingMessage] = set()
        """Requests to pools that this process has begun to send, and that are not confirmed."""
        self._copies: set[OutgoingMessage] = set()
        """Those that may be at the broker already."""
        self._at = 0.0
        """When the last of them began."""

    def wait(self, request: str, timeout: float) -> bool:
        """Wait (seconds) until the broker has confirmed every SEND of a request."""
        end = time.monotonic() + timeout
        while self._store.open_outgoing(request):
            left = end - time.monotonic()
            if left <= 0:
                return False
            with self._marked:
                self._marked.wait(min(left, 0.1))
        return True

    def unconfirmed(self, limit: int) -> Sequence[OutgoingMessage]:
        """The oldest; another broker than last time's is told what it may never have been told."""
        url = self._transport.url
        before = self._store.meta("broker")
        if url and url != before:
            if before is not None:
                self.doubt(0)
            self._store.set_meta("broker", url)
        return self._store.unconfirmed(limit, time.time())

    def doubt(self, since: float) -> None:
        """Of those that are queued, what no node has said that it has."""
        self._store.doubt(time.time(), since)

    def begin(
        self, messages: Sequence[OutgoingMessage], at: float
    ) -> Mapping[OutgoingMessage, float]:
        """Write down which requests to pools go out now; what another has just begun is left to it."""
        pools = [one for one in messages if one.sender.startswith("pool:")]
        if not pools:
            return {}
        again = [one for one in pools if one in self._tried]
        others = [one for one in pools if one not in self._tried]
        begun = {
            **self._store.begin(again, at, since=at),
            **self._store.begin(others, at, since=at - _OTHERS),
        }
        self._at = at
        self._tried.update(begun)
        self._copies.update(one for one, before in begun.items() if before)
        return {one: _OTHERS for one in others if one not in begun}

    def not_begun(self, messages: Sequence[OutgoingMessage]) -> None:
        """The next attempt is the first of these, if this was."""
        first = [one for one in messages if one in self._tried and one not in self._copies]
        if first:
            self._store.not_begun(first, self._at)
            self._tried.difference_update(first)

    def send(self, message: OutgoingMessage) -> Receipt:
        """Send one request to one target, or to a pool."""
        headers = {SIGNATURE: message.signature, CERTIFICATE: message.certificate}
        if message in self._copies:
            headers[REDELIVERED] = "true"
        receipt = self._transport.send(
            message.destination,
            message.body,
            headers,
            persistent=True,
            expires=message.expires,
            receipt=True,
        )
        assert receipt is not None, "a receipt was asked for"
        return receipt

    def sent(self, messages: Sequence[OutgoingMessage], at: float) -> None:
        """Enter into the ledger when they went out."""
        names: dict[str, list[str]] = {}
        for message in messages:
            names.setdefault(message.request, []).append(message.sender)
        for request, some in names.items():
            self._store.mark_sent(request, some, at)
            if (tracker := self._trackers.get(request)) is not None:
                tracker.sent(some, at)

    def confirmed(self, messages: Sequence[OutgoingMessage]) -> None:
        """Mark what the broker has, and wake whoever waits for it."""
        self._store.mark_confirmed(messages, time.time())
        self._tried.difference_update(messages)
        self._copies.difference_update(messages)
        with self._marked:
            self._marked.notify_all()
