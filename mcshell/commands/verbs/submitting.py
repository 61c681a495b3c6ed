"""A request put to the fleet by a line: the preview before harm, and the wait in sight."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from mcshell.errors import Stopped, UsageError
from mcshell.interrupts import sleep
from mcshell.message import State

if TYPE_CHECKING:
    from collections.abc import Callable

    from mcshell.client.client import Client
    from mcshell.client.discovery.methods import Discovered
    from mcshell.client.discovery.targeting import RequestOptions
    from mcshell.client.rpc.replies import Replies
    from mcshell.client.rpc.requester import Preview
    from mcshell.commands.context import Context
    from mcshell.commands.grammar.options import Options

__all__ = ["confirm", "confirmation", "found_by", "put", "stopped_with", "unfinished", "wait_quiet"]

_POLL = 0.05
_SENDING = 60.0


def put(context: Context, options: Options, ask: RequestOptions) -> Replies:
    """Ask; a command line that leaves at once (`-b`) has sent everything before it does."""
    client = context.client(options.session)
    asked: list[Replies] = []
    ask = replace(ask, announce=asked.append)
    try:
        with context.progress(lambda: asked[0] if asked else None):
            replies = client.ask(ask, confirmation(context, options))
    except Stopped as stopped:
        return stopped_with(context, stopped)
    if context.face == "cli" and options.background and not replies.via.durable:
        _until_sent(replies)
    return replies


def stopped_with(context: Context, stopped: Stopped) -> Replies:
    """What had arrived when Ctrl-C came, for the line to show; the face ends with that.

    Raises:
        Stopped: there are no rows to show, or they only say who was found, which is for `found_by`.
    """
    if not stopped.replies or stopped.found is not None:
        raise stopped
    context.stopped = stopped
    replies: Replies = stopped.replies
    return replies


def found_by(context: Context, stopped: Stopped) -> Discovered:
    """Who had answered when Ctrl-C came while nodes were looked for; as `stopped_with`."""
    if stopped.found is None or not stopped.found.names:
        raise stopped
    context.stopped = stopped
    found: Discovered = stopped.found
    return found


def confirmation(context: Context, options: Options) -> Callable[[Preview], bool]:
    """Show who is hit, and ask where it is more than `client.confirm_share` (`-y`: never)."""

    def confirm(preview: Preview) -> bool:
        if options.yes:
            return True
        if context.say is not None:
            context.say(str(preview))
        if not preview.exceeds:
            return True
        if context.ask is None:
            raise UsageError(
                f"{preview}; that is more than {preview.limit} (client.confirm_share): "
                "say --yes, or ask fewer"
            )
        return context.ask("go on?")

    return confirm


def confirm(context: Context, what: str) -> None:
    """Ask whether to go on with something; UsageError where that is refused, or nobody can be asked."""
    if context.ask is None:
        raise UsageError(f"{what}: say --yes if that is meant")
    if not context.ask(f"{what}: go on?"):
        raise UsageError("not confirmed: nothing was sent")


def wait_quiet(client: Client, most: float, quiet: float = 0.3) -> None:
    """Wait until what was unsent is sent, and what waited in the queue is in the file.

    `most` and `quiet` (how long nothing may come before it counts as all) are seconds.
    """
    store = client.session.store
    end = time.monotonic() + most
    newest, since = store.latest(), time.monotonic()
    while (now := time.monotonic()) < end and unfinished(client):
        if store.latest() != newest or store.unconfirmed(1, time.time()):
            newest, since = store.latest(), now
        elif now - since >= quiet:
            return
        sleep(_POLL)


def unfinished(client: Client) -> int:
    """How many targets of queue and pool requests may still say something."""
    waiting = (State.PENDING, State.RECEIVED, State.RUNNING)
    return sum(
        counts.get(state, 0)
        for record, counts in client.requests()
        if record.via.durable
        for state in waiting
    )


def _until_sent(replies: Replies) -> None:
    """Wait until each target was sent to, or the request has come to its end."""
    end = time.monotonic() + _SENDING
    while not replies.done and any(entry.sent is None for entry in replies.entries()):
        if time.monotonic() > end:
            return
        sleep(_POLL / 5)
