"""A connection that comes back by itself: reconnecting, fail-over, and what is said over it.

It knows nothing of STOMP's frames or of stomp.py; `_open` makes one connection. One thread, the
supervisor's, makes and drops connections; any thread may send, subscribe and acknowledge: each
uses the connection that is live, and waits a bounded time for one.
"""

from __future__ import annotations

import itertools
import logging
import random
import threading
import time
from dataclasses import field, replace
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Protocol, Self

from mcshell import forking
from mcshell.errors import (
    ConnectError,
    ConnectionLost,
    ReceiptTimeout,
    UnknownBroker,
    UsageError,
    WireError,
)
from mcshell.interrupts import InterruptibleCondition, take
from mcshell.values import dataclass
from mcshell.wire.stomp.dialects import passing
from mcshell.wire.stomp.endpoint import Endpoint, parse_url
from mcshell.wire.stomp.frame import check_headers
from mcshell.wire.stomp.transport import ConnectionState, RepeatedFailures, backoff

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from mcshell.wire.stomp.dialects import Dialect
    from mcshell.wire.stomp.transport import AckMode, Delivery, Inbox, PendingReceipt, ReceiptTable

__all__ = ["ConnectionState", "ReconnectingConnection", "Subscription"]

log = logging.getLogger(__name__)

ATTEMPT = 5.0  # seconds that one round over all the brokers may take
ROUNDS = 4  # times as long at most, doubled after each in vain: far brokers take their time
PATIENCE = 5.0  # seconds that a send waits for a connection
CONFIRM = 10.0  # seconds in which the broker confirms a subscription, and then the next
STABLE = 2.0  # seconds after which a connection is good: one that a broker ends at once is not
BYE = 2.0  # seconds for a clean DISCONNECT
RETURN = 15.0  # seconds, about, between looks whether a broker named earlier is there again


@dataclass(slots=True, kw_only=True)
class Subscription:
    """One subscription; `confirmed` ones are taken over to each new connection."""

    id: str
    destination: str
    inbox: Inbox = field(repr=False)
    ack: AckMode
    prefetch: int
    confirmed: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)


class SupervisedLink(Protocol):
    """One connection from its first byte to its last, as the thread that keeps it sees it."""

    endpoint: Endpoint
    epoch: int
    dialect: Dialect
    server: str
    receipts: ReceiptTable
    dead: threading.Event
    reason: str
    refusal: str

    @property
    def silent(self) -> bool:
        """Whether it ended because nothing came from the broker any more."""

    def send(self, destination: str, body: bytes, headers: dict[str, str]) -> None:
        """SEND; raises ConnectionLost."""

    def subscribe(self, subscription: Subscription) -> PendingReceipt:
        """SUBSCRIBE; raises ConnectionLost."""

    def unsubscribe(self, number: str) -> None:
        """UNSUBSCRIBE; raises ConnectionLost."""

    def ack(self, number: str) -> None:
        """ACK; raises ConnectionLost."""

    def disconnect(self, timeout: float) -> None:
        """Say DISCONNECT, and wait for the end."""

    def kill(self, reason: str) -> None:
        """End it at once."""


