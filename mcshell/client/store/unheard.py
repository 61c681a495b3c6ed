"""Which targets a session file still calls pending though nothing is waited for: what to judge."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcshell.client.store.ledger import UNSENT

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mcshell.sqlite import Database

    Verdicts = dict[str, list[tuple[str, str]]]
    """By request: targets, each with the reason."""

__all__ = ["abandoned", "lapsed"]

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
    query = (
        f"{_PENDING} AND r.via IN ('broadcast', 'direct') AND t.unexpected=0"
        " AND (t.sent IS NULL OR r.expires<?) AND t.reason NOT LIKE ?"
    )
    return _by_request(
        (request, sender, f"{UNSENT}its process ended" if unsent else "no reply before it expired")
        for request, sender, unsent in store.read(query, (now, f"{UNSENT}%"))
    )


def _by_request(verdicts: Iterable[tuple[str, str, str]]) -> Verdicts:
    found: Verdicts = {}
    for request, sender, why in verdicts:
        found.setdefault(request, []).append((sender, why))
    return found
