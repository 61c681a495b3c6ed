"""What a session has asked under an earlier version of the wire, which no node takes any more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcshell.client.store import records as rows

if TYPE_CHECKING:
    from mcshell.client.store.records import OutgoingMessage
    from mcshell.sqlite import Database

__all__ = ["EarlierVersions"]


class EarlierVersions:
    """The messages in one session file whose bytes begin with another version than ours."""

    def __init__(self, store: Database) -> None:
        self._store = store

    def unsent(self, version: int) -> list[OutgoingMessage]:
        """Bytes of durable requests that the broker never confirmed."""
        found = self._store.read(
            f"{rows.OUTGOING} WHERE o.confirmed IS NULL AND r.via IN ('queue', 'pool')"
            " AND substr(o.body, 1, ?)=? ORDER BY r.number, o.sender",
            _beginning(version),
        )
        return [rows.outgoing_of(row) for row in found]

    def waiting(self, version: int, now: float) -> list[tuple[str, int, float]]:
        """Requests that the broker has, whose time is not over.

        Each with how many of its targets wait for that, and when it will be.
        """
        found = self._store.read(
            "SELECT o.request, count(*), r.expires FROM outgoing o JOIN requests r ON r.id=o.request"
            " JOIN targets t ON t.request=o.request AND t.sender=o.sender"
            " WHERE substr(o.body, 1, ?)=? AND t.state='pending' AND o.confirmed IS NOT NULL"
            " AND r.expires>? GROUP BY o.request ORDER BY r.number",
            (*_beginning(version), now),
        )
        return [tuple(row) for row in found]


def _beginning(version: int) -> tuple[int, bytes]:
    head = f'{{"v":{version},'.encode()
    return len(head), head
