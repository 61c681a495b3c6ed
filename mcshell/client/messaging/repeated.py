"""Replies that are kept already, and come again in the same bytes.

A broker hands out anew what it has no acknowledgement of. Somebody who never stops sending one reply
is the other case: each time it was parsed, its signature checked and its row looked for, to say nothing.
"""

from __future__ import annotations

import threading
from collections import Counter
from itertools import islice
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
"""Replies that are remembered: who repeats more of them at a time costs what new ones do."""
_MANY: Final = 1000
"""Repeats of one sender's that are no redelivery any more: the operator is told."""


class RepeatedReplies:
    """The newest small replies that were kept. Any thread may ask; `tell` is told of a flood."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._kept: dict[str, tuple[str, int]] = {}
        """Sender, and hash of the body, by the signature: nearly always that alone is looked for."""
        self._repeats: Counter[str] = Counter()
        self._changing = threading.Lock()

    def kept(self, replies: Iterable[ReplyRecord]) -> None:
        """Remember replies that are committed."""
        with self._changing:
            for one in replies:
                if len(one.body) <= _LARGE:
                    self._kept[one.signature] = one.reply.sender, hash(one.body)
            for oldest in list(islice(self._kept, max(0, len(self._kept) - _MOST))):
                del self._kept[oldest]

    def has(self, delivery: Delivery) -> bool:
        """Whether a reply is a repeat."""
        known = self._kept.get(delivery.headers.get(SIGNATURE, ""))
        return known is not None and known[1] == hash(delivery.body)

    def passed_over(self, delivery: Delivery) -> bool:
        """The same; of what comes again and again the operator is told, once a sender."""
        if not self.has(delivery):
            return False
        with self._changing:
            sender, _body = self._kept.get(delivery.headers[SIGNATURE], ("", 0))
            self._repeats[sender] += 1
            many = self._repeats[sender] == _MANY
        if many:
            self._tell(f"replies of {sender} came {_MANY:,} times more than once: each counts once")
        return True
