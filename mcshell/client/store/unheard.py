"""Which targets a session file still calls pending though nothing is waited for: what to judge.

And which are pending no more, whoever has entered that.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from mcshell.client.store.incoming import FIELDS
from mcshell.client.store.ledger import UNSENT
from mcshell.client.store.records import StoredData, entry_of
from mcshell.message import State

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable

    from mcshell.client.store.ledger import LedgerEntry
    from mcshell.client.store.records import ReplyBodies
    from mcshell.message import Reply
    from mcshell.sqlite import Database

    Verdicts = dict[str, list[tuple[str, str]]]
    """By request: targets, each with the reason."""

__all__ = ["HeardTargets", "abandoned", "lapsed", "passed_over", "queued", "unanswered"]

_LONG: Final = 600.0
"""Seconds after the time of an interactive request in which whoever has put it has come to an end."""

_PENDING = (
    "SELECT t.request, t.sender, t.sent IS NULL FROM counts c"
    " JOIN requests r ON r.id=c.request JOIN targets t ON t.request=c.request"
    " WHERE c.state='pending' AND c.number>0 AND t.state='pending'"
)


class HeardTargets:
    """The targets of requests that are pending no more: only these are read, however many there are."""

    def __init__(self, database: Database, store: ReplyBodies) -> None:
        self._database = database
        self._store = store

    def pending(self, request: str) -> int:
        """How many of a request's targets are pending."""
        query = "SELECT number FROM counts WHERE request=? AND state='pending'"
        return sum(number for (number,) in self._database.read(query, (request,)))

    def among(self, request: str, pending: Iterable[str]) -> list[LedgerEntry]:
        """Those of these targets that are pending no more; outputs are read when they are looked at."""
        query = (
            f"SELECT {FIELDS} FROM targets WHERE request=? AND state<>'pending'"  # noqa: S608 - our own names
            " AND sender IN (SELECT value FROM json_each(?))"
        )
        found = self._database.read(query, (request, json.dumps(list(pending))))
        data = {
            (row["sender"], row["sequence"]): StoredData(
                self._store, request, row["sender"], row["sequence"]
            )
            for row in found
            if row["sequence"] is not None
        }
        return [entry_of(request, row, data) for row in found]


def queued(store: Database, now: float) -> int:
    """How many requests by queue, which are no jobs, have targets that may still answer."""
    query = (
        "SELECT count(DISTINCT c.request) FROM counts c JOIN requests r ON r.id=c.request"
        " WHERE c.number>0 AND c.state IN ('pending', 'received', 'running') AND r.via='queue'"
        " AND r.agent!='job' AND r.expires>?"
        " AND r.id NOT IN (SELECT request FROM runs UNION SELECT request FROM jobs)"
    )
    return int(store.read(query, (now,))[0][0])


def lapsed(store: Database, now: float) -> Verdicts:
    """Those of durable requests whose time is over."""
    query = f"{_PENDING} AND r.via IN ('queue', 'pool') AND r.expires<?"
    return _by_request(
        (request, sender, "no reply before it expired")
        for request, sender, _unsent in store.read(query, (now,))
    )


def abandoned(store: Database, now: float) -> Verdicts:
    """Those of interactive requests whose process has ended.

    What was sent may still be answered until its time is over.
    """
    return _interactive(store, "t.sent IS NULL OR r.expires<?", now)


def unanswered(store: Database, now: float) -> Verdicts:
    """Those of interactive requests that no process waits for any more, whichever had put them.

    What goes out in batches may take any time, and is left to that process, or to whoever comes after it.
    """
    batches = "json_extract(r.options, '$.batch') IS NOT NULL"
    over = f"r.expires<? AND NOT (t.sent IS NULL AND {batches})"
    return _interactive(store, over, now - _LONG)


def _interactive(store: Database, over: str, now: float) -> Verdicts:
    query = (
        f"{_PENDING} AND r.via IN ('broadcast', 'direct') AND t.unexpected=0"
        f" AND ({over}) AND t.reason NOT LIKE ?"
    )
    return _by_request(
        (request, sender, f"{UNSENT}its process ended" if unsent else "no reply before it expired")
        for request, sender, unsent in store.read(query, (now, f"{UNSENT}%"))
    )


def passed_over(db: sqlite3.Connection, replies: Iterable[Reply]) -> Verdicts:
    """Those of runs before the run of a job that a node has begun since.

    A node has one run of a job at a time, and where it was down for several starts it begins with the
    newest. That it has missed one says nothing of those before: one may be under way.
    """
    begun: dict[
        str, dict[str, str]
    ] = {}  # by job and node its newest run: one look for all of them
    for reply in replies:
        if reply.job is not None and (reply.state.final or reply.state is State.RUNNING):
            newest = begun.setdefault(reply.job, {})
            newest[reply.sender] = max(reply.run or "", newest.get(reply.sender, ""))
    query = (
        "SELECT t.request, t.sender, r.run FROM runs r"
        " JOIN counts c ON c.request=r.request AND c.state='pending' AND c.number>0"
        " JOIN targets t ON t.request=r.request AND t.state='pending'"
        " WHERE r.job=? AND r.run<?"
    )
    return _by_request(
        (request, sender, f"passed over: this node went on to the run of {newest[sender]}")
        for job, newest in begun.items()
        for request, sender, run in db.execute(query, (job, max(newest.values())))
        if run < newest.get(sender, "")
    )


def _by_request(verdicts: Iterable[tuple[str, str, str]]) -> Verdicts:
    found: Verdicts = {}
    for request, sender, why in verdicts:
        found.setdefault(request, []).append((sender, why))
    return found
