"""Which targets a session file still calls pending though nothing is waited for: what to judge."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mcshell.client.store.ledger import UNSENT
from mcshell.message import State

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable

    from mcshell.message import Reply
    from mcshell.sqlite import Database

    Verdicts = dict[str, list[tuple[str, str]]]
    """By request: targets, each with the reason."""

__all__ = ["abandoned", "lapsed", "passed_over", "unanswered"]

_LONG: Final = 600.0
"""Seconds after the time of an interactive request in which whoever has put it has come to an end."""

_PENDING = (
    "SELECT t.request, t.sender, t.sent IS NULL FROM counts c"
    " JOIN requests r ON r.id=c.request JOIN targets t ON t.request=c.request"
    " WHERE c.state='pending' AND c.number>0 AND t.state='pending'"
)


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
    begun: dict[tuple[str, str], set[str]] = {}
    for reply in replies:
        if reply.job is not None and (reply.state.final or reply.state is State.RUNNING):
            begun.setdefault((reply.job, reply.run or ""), set()).add(reply.sender)
    query = (
        "SELECT t.request, t.sender FROM runs r"
        " JOIN counts c ON c.request=r.request AND c.state='pending' AND c.number>0"
        " JOIN targets t ON t.request=r.request AND t.state='pending'"
        " WHERE r.job=? AND r.run<?"
    )
    return _by_request(
        (request, sender, f"passed over: this node went on to the run of {run}")
        for (job, run), senders in begun.items()
        for request, sender in db.execute(query, (job, run))
        if sender in senders
    )


def _by_request(verdicts: Iterable[tuple[str, str, str]]) -> Verdicts:
    found: Verdicts = {}
    for request, sender, why in verdicts:
        found.setdefault(request, []).append((sender, why))
    return found
