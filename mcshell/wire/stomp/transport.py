"""What the rest of mcshell knows of a connection to a broker: this Protocol and these values.

When one that broke is tried again, and which of its failures are told, is here too.

`connector` implements it over stomp.py with threads, which waits for a receipt for ever when the
connection breaks. Here each one ends: confirmed, or failed with the reason for which it broke.
"""

from __future__ import annotations

import itertools
import logging
import random
import re
import threading
from collections import Counter
from typing import TYPE_CHECKING, Final, Generic, Literal, NamedTuple, Protocol, TypeVar

from mcshell.errors import ConnectionLost, ReceiptTimeout
from mcshell.interrupts import wait
from mcshell.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from mcshell.wire.stomp.dialects import Dialect
    from mcshell.wire.stomp.frame import Frame

__all__ = [
    "REDELIVERED",
    "AckMode",
    "ConnectionState",
    "Delivery",
    "Inbox",
    "PendingReceipt",
    "Receipt",
    "ReceiptTable",
    "RepeatedFailures",
    "TaggedInbox",
    "Transport",
    "backoff",
    "delivery_of",
    "until_confirmed",
]

log = logging.getLogger(__name__)

T = TypeVar("T")
AckMode = Literal["auto", "client", "client-individual"]

REDELIVERED: Final = "mcs-redelivered"
"""The header by which a message that was moved to another broker, or sent once more, says that somebody
may have had it. Not signed: it can only make a worker more careful."""
_KINDS: Final = 64
"""How many are told apart: a broker may say something else each time."""


@dataclass(frozen=True, slots=True)
class ConnectionState:
    """What `on_state` is told: the broker, the connection's number, and why it is down."""

    connected: bool
    url: str
    epoch: int
    reason: str


class Delivery(NamedTuple):
    """One MESSAGE frame as it came in.

    `subscription` is the id that `subscribe` returned; `ack_id` what an ACK names; `epoch` the
    number of the connection it came over, so that an ACK from before a reconnect is dropped.
    """

    destination: str
    body: bytes
    headers: Mapping[str, str]
    subscription: str
    ack_id: str
    epoch: int
    redelivered: bool = False


def delivery_of(frame: Frame, epoch: int) -> Delivery:
    """A MESSAGE frame as the delivery that it is."""
    headers = frame.headers
    return Delivery(
        headers.get("destination", ""),
        frame.body,
        headers,
        headers.get("subscription", ""),
        headers.get("ack", ""),
        epoch,
        "true" in (headers.get("redelivered"), headers.get(REDELIVERED)),
    )


class Inbox(Protocol):
    """Where deliveries are put. A `queue.SimpleQueue` is one.

    One that waits for room holds the broker back; a few seconds at most, for the thread that waits
    also keeps the heart-beats.
    """

    def put(self, item: Delivery, /) -> None:
        """Take a delivery."""


class TaggedInbox(Generic[T]):
    """An inbox of one of many destinations: what it hands on (`take`) says of which."""

    __slots__ = ("_tag", "_take")

    def __init__(self, take: Callable[[tuple[T, Delivery]], object], tag: T) -> None:
        self._take = take
        self._tag = tag

    def put(self, item: Delivery, /) -> None:
        """Hand on the pair of tag and delivery."""
        self._take((self._tag, item))


class Receipt(Protocol):
    """The broker's confirmation of one frame, to come."""

    @property
    def done(self) -> bool:
        """Whether the broker has confirmed, or never will."""

    def wait(self, timeout: float) -> None:
        """Wait (seconds) until it is confirmed.

        Raises:
            ReceiptTimeout: the broker was silent that long.
            ConnectionLost: the connection broke first; nobody knows whether it arrived.
        """


