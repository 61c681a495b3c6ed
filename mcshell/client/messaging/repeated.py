"""Replies that are kept already, and come again in the same bytes: they cost no signature check."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from mcshell.wire.documents.envelope import SIGNATURE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from mcshell.client.store.records import ReplyRecord
    from mcshell.wire.stomp.transport import Delivery

__all__ = ["RepeatedReplies"]

_LARGE: Final = 16_384
"""Bytes of a reply that is looked at each time: it is slow to send, too, and its hash costs every one."""
_MOST: Final = 4096
"""Replies that are remembered."""
_MANY: Final = 1000
"""Repeats of one sender's that are no broker's redelivery any more: the operator is told."""


class RepeatedReplies:
    """The newest small ones that were kept; one thread notes them, any may ask."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._kept: dict[str, tuple[str, int]] = {}
        """Sender, and hash of the body, by the signature: nearly always that alone is looked for."""
        self._repeats: Counter[str] = Counter()

    def note(self, replies: Iterable[ReplyRecord]) -> None:
        """Remember what is committed; say, once, who repeats himself."""
        for one in replies:
            if len(one.body) <= _LARGE:
                self._kept[one.signature] = one.reply.sender, hash(one.body)
        while len(self._kept) > _MOST:
            del self._kept[next(iter(self._kept))]
        for sender in [one for one, count in list(self._repeats.items()) if count >= _MANY]:
            self._repeats[sender] = -(1 << 62)
            self._tell(
                f"replies of {sender} come over and over ({_MANY:,} times): each counts once"
            )

    def sender(self, delivery: Delivery) -> str | None:
        """Whose reply it repeats, if any."""
        known = self._kept.get(delivery.headers.get(SIGNATURE, ""))
        return known[0] if known is not None and known[1] == hash(delivery.body) else None

    def passed_over(self, delivery: Delivery) -> bool:
        """Whether it is a repeat, which is counted."""
        if (sender := self.sender(delivery)) is None:
            return False
        self._repeats[sender] += 1
        return True
