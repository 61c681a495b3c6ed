"""Lines one after the other: a script, `-e`, and each line of the prompt."""

from __future__ import annotations

import logging
import shlex
import subprocess
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, cast

from mcshell.client.rpc.replies import Replies
from mcshell.commands.grammar.options import ServiceOptions
from mcshell.commands.grammar.parser import numbered_lines, only_line
from mcshell.commands.output.result import INTERNAL, INTERRUPTED, USAGE, Script, exit_code
from mcshell.commands.run import run
from mcshell.errors import MachineError, MCShellError, UsageError
from mcshell.private import private_file, private_folder
from mcshell.shell.output import show
from mcshell.shell.redirect import shower_of
from mcshell.shell.streams import fault_of, writing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mcshell.commands.context import Context
    from mcshell.commands.grammar.local_options import WatchOptions
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
    """Run a script; the exit code is that of the first line that was not all well, 130 after Ctrl-C.

    `numbered`: what is said of a line that fails begins with its number.

    A line that means nothing, a fault of this machine or of ours, and Ctrl-C end it: what follows was
    written for a line that did not happen; so does `exit`. A node that failed or is silent does not.
    """
    code = 0
    last = (USAGE, INTERNAL, INTERRUPTED, MachineError.exit_code)
    try:
        lines = numbered_lines(text, context.alias)
    except MCShellError as error:
        screen.say(one_line(error))
        return error.exit_code
    for number, line in lines:
        found = run_line(line, context, screen, form, f"line {number}: " if numbered else "")
        if found == INTERRUPTED:
            return found
        code = code or found
        if found in last or context.left:
            break
    return code


def run_line(
    text: str, context: Context, screen: Screen, form: str | None = None, where: str = ""
) -> int:
    """Run one line and show what it gives; errors become one line on standard error."""
    try:
        line = only_line(text, context.alias)
        if line is None:
            return 0
        if line.sign == "!":
            return _run_shell(line.rest[0].text, screen)
        return run_and_show(line.meant, context, screen, form, shower_of(line))
    except MCShellError as error:
        screen.say(f"{where}{one_line(error)}")
        return error.exit_code
    except KeyboardInterrupt:
        screen.say(f"{where}interrupted")
        return INTERRUPTED
    except BrokenPipeError:
        raise
    except Exception as error:  # noqa: BLE001 - a line's fault must not end the prompt
        kept, fault = log_traceback(context), fault_of(error)
        text = fault or f"internal error: {type(error).__name__}: {error} ({kept})"
        screen.say(f"{where}{text}")
        return INTERNAL if fault is None else MachineError.exit_code


def run_and_show(
    words: Sequence[str],
    context: Context,
    screen: Screen,
    form: str | None = None,
    shower: Shower = show,
) -> int:
    """Run one line's words and show the result; raises what the verb raises."""
    invocation = context.understand(words)
    target = "" if invocation.verb is None else invocation.verb.target
    if target == "face:clear":
        screen.clear()
        return 0
    if target == "face:watch":
        return _watch(cast("WatchOptions", invocation.options), context, screen, form, shower)
    result = run(invocation, context)
    for notice in context.notices():
        screen.say(notice)
    if isinstance(result, Script):
        return _walk(result, context, screen, form)
    context.remember(result)
    looked_at = isinstance(result, Replies) and not invocation.options.background
    if isinstance(result, Replies) and looked_at:
        context.seen(result)  # a pager may hold them for long
    with writing():
        shower(result, invocation.options, screen.measured(), form)
    if isinstance(result, Replies) and looked_at:
        context.seen(result)
    return exit_code(result, invocation.options)


def _watch(
    options: WatchOptions, context: Context, screen: Screen, form: str | None, shower: Shower
) -> int:
    """Run a line again and again until Ctrl-C, each time on an empty screen.

    Raises:
        UsageError: it is no line that shows something and ends.
    """
    if not options.line or not options.every:
        raise UsageError("watch: N seconds above 0 and a LINE are meant, such as watch 5 ping")
    watched = context.understand(options.line)
    face = watched.verb is None or watched.verb.target.startswith("face:")
    if face or isinstance(watched.options, ServiceOptions):
        raise UsageError(f"watch: {options.line[0]} is nothing to be watched")
    try:
        while True:
            screen.clear()
            now = datetime.now(UTC).astimezone().time().isoformat("seconds")
            screen.say(
                f"{now} {shlex.join(options.line)} (every {options.every:g} s; Ctrl-C ends it)"
            )
            code = run_and_show(options.line, context, screen, form, shower)
            if code == INTERRUPTED:
                return code
            time.sleep(options.every)
    except KeyboardInterrupt:
        return INTERRUPTED


def _run_shell(command: str, screen: Screen) -> int:
    """Run a command of the operator's in the operator's shell."""
    screen.out.flush()
    try:
        return subprocess.run(command, shell=True, check=False).returncode  # noqa: S602 - the operator's own words
    except KeyboardInterrupt:
        return INTERRUPTED


def _walk(script: Script, context: Context, screen: Screen, form: str | None) -> int:
    """Type the lines of a script one after the other; whoever is at a terminal says when to go on."""
    code = 0
    for text, line in script.steps:
        screen.say(text)
        if not line:
            continue
        if context.ask is not None and not context.ask(f"mcs> {line}\n     go on?"):
            break
        if context.ask is None:
            screen.say(f"mcs> {line}")
        found = run_line(line, context, screen, form)
        if found == INTERRUPTED:
            return found
        code = code or found
    return code


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
        return f"no log could be kept: {one_line(error)}"
    return f"see {path}"
