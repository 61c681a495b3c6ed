"""What waits in the queues of one broker goes to another: `mcshell broker move`.

Each message is acknowledged at the old broker when the new one has confirmed it, so that a move that
is killed has lost nothing, and another one goes on. What was under way then is in both, and comes a
second time: a node and a session keep one. Workers of a pool do not know of one another; so a message
that somebody may have had before says so on (`REDELIVERED`), and of a pool only one is under way.
"""

from __future__ import annotations

import hashlib
import re
import time
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Final

from mcshell.errors import ConnectionLost, ReceiptTimeout, WireError
from mcshell.values import dataclass
from mcshell.wire.stomp.transport import REDELIVERED, TaggedInbox

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from mcshell.wire.stomp.connector import Connector
    from mcshell.wire.stomp.transport import Delivery, Receipt

__all__ = ["Mover", "QueueMove", "is_ours", "patterns"]

PARKED: Final = "mcs.unrouted"
"""Where a RabbitMQ of `broker config` keeps replies whose queue was not there."""

_CHUNK: Final = 100  # queues that are read at once
_WINDOW: Final = 50  # messages of each that are under way
_GROUP: Final = 500
_PAUSES: Final = (0.0, 2.0, 8.0)
"""Seconds before each try of a message alone: a cluster that has lost a member breaks off over any for a while."""
_CONFIRM: Final = 60.0  # seconds in which the new broker confirms a message
_QUIET: Final = 2.0  # seconds without a message after which a queue is empty
_PATIENCE: Final = 20.0  # the same while fewer have come than were listed
_BACK: Final = 60.0  # seconds that a broker may be away
_YOUNG: Final = (
    3.0  # seconds until a queue that RabbitMQ has just made, and what is in it, is on its disk
)
_DELIVERY: Final = {"destination", "message-id", "subscription", "ack", "redelivered", "receipt"}
_SAID_ANEW: Final = {"content-length", "persistent", "expires", "expiration", "priority"}
_NOT_PASSED_ON: Final = _DELIVERY | _SAID_ANEW | {"timestamp", "transaction", "id"}
_can_be_sent = re.compile(r"[^\s:\\\0]+").fullmatch


@dataclass(slots=True)
class QueueMove:
    """How it went with one queue.

    Attributes:
        name: such as mcs.C.work.IDENTITY.
        listed: how many messages were said to be in it; None where nobody said.
        taken: how many the new broker has confirmed.
        left: why what is left there was not taken, "" where nothing is known to be.
    """

    name: str
    listed: int | None = None
    taken: int = 0
    left: str = ""


_NOTHING: Final = QueueMove("")


@dataclass(frozen=True, slots=True)
class _Came:
    move: QueueMove
    delivery: Delivery
    destination: str


