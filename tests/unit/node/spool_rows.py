"""Rows of a spool: a queued request, and the last reply about it."""

from __future__ import annotations

from dataclasses import replace

from mcshell.node.store.records import OutboxMessage, WorkItem

__all__ = ["row", "word"]


def row(identity: str = "n1", number: int = 1, **more: object) -> WorkItem:
    """A queued request."""
    work = WorkItem(
        identity=identity,
        id=f"{number:032x}",
        via="queue",
        collective="mcs",
        agent="mark",
        action="once",
        caller="cert=alice",
        session="s",
        created=0.0,
        expires=1000.0,
        due=1.0,
        received=1.0,
        body=b"{}",
        signature="s",
        certificate="c",
    )
    return replace(work, **more)  # type: ignore[arg-type]


def word(key: tuple[str, str], sequence: int = 2, size: int = 2) -> OutboxMessage:
    """The last reply about a row."""
    identity, request = key
    return OutboxMessage(
        identity=identity,
        request=request,
        sequence=sequence,
        destination="/queue/q",
        body=b"x" * size,
        signature="s",
        certificate="c",
    )
