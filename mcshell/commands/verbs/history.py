"""`replies`, `ledger`, `requests`: what the session remembers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcshell.client.lookback import Lookback
from mcshell.client.pki import pki_of
from mcshell.client.rpc.replies import ledger_columns
from mcshell.client.session.session import nothing_asked, stores
from mcshell.commands.output.result import Table
from mcshell.commands.verbs.shaping import check, shaped, shaped_table
from mcshell.commands.verbs.submitting import stopped_with, wait_quiet
from mcshell.errors import Stopped
from mcshell.message import State
from mcshell.table import TIME
from mcshell.wire.credentials import load_credentials

if TYPE_CHECKING:
    from mcshell.client.client import Client
    from mcshell.client.rpc.replies import Replies
    from mcshell.commands.context import Context
    from mcshell.commands.grammar import request_options

__all__ = ["ledger", "replies", "requests"]

_REQUESTS = ("requestid", "agent", "action", "via", "created", "expires")
_DRAIN = 2.0


def replies(context: Context, options: request_options.RepliesOptions) -> Replies | Table:
    """The replies to an earlier request, as they stand now; with `-t` when they are complete."""
    check(options)
    client = _client(context, options.session, options.request)
    found = client.replies(options.request)
    if isinstance(client, Lookback):  # nothing comes, and there is nobody to ask
        return shaped(context, options, found, client)
    if options.timeout is not None and options.format != "jsonl":
        try:
            with context.progress(lambda: found):
                found.wait_last(options.timeout)
        except Stopped as stopped:
            found = stopped_with(context, stopped)
    return shaped(context, options, found, client)


def ledger(context: Context, options: request_options.LedgerOptions) -> Table:
    """Each target's state, and when it came into it."""
    check(options)
    client = _client(context, options.session, options.request)
    told = ledger_columns(client.replies(options.request).entries())
    names = tuple(told)
    kinds = {name: kind for name, (kind, _) in told.items()}
    rows = list(zip(*(cells for _, cells in told.values()), strict=True))
    times = tuple(name for name in names if kinds[name] == TIME)
    found = Table(names, rows, times=times, quiet=names[2:], precise=True, kinds=kinds)
    return shaped_table(options, found)


def requests(context: Context, options: request_options.RequestsOptions) -> Table:
    """What was asked in this session, oldest first, with a count for each state."""
    client = _client(context, options.session, None, any_=False, waits=False)
    states = tuple(state.value for state in State)
    rows = []
    for record, counted in client.requests():
        about = (record.id, record.agent, record.action, record.via.value)
        counts = tuple(counted.get(state, 0) for state in states)
        rows.append((*about, record.created, record.expires, *counts))
    times = ("created", "expires")
    notes = () if rows else (nothing_asked(client.session, context.settings.state_dir),)
    return Table(
        (*_REQUESTS, *states),
        rows,
        notes=notes,
        times=times,
        ids=("requestid",),
        quiet=states,
        kinds=dict.fromkeys(_REQUESTS, "string") | dict.fromkeys(states, "Int64"),
        minor=("expires", "via"),
    )


def _client(
    context: Context,
    session: str | None,
    request: str | None,
    *,
    any_: bool = True,
    waits: bool = True,
) -> Client | Lookback:
    """The client of the session that has the request; what waited in its queue has come in."""
    if session is None and request is not None:
        session = _session_of(context, request)
    fresh = not context.has_opened(session)
    client = context.looking_back(session, any_=any_, waits=waits)
    if fresh and not isinstance(client, Lookback):
        wait_quiet(client, _DRAIN)
    return client


def _session_of(context: Context, request: str) -> str | None:
    """The other session of this caller whose request it is, where its queue may have more."""
    current = context.current()
    if current is not None:
        store = current.session.store
        if store.find_request(store.jobs.meant(request)) is not None:
            return None
    settings = context.settings
    caller = load_credentials(pki_of(settings)).signer.identity.callerid
    for store in stores(settings.state_dir):
        record = store.find_request(store.jobs.meant(request))
        if record is not None:
            mine = store.meta("caller") == caller
            here = store.meta("collective") == settings.collective.main
            more = record.via.durable or not all(
                one.state.closed for one in store.entries(record.id)
            )
            return store.path.stem if mine and here and more else None
    return None
