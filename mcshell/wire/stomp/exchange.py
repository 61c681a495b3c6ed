"""What is said over a supervised connection: `transport.Transport`, without the wire itself.

Any thread may call; each uses the connection that is live, and waits a bounded time for one.
"""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from mcshell.errors import ConnectionLost
from mcshell.wire.stomp.reconnect import CONFIRM, ReconnectingConnection
from mcshell.wire.stomp.subscriptions import Subscription, check_headers

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mcshell.wire.stomp.dialects import Dialect
    from mcshell.wire.stomp.receipts import PendingReceipt
    from mcshell.wire.stomp.transport import AckMode, Delivery, Inbox

__all__ = ["Exchange"]

log = logging.getLogger(__name__)

PATIENCE = 5.0  # seconds that a send waits for a connection


class Exchange(ReconnectingConnection):
    """Sends, subscribes and acknowledges."""

    @property
    def dialect(self) -> Dialect:
        """How the broker at the other end wants things said; raises ConnectionLost without one."""
        return self._usable(time.monotonic() + PATIENCE).dialect

    def send(
        self,
        destination: str,
        body: bytes,
        headers: Mapping[str, str] | None = None,
        *,
        persistent: bool = False,
        expires: float | None = None,
        receipt: bool = False,
    ) -> PendingReceipt | None:
        """SEND one message (`Transport.send`); FrameError for headers that cannot be sent."""
        ready = check_headers(headers) if headers else {}
        link = self._usable(time.monotonic() + PATIENCE)
        ready |= link.dialect.send_headers(persistent=persistent, expires=expires, now=time.time())
        pending = None
        if receipt:
            pending = link.receipts.new(f"a message to {destination}")
            ready["receipt"] = pending.id
        link.send(destination, body, ready)
        return pending

    def subscribe(
        self,
        destination: str,
        inbox: Inbox,
        *,
        ack: AckMode = "client-individual",
        prefetch: int = 200,
        headers: Mapping[str, str] | None = None,
    ) -> str:
        """Have a destination's messages put into `inbox` (`Transport.subscribe`).

        Raises:
            ConnectionLost: there is no connection, or the broker refuses, with its reason.
            ReceiptTimeout: the broker does not confirm.
        """
        number = f"s{next(self._numbers)}"
        more = check_headers(headers) if headers else {}
        one = Subscription(number, destination, inbox, ack, prefetch, headers=more)
        self._subscriptions[number] = one
        try:
            self.resume(number)
        except BaseException:
            self.unsubscribe(number)
            raise
        return number

    def expect(self, subscription: str, inbox: Inbox) -> None:
        """Take what the broker delivers under a subscription of its own making."""
        self._subscriptions[subscription] = Subscription(subscription, "", inbox, "auto", 0)

    def pause(self, subscription: str) -> None:
        """End a subscription until `resume`; what is under way of it still comes in."""
        self._end(self._subscriptions.get(subscription))

    def lend(self, subscription: str, destination: str) -> None:
        """Use a paused subscription's id for another destination; raises as `subscribe`."""
        one = replace(self._subscriptions[subscription], destination=destination, prefetch=1)
        self._usable(time.monotonic() + CONFIRM).subscribe(one).wait(CONFIRM)

    def resume(self, subscription: str) -> None:
        """Begin it again, under the same id; raises as `subscribe`."""
        one = self._subscriptions[subscription]
        deadline = time.monotonic() + CONFIRM
        # a broker may also close the connection over a destination, and not say so
        if not self._confirm(one, deadline):
            self._confirm(one, deadline, last=True)

    def _confirm(self, one: Subscription, deadline: float, *, last: bool = False) -> bool:
        """Subscribe on the connection that is live; false (at `last` an error) when it breaks."""
        link = self._usable(deadline)
        try:
            link.subscribe(one).wait(deadline - time.monotonic())
        except ConnectionLost:
            if link.refusal or last:
                raise
            return False
        with self._changed:
            # else a new connection has taken over the others without this one
            one.confirmed = self._link is link
        if last and not one.confirmed:
            raise ConnectionLost(link.reason)
        return one.confirmed

    def unsubscribe(self, subscription: str) -> None:
        """End a subscription; what is under way of it is dropped."""
        self._end(self._subscriptions.pop(subscription, None))

    def _end(self, one: Subscription | None) -> None:
        with self._changed:
            link = self._link
            if one is not None:
                one.confirmed = False
        if one is not None and link is not None:
            try:
                link.unsubscribe(one.id)
            except ConnectionLost:
                log.debug("%s: ended with its connection", one.destination)

    def renew(self, reason: str) -> None:
        """Break the connection and make a new one: what is not acknowledged goes back."""
        link = self._live
        if link is not None:
            link.kill(reason)

    def ack(self, delivery: Delivery) -> None:
        """Acknowledge a delivery; one from before a reconnect is dropped in silence."""
        link = self._link
        if link is None or link.epoch != delivery.epoch or not delivery.ack_id:
            return
        try:
            link.ack(delivery.ack_id)
        except ConnectionLost:
            log.debug("%s: an acknowledgement was lost", delivery.destination)

    def _deliver(self, delivery: Delivery) -> None:
        """Called by the receiving thread: put a message where it belongs."""
        one = self._subscriptions.get(delivery.subscription)
        if one is not None:
            one.inbox.put(delivery)
