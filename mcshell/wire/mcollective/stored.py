"""How a reply of the old wire is kept in a session file: opened, as Marshal of plain values.

Integers of any length, NaN and bytes stay what they are, and no key is needed to read it again,
whatever plugin and serializer it came in by. What that plugin proved is lost with it (for ssl and
aes that ties no reply to a request or a node anyway): who imports such a file cannot verify it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mcshell.wire.mcollective import envelope, marshal, messages
from mcshell.wire.mcollective.values import Bounds, RubySymbol

if TYPE_CHECKING:
    from mcshell.message import Reply
    from mcshell.wire.mcollective.envelope import ReplyEnvelope

__all__ = ["MAGIC", "dump", "load"]

MAGIC: Final = b"\x04\x08"
"""How every kept reply of this wire begins; those of our own wire are JSON."""

_BOUNDS: Final = Bounds(max_body=1 << 30, max_values=1 << 24, max_text=1 << 30)


def dump(reply: ReplyEnvelope) -> bytes:
    """Write a reply that was opened."""
    return marshal.dump(envelope.hash_of_reply(reply, reply.body))


def load(body: bytes, trust: str) -> Reply:
    """Read it again; `trust` is the plugin that it came in by. Rejected when it is none."""
    document = envelope.read(envelope.MARSHAL, body, _BOUNDS)
    inner = document.get(RubySymbol("body")) if isinstance(document, dict) else None
    return messages.read_reply(envelope.reply_of(document, inner), trust)