class Mover:
    """Moves queues over two connections that others have made, and close.

    Args:
        source: to the old broker, started.
        target: to the new one, started.
        connect: makes one more connection to the new one, not started.
    """

    def __init__(
        self, source: Connector, target: Connector, connect: Callable[[], Connector]
    ) -> None:
        self._source = source
        self._target = target
        self._connect = connect
        # now, as both are there: asked later, one that is away would be the end
        self._from, self._to = source.dialect, target.dialect
        self._moves: dict[str, QueueMove] = {}
        self._inbox: SimpleQueue[tuple[str, Delivery]] = SimpleQueue()
        self._confirmed: set[bytes] = set()
        """What the new broker has, by digest: it may come again before the old one knows."""
        self._bound: set[str] = set()
        self._settled: set[str] = set()
        """The queues that the new broker has on its disk, and so what it confirms of them."""

    def move(self, queues: Mapping[str, int | None]) -> list[QueueMove]:
        """Take all that is in these queues; names that are patterns stand for several.

        Raises:
            WireError: one of the brokers is gone; what was taken is safe, the rest is where it was.
        """
        names = sorted(queues)
        for name in names:
            if not _is_pattern(name):
                self._moves[name] = QueueMove(name, queues[name])
        for pool in (True, False):
            some = [name for name in names if _is_pool(name) is pool]
            for start in range(0, len(some), _CHUNK):
                self._take(some[start : start + _CHUNK], prefetch=1 if pool else _WINDOW)
        for one in self._moves.values():
            if not one.left and one.taken < (one.listed or 0):
                one.left = f"{one.listed} were listed: the rest has expired, or is with a consumer"
        return [self._moves[name] for name in sorted(self._moves)]

    def _take(self, names: Sequence[str], prefetch: int) -> None:
        # a queue of replies is made also where it is empty: else those to come would find none
        self._bind(f"/queue/{name}" for name in names if not _is_pattern(name))
        self._drain(names, prefetch, patient=True)
        while self._drain(names, prefetch, patient=False):
            pass  # and once more: a broker that only fell silent has to confirm again

    def _drain(self, names: Sequence[str], prefetch: int, *, patient: bool) -> bool:
        """Read until nothing more comes; returns whether anything came."""
        came = False
        numbers = self._subscribe(names, prefetch)
        while group := self._next(self._quiet(names) if patient else _QUIET):
            came = True
            self._pass_on(group)
        for number in numbers:
            self._source.unsubscribe(number)
        return came

    def _subscribe(self, names: Sequence[str], prefetch: int) -> list[str]:
        """Read these queues as they are; one that cannot be is named, the others are read."""
        names = [name for name in names if not self._moves.get(name, _NOTHING).left]
        existing = self._from.existing
        wanted = [
            (existing(f"/queue/{name}"), TaggedInbox(self._inbox.put, name)) for name in names
        ]
        try:
            return self._source.subscribe_all(wanted, prefetch=prefetch)
        except WireError as error:
            _wait_for(self._source, error)
            if len(names) > 1:
                return [one for name in names for one in self._subscribe([name], prefetch)]
            self._of(names[0]).left = f"it cannot be read: {error}"
            return []

    def _of(self, name: str) -> QueueMove:
        return self._moves.setdefault(name, QueueMove(name))

    def _quiet(self, names: Sequence[str]) -> float:
        """Seconds to wait for more."""
        moves = [self._moves[name] for name in names if name in self._moves]
        short = any(not one.left and one.taken < (one.listed or 0) for one in moves)
        return _PATIENCE if short else _QUIET

    def _next(self, seconds: float) -> list[_Came]:
        """The next messages of queues that are not given up; none when there were none so long."""
        group: list[_Came] = []
        deadline = time.monotonic() + seconds
        try:
            while not group:
                tag, delivery = self._inbox.get(timeout=max(0.001, deadline - time.monotonic()))
                group += self._came(tag, delivery)
            while len(group) < _GROUP:
                group += self._came(*self._inbox.get_nowait())
        except Empty:
            pass
        return group

    def _came(self, tag: str, delivery: Delivery) -> list[_Came]:
        name = delivery.destination.rpartition("/")[2]
        move = self._of(name if _is_pattern(tag) else tag)
        if move.left:
            return []
        target = name if tag == PARKED else move.name
        return [_Came(move, delivery, f"/queue/{target}")]

    def _pass_on(self, group: Sequence[_Came]) -> None:
        """Have the new broker confirm these, and acknowledge each that it has."""
        self._bind(came.destination for came in group)
        waiting = []
        for came in group:
            if came.delivery.redelivered and _digest(came) in self._confirmed:
                self._source.ack(came.delivery)  # the connection broke over the acknowledgement
            else:
                waiting.append(came)
        before = self._target.broken_at
        receipts: list[Receipt] = []
        with suppress(ConnectionLost):
            receipts.extend(self._send(came) for came in waiting)
        failed = waiting[len(receipts) :]
        end = time.monotonic() + _CONFIRM
        confirmed: list[_Came] = []
        for came, receipt in zip(waiting, receipts, strict=False):
            refused = _refused(receipt, end - time.monotonic())
            (failed if refused else confirmed).append(came)
        doubted = self._doubted(confirmed, before)
        for came in confirmed:
            if not doubted or came.destination in self._settled:
                self._taken(came)
        for came in doubted + failed:
            self._insist(came)

    def _doubted(self, confirmed: Sequence[_Came], before: float) -> list[_Came]:
        """What the new broker may have lost since: it has broken off, and not last at `before`.

        RabbitMQ may lose a queue that it has just made, with all that it has confirmed of it.
        """
        young = [came for came in confirmed if came.destination not in self._settled]
        if not (young and self._to.replies_by_topic):
            return []
        time.sleep(_YOUNG)
        if self._target.broken_at != before:
            return young
        self._settled.update(came.destination for came in young)
        return []

    def _insist(self, came: _Came) -> None:
        """Send one alone, and again; a queue that the new broker refuses is given up."""
        for pause in _PAUSES:
            if came.move.left:
                return
            time.sleep(pause)
            _wait_for(self._target, ConnectionLost("the new broker is gone"))
            before = self._target.broken_at
            receipt = self._send(came, again=True)
            why = _refused(receipt, _CONFIRM)
            if not (why or self._doubted([came], before)):
                self._taken(came)
                return
        came.move.left = why or "the new broker has broken off over it"

    def _taken(self, came: _Came) -> None:
        self._confirmed.add(_digest(came))
        self._source.ack(came.delivery)
        came.move.taken += 1

    def _send(self, came: _Came, *, again: bool = False) -> Receipt:
        """Send a message on as it is, with the time that it is good for."""
        headers = {
            name: value
            for name, value in came.delivery.headers.items()
            if name not in _NOT_PASSED_ON and not name.startswith("x-") and _can_be_sent(name)
        }
        if again or came.delivery.redelivered:
            headers[REDELIVERED] = "true"
        receipt = self._target.send(
            came.destination,
            came.delivery.body,
            headers,
            persistent=came.delivery.headers.get("persistent") == "true",
            expires=self._from.expiry_of(came.delivery.headers, time.time()),
            receipt=True,
        )
        assert receipt is not None
        return receipt

    def _bind(self, destinations: Iterable[str]) -> None:
        """Where replies go by a topic: have their queues there, so that nothing is sent to none."""
        if not self._to.replies_by_topic:
            return
        replies = [
            where
            for where in dict.fromkeys(destinations)
            if where not in self._bound and self._to.send_to(where) != where
        ]
        if not replies:
            return
        _wait_for(self._target, ConnectionLost("the new broker is gone"))
        # a connection of its own, whose end gives back what it was handed
        with self._connect() as other:
            other.start()
            for where in replies:
                try:
                    other.subscribe(where, SimpleQueue(), prefetch=1)
                except WireError as error:
                    self._of(where.removeprefix("/queue/")).left = str(error)
        self._bound.update(replies)


