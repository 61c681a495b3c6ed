"""The broker and the lines to it, simulated: queues, topics, acknowledgements, and what goes wrong.

A line brings frames in order, each a little later; it breaks at any moment, with frames under way in
both directions, and each end notices when it notices. The broker confirms what is on its disk; what
is not yet is lost when it is restarted, and an acknowledgement too, so that a message comes again.
The connection above it (`wire.stomp.reconnect`), with its fail-over, is mcshell's own.
"""

from __future__ import annotations

import itertools
import threading
from collections import OrderedDict, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mcshell.errors import ConnectError, ConnectionLost
from mcshell.wire.stomp.dialects import MCSHELL, RABBITMQ
from mcshell.wire.stomp.frame import Frame
from mcshell.wire.stomp.reconnect import ReconnectingConnection
from mcshell.wire.stomp.transport import ReceiptTable, delivery_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mcshell.wire.stomp.endpoint import Endpoint
    from mcshell.wire.stomp.reconnect import Subscription
    from mcshell.wire.stomp.transport import Delivery, PendingReceipt
    from tests.simulation.green import Scheduler

__all__ = ["Broker", "Connection", "Link"]

SYNC = 0.01


@dataclass(eq=False)
class Message:
    """One message in a queue; `safe` once it is on the broker's disk."""

    destination: str
    body: bytes
    headers: Mapping[str, str]
    expires: float | None
    redelivered: bool = False
    safe: bool = False


@dataclass(eq=False)
class Reader:
    """A subscription, as the broker has it."""

    link: Link
    id: str
    destination: str
    ack: str
    prefetch: int
    unacked: OrderedDict[str, Message] = field(default_factory=OrderedDict)
    reading: bool = True


class Link:
    """One connection of a process (`reconnect.SupervisedLink`), and the line below it."""

    def __init__(self, broker: Broker, endpoint: Endpoint, epoch: int, above: Connection) -> None:
        self.endpoint = endpoint
        self.epoch = epoch
        self.dialect = broker.dialect
        self.receipts = ReceiptTable()
        self.dead = threading.Event()
        self.reason = ""
        self.refusal = ""
        self.silent = False
        """Heart-beats are left out: a line that is lost is noticed at once, or by what is sent."""
        self.process = broker.scheduler.current.process
        self.severed = False
        """Whether nothing that is sent from now on arrives."""
        self.known = True
        """Whether the broker still takes it for alive."""
        self._broker = broker
        self._scheduler = broker.scheduler
        self._above = above
        self._arrives = [0.0, 0.0]
        self._came: deque[tuple[str, Any]] = deque()
        self._awake = threading.Event()
        threading.Thread(target=self._read, name="mcshell-line", daemon=True).start()
        broker.links.append(self)

    # --- the process's end ---------------------------------------------------------------------

    def send(self, destination: str, body: bytes, headers: dict[str, str]) -> None:
        """SEND; raises ConnectionLost."""
        self._out("SEND", (destination, body, dict(headers)))

    def subscribe(self, subscription: Subscription) -> PendingReceipt:
        """SUBSCRIBE; raises ConnectionLost."""
        receipt = self.receipts.new(f"the subscription of {subscription.destination}")
        one = subscription
        self._out("SUBSCRIBE", (one.id, one.destination, one.ack, one.prefetch, receipt.id))
        return receipt

    def unsubscribe(self, number: str) -> None:
        """UNSUBSCRIBE; raises ConnectionLost."""
        self._out("UNSUBSCRIBE", number)

    def ack(self, number: str) -> None:
        """ACK; raises ConnectionLost."""
        self._out("ACK", number)

    def disconnect(self, timeout: float) -> None:
        """Say DISCONNECT, and wait for the end."""
        if not self.dead.is_set() and not self.severed:
            self._out("DISCONNECT", None)
            self.dead.wait(timeout)
        self.kill("closed")

    def kill(self, reason: str) -> None:
        """End it at once; what was sent before may still arrive."""
        self.reason = self.reason or reason
        self.sever(here=0.0, there=self._scheduler.dice.choice((0.0, 0.02, 0.5)), reason=reason)

    def _out(self, what: str, content: Any) -> None:
        self._scheduler.point()
        if self.dead.is_set():
            raise ConnectionLost(self.reason or "connection lost")
        if not self.severed:
            self._travel(0, lambda: self._broker.take(self, what, content))
        self._scheduler.point()

    def _travel(self, way: int, arrive: Any) -> None:
        when = max(self._arrives[way], self._scheduler.now + self._broker.delay())
        self._arrives[way] = when
        self._scheduler.at(when, arrive)

    def _read(self) -> None:
        """The thread that receives."""
        while True:
            while not self._came:
                self._awake.wait()
                self._awake.clear()
            what, content = self._came.popleft()
            if what == "END":
                self.reason = self.reason or content
                self.dead.set()
                self.receipts.end(self.reason)
                return
            if what == "RECEIPT":
                self.receipts.confirm(content)
            else:
                self._above.deliver(content)

    # --- the line ------------------------------------------------------------------------------

    def sever(self, *, here: float, there: float, reason: str) -> None:
        """Cut it: this end notices after `here` seconds, the broker's after `there`."""
        if self.severed:
            return
        self.severed = True
        now = self._scheduler.now
        self._scheduler.at(now + here, lambda: self._put("END", reason))
        self._scheduler.at(now + there, lambda: self._broker.forget(self))

    def bring(self, what: str, content: Any) -> None:
        """Send a frame from the broker to the process."""
        if not self.severed:
            self._travel(1, lambda: self._put(what, content))

    def _put(self, what: str, content: Any) -> None:
        if self.process.alive and not self.dead.is_set():
            self._came.append((what, content))
            self._awake.set()


