"""Replies into the tables: many at once, and with care only where one is not new.

What arrives together is inserted by one statement, its entries are read by one for each request
and written by one. A redelivery, a second answer or what is beyond a node's share is found by the
rows that were not inserted: these are gone through one by one.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from itertools import chain
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final

from mcshell.client.store import records
from mcshell.client.store.ledger import FOUND_LATE, LedgerEntry, step
from mcshell.client.store.quota import FREE, said_enough, second_machine
from mcshell.message import State

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from mcshell.client.store.records import ReplyBodies, ReplyRecord, ReplyRow

__all__ = ["FIELDS", "add_counts", "enter", "read_entries", "write_entries"]

FIELDS: Final = (
    "sender, state, late, duplicate, unexpected, sent, received, running, done, attempt, reason,"
    " sequence, statuscode, statusmsg, trust, worker"
)
_OF_REPLY: Final = ("sequence", "statuscode", "statusmsg", "trust")
_FIXED: Final = ("sender", "unexpected")
_OF_ENTRY: Final = tuple(name for name in FIELDS.split(", ") if name not in _OF_REPLY + _FIXED)
_WRITTEN: Final = ("request", "sender", "place", *_OF_ENTRY, *_OF_REPLY)
_NOTHING: Final = (None,) * len(_OF_REPLY)
_of_entry, _of_reply = attrgetter(*_OF_ENTRY), attrgetter(*_OF_REPLY)
_KEPT: Final = (
    "body",
    "request",
    "sender",
    "sequence",
    "kept",
    "signature",
    "certificate",
    "trust",
)
_KEEP: Final = f"INSERT OR IGNORE INTO replies ({', '.join(_KEPT)}) VALUES"
_KEEP_ONE: Final = f"{_KEEP} ({', '.join('?' * len(_KEPT))})"
# Whoever is told something has a row already.
_WRITE: Final = f"INSERT INTO targets ({', '.join(_WRITTEN)}) VALUES"
_OVER: Final = " ON CONFLICT DO UPDATE SET " + ", ".join(
    f"{name}=excluded.{name}" for name in _OF_ENTRY + _OF_REPLY
)
_PARAMETERS: Final = 500
"""Of one statement; SQLite takes 999 at least."""


def enter(
    db: sqlite3.Connection,
    replies: Sequence[ReplyRecord],
    certificate: Callable[[str], int],
    bodies: ReplyBodies,
    aside: Callable[[list[ReplyRow]], list[ReplyRow]],
) -> list[tuple[str, LedgerEntry]]:
    """Keep replies and what they make of the ledger; call it in a transaction.

    `certificate` gives the number under which one is kept, `aside` the rows without the bodies that
    are kept elsewhere. Returns for each that says something new (a redelivery does not) its request's
    id and the entry that it made.
    """
    rows = [_columns(received, certificate) for received in replies]
    if _keep_all(db, rows, aside):
        return _step_all(db, replies, bodies)
    some = zip(replies, rows, strict=True)
    return _step_all(db, [one for one, row in some if _keep(db, one, row, bodies)], bodies)


def _columns(received: ReplyRecord, certificate: Callable[[str], int]) -> ReplyRow:
    reply = received.reply
    return (
        received.body,
        reply.requestid,
        reply.sender,
        reply.sequence,
        received.kept,
        received.signature,
        certificate(received.certificate),
        reply.trust,
    )


def _keep_all(
    db: sqlite3.Connection,
    rows: list[ReplyRow],
    aside: Callable[[list[ReplyRow]], list[ReplyRow]],
) -> bool:
    """Insert replies that are all new, and within their nodes' share; else False, and nothing."""
    if any(sequence >= FREE for _, _, _, sequence, *_ in rows):
        return False
    db.execute("SAVEPOINT keeping")
    new = _insert(db, _KEEP, "", aside(rows)) == len(rows)
    if not new:
        db.execute("ROLLBACK TO keeping")
    db.execute("RELEASE keeping")
    return new


def _insert(db: sqlite3.Connection, insert: str, then: str, rows: Sequence[tuple[Any, ...]]) -> int:
    """Insert many rows by few statements, each a way out of the interpreter and back; returns how many."""
    if not rows:
        return 0
    values = f"({', '.join('?' * len(rows[0]))})"
    most = db.getlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER) // len(rows[0])
    inserted = 0
    for start in range(0, len(rows), most):
        some = rows[start : start + most]
        query = f"{insert} {', '.join([values] * len(some))}{then}"
        inserted += db.execute(query, tuple(chain.from_iterable(some))).rowcount
    return inserted


