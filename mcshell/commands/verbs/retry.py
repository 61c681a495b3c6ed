"""`retry [REQUEST]`: ask the same again, of those that failed or gave no reply."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcshell.client.discovery.targeting import RequestOptions, Targeting
from mcshell.client.rpc.history import inputs_again
from mcshell.commands.verbs.rpc import inputs
from mcshell.commands.verbs.shaping import check, shaped
from mcshell.commands.verbs.submitting import confirm, put
from mcshell.errors import NoTargets, UsageError
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
    options = _named(options)
    shaping = check(options)
    client = context.stored(options.session)
    earlier = client.again(options.request)
    names, record = earlier.names, earlier.replies.tracker.record
    left = earlier.left_alone
    if not names:
        why = f"retry: nobody failed or stayed silent in request {record.id[:8]}"
        raise NoTargets(f"{why}; {left}" if left else why)
    if left:
        client.notices.append(f"retry: {left}")
    if not (earlier.bound or options.yes):
        confirm(context, str(earlier))
    action = context.ddls.joint(record.agent, record.action)
    pool = record.via is Via.POOL
    given = {"ttl": options.ttl, "timeout": options.timeout}
    ask = RequestOptions(
        agent=record.agent,
        action=record.action,
        data=inputs_again(record, inputs(action, options, context.inputs)),
        targeting=Targeting(nodes=None if pool else tuple(names), collective=record.collective),
        via=record.via if record.via.durable else None,
        wait=not options.background and (shaping or options.format != "jsonl"),
        pool=record.pool,
        **{**earlier.options, **{name: one for name, one in given.items() if one is not None}},
    )
    return shaped(context, options, put(context, options, ask))


def _named(options: RetryOptions) -> RetryOptions:
    """The options with the request that the first word names, where it is no input."""
    word = options.earlier
    if word is None:
        return options
    if "=" in word:
        return options.replace(earlier=None, inputs=[word, *options.inputs])
    if options.request is not None:
        raise UsageError(f"retry: one request is meant, not {options.request} and {word}")
    return options.replace(earlier=None, request=word)