class Connection(ReconnectingConnection):
    """mcshell's own connection that comes back by itself, over a simulated line."""

    def __init__(self, broker: Broker, urls: tuple[str, ...], patience: float, on_state: Any):
        super().__init__(urls, patience=patience, on_state=on_state)
        self._broker = broker

    def _open(self, endpoint: Endpoint, epoch: int, timeout: float) -> Link:
        self._broker.scheduler.pause(min(self._broker.delay(), timeout))
        if not self._broker.up:
            raise ConnectError(endpoint.url, "connection refused")
        link = Link(self._broker, endpoint, epoch, self)
        self._opening = link
        return link

    def deliver(self, delivery: Delivery) -> None:
        """Called by the receiving thread."""
        self._deliver(delivery)


class Broker:
    """Queues that last, topics that don't, and subscriptions of links."""

    def __init__(self, scheduler: Scheduler, *, keeps_unacked: bool, forgets: bool) -> None:
        self.scheduler = scheduler
        self.dialect = RABBITMQ if keeps_unacked else MCSHELL
        self.up = True
        self.links: list[Link] = []
        self.slow = 1.0
        self.lost: list[Message] = []
        """What a restart took though it was confirmed: only of a broker that `forgets`."""
        self._forgets = forgets
        self._queues: dict[str, deque[Message]] = {}
        self._readers: list[Reader] = []
        self._numbers = itertools.count(1)
        self._unsafe: list[tuple[Message, Link | None, str]] = []
        self._unsafe_acks: list[Message] = []
        self._syncing = False

    def delay(self) -> float:
        """How long a frame is under way, seconds."""
        return self.scheduler.dice.expovariate(200.0) * self.slow

    # --- frames --------------------------------------------------------------------------------

    def take(self, link: Link, what: str, content: Any) -> None:
        """Handle a frame that has arrived."""
        if not self.up or not link.known:
            return
        if what == "SEND":
            self._send(link, *content)
        elif what == "SUBSCRIBE":
            number, destination, ack, prefetch, receipt = content
            reader = Reader(link, number, destination, ack, prefetch)
            kept = self._reader(link, number)
            if kept is not None:  # begun again under its id: what it holds is its own
                self._readers.remove(kept)
                reader.unacked = kept.unacked
            self._readers.append(reader)
            link.bring("RECEIPT", receipt)
            self._hand_out(destination)
        elif what == "UNSUBSCRIBE":
            self._unsubscribe(link, content)
        elif what == "ACK":
            self._acknowledge(link, content)
        else:
            link.sever(here=self.delay(), there=0.0, reason="closed")

    def _send(self, link: Link, destination: str, body: bytes, headers: dict[str, str]) -> None:
        receipt = headers.pop("receipt", "")
        message = Message(destination, body, headers, self._expiry(headers))
        if destination.startswith("/topic/"):
            for reader in self._readers:
                if reader.destination == destination:
                    self._give(reader, message)
        else:
            self._queues.setdefault(destination, deque()).append(message)
            self._hand_out(destination)
        if headers.get("persistent") == "true":
            self._unsafe.append((message, link if receipt else None, receipt))
            self._sync_soon()
        elif receipt:
            link.bring("RECEIPT", receipt)

    def _expiry(self, headers: Mapping[str, str]) -> float | None:
        from tests.simulation.green import EPOCH

        if "expires" in headers:
            return int(headers["expires"]) / 1000 - EPOCH
        if "expiration" in headers:
            return self.scheduler.now + int(headers["expiration"]) / 1000
        return None

    def _reader(self, link: Link, number: str) -> Reader | None:
        return next((one for one in self._readers if (one.link, one.id) == (link, number)), None)

    def _unsubscribe(self, link: Link, number: str) -> None:
        reader = self._reader(link, number)
        if reader is None:
            return
        reader.reading = False
        if not (self.dialect.keeps_unacked and reader.unacked):
            self._readers.remove(reader)
            self._take_back(reader)

    def _acknowledge(self, link: Link, number: str) -> None:
        for reader in self._readers:
            if reader.link is not link or number not in reader.unacked:
                continue
            gone = [number]
            if reader.ack == "client":
                every = list(reader.unacked)
                gone = every[: every.index(number) + 1]
            for one in gone:
                self._unsafe_acks.append(reader.unacked.pop(one))
            self._sync_soon()
            self._hand_out(reader.destination)
            return

    # --- queues --------------------------------------------------------------------------------

    def _hand_out(self, destination: str) -> None:
        queue = self._queues.get(destination)
        while queue:
            free = [
                one
                for one in self._readers
                if one.destination == destination
                and one.reading
                and one.link.known
                and (one.ack == "auto" or len(one.unacked) < one.prefetch)
            ]
            if not free:
                return
            message = queue.popleft()
            if message.expires is None or message.expires > self.scheduler.now:
                self._give(self.scheduler.dice.choice(free), message)

    def _give(self, reader: Reader, message: Message) -> None:
        number = f"m{next(self._numbers)}"
        if reader.ack != "auto":
            reader.unacked[number] = message
        headers = {
            **message.headers,
            "destination": message.destination,
            "message-id": number,
            "subscription": reader.id,
            "ack": number,
            "redelivered": str(message.redelivered).lower(),
        }
        frame = Frame("MESSAGE", headers, message.body)
        reader.link.bring("MESSAGE", delivery_of(frame, reader.link.epoch))

    def _take_back(self, reader: Reader) -> None:
        queue = self._queues.setdefault(reader.destination, deque())
        for message in reversed(reader.unacked.values()):
            message.redelivered = True
            queue.appendleft(message)
        reader.unacked.clear()
        self._hand_out(reader.destination)

    def forget(self, link: Link) -> None:
        """A connection has ended: what it did not acknowledge goes back."""
        if not link.known:
            return
        link.known = False
        if link in self.links:
            self.links.remove(link)
        mine = [one for one in self._readers if one.link is link]
        self._readers = [one for one in self._readers if one.link is not link]
        for reader in mine:
            self._take_back(reader)

    # --- its disk ------------------------------------------------------------------------------

    def _sync_soon(self) -> None:
        if not self._syncing:
            self._syncing = True
            when = self.scheduler.now + SYNC * self.slow * self.scheduler.dice.random()
            self.scheduler.at(when, self._sync)

    def _sync(self) -> None:
        self._syncing = False
        if not self.up:
            return
        unsafe, self._unsafe, self._unsafe_acks = self._unsafe, [], []
        for message, link, receipt in unsafe:
            message.safe = True
            if link is not None:
                link.bring("RECEIPT", receipt)

    def stop(self) -> None:
        """It dies: what is not on its disk is gone, and some acknowledgements are."""
        self.up = False
        dice = self.scheduler.dice
        for reader in self._readers:
            self._queues.setdefault(reader.destination, deque()).extendleft(
                reversed(reader.unacked.values())
            )
            for message in reader.unacked.values():
                message.redelivered = True
        for link in list(self.links):
            link.known = False
            link.sever(here=dice.random() * 0.1, there=0.0, reason="the broker has gone")
        self.links, self._readers = [], []
        back = self._unsafe_acks[dice.randint(0, len(self._unsafe_acks)) :]
        for message in back:
            message.redelivered = True
            self._queues[message.destination].appendleft(message)
        gone = {id(one) for one, _, _ in self._unsafe[dice.randint(0, len(self._unsafe)) :]}
        for name, queue in self._queues.items():
            kept = [
                one
                for one in queue
                if one.headers.get("persistent") == "true" and id(one) not in gone
            ]
            if self._forgets and kept:
                cut = dice.randint(0, len(kept))
                self.lost += kept[cut:]
                kept = kept[:cut]
            self._queues[name] = deque(kept)
        self._unsafe, self._unsafe_acks = [], []

    def start(self) -> None:
        """It is there again, with what is on its disk."""
        self.up = True

    # --- for faults ------------------------------------------------------------------------------

    def find(self, *words: str) -> Message | None:
        """Some message that lies in a queue with one of these words in its name, or is handed out."""
        lying = [message for queue in self._queues.values() for message in queue]
        held = [message for reader in self._readers for message in reader.unacked.values()]
        some = [one for one in [*lying, *held] if any(word in one.destination for word in words)]
        return self.scheduler.dice.choice(some) if some else None

    def put(self, destination: str, body: bytes, headers: Mapping[str, str]) -> None:
        """Put a message behind a queue."""
        message = Message(destination, body, headers, None, safe=True)
        self._queues.setdefault(destination, deque()).append(message)
        self._hand_out(destination)

    def duplicate(self) -> bool:
        """Put one more copy of a message behind a node's or session's queue."""
        one = self.find(".work.", ".node.", ".reply.")
        if one is None:
            return False
        self.put(one.destination, one.body, one.headers)
        return True
