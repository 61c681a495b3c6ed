"""`rpc AGENT ACTION`: the request itself. What the DDL refuses is refused before connecting."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mcshell.client.discovery.targeting import RequestOptions
from mcshell.commands.verbs.shaping import check, shaped
from mcshell.commands.verbs.submitting import put
from mcshell.commands.verbs.targeting import targeting
from mcshell.errors import InputError, UsageError
from mcshell.message import Via

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mcshell.client.rpc.replies import Replies
    from mcshell.commands.context import Context
    from mcshell.commands.grammar.options import InputsOptions
    from mcshell.commands.grammar.request_options import RpcOptions
    from mcshell.commands.output.result import Table
    from mcshell.ddl import Action

__all__ = ["inputs", "pairs", "rpc"]


def rpc(context: Context, options: RpcOptions) -> Replies | Table:
    """Ask, and wait for the replies unless the line is `-b` or wants them as they arrive.

    Raises:
        UsageError: `--pool` without `--via pool`; or many nodes would be changed and nobody is
            there to say yes.
    """
    if options.pool is not None and options.via != Via.POOL:
        raise UsageError("--pool goes with --via pool")
    shaping = check(options)
    action = context.library.get(options.agent).action(options.action)
    ask = RequestOptions(
        agent=options.agent,
        action=options.action,
        data=action.check(inputs(action, options, context.inputs)),
        targeting=targeting(context, options),
        via=None if options.via is None else Via(options.via),
        ttl=options.ttl,
        timeout=options.timeout,
        batch=options.batch,
        batch_sleep=options.batch_sleep,
        max_failures=options.max_failures,
        wait=not options.background and (shaping or options.format != "jsonl"),
        pool=options.pool,
        canary=options.canary,
    )
    return shaped(context, options, put(context, options, ask))


def inputs(
    action: Action, options: InputsOptions, beside: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The action's inputs that a line and a cell's YAML give, typed but not yet checked.

    Raises:
        UsageError: a word is no `input=value`, or the action takes no words behind `--`.
        InputError: an input is given twice, is none of the action's, or its text is no value.
    """
    texts = pairs(options.inputs)
    found = action.convert(texts)
    if options.behind is not None:
        name = _list_of(action)
        if name in found:
            raise InputError(f"input {name} is given twice, once behind --", name)
        found[name] = list(options.behind)
    twice = sorted(found.keys() & (beside or {}).keys())
    if twice:
        raise InputError(f"input {twice[0]} is given twice, in the line and in the cell", twice[0])
    return {**found, **(beside or {})}


def _list_of(action: Action) -> str:
    """The one input of an action that takes a list: the words behind `--`."""
    lists = [name for name, one in action.inputs.items() if one.type == "array"]
    if len(lists) == 1:
        return lists[0]
    raise UsageError(
        f"--: {action.agent} {action.name} takes "
        + (f"several lists ({', '.join(lists)})" if lists else "no list")
        + ": input=value is meant"
    )


def pairs(words: Sequence[str]) -> dict[str, str]:
    """The `input=value` words of a line, still as text.

    Raises:
        UsageError: a word is no `input=value`, or an input is given twice.
    """
    found: dict[str, str] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not name:
            raise UsageError(f"{word!r}: input=value is meant")
        if name in found:
            raise InputError(f"input {name} is given twice", name)
        found[name] = value
    return found