def _wait_for(connection: Connector, error: WireError) -> None:
    """Wait until there is a connection again; raises the error when there is none for long."""
    deadline = time.monotonic() + _BACK
    while not connection.connected:
        if time.monotonic() > deadline:
            raise error
        time.sleep(0.1)


def _refused(receipt: Receipt, seconds: float) -> str:
    """Why the new broker did not take a message; "" when it did."""
    try:
        receipt.wait(max(0.0, seconds))
    except (ConnectionLost, ReceiptTimeout) as error:
        return str(error)
    return ""


def _digest(came: _Came) -> bytes:
    return hashlib.sha256(f"{came.destination}\n".encode() + came.delivery.body).digest()


def _is_pattern(name: str) -> bool:
    return name.endswith(".>")


def _is_pool(name: str) -> bool:
    return name.split(".")[2:3] == ["pool"]


def is_ours(name: str) -> bool:
    """Whether a queue is one that mcshell makes."""
    return name == PARKED or (
        name.startswith("mcs.")
        and name.split(".")[2:3] in (["node"], ["work"], ["pool"], ["reply"])
    )


def patterns(collectives: Iterable[str]) -> list[str]:
    """The names that stand for all queues of these collectives, where a broker reads them so."""
    return [f"mcs.{c}.{what}.>" for c in collectives for what in ("node", "work", "pool", "reply")]
