"""The command line: `mcshell VERB …`, `mcshell -e LINES`, a script on standard input, the prompt.

Light to import: services start here, and help needs neither pandas nor a broker. A plain line of `mcshell node`
is read without it (`commands.service_line`).
"""

from __future__ import annotations

import gc
import os
import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, cast

from mcshell import interrupts
from mcshell.commands import light
from mcshell.commands.context import Context
from mcshell.commands.grammar.options import OutputOptions, ServiceOptions
from mcshell.commands.grammar.parser import help_text
from mcshell.commands.grammar.values import FORMATS, Form
from mcshell.commands.grammar.verbs import misplaced
from mcshell.commands.output.result import INTERNAL, INTERRUPTED, exit_code
from mcshell.commands.run import run
from mcshell.errors import MachineError, MCShellError, UsageError
from mcshell.shell.streams import StandardStreams, fault_of, writing
from mcshell.values import dataclass
from mcshell.version import VERSION

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mcshell.commands.grammar.local_options import DemoOptions, MCPOptions

__all__ = ["ended_by", "main"]

_GARBAGE = 20_000
"""New objects, after which a command that ends soon looks for garbage: what it loads is none."""
_SIGNAL = 128  # and the number of a signal: what a shell reports for a process that it ended
_BROKEN_PIPE = _SIGNAL + 13


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

    def line(context: Context, streams: StandardStreams) -> int:
        _meet(context)
        return _main(_read(_words(sys.argv[1:] if argv is None else argv)), context, streams)

    code = _told(line)
    ended_by = interrupts.ended_by()
    # a terminal that was closed takes nothing of what had arrived
    return (
        _SIGNAL + ended_by if ended_by and code in (INTERRUPTED, MachineError.exit_code) else code
    )


def ended_by(error: BaseException, path: Path | None) -> int:
    """Say how a service has ended that was started without us, and return its exit code."""

    def fail(context: Context, _streams: StandardStreams) -> NoReturn:
        context.use(path)
        raise error

    return _told(fail)


def _told(work: Callable[[Context, StandardStreams], int]) -> int:
    """Do some work, and say in a line what went wrong; the exit code."""
    streams = StandardStreams()
    context = Context("cli")
    code = 0
    try:
        try:
            code = work(context, streams)
        finally:
            context.close()
            with writing():
                sys.stdout.flush()
            if note := streams.note():
                _complain(note)
    except MCShellError as error:
        if isinstance(error, MachineError):
            streams.drop_output()
        if code != error.exit_code:  # else the line that wrote it has said so
            _complain(" ".join(str(error).split()))
        code = error.exit_code
    except KeyboardInterrupt:
        _complain("interrupted")
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read us has gone; the interpreter must not find the pipe broken once more.
        streams.drop_output()
        return _BROKEN_PIPE
    except Exception as error:  # noqa: BLE001 - the operator gets a line, the log the traceback
        from mcshell.shell.lines import log_traceback  # noqa: PLC0415 - only when something broke

        kept = log_traceback(context)
        if (fault := fault_of(error)) is not None:
            _complain(fault)
            return MachineError.exit_code
        _complain(f"internal error: {type(error).__name__}: {error} ({kept})")
        return INTERNAL
    return code


def _words(argv: Sequence[str]) -> list[str]:
    """The words of the line; UsageError for one that is no text."""
    for number, word in enumerate(argv, 1):
        try:
            word.encode()
        except UnicodeEncodeError:
            shown = os.fsencode(word)
            raise UsageError(f"argument {number}, {shown!r}: not UTF-8") from None
    return list(argv)


def _meet(context: Context) -> None:
    """Have it speak with the operator, where there is one."""
    if sys.stdin.isatty() and sys.stderr.isatty():
        from mcshell.shell.operator import meet  # noqa: PLC0415 - only at a terminal

        meet(context)


