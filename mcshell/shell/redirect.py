"""`| command` and `> file` at the end of a line: where its result goes instead of the screen."""

from __future__ import annotations

import contextlib
import subprocess
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, cast

from mcshell.commands.output.result import Feed, Prose, Result
from mcshell.errors import UsageError
from mcshell.shell.output import Screen, show

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TextIO

    from mcshell.commands.grammar.options import Options

__all__ = ["Shower", "redirected"]

#: What shows a result: (result, the line's options, the screen, the format without one).
Shower: TypeAlias = "Callable[[Result, Options, Screen, str | None], None]"

_FORMS = {".csv": "csv", ".tsv": "tsv", ".json": "json", ".jsonl": "jsonl", ".md": "github"}


def redirected(line: str) -> tuple[str, Shower]:
    """Take `| command` or `> file` off a line: what stands before it, and what shows the result.

    Both stand apart (white space before them) and outside quotes.

    Raises:
        UsageError: nothing follows it.
    """
    place = _place(line)
    if place is None:
        return line, show
    sign, rest = line[place], line[place + 1 :].strip()
    if sign == "|":
        if not rest:
            raise UsageError("|: a command is missing")
        return line[:place], partial(_pipe, rest)
    if not rest:
        raise UsageError(">: a file is missing")
    return line[:place], partial(_write, Path(rest.strip("'\"")).expanduser())


def _place(line: str) -> int | None:
    quote, before = "", " "
    letters = enumerate(line)
    for at, letter in letters:
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "'\"":
            quote = letter
        elif letter in "|>" and before.isspace():
            return at
        if letter == "\\" and quote != "'":
            next(letters, None)
        before = letter
    return None


def _pipe(command: str, result: Result, options: Options, screen: Screen, form: str | None) -> None:
    screen.out.flush()
    process = subprocess.Popen(command, shell=True, stdin=subprocess.PIPE, text=True)  # noqa: S602 - the operator's own words
    assert process.stdin is not None
    try:
        # A command such as head has read enough before we have written all.
        with contextlib.suppress(BrokenPipeError), process.stdin as out:
            screen = replace(screen, out=cast("TextIO", out), width=None, paged=False)
            show(result, options, screen, form)
    finally:
        process.wait()


def _write(path: Path, result: Result, options: Options, screen: Screen, form: str | None) -> None:
    try:
        if path.suffix == ".parquet":
            _write_parquet(path, result, options)
            return
        form = _FORMS.get(path.suffix, form)
        with path.open("w", encoding="utf-8", newline="") as out:
            show(result, options, replace(screen, out=out, width=None, paged=False), form)
    except OSError as error:
        raise UsageError(f"> {path}: {error.strerror or error}") from error


def _write_parquet(path: Path, result: Result, options: Options) -> None:
    """Columns keep their types; what is nested is kept as JSON text."""
    from mcshell.commands.output.dataframes import frame_of  # noqa: PLC0415 - as above
    from mcshell.commands.output.json_document import dumps  # noqa: PLC0415 - pandas comes with it

    if result is None or isinstance(result, Prose | Feed):
        raise UsageError(f"> {path}: a table is meant, and this line gives none")
    frame = frame_of(result, arrived=options.arrived)
    for name in frame.select_dtypes(include="object").columns:
        frame[name] = [
            value if isinstance(value, str) or _missing(value) else dumps(value)
            for value in frame[name]
        ]
    try:
        frame.to_parquet(path)
    except ImportError as error:
        raise UsageError(f"> {path}: needs pyarrow: pip install 'mcshell[report]'") from error


def _missing(value: object) -> bool:
    import pandas as pd  # noqa: PLC0415 - loaded already

    return value is None or value is pd.NA
