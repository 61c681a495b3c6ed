"""From an understood line to its result: find the verb's function and call it."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, cast

from mcshell.commands import light
from mcshell.commands.output.result import Prose, Result
from mcshell.commands.verbs.submitting import stopped_with
from mcshell.errors import Stopped

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mcshell.commands.context import Context
    from mcshell.commands.grammar.parser import Invocation

__all__ = ["run", "run_words"]


def run(invocation: Invocation, context: Context) -> Result:
    """Do what the line says and return what it gives; errors are `MCShellError`.

    After Ctrl-C it is what had arrived; without that `Stopped` is raised.
    """
    if invocation.verb is None:
        return Prose(invocation.help)
    context.use(invocation.options.config)
    module, _, function = invocation.verb.target.partition(":")
    try:
        with light.left_out(invocation.verb.name):
            verb = getattr(import_module(f"mcshell.commands.verbs.{module}"), function)
            return cast("Result", verb(context, invocation.options))
    except Stopped as stopped:
        return stopped_with(context, stopped)


def run_words(words: Sequence[str], context: Context) -> tuple[Invocation, Result]:
    """Parse the words of one line, and run it."""
    invocation = context.understand(words)
    return invocation, run(invocation, context)
