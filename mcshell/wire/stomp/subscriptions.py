"""The small parts of keeping a connection: what is told of it, what it carries over, the pauses."""

from __future__ import annotations

import itertools
import random
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from mcshell.errors import FrameError

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterator, Mapping

    from mcshell.wire.stomp.dialects import Dialect
    from mcshell.wire.stomp.endpoint import Endpoint
    from mcshell.wire.stomp.receipts import PendingReceipt, ReceiptTable
    from mcshell.wire.stomp.transport import AckMode, Inbox

__all__ = ["ConnectionState", "Subscription", "backoff", "check_headers"]

_name = re.compile(r"[^\s:\\\0]+").fullmatch
_OURS = frozenset(["destination", "content-length", "receipt", "id", "ack", "transaction"])


@dataclass(frozen=True, slots=True)
class ConnectionState:
    """What `on_state` is told: the broker, the connection's number, and why it is down."""

    connected: bool
    url: str
    epoch: int
    reason: str


@dataclass(slots=True)
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
    receipts: ReceiptTable
    dead: threading.Event
    reason: str
    refusal: str

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


def backoff(first: float = 0.1, most: float = 15.0) -> Iterator[float]:
    """Seconds to wait before each next round: doubled each time, and scattered.

    Scattered, because a thousand nodes lose a restarted broker in the same second. (tenacity has
    the same, but loads asyncio, which a node has no memory for.)
    """
    for step in itertools.count():
        yield random.uniform(0.3, 1.0) * min(most, first * 2 ** min(step, 20))  # noqa: S311  # no secret


def check_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Copy headers that a SEND may carry; stomp.py escapes values but not names.

    Raises:
        FrameError: a name that would break the frame or is the connection's own, or a value that
            is not text or holds a NUL.
    """
    for name, value in headers.items():
        if not _name(name) or name in _OURS:
            raise FrameError(f"{name!r} cannot be the name of a message's header")
        if not isinstance(value, str) or "\0" in value:
            raise FrameError(f"header {name}: {value!r} is not text without NUL")
    return dict(headers)
