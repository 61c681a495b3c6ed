"""`rpc AGENT ACTION`: the request itself. What the DDL refuses is refused before connecting."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mcshell.client.targeting import Ask
from mcshell.commands.verbs.asking import put
from mcshell.commands.verbs.targets import targeting
from mcshell.errors import InputError, UsageError
from mcshell.message import Via

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping, Sequence

    from mcshell.client.replies import Replies
    from mcshell.commands.context import Context
    from mcshell.ddl import Action

__all__ = ["inputs", "pairs", "rpc"]


def rpc(context: Context, options: argparse.Namespace) -> Replies:
    """Ask, and wait for the replies unless the line is `-b` or wants them as they arrive.

    Raises:
        UsageError: `--pool` without `--via pool`; or many nodes would be changed and nobody is
            there to say yes.
    """
    if options.pool is not None and options.via != Via.POOL:
        raise UsageError("--pool goes with --via pool")
    if options.timeout is None and options.via in (Via.QUEUE, Via.POOL):
        options.timeout = context.settings.client.timeout
    action = context.library.get(options.agent).action(options.action)
    ask = Ask(
        agent=options.agent,
        action=options.action,
        data=inputs(action, options.inputs, context.inputs),
        targeting=targeting(context, options),
        via=None if options.via is None else Via(options.via),
        ttl=options.ttl,
        timeout=options.timeout,
        batch=options.batch,
        batch_sleep=options.batch_sleep,
        max_failures=options.max_failures,
        wait=not options.background and options.format != "jsonl",
        pool=options.pool,
    )
    return put(context, options, ask)


def inputs(
    action: Action, words: Sequence[str], beside: Mapping[str, Any] | None
) -> dict[str, Any]:
    """The action's inputs from `input=value` words and from a cell's YAML, checked.

    Raises:
        UsageError: a word is no `input=value`, or an input is given twice.
        InputError: the DDL refuses one.
    """
    texts = pairs(words)
    if not beside:
        return action.from_text(texts)
    twice = sorted(texts.keys() & beside.keys())
    if twice:
        raise InputError(f"input {twice[0]} is given twice, in the line and in the cell", twice[0])
    return action.check({**action.convert(texts), **beside})


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