class ReconnectingConnection:
    """A connection that comes back by itself, and the subscriptions that it brings along.

    A send waits `patience` seconds for one.
    """

    def __init__(
        self,
        urls: Sequence[str],
        *,
        patience: float = PATIENCE,
        on_state: Callable[[ConnectionState], None] | None = None,
    ) -> None:
        self._patience = patience
        self._endpoints = [parse_url(url) for url in urls]
        if not self._endpoints:
            raise UsageError("no broker is named: broker.urls is empty")
        self._on_state = on_state
        self._process = forking.generation()
        self._changed = InterruptibleCondition()
        """Guards what follows up to the blank line; notified when a connection is live or gone."""
        self._live: SupervisedLink | None = None
        self._coming: SupervisedLink | None = None
        """One that takes over the subscriptions; what is live is used until it has them all."""
        self._brought: set[str] = set()
        """Those that it has."""
        self._subscriptions: dict[str, Subscription] = {}
        self._reason = "not started"
        self._broken_at = 0.0
        self.connected_at = 0.0
        """When a connection was made last (seconds since the epoch); 0 where none was."""
        self.connections = 0
        """How many were made; a return to a broker that is named earlier is one."""
        self._epochs = itertools.count(1)
        self._numbers = itertools.count(1)
        self._stop = threading.Event()
        self._first: SimpleQueue[WireError | None] = SimpleQueue()
        """How the first attempt came out, for whoever waits in `start`."""
        self._started = False
        """Whether there has been a connection."""
        self._opening: SupervisedLink | None = None
        self._silent: dict[Endpoint, float] = {}
        """Brokers that were last waited for in vain, and when (monotonic): others are tried first."""
        self._thread: threading.Thread | None = None

    def _open(self, endpoint: Endpoint, epoch: int, timeout: float) -> SupervisedLink:
        """Make one connection, logged in; raises ConnectError or UnknownBroker."""
        raise NotImplementedError

    # -- life -----------------------------------------------------------------------------------

    def start(self, timeout: float | None = 5.0) -> None:
        """Connect, and stay connected until `close`; where it fails it may be called again.

        Args:
            timeout: seconds for trying every broker once; None tries on until one is there.

        Raises:
            ConnectError: none took us, with the broker's or the system's reason; without a bound,
                only when it was given up.
            UnknownBroker: there is one, whose dialect we don't know.
        """
        if self._thread is not None:
            raise UsageError("this connection was started already")
        first: SimpleQueue[WireError | None] = SimpleQueue()
        self._first = first
        thread = threading.Thread(
            target=self._run, args=(first, timeout), name="mcshell-supervisor", daemon=True
        )
        thread.start()
        self._thread = thread
        failure: WireError | None
        try:
            failure = take(first, None if timeout is None else timeout + 1.0)
        except Empty:  # the system's resolver has no bound of its own
            failure = ConnectError(self._endpoints[-1].url, f"no answer within {timeout:g} s")
        except BaseException:
            self.close()
            raise
        if failure is not None:
            self.close()
            if not thread.is_alive():  # it may be tried again
                self._thread = None
                self._stop.clear()
            raise failure

    def give_up(self) -> None:
        """Have `start` end that still waits for a broker; a signal's handler may call it.

        Where there has been a connection it does nothing: `close` ends that.
        """
        if not self._started:
            self.close()

    def close(self) -> None:
        """Disconnect cleanly and end the threads, within a bounded time; harmless when repeated."""
        self._stop.set()
        self._first.put(ConnectError(self._endpoints[-1].url, "closed"))
        with self._changed:
            links = [one for one in (self._coming, self._live) if one is not None]
            self._live = None
            self._reason = "closed"
            self._changed.notify_all()
        for link in links:
            link.disconnect(BYE)
        if (opening := self._opening) is not None:
            opening.kill("closed")
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(ATTEMPT)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- the supervisor's thread ----------------------------------------------------------------

    def _run(self, first: SimpleQueue[WireError | None], timeout: float | None) -> None:
        delays, failures, more = backoff(), RepeatedFailures(), 1
        while not self._stop.is_set():
            since = time.monotonic()
            try:
                bound = None if self._started else timeout
                link = self._round(ATTEMPT * more if bound is None else bound)
            except WireError as failure:
                if self._stop.is_set():
                    break
                if not self._started and (
                    timeout is not None or isinstance(failure, UnknownBroker)
                ):
                    first.put(failure)
                    return
                pause, more = next(delays), min(2 * more, ROUNDS)
                reason = failure.reason if isinstance(failure, ConnectError) else str(failure)
                level = logging.WARNING if failures.is_news(reason) else logging.DEBUG
                self._tell(None, reason, f"; next try in {pause:.1f} s", level=level)
                self._stop.wait(pause)
                continue
            if not self._started:
                self._started = True
                first.put(None)
            link, more = self._watch(link), 1
            self._drop(link)
            if time.monotonic() - since > STABLE:
                delays = backoff()
                failures.forget()
            self._stop.wait(next(delays))
        if not self._started:
            first.put(ConnectError(self._endpoints[-1].url, "closed"))

    def _round(self, budget: float) -> SupervisedLink:
        """Try each broker once; raises what the last one failed with, naming the others."""
        deadline = time.monotonic() + budget
        before = ""
        order = sorted(self._endpoints, key=lambda one: self._silent.get(one, 0.0))
        for left, endpoint in zip(range(len(order), 0, -1), order, strict=True):
            began = time.monotonic()
            share = max(0.2, (deadline - began) / left)
            try:
                link = self._open(endpoint, next(self._epochs), share)
                self._adopt(link)
            except ConnectError as failure:
                if (now := time.monotonic()) - began >= share:
                    self._silent[endpoint] = now
                error: WireError = ConnectError(endpoint.url, failure.reason + before)
                before += f"; {endpoint.url}: {failure.reason}"
            except UnknownBroker as unknown:
                error = unknown
                before += f"; {endpoint.url}: {unknown}"
            else:
                return link
            if self._stop.is_set():
                break
        raise error

    def _watch(self, link: SupervisedLink) -> SupervisedLink:
        """Wait until the connection ends; meanwhile go back to a broker that is named earlier.

        Brokers that share nothing are islands: only where all return to the first do they meet.
        """
        while link.endpoint != self._endpoints[0]:
            if link.dead.wait(RETURN * random.uniform(0.7, 1.3)):  # noqa: S311  # no secret
                return link
            link = self._return(link)
        link.dead.wait()
        return link

    def _return(self, link: SupervisedLink) -> SupervisedLink:
        """Try the brokers before this one; the connection that is live then."""
        for endpoint in self._endpoints[: self._endpoints.index(link.endpoint)]:
            try:
                better = self._open(endpoint, next(self._epochs), ATTEMPT)
                self._adopt(better)
            except WireError as failure:
                log.debug("%s: not back yet: %s", endpoint.url, failure)
            else:
                link.disconnect(BYE)  # whatever was sent over it has arrived
                return better
        return link

    def _adopt(self, link: SupervisedLink) -> None:
        """Bring the subscriptions over to a new connection, then let everybody use it.

        Raises:
            ConnectError: it broke, or a subscription was not confirmed in time.
        """
        with self._changed:
            self._coming, self._opening, self._brought = link, None, set()
        try:
            while not self._takes_over(link):
                pass
        except (ConnectionLost, ReceiptTimeout) as failure:
            self._drop(link)
            link.kill(str(failure))
            raise ConnectError(link.endpoint.url, str(failure)) from None
        if self._stop.is_set():
            link.kill("closed")
        else:
            self._silent.pop(link.endpoint, None)
            self._tell(link, "")

    def _called_off(self) -> bool:
        """Whether nobody wants the connection that is being made: a better one for one that has ended, say."""
        return self._stop.is_set() or ((link := self._live) is not None and link.dead.is_set())

    def _takes_over(self, link: SupervisedLink) -> bool:
        """Use it from now on, if it has all subscriptions; false, once it has those that were missing."""
        with self._changed:
            kept = [one for one in self._subscriptions.values() if one.confirmed]
            missing = [one for one in kept if one.id not in self._brought]
            self._brought.update(one.id for one in missing)
            if not missing and not self._stop.is_set():
                self._live = link
                self._coming = None  # after that: an acknowledgement looks here first
                self.connected_at = time.time()
                self.connections += 1
                self._changed.notify_all()
        _subscribe(link, missing)
        return not missing

    def _drop(self, link: SupervisedLink) -> None:
        """Take a dead connection out of use."""
        if link.silent:
            self._silent[link.endpoint] = time.monotonic()
        with self._changed:
            self._coming, self._reason = None, link.reason or "connection lost"
            if was_live := self._live is link:
                self._live, self._broken_at = None, time.time()
        if was_live and not self._stop.is_set():
            self._tell(link, self._reason)

    def _tell(
        self,
        link: SupervisedLink | None,
        reason: str,
        more: str = "",
        *,
        level: int = logging.WARNING,
    ) -> None:
        """Log a change, bad news at this level, with what else the log is to say, and report it."""
        endpoint = link.endpoint if link else self._endpoints[-1]
        if reason:
            self._reason = reason
        connected = link is not None and not reason
        log.log(
            logging.INFO if connected else level,
            "%s: %s%s",
            endpoint.url,
            reason or "connected",
            more,
        )
        if self._on_state is not None:
            try:
                epoch = link.epoch if link else 0
                self._on_state(ConnectionState(connected, endpoint.url, epoch, reason))
            except Exception:  # another's error must not end the supervision
                log.exception("on_state failed")

    # -- for other threads ----------------------------------------------------------------------

    def is_alive(self) -> bool:
        """Whether the thread runs that keeps the connection, be there one or not."""
        return self._thread is not None and self._thread.is_alive()

    @property
    def connected(self) -> bool:
        """Whether a connection stands now, with all its subscriptions."""
        link = self._live
        return link is not None and not link.dead.is_set()

    @property
    def url(self) -> str:
        """The broker that we are connected to, "" without one."""
        link = self._live
        return link.endpoint.url if link else ""

    @property
    def broken_at(self) -> float:
        """When a connection broke last (seconds since the epoch); 0 where none has."""
        return self._broken_at

    def _usable(self, deadline: float) -> SupervisedLink:
        """Wait for a connection that stands; raises ConnectionLost at the deadline."""
        forking.check(self._process)
        link = self._live
        if link is not None and not link.dead.is_set():
            return link
        with self._changed:
            while (link := self._live) is None or link.dead.is_set():
                left = deadline - time.monotonic()
                if left <= 0 or self._stop.is_set() or self._thread is None:
                    reason = f"no connection to a broker: {self._reason}"
                    raise ConnectionLost(reason, unsent=True)
                self._changed.wait(min(left, 0.5))
        return link

    @property
    def dialect(self) -> Dialect:
        """How the broker at the other end wants things said; raises ConnectionLost without one."""
        return self._usable(time.monotonic() + PATIENCE).dialect

    @property
    def server(self) -> str:
        """What that broker says it is, "NAME/VERSION …"; raises ConnectionLost without one."""
        return self._usable(time.monotonic() + PATIENCE).server

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
        link = self._usable(time.monotonic() + self._patience)
        # A topic keeps nothing. A broker by whose clock it is over would drop what those who listen
        # answer: that the clocks disagree.
        until = None if destination.startswith("/topic/") else expires
        ready |= link.dialect.send_headers(persistent=persistent, expires=until, now=time.time())
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
        (number,) = self.subscribe_all(
            [(destination, inbox)], ack=ack, prefetch=prefetch, headers=headers
        )
        return number

    def subscribe_all(
        self,
        wanted: Iterable[tuple[str, Inbox]],
        *,
        ack: AckMode = "client-individual",
        prefetch: int = 200,
        headers: Mapping[str, str] | None = None,
    ) -> list[str]:
        """Subscribe to many destinations at once (`Transport.subscribe_all`); raises as `subscribe`."""
        more = check_headers(headers) if headers else {}
        new = [
            Subscription(
                id=f"s{next(self._numbers)}",
                destination=where,
                inbox=inbox,
                ack=ack,
                prefetch=prefetch,
                headers=more,
            )
            for where, inbox in wanted
        ]
        self._subscriptions.update((one.id, one) for one in new)
        try:
            self._begin(new)
        except BaseException:
            for one in new:
                self.unsubscribe(one.id)
            raise
        return [one.id for one in new]

    def expect(self, subscription: str, inbox: Inbox) -> None:
        """Take what the broker delivers under a subscription of its own making."""
        self._subscriptions[subscription] = Subscription(
            id=subscription, destination="", inbox=inbox, ack="auto", prefetch=0
        )

    def pause(self, subscription: str) -> None:
        """End a subscription until `resume`; what is under way of it still comes in."""
        self._end(self._subscriptions.get(subscription))

    def lend(self, subscription: str, destination: str) -> None:
        """Use a paused subscription's id for another destination; raises as `subscribe`."""
        one = replace(self._subscriptions[subscription], destination=destination, prefetch=1)
        _subscribe(self._usable(time.monotonic() + CONFIRM), [one])

    def resume(self, subscription: str) -> None:
        """Begin it again, under the same id; raises as `subscribe`."""
        if not (one := self._subscriptions[subscription]).confirmed:
            self._begin([one])

    def _begin(self, wanted: Sequence[Subscription]) -> None:
        # a broker may also close the connection over a destination, and not say so
        if not self._confirm(wanted):
            self._confirm(wanted, last=True)

    def _confirm(self, wanted: Sequence[Subscription], *, last: bool = False) -> bool:
        """Subscribe on the connection that is live; false (at `last` an error) when it breaks."""
        link = self._usable(time.monotonic() + CONFIRM)
        try:
            _subscribe(link, wanted)
        except ConnectionLost:
            if link.refusal and not passing(link.refusal):
                raise ConnectionLost(link.refusal, refused=True) from None
            if last:
                raise
            return False
        with self._changed:
            # else a new connection has taken over the others without these
            confirmed = self._live is link
            for one in wanted:
                one.confirmed = confirmed
        if last and not confirmed:
            raise ConnectionLost(link.reason)
        return confirmed

    def unsubscribe(self, subscription: str) -> None:
        """End a subscription; what is under way of it is dropped."""
        self._end(self._subscriptions.pop(subscription, None))

    def _end(self, one: Subscription | None) -> None:
        if one is None:
            return
        with self._changed:
            one.confirmed = False
            links = [self._live, self._coming if one.id in self._brought else None]
        for link in filter(None, links):
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
        for link in (self._coming, self._live):
            if link is None or link.epoch != delivery.epoch or not delivery.ack_id:
                continue
            try:
                link.ack(delivery.ack_id)
            except ConnectionLost:
                log.debug("%s: an acknowledgement was lost", delivery.destination)
            return

    def _deliver(self, delivery: Delivery) -> None:
        """Called by the receiving thread: put a message where it belongs."""
        one = self._subscriptions.get(delivery.subscription)
        if one is not None:
            one.inbox.put(delivery)


def _subscribe(link: SupervisedLink, wanted: Iterable[Subscription]) -> None:
    """SUBSCRIBE to all of them, and wait until the broker has confirmed each.

    Raises:
        ConnectionLost: the connection broke.
        ReceiptTimeout: the broker has stopped confirming.
    """
    for receipt in [link.subscribe(one) for one in wanted]:
        receipt.wait(CONFIRM)
