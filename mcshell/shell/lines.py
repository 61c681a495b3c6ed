"""Lines one after the other: a script, `-e`, and each line of the prompt."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from mcshell.client.rpc.replies import Replies
from mcshell.commands.grammar.parser import numbered_lines, split_line
from mcshell.commands.output.result import INTERNAL, INTERRUPTED, USAGE, exit_code
from mcshell.commands.run import run_words
from mcshell.errors import MCShellError
from mcshell.private import private_file, private_folder
from mcshell.shell.output import show
from mcshell.shell.redirect import redirected

if TYPE_CHECKING:
    from mcshell.commands.context import Context
    from mcshell.shell.output import Screen
    from mcshell.shell.redirect import Shower

__all__ = ["run_line", "run_lines"]

log = logging.getLogger(__name__)


def run_lines(
    text: str,
    context: Context,
    screen: Screen,
    form: str | None = None,
    *,
    numbered: bool = False,
) -> int:
    """Run a script; the exit code is that of the first line that was not all well.

    `numbered`: what is said of a line that fails begins with its number.

    A line that means nothing, an internal error and Ctrl-C end it: what follows was written for
    a line that did not happen. A node that failed or is silent does not.
    """
    code = 0
    for number, line in numbered_lines(text):
        found = run_line(line, context, screen, form, f"line {number}: " if numbered else "")
        code = code or found
        if found in (USAGE, INTERNAL, INTERRUPTED):
            break
    return code


def run_line(
    line: str, context: Context, screen: Screen, form: str | None = None, where: str = ""
) -> int:
    """Run one line and show what it gives; errors become one line on standard error."""
    try:
        line, shower = redirected(line)
        return run_and_show(split_line(line), context, screen, form, shower)
    except MCShellError as error:
        screen.say(f"{where}{one_line(error)}")
        return error.exit_code
    except KeyboardInterrupt:
        screen.say(f"{where}interrupted")
        return INTERRUPTED
    except BrokenPipeError:
        raise
    except Exception as error:  # noqa: BLE001 - a line's fault must not end the prompt
        text = f"internal error: {type(error).__name__}: {error} ({log_traceback(context)})"
        screen.say(f"{where}{text}")
        return INTERNAL


def run_and_show(
    words: list[str],
    context: Context,
    screen: Screen,
    form: str | None = None,
    shower: Shower = show,
) -> int:
    """Run one line's words and show the result; raises what the verb raises."""
    invocation, result = run_words(words, context)
    for notice in context.notices():
        screen.say(notice)
    context.remember(result)
    shower(result, invocation.options, screen, form)
    if isinstance(result, Replies) and not invocation.options.background:
        context.seen(result)
    return exit_code(result, invocation.options)


def one_line(error: BaseException) -> str:
    """An error as one line."""
    return " ".join(str(error).split())


def log_traceback(context: Context) -> str:
    """Keep the traceback of the current exception and say where it is."""
    import traceback  # noqa: PLC0415 - only when something broke

    try:
        path = context.settings.state_dir / "mcshell.log"
        private_folder(path.parent)
        with private_file(path).open("a", encoding="utf-8") as file:
            traceback.print_exc(file=file)
    except (OSError, MCShellError) as error:
        traceback.print_exc()
        return f"no log could be kept: {one_line(error)}"
    return f"see {path}"
