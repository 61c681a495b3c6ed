"""Results on a screen or in a pipe: data to standard output, everything else to standard error.

What nodes say is foreign text: control characters, terminal escapes and bidi controls are drawn
as escapes, never passed on. No pandas here; tabulate is loaded when a table is drawn.
"""

from __future__ import annotations

import csv
import io
import os
import shutil
import signal
import subprocess
import sys
import time
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TextIO

from mcshell.client.rpc.outputs import FIXED, UNFIT
from mcshell.commands.grammar import request_options
from mcshell.commands.output.json_document import document, dumps, row_document
from mcshell.commands.output.result import Feed, Prose, Result, Table
from mcshell.commands.output.sanitize import sanitize, shortened
from mcshell.commands.output.summary import summary_lines
from mcshell.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator

    from mcshell.client.rpc.replies import Replies, Row
    from mcshell.commands.grammar.options import Options

__all__ = ["Screen", "cell", "page", "render", "sanitize", "show"]

_QUIET = ("json", "jsonl")
_PLAIN = ("csv", "tsv")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_MARKDOWN = str.maketrans({one: f"\\{one}" for one in "\\`[]|"} | {"<": "&lt;", "&": "&amp;"})
_PADDED = 32 << 20  # letters
_SHORT = 12  # letters of a request's id
_SPARE = 2  # lines: the prompt that follows


def _terminal_width() -> int | None:
    return os.get_terminal_size(sys.stdout.fileno()).columns if sys.stdout.isatty() else None


@dataclass(frozen=True, slots=True)
class Screen:
    """Where a face writes. `width` is the terminal's columns, None when it is no terminal.

    `paged`: what is taller than the terminal goes through the operator's pager.
    """

    out: TextIO = field(default_factory=lambda: sys.stdout)
    err: TextIO = field(default_factory=lambda: sys.stderr)
    width: int | None = field(default_factory=_terminal_width)
    paged: bool = False

    def say(self, line: str) -> None:
        """One line for the eye, on standard error."""
        self.err.write(f"{sanitize(line)}\n")
        self.err.flush()


