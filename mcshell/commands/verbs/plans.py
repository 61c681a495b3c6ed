"""`plan run`, `preview`, `resume`, `list`: work across nodes, with gates."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from mcshell.client.store.plans import OK, STOPPED
from mcshell.commands.output.result import INTERRUPTED, Table
from mcshell.commands.verbs.submitting import confirmation
from mcshell.errors import Stopped

if TYPE_CHECKING:
    from collections.abc import Callable

    from mcshell.client.plans.manager import PlanStatus
    from mcshell.commands.context import Context
    from mcshell.commands.grammar.session_options import (
        PlanPreviewOptions,
        PlanResumeOptions,
        PlanRunOptions,
        PlansOptions,
    )

__all__ = ["list_", "preview", "resume", "run"]

_PREVIEW = ("order", "step", "wave", "sender", "agent", "action", "after", "stop", "reason")
_WAVES = (
    "order",
    "step",
    "wave",
    "request",
    "agent",
    "action",
    "targets",
    "ok",
    "failed",
    "accepted",
    "open",
    "reason",
)
_LIST = (
    "plan",
    "name",
    "revision",
    "state",
    "ok",
    "failed",
    "accepted",
    "open",
    "created",
    "reason",
)
_QUIET = ("accepted", "reason")
_BAD, _OPEN = 2, 5


def preview(context: Context, options: PlanPreviewOptions) -> Table:
    """Who would run what in which order; nothing is sent."""
    rows = context.client(options.session).plans.preview(options.file)
    found = [tuple(row[name] for name in _PREVIEW) for row in rows]
    return Table(_PREVIEW, found, quiet=("reason",))


def run(context: Context, options: PlanRunOptions) -> Table:
    """Run a plan: a row a wave, and on standard error what became of it."""
    client = context.client(options.session)
    return _shown(
        context,
        lambda: client.plans.run(
            options.file,
            timeout=options.timeout,
            confirm=confirmation(context, options),
            say=_say(context),
            again=options.again,
        ),
    )


def resume(context: Context, options: PlanResumeOptions) -> Table:
    """Go on with a plan where it was left."""
    client = context.client(options.session)
    return _shown(
        context,
        lambda: client.plans.resume(
            options.plan, timeout=options.timeout, say=_say(context), accept=options.accept
        ),
    )


def list_(context: Context, options: PlansOptions) -> Table:
    """The plans of the session."""
    plans = context.client(options.session).plans
    rows = [
        (
            one.id,
            one.name,
            one.revision,
            one.state,
            one.count("ok"),
            one.count("failed"),
            one.count("accepted"),
            one.count("open"),
            one.created,
            one.reason,
        )
        for one in plans.list()
    ]
    notes = (f"the session is held by {plans.holder}: they go on there",) if plans.holder else ()
    return Table(
        _LIST,
        rows,
        notes=notes,
        times=("created",),
        ids=("plan",),
        quiet=_QUIET,
        minor=("revision",),
    )


def _shown(context: Context, go: Callable[[], PlanStatus]) -> Table:
    """Where a plan stands when it has gone as far as it goes, or Ctrl-C came."""
    try:
        return _waves(go())
    except Stopped as stopped:
        if stopped.plan is None:
            raise
        context.stopped = stopped
        return replace(_waves(stopped.plan), code=INTERRUPTED)


def _waves(progress: PlanStatus) -> Table:
    rows = [tuple(step[name] for name in _WAVES) for step in progress.steps]
    note = f"plan {progress.name} {progress.id[:8]}: {progress.state}"
    if progress.reason:
        note += f": {progress.reason}"
    elif progress.state not in (OK, STOPPED):
        note += f" (plan resume {progress.id[:8]} goes on with it)"
    code = {OK: 0, STOPPED: _BAD}.get(progress.state, _OPEN)
    return Table(_WAVES, rows, code, (note,), ids=("request",), quiet=("failed", *_QUIET))


def _say(context: Context) -> Callable[[str], None]:
    return context.say if context.say is not None else _hush


def _hush(_line: str) -> None:
    """Report nothing: nobody is there to read it."""
