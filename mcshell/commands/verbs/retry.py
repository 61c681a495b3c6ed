"""`retry [REQUEST]`: ask the same again, of those that failed or gave no reply."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcshell.client.discovery.targeting import RequestOptions, Targeting
from mcshell.client.rpc.history import inputs_again
from mcshell.commands.verbs.rpc import inputs
from mcshell.commands.verbs.shaping import check, shaped
from mcshell.commands.verbs.submitting import confirm, put
from mcshell.errors import NoTargets
from mcshell.message import Via

if TYPE_CHECKING:
    from mcshell.client.rpc.replies import Replies
    from mcshell.commands.context import Context
    from mcshell.commands.grammar.request_options import RetryOptions
    from mcshell.commands.output.result import Table

__all__ = ["retry"]


def retry(context: Context, options: RetryOptions) -> Replies | Table:
    """Ask again what a request asked; inputs on the line replace those of then.

    Raises:
        NoTargets: all of its targets came out well, or are still at it.
        InputError: an input is secret and was not kept.
        UsageError: another has asked it, or nothing signed proves what was asked, or of whom.
    """
    shaping = check(options)
    client = context.client(options.session)
    earlier = client.again(options.request)
    names, record = earlier.names, earlier.replies.tracker.record
    if not names:
        raise NoTargets(f"retry: nobody failed or stayed silent in request {record.id[:8]}")
    if not (earlier.bound or options.yes):
        confirm(context, str(earlier))
    action = context.library.get(record.agent).action(record.action)
    pool = record.via is Via.POOL
    ask = RequestOptions(
        agent=record.agent,
        action=record.action,
        data=inputs_again(record, inputs(action, options)),
        targeting=Targeting(nodes=None if pool else tuple(names), collective=record.collective),
        via=record.via if record.via.durable else None,
        ttl=options.ttl,
        timeout=options.timeout,
        wait=not options.background and (shaping or options.format != "jsonl"),
        pool=record.pool,
    )
    return shaped(context, options, put(context, options, ask))
