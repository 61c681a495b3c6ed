"""`job …`: work that lives on the nodes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from mcshell.client.discovery.targeting import Targeting
from mcshell.client.jobs.replies import FORECAST, JOBS
from mcshell.commands.grammar.job_options import TermsOptions, TimesOptions
from mcshell.commands.output.result import Feed, Prose, Table
from mcshell.commands.verbs.rpc import inputs
from mcshell.commands.verbs.submitting import confirm, confirmation
from mcshell.commands.verbs.targeting import targeting
from mcshell.errors import UsageError
from mcshell.message import State

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mcshell.client.client import Client
    from mcshell.client.jobs.documents import JobEdit
    from mcshell.client.rpc.replies import Replies
    from mcshell.commands.context import Context
    from mcshell.commands.grammar.job_options import (
        EditOptions,
        ForecastOptions,
        JobOptions,
        ListOptions,
        LogOptions,
        SubmitOptions,
    )

__all__ = [
    "cancel",
    "edit",
    "forecast",
    "list_",
    "log",
    "pause",
    "resume",
    "show",
    "skip",
    "submit",
]

_SUBMITTED: Final = ("sender", "job", "state", "reason")
_TIMES: Final = ("next", "last", "start")
_REFUSED: Final = (State.FAILED, State.DENIED, State.INTERRUPTED)


def submit(context: Context, options: SubmitOptions) -> Table:
    """Hand a job in; waits until the nodes that are there have taken it or not."""
    action = context.library.get(options.agent).action(options.action)
    data = action.check(inputs(action, options, context.inputs))
    wanted = targeting(context, options)
    client = context.client(options.session)
    replies = client.jobs.submit(
        options.agent,
        options.action,
        targeting=wanted,
        ttl=options.ttl,
        timeout=options.timeout,
        inputs=data,
        confirm=confirmation(context, options),
        **_given(options),
    )
    if not options.background:
        client.jobs.wait_quiet(replies, options.timeout)
    entries = replies.entries()
    rows = [
        (one.sender, replies.job, one.state.value, _why(one.reason, one.reply)) for one in entries
    ]
    states = {one.state for one in entries}
    code = 2 if states & set(_REFUSED) else 5 if State.PENDING in states else 0
    if options.background:
        code = 0 if replies.confirmed else 5
    return Table(_SUBMITTED, rows, code)


def _why(reason: str, reply: Any) -> str:
    return reason or (reply.statusmsg if reply is not None and reply.statuscode else "")


def _given(options: SubmitOptions | EditOptions) -> dict[str, Any]:
    """What the line says about time and the like, without what it does not."""
    said = vars(options)
    names = (*TimesOptions.arguments(), *TermsOptions.arguments())
    return {name: said[name] for name in names if said[name] is not None}


def list_(context: Context, options: ListOptions) -> Table:
    """Where the jobs of the nodes stand."""
    wanted = targeting(context, options)
    client = context.client(options.session)
    job = client.jobs.find(options.job) if options.job else ""
    rows = client.jobs.rows(
        job, name=options.name, state=options.state, targeting=wanted, timeout=options.timeout
    )
    return _table(JOBS, rows)


def _table(columns: Mapping[str, str], rows: Sequence[Mapping[str, Any]]) -> Table:
    names = tuple(columns)
    times = tuple(name for name in _TIMES if name in columns)
    return Table(names, [tuple(row.get(name) for name in names) for row in rows], times=times)


def show(context: Context, options: JobOptions) -> Replies:
    """All about one job: its document, its newest runs, what the last one answered."""
    wanted, client = _asked(context, options)
    return client.jobs.show(options.job, **wanted)


def edit(context: Context, options: EditOptions) -> Replies:
    """Put a new revision in its place; it runs with the rights of whoever edits."""
    wanted, client = _asked(context, options)
    old = client.jobs.document(options.job)
    action = context.library.get(old.agent).action(old.action)
    changes = {**_given(options), "inputs": inputs(action, options, context.inputs)}

    def agreed(change: JobEdit) -> bool:
        if change.asks and not options.yes:
            confirm(context, str(change))
        return True

    return client.jobs.edit(options.job, confirm=agreed, **wanted, **changes)


def pause(context: Context, options: JobOptions) -> Replies:
    """Have a job start no more until it is resumed; a row a node."""
    wanted, client = _asked(context, options)
    return client.jobs.pause(options.job, **wanted)


def resume(context: Context, options: JobOptions) -> Replies:
    """Let a paused job start again; a row a node."""
    wanted, client = _asked(context, options)
    return client.jobs.resume(options.job, **wanted)


def skip(context: Context, options: JobOptions) -> Replies:
    """Leave out the next start of a job; a row a node."""
    wanted, client = _asked(context, options)
    return client.jobs.skip(options.job, **wanted)


def cancel(context: Context, options: JobOptions) -> Replies:
    """End a job, with all processes of a run; a row a node."""
    wanted, client = _asked(context, options)
    return client.jobs.cancel(options.job, **wanted)


def _asked(context: Context, options: JobOptions) -> tuple[dict[str, Any], Client]:
    """Whom to ask about a job: those that the line names, else those that have it."""
    found = targeting(context, options)
    wanted: dict[str, Any] = {"timeout": options.timeout}
    if found != Targeting(source=found.source, known=found.known):
        wanted["targeting"] = found
    return wanted, context.client(options.session)


def log(context: Context, options: LogOptions) -> Prose | Feed:
    """What a run wrote; with `-f` as it comes, until the run ends."""
    client = context.client(options.session)
    pieces = client.jobs.log(options.job, options.node, run=options.run, follow=options.follow)
    if not options.follow:
        return Prose("".join(pieces))
    if context.face == "magic":
        raise UsageError("job log --follow: only on the command line or at the prompt")
    return Feed(({"sender": options.node, "text": piece} for piece in pieces), text="text")


def forecast(context: Context, options: ForecastOptions) -> Table:
    """What will start when, by the nodes' own records."""
    wanted = targeting(context, options)
    client = context.client(options.session)
    rows = client.jobs.forecast_rows(
        options.from_, options.within, targeting=wanted, timeout=options.timeout
    )
    return _table(FORECAST, rows)