class Transport(Protocol):
    """A supervised connection: it reconnects and re-subscribes by itself."""

    @property
    def dialect(self) -> Dialect:
        """How the broker at the other end wants things said."""

    @property
    def connected(self) -> bool:
        """Whether a connection stands now."""

    @property
    def url(self) -> str:
        """The broker at the other end, "" while there is none."""

    @property
    def broken_at(self) -> float:
        """When a connection broke last (seconds since the epoch); 0 where none has."""

    @property
    def connected_at(self) -> float:
        """When a connection was made last (seconds since the epoch); 0 where none was."""

    @property
    def connections(self) -> int:
        """How many were made."""

    def send(
        self,
        destination: str,
        body: bytes,
        headers: Mapping[str, str] | None = None,
        *,
        persistent: bool = False,
        expires: float | None = None,
        receipt: bool = False,
    ) -> Receipt | None:
        """SEND one message; `expires` is seconds since the epoch.

        Returns a `Receipt` when one was asked for. Raises ConnectionLost when there is no
        connection within a bounded wait.
        """

    def check_sending(self, destination: str, timeout: float) -> None:
        """See whether the broker takes what is sent there, by a message that nobody gets.

        Raises ReceiptTimeout where it does not say so within some seconds, as it may hold its senders
        back (an alarm of RabbitMQ's, a full store of ActiveMQ's); ConnectionLost where it says no.
        """

    def subscribe(
        self,
        destination: str,
        inbox: Inbox,
        *,
        ack: AckMode = "client-individual",
        prefetch: int = 200,
        headers: Mapping[str, str] | None = None,
    ) -> str:
        """Have every message of a destination put into `inbox`, over reconnects too.

        `headers` go along with SUBSCRIBE (such as a selector).
        Returns the subscription's id once the broker has confirmed it.
        """

    def subscribe_all(
        self,
        wanted: Iterable[tuple[str, Inbox]],
        *,
        ack: AckMode = "client-individual",
        prefetch: int = 200,
        headers: Mapping[str, str] | None = None,
    ) -> list[str]:
        """Subscribe to many destinations, each with its inbox, without waiting for one by one.

        Returns their ids once the broker has confirmed them all; of all of them or of none.
        """

    def expect(self, subscription: str, inbox: Inbox) -> None:
        """Take what the broker delivers under a subscription of its own making.

        RabbitMQ makes one for a `reply-to` that is a temp-queue.
        """

    def pause(self, subscription: str) -> None:
        """End a subscription until `resume`; what is under way still comes into its inbox.

        Where `dialect.keeps_unacked`, the connection goes on holding that, and it may be
        acknowledged after `resume`. Elsewhere the broker takes it back and hands it out again.
        """

    def lend(self, subscription: str, destination: str) -> None:
        """Subscribe to something else under the id of a paused subscription.

        Where `dialect.keeps_unacked`, that is how its messages can still be acknowledged without
        more of them coming. Raises as `subscribe`.
        """

    def resume(self, subscription: str) -> None:
        """Begin a paused subscription again, under the same id; raises as `subscribe`."""

    def unsubscribe(self, subscription: str) -> None:
        """End a subscription; what is under way of it is dropped."""

    def ack(self, delivery: Delivery) -> None:
        """Acknowledge a delivery (mode `client`: and all before it); one from before a reconnect is dropped in silence."""

    def renew(self, reason: str) -> None:
        """Break the connection and make a new one: what is not acknowledged goes back."""

    def close(self) -> None:
        """Disconnect cleanly and end the threads, within a bounded time."""


class PendingReceipt:
    """One confirmation to come (`transport.Receipt`); `what` names the frame in messages."""

    __slots__ = ("_event", "_failure", "id", "what")

    def __init__(self, number: str, what: str) -> None:
        self.id = number
        self.what = what
        self._event = threading.Event()
        self._failure = ""

    @property
    def done(self) -> bool:
        """Whether the broker has confirmed, or never will."""
        return self._event.is_set()

    def wait(self, timeout: float) -> None:
        """Wait (seconds) until it is confirmed; raises ReceiptTimeout or ConnectionLost."""
        if not wait(self._event, timeout):
            raise ReceiptTimeout(self.what, timeout)
        if self._failure:
            raise ConnectionLost(self._failure)

    def resolve(self, failure: str = "") -> None:
        """Confirm it, or fail it with a reason."""
        self._failure = failure
        self._event.set()


class ReceiptTable:
    """All that one connection waits for; any thread may call."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._pending: dict[str, PendingReceipt] = {}
        self._ended = ""

    def __len__(self) -> int:
        return len(self._pending)

    def new(self, what: str) -> PendingReceipt:
        """Make one; on a connection that has ended it has failed already."""
        with self._lock:
            receipt = PendingReceipt(f"r{next(self._numbers)}", what)
            if self._ended:
                receipt.resolve(self._ended)
            else:
                self._pending[receipt.id] = receipt
        return receipt

    def confirm(self, number: str, failure: str = "") -> None:
        """Confirm one, or fail it; an unknown number is no harm."""
        with self._lock:
            receipt = self._pending.pop(number, None)
        if receipt is not None:
            receipt.resolve(failure)

    def end(self, reason: str) -> None:
        """Fail all that are left, and all that come."""
        with self._lock:
            self._ended = reason or "connection lost"
            left = list(self._pending.values())
            self._pending.clear()
        for receipt in left:
            receipt.resolve(self._ended)


def until_confirmed(subscribe: Callable[[], object], stopped: Callable[[], bool]) -> None:
    """Subscribe, however long it takes, until it is stopped.

    A cluster that looks for a member confirms nothing, and a connection may break at any time.

    Raises:
        ConnectionLost: the broker says no, and will say so again.
    """
    while not stopped():
        try:
            subscribe()
        except (ReceiptTimeout, ConnectionLost) as error:
            if isinstance(error, ConnectionLost) and error.refused:
                raise
            log.warning("%s: once more", error)
        else:
            return


def backoff(first: float = 0.1, most: float = 15.0) -> Iterator[float]:
    """Seconds to wait before each next round: doubled each time, and scattered.

    Scattered, because a thousand nodes lose a restarted broker in the same second.
    """
    for step in itertools.count():
        yield random.uniform(0.3, 1.0) * min(most, first * 2 ** min(step, 20))  # noqa: S311  # no secret


class RepeatedFailures:
    """Says of a failure whether it is news: the first of its kind, the second, the fourth, the eighth.

    A broker that is away for a week is tried again four times a minute, and each try fails alike.
    """

    def __init__(self) -> None:
        self._seen: Counter[str] = Counter()

    def is_news(self, reason: str) -> bool:
        """Count one; those that differ in their numbers (seconds, ports) are of a kind."""
        if len(self._seen) >= _KINDS:
            self._seen.clear()
        kind = re.sub(r"\d+", "", reason)
        self._seen[kind] += 1
        return self._seen[kind].bit_count() == 1

    def forget(self) -> None:
        """Begin anew: it went well."""
        self._seen.clear()
