"""`job …`: work that lives on the nodes."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from mcshell.client.discovery.targeting import narrowed
from mcshell.client.jobs.replies import FORECAST, JOBS
from mcshell.commands.grammar.job_options import TermsOptions, TimesOptions
from mcshell.commands.output.result import Feed, Prose, Table, exit_code, submitted_code
from mcshell.commands.output.sanitize import sanitize
from mcshell.commands.verbs.job_glances import forecast_glance, list_glance, submit_glance
from mcshell.commands.verbs.rpc import inputs
from mcshell.commands.verbs.submitting import confirm, confirmation, stopped_with
from mcshell.commands.verbs.targeting import targeting
from mcshell.errors import ExitCode, Stopped, UsageError
from mcshell.filters.nodes import fold

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mcshell.client.client import Client
    from mcshell.client.jobs.documents import JobEdit
    from mcshell.client.jobs.replies import JobReplies, JobsTold
    from mcshell.client.rpc.replies import Replies
    from mcshell.client.store.ledger import LedgerEntry
    from mcshell.commands.context import Context
    from mcshell.commands.grammar.job_options import (
        EditOptions,
        ForecastOptions,
        JobOptions,
        ListOptions,
        LogOptions,
        SubmitOptions,
    )
    from mcshell.commands.grammar.options import Options

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

_SUBMITTED: Final = ("sender", "job", "state", "start", "reason")
_TIMES: Final = ("next", "last", "start")
_QUIET: Final = ("last", "attempt", "progress", "conflict", "why")
_MINOR: Final = ("revision", "owner")


def submit(context: Context, options: SubmitOptions) -> Table | Replies:
    """Hand a job in; waits (without `-b`) until the nodes that are there have taken it or not."""
    action = context.ddls.get(options.agent).action(options.action)
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
    if options.background:
        return replies
    client.jobs.wait_quiet(replies, options.timeout)
    starts, told = client.jobs.first_starts(replies)
    rows = [
        (one.sender, replies.job, one.state.value, starts.get(one.sender), _why(one))
        for one in replies.entries()
    ]
    found = Table(
        _SUBMITTED,
        rows,
        _code(replies, options),
        (told,) if told else (),
        times=("start",),
        ids=("job",),
        quiet=("reason",),
    )
    return found if options.named else submit_glance(found, found.records())


def _code(replies: JobReplies, options: SubmitOptions) -> int:
    heard = any(one.reply is not None for one in replies.entries())
    return submitted_code(replies.stats, discovered=not options.named, heard=heard)


def _why(entry: LedgerEntry) -> str:
    reply = entry.reply
    return entry.reason or (reply.statusmsg if reply is not None and reply.statuscode else "")


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
    given: dict[str, Any] = {
        "name": options.name,
        "state": options.state,
        "timeout": options.timeout,
    }
    told = _told(context, partial(client.jobs.stands, job, targeting=wanted, **given))
    found = _table(JOBS, told, options)
    if options.job:
        return found
    if count := client.session.store.jobs.queued():
        note = f"open queued requests of this session, which are no jobs: {count} (requests)"
        found = replace(found, notes=(*found.notes, note))
    return found if options.named else list_glance(found, told.rows)


def _told(context: Context, ask: Callable[..., JobsTold]) -> JobsTold:
    """What the nodes tell; after Ctrl-C what they had told by then."""
    try:
        return ask()
    except Stopped as stopped:
        return ask(replies=stopped_with(context, stopped))


def _table(columns: Mapping[str, str], told: JobsTold, options: Options) -> Table:
    names = tuple(columns)
    rows = [tuple(row.get(name) for name in names) for row in told.rows]
    notes = (f"no answer from {fold(told.silent)}",) if told.silent else ()
    times = tuple(name for name in _TIMES if name in columns)
    code = exit_code(told.replies, options) or (ExitCode.OPEN if told.silent else 0)
    return Table(
        names,
        rows,
        code,
        notes,
        times=times,
        ids=("job",),
        quiet=_QUIET,
        minor=_MINOR,
        kinds=columns,
    )


def show(context: Context, options: JobOptions) -> Replies:
    """All about one job: its document, its newest runs, what the last one answered."""
    wanted, client = _asked(context, options)
    return client.jobs.show(options.job, **wanted)


def edit(context: Context, options: EditOptions) -> Replies:
    """Put a new revision in its place; it runs with the rights of whoever edits."""
    wanted, client = _asked(context, options)
    old = client.jobs.revisions(options.job, **wanted)
    action = context.ddls.get(old.newest.agent).action(old.newest.action)
    changes = {**_given(options), "inputs": inputs(action, options, context.inputs)}

    def agreed(change: JobEdit) -> bool:
        if change.asks and not options.yes:
            confirm(context, str(change))
        return True

    return client.jobs.put_edit(old, agreed, **changes)


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
    if narrowed(found):
        wanted["targeting"] = found
    return wanted, context.client(options.session)


def log(context: Context, options: LogOptions) -> Prose | Feed | Table:
    """What a run wrote, in a named format as a row; with `-f` as it comes, until the run ends."""
    client = context.client(options.session)
    parts = client.jobs.log_parts(options.job, options.node, options.run, follow=options.follow)
    if not options.follow:
        found = list(parts)
        text = "".join(text for text, _note in found)
        notes = tuple(note for _text, note in found if note)
        if options.format is not None:
            return Table(("sender", "text"), [(options.node, text)] if text else [], notes=notes)
        return Prose(sanitize(text), notes)
    if context.face == "magic":
        raise UsageError("job log --follow: only on the command line or at the prompt")
    return Feed(
        (
            {"sender": options.node, "text": text, **({"note": note} if note else {})}
            for text, note in parts
        ),
        text="text",
    )


def forecast(context: Context, options: ForecastOptions) -> Table:
    """What will start when, by the nodes' own records."""
    wanted = targeting(context, options)
    client = context.client(options.session)
    when = (options.from_, options.within)
    told = _told(
        context, partial(client.jobs.starts, *when, targeting=wanted, timeout=options.timeout)
    )
    found = _table(FORECAST, told, options)
    return found if options.named else forecast_glance(found, told.rows)
