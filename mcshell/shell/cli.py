"""The command line: `mcshell VERB …`, `mcshell -e LINES`, a script on standard input, the prompt.

Light to import: a node daemon starts here, and help needs neither pandas nor a broker.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, cast

from mcshell.commands.context import Context
from mcshell.commands.grammar.options import OutputOptions
from mcshell.commands.grammar.parser import help_text, parse
from mcshell.commands.grammar.values import FORMATS
from mcshell.commands.output.result import INTERNAL, INTERRUPTED, exit_code
from mcshell.commands.run import run
from mcshell.errors import MCShellError, UsageError, did_you_mean
from mcshell.version import VERSION

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mcshell.commands.grammar.local_options import DemoOptions

__all__ = ["main"]

_BROKEN_PIPE = 141  # what a shell reports for a process that SIGPIPE ended
_FLAGS = ("-e", "--config", "--format", "-j", "--json", "--jsonl", "--version", "-h", "--help")


@dataclass(slots=True, kw_only=True)
class _Start:
    """The options that stand before the verb, and the words from the verb on."""

    words: list[str]
    script: str | None = None
    config: Path | None = None
    form: str | None = None
    version: bool = False
    help: bool = False


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code (§3)."""
    context = Context("cli")
    _meet(context)
    try:
        try:
            return _main(_read(list(sys.argv[1:] if argv is None else argv)), context)
        finally:
            context.close()
            sys.stdout.flush()
    except MCShellError as error:
        _complain(" ".join(str(error).split()))
        return error.exit_code
    except KeyboardInterrupt:
        _complain("interrupted")
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read us has gone; the interpreter must not find the pipe broken once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _BROKEN_PIPE
    except Exception as error:  # noqa: BLE001 - the operator gets a line, the log the traceback
        from mcshell.shell.lines import log_traceback  # noqa: PLC0415 - only when something broke

        _complain(f"internal error: {type(error).__name__}: {error} ({log_traceback(context)})")
        return INTERNAL


def _meet(context: Context) -> None:
    """Have it speak with the operator, where there is one."""
    if sys.stdin.isatty() and sys.stderr.isatty():
        from mcshell.shell.operator import meet  # noqa: PLC0415 - only at a terminal

        meet(context)


def _complain(line: str) -> None:
    from mcshell.commands.output.sanitize import sanitize  # noqa: PLC0415 - only when there is something

    sys.stderr.write(f"mcshell: {sanitize(line)}\n")


def _read(words: list[str]) -> _Start:
    """Take the options that stand before the verb."""
    start = _Start(words=words)
    while words and words[0].startswith("-"):
        option, equals, value = words.pop(0).partition("=")
        if option in ("-e", "--config", "--format"):
            if not equals and not words:
                raise UsageError(f"{option}: a value is missing")
            value = value if equals else words.pop(0)
        if option == "-e":
            start.script = value
        elif option == "--config":
            start.config = Path(value)
        elif option in ("-j", "--json", "--jsonl", "--format"):
            start.form = value or ("jsonl" if option == "--jsonl" else "json")
        elif option == "--version":
            start.version = True
        elif option in ("-h", "--help"):
            start.help = True
        else:
            raise UsageError(f"unknown option {option}{did_you_mean(option, _FLAGS)}")
    if start.form is not None and start.form not in FORMATS:
        raise UsageError(f"--format: {start.form!r} is not one of {', '.join(FORMATS)}")
    return start


def _main(start: _Start, context: Context) -> int:
    if start.version:
        sys.stdout.write(f"mcshell {VERSION}\n")
        return 0
    if start.help:
        sys.stdout.write(help_text(start.words))
        return 0
    context.use(start.config)
    if start.script is not None:
        if start.words:
            raise UsageError(f"-e: {start.words[0]!r} is one word too many")
        return _lines(start.script, context, start.form)
    return _verb(start, context) if start.words else _shell(context, start.form)


def _verb(start: _Start, context: Context) -> int:
    invocation = parse(start.words)
    target = "" if invocation.verb is None else invocation.verb.target
    context.use(invocation.options.config)
    if target == "face:shell":
        return _shell(context, start.form)
    if target == "face:demo":
        from mcshell.shell.demo import demo  # noqa: PLC0415 - as below

        return demo(cast("DemoOptions", invocation.options))
    if isinstance(invocation.options, OutputOptions):
        # Before anything is sent: Ctrl-C must not come while what is to show the rows is loaded.
        import_module("mcshell.shell.output")
    result = run(invocation, context)
    for notice in context.notices():
        _complain(notice)
    if result is not None:
        from mcshell.shell.output import Screen, show  # noqa: PLC0415 - services show nothing

        show(result, invocation.options, Screen(), start.form)
    return exit_code(result, invocation.options)


def _shell(context: Context, form: str | None) -> int:
    """The prompt for an operator at a terminal, else the lines on standard input."""
    if not sys.stdin.isatty():
        return _lines(sys.stdin.read(), context, form, numbered=True)
    from mcshell.shell.prompt import prompt  # noqa: PLC0415 - a command line needs no prompt

    return prompt(context)


def _lines(text: str, context: Context, form: str | None, *, numbered: bool = False) -> int:
    from mcshell.shell.lines import run_lines  # noqa: PLC0415 - services run no lines
    from mcshell.shell.output import Screen  # noqa: PLC0415 - services show nothing

    context.face = "prompt"
    return run_lines(text, context, Screen(), form, numbered=numbered)