def _complain(line: str) -> None:
    from mcshell.commands.output.sanitize import sanitize  # noqa: PLC0415 - only when there is something

    said = f"mcshell: {sanitize(line)}"
    log = sys.modules.get("mcshell.wire.log_lines")  # of a service, which may log as JSON
    if log is None or not log.said_in_json(said):
        sys.stderr.write(f"{said}\n")


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
            start.script = value if start.script is None else f"{start.script}\n{value}"
        elif option == "--config":
            start.config = Path(value)
        elif option in ("-j", "--json", "--jsonl", "--format"):
            start.form = value or ("jsonl" if option == "--jsonl" else "json")
        elif option == "--version":
            start.version = True
        elif option in ("-h", "--help"):
            start.help = True
        else:
            raise UsageError(misplaced(option))
    if start.form is not None:
        _check_form(start.form)
    return start


def _check_form(name: str) -> None:
    if name not in FORMATS:
        raise UsageError(f"--format: {name!r} is not one of {', '.join(FORMATS)}")
    Form()(name)


def _main(start: _Start, context: Context, streams: StandardStreams) -> int:
    if start.words and start.script is None and not (start.version or start.help):
        context.use(start.config)
        return _verb(start, context, streams)
    streams.require_output()
    if start.version or start.help:
        sys.stdout.write(f"mcshell {VERSION}\n" if start.version else help_text(start.words))
        return 0
    context.use(start.config)
    interrupts.heed_ends()
    if start.script is None:
        return _shell(context, start.form)
    if start.words:
        raise UsageError(f"-e: {start.words[0]!r} is one word too many")
    return _lines(start.script, context, start.form)


def _verb(start: _Start, context: Context, streams: StandardStreams) -> int:
    invocation = context.understand(start.words)
    target = "" if invocation.verb is None else invocation.verb.target
    context.use(invocation.options.config)
    if not isinstance(invocation.options, ServiceOptions):  # they have handlers of their own
        interrupts.heed_ends()
    if target == "face:shell":
        return _shell(context, start.form)
    if target == "face:demo":
        with light.left_out("demo"):
            from mcshell.shell.demo import demo  # noqa: PLC0415 - as below

        return demo(cast("DemoOptions", invocation.options))
    if target == "face:mcp":
        with light.left_out("mcp"):
            from mcshell.mcp.assist import assist  # noqa: PLC0415 - as below

        return assist(context, cast("MCPOptions", invocation.options))
    if target == "face:watch":
        from mcshell.shell.lines import run_and_show  # noqa: PLC0415 - services run no lines
        from mcshell.shell.output import Screen  # noqa: PLC0415 - services show nothing

        streams.require_output()
        return run_and_show(start.words, context, Screen(), start.form)
    if isinstance(invocation.options, OutputOptions):
        streams.require_output()
        gc.set_threshold(_GARBAGE)
        # Before anything is sent: Ctrl-C must not come while what is to show the rows is loaded.
        import_module("mcshell.shell.output")
    result = run(invocation, context)
    for notice in context.notices():
        _complain(notice)
    if result is not None:
        from mcshell.shell.output import Screen, show  # noqa: PLC0415 - services show nothing

        streams.require_output()
        with writing():
            show(result, invocation.options, Screen(), start.form)
    return exit_code(result, invocation.options)


def _shell(context: Context, form: str | None) -> int:
    """The prompt for an operator at a terminal, else the lines on standard input."""
    if not sys.stdin.isatty():
        return _lines(context.standard_text(), context, form, numbered=True)
    light.require("prompt_toolkit", "the prompt")
    with light.left_out("the prompt"):
        from mcshell.shell.prompt import prompt  # noqa: PLC0415 - a command line needs no prompt

    return prompt(context)


def _lines(text: str, context: Context, form: str | None, *, numbered: bool = False) -> int:
    from mcshell.shell.lines import run_lines  # noqa: PLC0415 - services run no lines
    from mcshell.shell.output import Screen  # noqa: PLC0415 - services show nothing

    context.face = "prompt"
    return run_lines(text, context, Screen(), form, numbered=numbered)
