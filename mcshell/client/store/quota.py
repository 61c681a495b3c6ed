"""What a node says to one request beyond what counts: how much is kept, and who has said it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mcshell.client.store.ledger import two_machines
from mcshell.message import ReplySequence
from mcshell.wire.documents.envelope import read_reply

if TYPE_CHECKING:
    import sqlite3

    from mcshell.client.store.records import ReplyBodies
    from mcshell.message import Reply

__all__ = ["FREE", "said_enough", "second_machine"]

_ATTEMPTS: Final = 8
"""Final replies that are kept: the first counts, the others are evidence."""
FREE: Final = _ATTEMPTS * ReplySequence.STEP
"""The sequence from which on it is looked up what a node has said."""
_SAID: Final = 16 << 20
"""Bytes of its other replies."""


def said_enough(db: sqlite3.Connection, reply: Reply) -> bool:
    """Whether a reply is not to be kept; looked up only from `FREE` on."""
    if reply.sequence < FREE:
        return False
    finals, size = db.execute(
        "SELECT total(sequence % 3 = 2), total(length(body)) FROM replies"
        " WHERE request=? AND sender=?",
        (reply.requestid, reply.sender),
    ).fetchone()
    return bool(finals >= _ATTEMPTS if reply.final else size > _SAID)


def second_machine(db: sqlite3.Connection, reply: Reply, bodies: ReplyBodies) -> str:
    """That a node answers twice because there are two of it; nothing where that is not known."""
    found = db.execute(
        "SELECT sequence FROM replies WHERE request=? AND sender=? AND sequence%3=2"
        " ORDER BY number LIMIT 1",
        (reply.requestid, reply.sender),
    ).fetchone()
    first = read_reply(bodies.body(reply.requestid, reply.sender, found[0])) if found else reply
    return two_machines([first.machine, reply.machine])
