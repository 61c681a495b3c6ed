"""What waits, by caller: they go round, so that nobody waits behind all that another has asked for."""

from __future__ import annotations

from collections import Counter, deque
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Mapping

__all__ = ["CallerQueue", "CallerRounds"]

T = TypeVar("T")

_REMEMBERED = 1000  # callers


class CallerQueue(Generic[T]):
    """A queue that gives each caller's oldest in turn; each caller's own order is kept.

    It is not locked: that is for whoever owns it.
    """

    def __init__(self) -> None:
        self._waiting: dict[str, deque[T]] = {}
        """By caller, in the order of their turns."""

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values()))

    def put(self, caller: str, item: T) -> None:
        """Add a caller's newest."""
        self._waiting.setdefault(caller, deque()).append(item)

    def take(self, without: Container[str] = ()) -> T | None:
        """The next one, of a caller who is not among `without`; None when there is none."""
        caller = next((one for one in self._waiting if one not in without), None)
        if caller is None:
            return None
        items = self._waiting.pop(caller)
        item = items.popleft()
        if items:
            self._waiting[caller] = items
        return item

    def clear(self) -> None:
        """Drop them all."""
        self._waiting.clear()


class CallerRounds:
    """Whose turn it is at something that frees up one by one: first who had it longest ago."""

    def __init__(self) -> None:
        self._number = 0
        self._last: dict[str, int] = {}

    def next(self, waiting: Iterable[str], busy: Mapping[str, int]) -> str:
        """Choose among those who wait; before all who has the fewest (`busy`) at work."""
        chosen = min(waiting, key=lambda one: (busy.get(one, 0), self._last.get(one, 0)))
        self._number += 1
        self._last[chosen] = self._number
        if len(self._last) > _REMEMBERED:
            self._last = dict(Counter(self._last).most_common(_REMEMBERED // 2))
        return chosen
