"""The prompt: one line in, one result out, until Ctrl-D."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Protocol

from mcshell.commands.result import INTERRUPTED
from mcshell.shell.lines import run_lines

if TYPE_CHECKING:
    from mcshell.commands.context import Context
    from mcshell.shell.output import Screen

__all__ = ["Lines", "loop", "prompt", "reader"]


class Lines(Protocol):
    """Where the operator's lines come from: prompt_toolkit's session."""

    def prompt(self) -> str:
        """Read a line; EOFError at Ctrl-D, KeyboardInterrupt at Ctrl-C."""


def prompt(context: Context, screen: Screen) -> int:
    """Talk with an operator at a terminal; the exit code is that of the last line."""
    context.face = "prompt"
    return loop(reader(context), context, screen)


def reader(context: Context) -> Lines:
    """A line editor with the history of this operator's state directory."""
    from prompt_toolkit import PromptSession  # noqa: PLC0415 - a third of a second
    from prompt_toolkit.auto_suggest import AutoSuggestFromHistory  # noqa: PLC0415 - as above
    from prompt_toolkit.history import FileHistory  # noqa: PLC0415 - as above

    folder = context.settings.state_dir
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return PromptSession(
        "mcshell> ",
        history=FileHistory(str(folder / "history")),
        auto_suggest=AutoSuggestFromHistory(),
    )


def loop(lines: Lines, context: Context, screen: Screen) -> int:
    """Run what is typed. Ctrl-C clears the line, Ctrl-D leaves, `!` is the operator's shell."""
    code = 0
    while True:
        try:
            line = lines.prompt().strip()
        except KeyboardInterrupt:
            continue
        except EOFError:
            return code
        if line in ("exit", "quit"):
            return code
        shell = line.startswith("!")
        code = _shell(line[1:]) if shell else run_lines(line, context, screen)


def _shell(command: str) -> int:
    try:
        return subprocess.run(command, shell=True, check=False).returncode  # noqa: S602 - the operator's own words
    except KeyboardInterrupt:
        return INTERRUPTED
