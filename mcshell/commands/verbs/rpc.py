"""`rpc AGENT ACTION`: the request itself. What the DDL refuses is refused before connecting."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

from mcshell.client.discovery.targeting import RequestOptions
from mcshell.client.rpc.schemas import fitting, typed
from mcshell.commands.grammar.verbs import elsewhere, said_here
from mcshell.commands.verbs.shaping import check, shaped
from mcshell.commands.verbs.submitting import put
from mcshell.commands.verbs.targeting import targeting
from mcshell.ddl.types import Given
from mcshell.errors import InputError, MCShellError, UsageError
from mcshell.message import Via

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mcshell.client.rpc.replies import Replies
    from mcshell.commands.context import Context
    from mcshell.commands.grammar.options import InputsOptions
    from mcshell.commands.grammar.request_options import RpcOptions
    from mcshell.commands.output.result import Table
    from mcshell.ddl import Action

__all__ = ["given", "inputs", "pairs", "rpc"]

_SIGNS = ("|", ">", ">>", "<", "&&", "||", "&")


def rpc(context: Context, options: RpcOptions) -> Replies | Table:
    """Ask, and wait for the replies unless the line is `-b` or wants them as they arrive.

    Raises:
        UsageError: many nodes would be changed and nobody is there to say yes.
    """
    shaping = check(options)
    action = _action(context, options)
    if action is None and options.inputs:
        _refuse_order(context, options)
    ask = RequestOptions(
        agent=options.agent,
        action=options.action,
        texts=given(options, context.inputs, action),
        behind=options.behind,
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
        emergency=options.break_glass or "",
    )
    fitting(context.ddls, ask)
    _say_who_reads(context, options)
    return shaped(context, options, put(context, options, ask))


def _refuse_order(context: Context, options: RpcOptions) -> None:
    """Say of `rpc service nginx restart` how it is asked; UsageError."""
    words = [options.action, *options.inputs]
    said = elsewhere()
    if said and (meant := said.as_meant(context.ddls, options.agent, words)):
        raise UsageError(
            f"agent {options.agent} has no action {options.action[:60]!r}: asked so: {meant}"
        )


def _say_who_reads(context: Context, options: RpcOptions) -> None:
    """Tell an operator who has written a shell's sign behind `--` that no shell reads it."""
    sign = next((word for word in options.behind or () if word in _SIGNS), None)
    if sign is not None and context.face == "prompt" and context.say is not None:
        context.say(
            f"behind -- no shell reads {sign}: the command has it as a word (replies {sign} … is yours)"
        )


def inputs(
    action: Action, options: InputsOptions, beside: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The action's inputs that a line and a cell's YAML give, typed but not yet checked.

    Raises:
        UsageError: a word is no `input=value`, or the action takes no words behind `--`.
        InputError: an input is given twice, is none of the action's, or its text is no value.
    """
    ask = RequestOptions(
        agent=action.agent,
        action=action.name,
        texts=given(options, beside, action),
        behind=options.behind,
    )
    return typed(action, ask)


def given(
    options: InputsOptions, beside: Mapping[str, Any] | None, action: Action | None
) -> dict[str, Any]:
    """The inputs of a line and of a cell's YAML, as each schema reads them for itself.

    Raises:
        UsageError: a word is no `input=value`.
        InputError: an input is given twice.
    """
    found = pairs(options.inputs, action)
    twice = next((name for name in beside or {} if name in found), None)
    if twice is not None:
        raise InputError(f"input {twice} is given twice, in the line and in the cell", twice)
    return {**found, **(beside or {})}


def pairs(words: Sequence[str], action: Action | None = None) -> dict[str, str]:
    """The `input=value` words of a line, still as text; `action` is whose they are, if that is known.

    Raises:
        UsageError: a word is no `input=value`, or an input is given twice.
    """
    found: dict[str, str] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if word.startswith("-"):  # argparse takes a number for a word
            raise UsageError(f"unknown option {word}{said_here(word)}")
        if not equals or not name:
            raise UsageError(f"{word!r}: input=value is meant{_example(words, action)}")
        if name in found:
            raise InputError(f"input {name} is given twice", name)
        found[name] = Given(value, word.value) if isinstance(word, Given) else value
    return found


def _example(words: Sequence[str], action: Action | None) -> str:
    """How the words were meant, where the action's inputs tell."""
    if action is None:
        return ""
    if any(word.startswith("=") or word.endswith("=") for word in words):
        return ", as one word without spaces around ="
    plain = [word for word in words if "=" not in word]
    if len(action.lists) == 1:
        told = shlex.join([action.agent, action.name, "--", *plain])
        return f"; the words of a command stand behind --: rpc {told}"
    wanted = [one.name for one in action.inputs.values() if not one.optional] or list(action.inputs)
    return f", such as {shlex.join([f'{wanted[0]}={plain[0]}'])}" if wanted and plain else ""


def _action(context: Context, options: RpcOptions) -> Action | None:
    """The action that is asked; None where there is none, which is said later."""
    try:
        return context.ddls.merged(options.agent).actions.get(options.action)
    except MCShellError:
        return None
