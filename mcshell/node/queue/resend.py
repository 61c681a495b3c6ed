"""What the outbox has said of late, to be said again where the broker that took it is gone.

A broker's receipt means that it has the word on its disk; when it then dies, and nodes and clients
go on to the next of `broker.urls`, the word lies where nobody reads. So words are remembered for a
while, and the next broker gets them too: the same bytes, of which a client keeps one. In memory
only: it serves where one broker fails, not where the node fails with it.
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mcshell.node.store.records import Word

__all__ = ["Lately"]

_AGE: Final = 600.0  # seconds: far longer than it takes to notice that a broker has died
_MOST: Final = 1 << 20  # bytes


class Lately:
    """The words of one process; one thread owns it. Remembers nothing where `several` is false."""

    def __init__(self, *, several: bool) -> None:
        self._several = several
        self._words: deque[tuple[float, str, Word]] = deque()
        self._size = 0

    def keep(self, url: str, words: Iterable[Word], now: float) -> None:
        """Remember what the broker at `url` has confirmed."""
        if not self._several:
            return
        for word in words:
            self._words.append((now, url, word))
            self._size += len(word.body)
        while self._words and (self._words[0][0] < now - _AGE or self._size > _MOST):
            self._size -= len(self._words.popleft()[2].body)

    def elsewhere(self, url: str, now: float) -> list[Word]:
        """What only other brokers than this one have; it is not remembered any more."""
        found = [word for at, where, word in self._words if where != url and at >= now - _AGE]
        if found:
            self._words = deque(entry for entry in self._words if entry[1] == url)
            self._size = sum(len(word.body) for _, _, word in self._words)
        return [replace(word, number=None) for word in found]