def _keep(
    db: sqlite3.Connection, received: ReplyRecord, row: ReplyRow, bodies: ReplyBodies
) -> bool:
    """Insert a reply; False when this very reply is there already."""
    reply = received.reply
    if said_enough(db, reply):
        return reply.final  # a second answer, of which the ledger says so
    if db.execute(_KEEP_ONE, row).rowcount:
        return True
    # Another reply under the same number is a second answer: the ledger shall say so.
    return bodies.body(reply.requestid, reply.sender, reply.sequence) != received.body


def _step_all(
    db: sqlite3.Connection, fresh: Sequence[ReplyRecord], bodies: ReplyBodies
) -> list[tuple[str, LedgerEntry]]:
    asked: dict[str, dict[str, None]] = {}
    for received in fresh:
        asked.setdefault(received.reply.requestid, {})[received.target] = None
    entries: dict[tuple[str, str], LedgerEntry] = {}
    for request, targets in asked.items():
        for entry in read_entries(db, request, list(targets)):
            entries[request, entry.sender] = entry
    news: list[tuple[str, LedgerEntry]] = []
    changes: Counter[tuple[str, str]] = Counter()
    for received in fresh:
        request = received.reply.requestid
        where = request, received.target
        before = entries.get(where)
        if before is None:
            before = _stranger(db, received)
            where = request, before.sender
            changes[request, "unexpected" if before.unexpected else before.state] += 1
        after = _step(db, received, before, bodies)
        entries[where] = after
        news.append((request, after))
        if not after.unexpected and after.state is not before.state:
            changes[request, before.state] -= 1
            changes[request, after.state] += 1
    write_entries(db, ((request, entry) for (request, _), entry in entries.items()))
    add_counts(db, changes)
    return news


def _stranger(db: sqlite3.Connection, received: ReplyRecord) -> LedgerEntry:
    """A row of its own for a sender that was no target: it becomes one where its request grows."""
    reply = received.reply
    row = db.execute(f"{records.RECORDS} WHERE id=?", (reply.requestid,)).fetchone()
    grows = row is not None and records.record_of(row).grows
    db.execute(
        "INSERT INTO targets (request, sender, place, state, unexpected)"
        " VALUES (?,?,1000000000,?,?)",
        (reply.requestid, reply.sender, State.PENDING, not grows),
    )
    return LedgerEntry(
        sender=reply.sender, unexpected=not grows, reason=FOUND_LATE if grows else ""
    )


def _step(
    db: sqlite3.Connection, received: ReplyRecord, before: LedgerEntry, bodies: ReplyBodies
) -> LedgerEntry:
    reply = records.slim(received, bodies)
    after = step(before, reply, received.kept)
    if after.duplicate and reply.final:
        after = after._replace(reason=second_machine(db, reply, bodies) or after.reason)
    return after


def read_entries(
    db: sqlite3.Connection, request: str, targets: Sequence[str]
) -> Iterable[LedgerEntry]:
    """The entries of some targets of a request, as far as it has them; without outputs."""
    for start in range(0, len(targets), _PARAMETERS):
        some = targets[start : start + _PARAMETERS]
        query = f"SELECT {FIELDS} FROM targets WHERE request=? AND sender IN ({','.join('?' * len(some))})"  # noqa: S608 - our own names
        for row in db.execute(query, (request, *some)).fetchall():
            yield records.entry_of(request, row, {})


def write_entries(db: sqlite3.Connection, entries: Iterable[tuple[str, LedgerEntry]]) -> None:
    """Write entries over those that are there, each with its request's id."""
    rows = [
        (
            request,
            entry.sender,
            0,  # its own place stays
            *_of_entry(entry),
            *(_NOTHING if entry.reply is None else _of_reply(entry.reply)),
        )
        for request, entry in entries
    ]
    _insert(db, _WRITE, _OVER, rows)


def add_counts(db: sqlite3.Connection, changes: Mapping[tuple[str, str], int]) -> None:
    """Add to the number of targets in each state, by request and state."""
    db.executemany(
        "INSERT INTO counts VALUES (?,?,?) ON CONFLICT DO UPDATE SET number=number+excluded.number",
        [(request, state, by) for (request, state), by in changes.items() if by],
    )
