"""What the outbox has said of late, to be said again where the broker that took it is gone.

A broker's receipt means that it has the reply on its disk; when it then dies, and nodes and clients
go on to the next of `broker.urls`, the reply lies where nobody reads. So replies are remembered for a
while, and the next broker gets them too: the same bytes, of which a client keeps one. In memory
only: it serves where one broker fails, not where the node fails with it.
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mcshell.node.store.records import OutboxMessage

__all__ = ["ResendBuffer"]

_AGE: Final = 600.0  # seconds: far longer than it takes to notice that a broker has died
_MOST: Final = 1 << 20  # bytes


class ResendBuffer:
    """The replies of one process; one thread owns it. Remembers nothing where `several` is false."""

    def __init__(self, *, several: bool) -> None:
        self._several = several
        self._messages: deque[tuple[float, str, OutboxMessage]] = deque()
        self._size = 0

    def keep(self, url: str, messages: Iterable[OutboxMessage], now: float) -> None:
        """Remember what the broker at `url` has confirmed."""
        if not self._several:
            return
        for message in messages:
            self._messages.append((now, url, message))
            self._size += len(message.body)
        while self._messages and (self._messages[0][0] < now - _AGE or self._size > _MOST):
            self._size -= len(self._messages.popleft()[2].body)

    def elsewhere(self, url: str, now: float) -> list[OutboxMessage]:
        """What only other brokers than this one have; it is not remembered any more."""
        found = [
            message for at, where, message in self._messages if where != url and at >= now - _AGE
        ]
        if found:
            self._messages = deque(entry for entry in self._messages if entry[1] == url)
            self._size = sum(len(message.body) for _, _, message in self._messages)
        return [replace(message, number=None) for message in found]
