"""What one node may say to one request before the session file takes no more of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mcshell.message import ReplySequence

if TYPE_CHECKING:
    import sqlite3

    from mcshell.message import Reply

__all__ = ["said_enough"]

_ATTEMPTS: Final = 8
"""Final replies that are kept: the first counts, the others are evidence."""
_SAID: Final = 16 << 20
"""Bytes of its other replies."""


def said_enough(db: sqlite3.Connection, reply: Reply) -> bool:
    """Whether a reply is not to be kept; looked up only for what is not of the first attempts."""
    if reply.sequence < _ATTEMPTS * ReplySequence.STEP:
        return False
    finals, size = db.execute(
        "SELECT total(sequence % 3 = 2), total(length(body)) FROM replies"
        " WHERE request=? AND sender=?",
        (reply.requestid, reply.sender),
    ).fetchone()
    return bool(finals >= _ATTEMPTS if reply.final else size > _SAID)
