"""What a session has asked of pools, each a task of its own: listed at once, and withdrawn.

A task is withdrawn for as long as nothing of it has gone out: whoever sends writes down first, in this
file, that it begins to (`SessionStore.begin`), so that one of the two is first.
"""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING, Any, Final, Protocol

from mcshell.client.store import bodies
from mcshell.client.store import records as rows
from mcshell.client.store.incoming import FIELDS, add_counts, read_entries
from mcshell.client.store.ledger import UNSENT, LedgerEntry
from mcshell.client.store.records import LARGE, RequestRecord, StoredData
from mcshell.message import State

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from mcshell.sqlite import Database

__all__ = ["CANCELLED", "PoolTaskStore"]

CANCELLED: Final = f"{UNSENT}cancelled"
"""The reason of a task that was withdrawn."""

_RECORD: Final = ", ".join(f"r.{name}" for name in rows.COLUMNS.split(", "))
_ENTRY: Final = ", ".join(f"t.{name}" for name in FIELDS.split(", "))
_KEPT: Final = (
    f"SELECT r.number, {_RECORD}, {_ENTRY}, CASE WHEN length(p.body)<={LARGE} THEN p.body END"  # noqa: S608 - our own names
    " FROM requests r JOIN targets t ON t.request=r.id AND t.sender='pool:' || r.pool"
    " LEFT JOIN replies p ON p.request=r.id AND p.sender=t.worker AND p.sequence=t.sequence"
    " WHERE r.pool=? AND r.number>? ORDER BY r.number LIMIT 500"
)
_TARGET: Final = "SELECT 'pool:' || pool FROM requests WHERE id=?"
_WITHDRAW: Final = (
    "UPDATE targets SET state=?, reason=? WHERE request=? AND sender=? AND state=? AND sent IS NULL"
)
_FORGET: Final = "UPDATE outgoing SET body=x'', signature='', confirmed=? WHERE request=?"


class TaskBodies(rows.ReplyBodies, Protocol):
    """Where replies are kept (`store.SessionStore`)."""

    def whole(self, kept: bytes) -> bytes:
        """A reply's bytes, of what its row has."""


class PoolTaskStore:
    """The tasks in one session file; a view of it, without state."""

    def __init__(self, database: Database, replies: TaskBodies) -> None:
        self._database = database
        self._replies = replies

    def kept(self, pool: str) -> Iterator[tuple[RequestRecord, LedgerEntry]]:
        """All that was asked of a pool, in that order, each with where it stands and what came of it."""
        width = len(rows.COLUMNS.split(", "))
        after = 0
        while found := self._database.read(_KEPT, (pool, after)):
            for after, *columns, body in found:  # noqa: B007 - the next read begins behind it
                record, fields = rows.record_of(columns[:width]), columns[width:]
                yield record, rows.entry_of(record.id, fields, self._data(record.id, fields, body))

    def withdraw(self, requests: Iterable[str]) -> dict[str, LedgerEntry]:
        """Have requests go out no more, for good, of which nothing has: those, with their entries."""
        gone: dict[str, LedgerEntry] = {}
        changes: Counter[tuple[str, str]] = Counter()
        now = time.time()
        with self._database.transaction(durable=True) as db:
            for request in requests:
                (target,) = db.execute(_TARGET, (request,)).fetchone()
                values = (State.SILENT, CANCELLED, request, target, State.PENDING)
                if not db.execute(_WITHDRAW, values).rowcount:
                    continue
                db.execute(_FORGET, (now, request))
                changes[request, State.PENDING] -= 1
                changes[request, State.SILENT] += 1
                (gone[request],) = read_entries(db, request, [target])
            add_counts(db, changes)
        return gone

    def _data(
        self, request: str, fields: list[Any], body: bytes | None
    ) -> Mapping[tuple[str, int], Mapping[str, Any]]:
        """The outputs of a task that has ended; those of a large one stay in the file."""
        entry = dict(zip(FIELDS.split(", "), fields, strict=True))
        worker, sequence = entry["worker"], entry["sequence"]
        if sequence is None:
            return {}
        large = body is None or bodies.is_beside(body)
        data = (
            StoredData(self._replies, request, worker, sequence)
            if large or body is None
            else rows.data_of(self._replies.whole(body))
        )
        return {(worker, sequence): data}