def cell(value: Any) -> str:
    """One value as text: nothing for None, JSON for what is nested."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return sanitize(value)
    if isinstance(value, int | float):
        return f"{value}"
    if isinstance(value, list | tuple) and all(isinstance(inner, str) for inner in value):
        return sanitize(", ".join(value))
    return dumps(value)


def show(result: Result, options: Options, screen: Screen, form: str | None = None) -> None:
    """Write a result as the line asks; `form` is the format when the line names none.

    Raises:
        UsageError: the format cannot hold the result.
    """
    form = options.format or form
    if result is None:
        return
    if isinstance(result, Prose):
        _write(screen, result if result.endswith("\n") else f"{result}\n")
    elif isinstance(result, Feed):
        for record in result.records:
            plain = result.text and form != "jsonl"
            screen.out.write(sanitize(record[result.text]) if plain else f"{dumps(record)}\n")
            screen.out.flush()
    elif isinstance(result, Table):
        if form is None and screen.width is not None:
            result = _brief(result)
        _write(screen, render(result.columns, _timed(result, form), form, screen.width))
        empty = screen.width is not None and not result.rows and not result.notes
        _notes(screen, ("nothing there",) if empty else result.notes, form)
        _notes(screen, _formulas(result.columns, result.rows, form), form)
    elif options.background:
        _write(
            screen, f"{dumps(document(result))}\n" if form == "json" else f"{result.requestid}\n"
        )
    elif form == "jsonl":
        _stream(result, options, screen)
    else:
        _show_replies(result, options, screen, form)
    screen.out.flush()


def _write(screen: Screen, text: str) -> None:
    if not (screen.paged and page(text)):
        screen.out.write(text)


def _notes(screen: Screen, notes: Iterable[str], form: str | None) -> None:
    if form not in _QUIET:
        screen.out.flush()
        for note in notes:
            screen.say(note)


def _formulas(
    columns: Iterable[str], rows: Iterable[Iterable[Any]], form: str | None
) -> Iterable[str]:
    """Say how many cells a spreadsheet would take for formulas: nodes may have written them."""
    if form in _PLAIN:
        texts = [value for row in (columns, *rows) for value in row if isinstance(value, str)]
        if count := sum(text.startswith(_FORMULA) for text in texts):
            yield f"{count} cells begin with = + - or @: a spreadsheet may run them as formulas"


def _stream(replies: Replies, options: Options, screen: Screen) -> None:
    """A line a row, as they arrive; after Ctrl-C the rows that are still open, as they stand.

    An earlier request's are shown as they stand, unless the line waits for them.
    """
    earlier = isinstance(options, request_options.RepliesOptions)
    patience = options.timeout or 0.0 if earlier else replies.patience
    shown: set[str] = set()

    def put(row: Row) -> None:
        if _wanted(row, options):
            screen.out.write(f"{dumps(row_document(row))}\n")
            screen.out.flush()
        shown.add(row.sender)

    try:
        for row in _arrivals(replies, patience, shown):
            put(row)
    except KeyboardInterrupt:
        replies.cancel()
        for row in replies.rows():
            if row.sender not in shown:
                put(row)
        raise


def _arrivals(replies: Replies, patience: float | None, shown: Container[str]) -> Iterator[Row]:
    """Each row that is not `shown` yet as it gets its last reply; at the end those without one."""
    end = None if patience is None else time.monotonic() + patience
    while True:
        revision = replies.tracker.revision
        over = replies.done or (end is not None and time.monotonic() >= end)
        for row in replies.rows():
            if row.sender not in shown and (row.state.closed or over):
                yield row
        if over:
            return
        left = 1.0 if end is None else min(1.0, end - time.monotonic())
        replies.tracker.wait_news(revision, left)


def _wanted(row: Row, options: Options) -> bool:
    return row.statuscode is not None or not options.arrived


def _show_replies(replies: Replies, options: Options, screen: Screen, form: str | None) -> None:
    rows = [row for row in replies.rows() if _wanted(row, options)]
    if form == "json":
        found = document(replies)
        found["replies"] = [row_document(row) for row in rows]
        _write(screen, f"{dumps(found)}\n")
        return
    columns, cells = _reply_table(replies, rows, whole=form in _PLAIN)
    _write(screen, render(columns, cells, form, screen.width))
    _notes(screen, summary_lines(replies, {row.sender for row in rows}), form)
    _notes(screen, _formulas(columns, cells, form), form)


def _reply_table(
    replies: Replies, rows: list[Row], *, whole: bool
) -> tuple[tuple[str, ...], list[tuple[Any, ...]]]:
    """The reply table (§4); on a screen without the columns that say nothing."""
    outputs = replies.outputs()
    given, unfit = outputs.cells(row.data for row in rows)
    first: list[str] = ["sender", "state"]
    last: list[str] = []
    wanted = list(outputs.columns)
    if whole:
        first, last = list(FIXED[:4]), list(FIXED[4:])
    else:
        named = {name for row in rows for name in row.data}
        wanted = [name for name in wanted if name in named]
        if any(row.statuscode or row.statuscode is None for row in rows):
            first.append("statusmsg")
    columns = {outputs.columns[name]: given[name] for name in wanted}
    if any(unfit):
        columns[UNFIT] = unfit
    cells = [
        (
            *(str(getattr(row, name)) if name == "state" else getattr(row, name) for name in first),
            *(column[place] for column in columns.values()),
            *(getattr(row, name) for name in last),
        )
        for place, row in enumerate(rows)
    ]
    return (*first, *columns, *last), cells


def _brief(table: Table) -> Table:
    """The table as a terminal has room for it: short ids, counts, no columns that say nothing."""
    ids = {table.columns.index(name) for name in table.ids}
    bulky = {table.columns.index(name) for name in table.bulky}
    times = {table.columns.index(name) for name in table.times}
    kept = [
        at
        for at, name in enumerate(table.columns)
        if name not in table.quiet or any(row[at] for row in table.rows)
    ]

    def drawn(at: int, value: Any) -> Any:
        if at in ids:
            return value[:_SHORT]
        if at in bulky:
            return len(value)
        return _glance(value) if at in times else value

    rows = [tuple(drawn(at, row[at]) for at in kept) for row in table.rows]
    columns = tuple(table.columns[at] for at in kept)
    return replace(table, columns=columns, rows=rows, times=(), ids=(), bulky=(), quiet=())


def _glance(value: float | None) -> str | None:
    """A moment for the eye: of today only the time, of another day no fractions."""
    if value is None:
        return None
    moment = datetime.fromtimestamp(value, UTC).astimezone().replace(tzinfo=None)
    if moment.date() == datetime.now(UTC).astimezone().date():
        return moment.time().isoformat("milliseconds")
    return moment.isoformat(" ", "seconds")


def _timed(table: Table, form: str | None) -> list[tuple[Any, ...]]:
    """The rows; for the eye, times are drawn as local time."""
    if form in (*_QUIET, *_PLAIN) or not table.times:
        return table.rows
    places = {table.columns.index(name) for name in table.times}
    return [
        tuple(_clock(value) if at in places else value for at, value in enumerate(row))
        for row in table.rows
    ]


def _clock(value: float | None) -> str | None:
    if value is None:
        return None
    moment = datetime.fromtimestamp(value, UTC).astimezone().replace(tzinfo=None)
    return moment.isoformat(" ", "milliseconds")


def render(
    columns: tuple[str, ...],
    rows: list[tuple[Any, ...]],
    form: str | None,
    width: int | None = None,
) -> str:
    """Draw rows in a format; without one as a table, or upright when it would not fit `width`.

    Without a `width` nobody looks who could be shown too much: nothing is cut.
    """
    if form in _QUIET:
        return _objects([dict(zip(columns, row, strict=True)) for row in rows], form)
    if form == "senders":
        return _senders(columns, rows)
    columns = tuple(sanitize(name) for name in columns)  # outputs are named by nodes
    if form in _PLAIN:
        return _separated(columns, [[cell(value) for value in row] for row in rows], form)
    fit = str if width is None else shortened
    text = ""
    if form != "vertical" and rows:
        cells = [[fit(cell(value)) for value in row] for row in rows]
        if _padded(cells) > _PADDED:  # one cell widens its column for all
            cells = [[shortened(text) for text in row] for row in cells]
        text = _tabulated(columns, cells, form or "table")
    if form is None and width is not None:
        form = "vertical" if any(_wide(line) > width for line in text.split("\n")) else "table"
    if form == "vertical":
        return _vertical(columns, [[fit(_upright(value)) for value in row] for row in rows])
    return text


def _padded(cells: list[list[str]]) -> int:
    """The letters of a table whose columns are as wide as their widest cell."""
    return len(cells) * sum(max(map(len, column)) for column in zip(*cells, strict=True))


def _objects(found: list[dict[str, Any]], form: str) -> str:
    if form == "json":
        return f"{dumps(found)}\n"
    return "".join(f"{dumps(record)}\n" for record in found)


def _senders(columns: tuple[str, ...], rows: list[tuple[Any, ...]]) -> str:
    if "sender" not in columns:
        raise UsageError("--senders: this verb gives no senders")
    place = columns.index("sender")
    return "".join(f"{sanitize(str(row[place]))}\n" for row in rows)


def _separated(columns: tuple[str, ...], cells: list[list[str]], form: str) -> str:
    if form == "tsv":
        escaped = [[_one_line(text) for text in row] for row in cells]
        return "".join("\t".join(row) + "\n" for row in [list(columns), *escaped])
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows([columns, *cells])
    return buffer.getvalue()


def _one_line(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n")


def _tabulated(columns: tuple[str, ...], cells: list[list[str]], form: str) -> str:
    from tabulate import tabulate  # noqa: PLC0415 - a sixth of a second, and only tables need it

    if form == "github":
        columns = tuple(name.translate(_MARKDOWN) for name in columns)
        cells = [[text.translate(_MARKDOWN).replace("\n", "<br>") for text in row] for row in cells]
    style = {"table": "simple"}.get(form, form)
    cells = [[text.expandtabs(4) for text in row] for row in cells]
    # Without disable_numparse tabulate draws the version "1.10" as 1.1.
    return tabulate(cells, headers=columns, tablefmt=style, disable_numparse=True) + "\n"


def _upright(value: Any) -> str:
    """A value for a reader who has the whole height: of a hash a line for each path, as -F takes it."""
    if isinstance(value, Mapping) and value:
        return "\n".join(f"{sanitize(path)}: {cell(leaf)}" for path, leaf in _leaves("", value))
    if isinstance(value, list) and value and all(isinstance(one, Mapping) for one in value):
        return "\n".join(map(dumps, value))
    return cell(value)


def _leaves(front: str, value: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, inner in value.items():
        path = f"{front}{key}"
        if isinstance(inner, Mapping) and inner:
            yield from _leaves(f"{path}.", inner)
        else:
            yield path, inner


def _vertical(columns: tuple[str, ...], cells: list[list[str]]) -> str:
    indent = max(map(len, columns)) + 2
    blocks = []
    for row in cells:
        lines = [
            f"{f'{name}:':<{indent}}" + text.replace("\n", "\n" + " " * indent)
            for name, text in zip(columns, row, strict=True)
        ]
        blocks.append("".join(f"{line.rstrip()}\n" for line in lines))
    return "\n".join(blocks)


def _wide(line: str) -> int:
    """The columns that a line takes on a terminal."""
    return len(line) + sum(unicodedata.east_asian_width(letter) in "WF" for letter in line)


def page(text: str) -> bool:
    """Show the text in a pager if it does not fit the terminal; False when it is not shown.

    `PAGER` names the pager (empty: none); without it `less` is used where there is one, with its
    switches to leave the text on the screen.
    """
    if not sys.stdout.isatty():
        return False
    if text.count("\n") + _SPARE <= os.get_terminal_size(sys.stdout.fileno()).lines:
        return False
    command = os.environ.get("PAGER")
    if command is None:
        command = "less -FRX" if shutil.which("less") else ""
    if not command:
        return False
    sys.stdout.flush()
    # Ctrl-C in a pager is the pager's.
    former = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        done = subprocess.run(command, shell=True, input=text, text=True, check=False)  # noqa: S602 - the operator's own PAGER
    finally:
        signal.signal(signal.SIGINT, former)
    return done.returncode != 127  # noqa: PLR2004 - the shell's "not found"
