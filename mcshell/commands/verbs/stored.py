"""`replies`, `ledger`, `requests`: what the session remembers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcshell.commands.result import Table
from mcshell.message import State

if TYPE_CHECKING:
    import argparse

    from mcshell.client.replies import Replies
    from mcshell.commands.context import Context

__all__ = ["ledger", "replies", "requests"]

_TIMES = ("sent", "received", "running", "done")
_LEDGER = ("sender", "state", "late", "duplicate", "unexpected", *_TIMES, "attempt", "reason")
_REQUESTS = ("requestid", "agent", "action", "via", "created", "expires")


def replies(context: Context, options: argparse.Namespace) -> Replies:
    """The replies to an earlier request, as they stand now."""
    return context.client(options).replies(options.request)


def ledger(context: Context, options: argparse.Namespace) -> Table:
    """Each target's state, and when it came into it."""
    entries = context.client(options).replies(options.request).entries()
    rows = [tuple(getattr(entry, name) for name in _LEDGER) for entry in entries]
    return Table(_LEDGER, rows, times=_TIMES)


def requests(context: Context, options: argparse.Namespace) -> Table:
    """What was asked in this session, oldest first, with a count for each state."""
    client = context.client(options)
    states = tuple(state.value for state in State)
    rows = []
    for record, counted in client.requests():
        about = (record.id, record.agent, record.action, record.via.value)
        counts = tuple(counted.get(state, 0) for state in states)
        rows.append((*about, record.created, record.expires, *counts))
    return Table((*_REQUESTS, *states), rows, times=("created", "expires"))
