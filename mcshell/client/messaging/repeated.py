"""Replies that are kept already, and come again in the same bytes.

A broker hands out anew what it has no acknowledgement of. A node that never stops repeating itself is
the other case: each repeat was parsed, its signature checked and its row looked for, to say nothing.
"""

from __future__ import annotations

import hashlib
import threading
from collections import Counter
from typing import TYPE_CHECKING, Final

from mcshell.wire.documents.envelope import SIGNATURE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from mcshell.client.store.records import ReplyRecord
    from mcshell.wire.stomp.transport import Delivery

__all__ = ["RepeatedReplies"]

_MOST: Final = 4096
"""Replies that are remembered: who repeats more of them at a time costs what new ones do."""
_MANY: Final = 1000
"""Repeats of one sender that are no redelivery any more: the operator is told."""


class RepeatedReplies:
    """The digests of the newest replies that were kept. Any thread may ask; `tell` is told of a flood."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._senders: dict[bytes, str] = {}
        self._repeats: Counter[str] = Counter()
        self._changing = threading.Lock()

    def kept(self, replies: Iterable[ReplyRecord]) -> None:
        """Remember replies that are committed."""
        new = {_digest(one.body, one.signature): one.reply.sender for one in replies}
        with self._changing:
            self._senders.update(new)
            for oldest in list(self._senders)[: max(0, len(self._senders) - _MOST)]:
                del self._senders[oldest]

    def has(self, delivery: Delivery) -> bool:
        """Whether a reply is a repeat."""
        return _digest(delivery.body, delivery.headers.get(SIGNATURE, "")) in self._senders

    def passed_over(self, delivery: Delivery) -> bool:
        """The same; of one sender who does nothing else the operator is told, once."""
        digest = _digest(delivery.body, delivery.headers.get(SIGNATURE, ""))
        with self._changing:
            sender = self._senders.get(digest)
            if sender is None:
                return False
            self._repeats[sender] += 1
            many = self._repeats[sender] == _MANY
        if many:
            self._tell(
                f"{sender} repeats itself: {_MANY:,} times the same reply, which counts once"
            )
        return True


def _digest(body: bytes, signature: str) -> bytes:
    return hashlib.sha256(body + signature.encode()).digest()
