"""Results on a screen or in a pipe: data to standard output, everything else to standard error.

What nodes say is foreign text: control characters, terminal escapes and bidi controls are drawn
as escapes, never passed on. No pandas here.
"""

from __future__ import annotations

import csv
import io
import os
import sys
import time
from dataclasses import field, replace
from datetime import UTC, datetime
from datetime import time as clock
from typing import TYPE_CHECKING, Any, TextIO

from mcshell.client.analysis.answers import number, of_replies
from mcshell.client.rpc.outputs import FIXED, UNFIT
from mcshell.commands.grammar import request_options
from mcshell.commands.output.json_document import document, dumps, row_document
from mcshell.commands.output.readable import measured, readable
from mcshell.commands.output.result import Feed, Prose, Result, Table
from mcshell.commands.output.sanitize import sanitize, shortened
from mcshell.commands.output.summary import summary_lines
from mcshell.errors import UsageError
from mcshell.shell.bodies import bodies_of, folded_bodies
from mcshell.shell.colours import coloured
from mcshell.shell.tables import cell, fitted, heading, hung, is_tree, tabulated, upright
from mcshell.table import distinct, moment_of
from mcshell.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator, Sequence

    from mcshell.client.rpc.replies import Replies, Row
    from mcshell.commands.grammar.options import Options

__all__ = ["Screen", "render", "show"]

_QUIET = ("json", "jsonl")
_PLAIN = ("csv", "tsv")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_SHORT = 8  # letters of a request's id
_UNTOLD = 80  # columns of a terminal that says 0: of `script` or `ssh -tt` with no other behind it


def _terminal_width(out: TextIO | None = None) -> int | None:
    out = out or sys.stdout
    return os.get_terminal_size(out.fileno()).columns or _UNTOLD if out.isatty() else None


@dataclass(frozen=True, slots=True)
class Screen:
    """Where a face writes. `width` is the terminal's columns, None when it is no terminal.

    `paged`: what is taller than the terminal goes through the operator's pager.
    """

    out: TextIO = field(default_factory=lambda: sys.stdout)
    err: TextIO = field(default_factory=lambda: sys.stderr)
    width: int | None = field(default_factory=_terminal_width)
    paged: bool = False

    def measured(self) -> Screen:
        """The screen as wide as its terminal is now: somebody may have pulled at its edge."""
        if self.width is None or not self.out.isatty():
            return self
        return replace(self, width=_terminal_width(self.out))

    @property
    def paints(self) -> bool:
        """Whether states have colours here; never in a pipe or a file."""
        return self.width is not None and coloured(self.out)

    def clear(self) -> None:
        """Empty the terminal; where there is none, nothing."""
        if self.width is not None:
            self.out.write("\x1b[H\x1b[2J")
            self.out.flush()

    def say(self, line: str) -> None:
        """One line for the eye, on standard error."""
        self.err.write(f"{sanitize(line)}\n")
        self.err.flush()


def show(result: Result, options: Options, screen: Screen, form: str | None = None) -> None:
    """Write a result as the line asks; `form` is the format when the line names none.

    Raises:
        UsageError: the format cannot hold the result.
    """
    form = options.format or form
    if result is None:
        return
    if isinstance(result, Prose):
        if result or not result.notes:
            _write(screen, result if result.endswith("\n") else f"{result}\n")
        _notes(screen, result.notes, form)
    elif isinstance(result, Feed):
        for record in result.records:
            plain = result.text and form != "jsonl"
            screen.out.write(sanitize(record[result.text]) if plain else f"{dumps(record)}\n")
            screen.out.flush()
            if plain:
                _notes(screen, filter(None, [record.get("note")]), form)
    elif isinstance(result, Table):
        _show_table(result, screen, form)
    elif options.background:
        _write(
            screen, f"{dumps(document(result))}\n" if form == "json" else f"{result.requestid}\n"
        )
    elif form == "jsonl":
        _stream(result, options, screen)
    else:
        _show_replies(result, options, screen, form)
    screen.out.flush()


def _show_table(table: Table, screen: Screen, form: str | None) -> None:
    if form is None:
        table = table.glance or table
        table = table if screen.width is None else _brief(table)
    rows = _timed(table, form)
    if form not in (*_QUIET, *_PLAIN):
        rows = readable(table.columns, rows)
    left = _draw(screen, table.columns, rows, form, table.minor)
    empty = screen.width is not None and not table.rows and not table.notes
    _notes(screen, (*left, "nothing there") if empty else (*left, *table.notes), form)
    _notes(screen, _formulas(table.columns, table.rows, form), form)


def _draw(
    screen: Screen,
    columns: tuple[str, ...],
    rows: list[tuple[Any, ...]],
    form: str | None,
    minor: Sequence[str] = (),
) -> list[str]:
    """Write rows in a format, or as the terminal has room; returns what is to be said of that."""
    left: list[str] = []
    if form is None and screen.width is not None and rows:
        text, left = _narrowed(columns, rows, screen.width, minor, paint=screen.paints)
    else:
        text = render(columns, rows, form, screen.width, paint=screen.paints)
    _write(screen, text)
    return left


def _narrowed(
    columns: tuple[str, ...],
    rows: list[tuple[Any, ...]],
    width: int,
    minor: Sequence[str],
    *,
    paint: bool,
) -> tuple[str, list[str]]:
    """A table no wider than asked, and what of it is not there; a single row with a hash is upright."""
    columns = distinct(map(heading, columns))
    cells = [[shortened(cell(value)).expandtabs(4) for value in row] for row in rows]
    found = fitted(columns, cells, width, minor)
    if len(rows) == 1 and found.cells != cells and any(map(is_tree, rows[0])):
        return upright(columns, rows, cut=True, paint=paint), []
    said = [
        f"{what}: {', '.join(names)}"
        for what, names in (("not shown", found.left), ("cut short", found.cut))
        if names
    ]
    notes = [f"{'; '.join(said)} (--format vertical shows all)"] if said else []
    return tabulated(found.columns, found.cells, "table", paint=paint), notes


def _write(screen: Screen, text: str) -> None:
    if screen.paged:
        from mcshell.shell.pager import page  # noqa: PLC0415 - the prompt's, and loaded there

        if page(text):
            return
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
        with replies.stopping():
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
    if form not in _PLAIN and replies.schema is not None and replies.schema.times:
        cells = _with_times(replies, columns, cells, screen)
    left = _show_bodies(replies, rows, screen) if form is None else None
    if left is None:
        left = _draw(screen, columns, cells, form)
    _notes(screen, left, form)
    _notes(screen, summary_lines(replies, {row.sender for row in rows}), form)
    _notes(screen, _formulas(columns, cells, form), form)


def _show_bodies(replies: Replies, rows: list[Row], screen: Screen) -> list[str] | None:
    """Show what programs wrote below the nodes that wrote it; None where there is no such text."""
    answers = of_replies(replies.narrowed([row.sender for row in rows]))
    bodies = bodies_of(answers)
    if not bodies:
        return None
    text, left = folded_bodies(answers, bodies, cut=screen.width is not None, paint=screen.paints)
    _write(screen, text)
    return [f"not shown: {', '.join(left)} (--format table shows all)"] if left else []


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


def _with_times(
    replies: Replies,
    columns: tuple[str, ...],
    cells: list[tuple[Any, ...]],
    screen: Screen,
) -> list[tuple[Any, ...]]:
    """The cells with the outputs that the DDL calls times drawn as such; what is none stays."""
    assert replies.schema is not None
    named = replies.outputs().columns
    times = {named[name] for name in replies.schema.times if name in named}

    def drawn(value: Any) -> Any:
        if not number(value):
            return value
        text = _clock(value) if screen.width is None else _glance(value, precise=False)
        return value if text is None else text

    return [
        tuple(drawn(one) if name in times else one for name, one in zip(columns, row, strict=True))
        for row in cells
    ]


def _brief(table: Table) -> Table:
    """The table as a terminal has room for it: short ids, counts, no columns that say nothing."""
    kept = [
        at
        for at, name in enumerate(table.columns)
        if name not in table.quiet or any(row[at] for row in table.rows)
    ]

    def drawn(name: str, value: Any) -> Any:
        if value is None or (name in table.quiet and not value):
            return None
        if name in table.ids:
            return str(value)[:_SHORT]
        if name in table.bulky:
            return len(value)
        if name in table.times:
            moment = _glance(value, precise=table.precise)
            return value if moment is None else moment  # some are what nodes have said
        figure = measured(name, value)
        return value if figure is None else figure

    columns = tuple(table.columns[at] for at in kept)
    rows = [
        tuple(drawn(name, row[at]) for name, at in zip(columns, kept, strict=True))
        for row in table.rows
    ]
    return replace(table, columns=columns, rows=rows, times=(), ids=(), bulky=(), quiet=())


def _glance(value: float | str, *, precise: bool) -> str | None:
    """A moment for the eye: of today only the time; fractions of a second where they tell something."""
    moment = _local(value)
    if moment is None:
        return None
    if moment.date() != datetime.now(UTC).astimezone().date():
        return moment.isoformat(" ", "seconds")
    return _without_zeros(moment.time()) if precise else moment.time().isoformat("seconds")


def _timed(table: Table, form: str | None) -> list[tuple[Any, ...]]:
    """The rows; for the eye, times are drawn as local time."""
    if form in (*_QUIET, *_PLAIN) or not table.times:
        return table.rows
    places = {table.columns.index(name) for name in table.times}
    return [
        tuple((_clock(value) or value) if at in places else value for at, value in enumerate(row))
        for row in table.rows
    ]


def _clock(value: float | str | None) -> str | None:
    moment = _local(value)
    return None if moment is None else f"{moment.date()} {_without_zeros(moment.time())}"


def _without_zeros(moment: clock) -> str:
    return moment.isoformat("milliseconds").removesuffix(".000")


def _local(value: float | str | None) -> datetime | None:
    """A moment in this machine's time; None where there is none, or no calendar has it."""
    found = None if value is None else moment_of(value)
    return None if found is None else found.astimezone().replace(tzinfo=None)


def render(
    columns: tuple[str, ...],
    rows: list[tuple[Any, ...]],
    form: str | None,
    width: int | None = None,
    *,
    paint: bool = False,
) -> str:
    """Draw rows in a format, without one as a table; `paint`: states in colour.

    Without a `width` nobody looks who could be shown too much: nothing is cut.
    """
    if form in _QUIET:
        return _objects([dict(zip(columns, row, strict=True)) for row in rows], form)
    if form == "senders":
        return _senders(columns, rows)
    columns = distinct(map(heading, columns))  # outputs are named by nodes
    if form in _PLAIN:
        return _separated(columns, [[cell(value) for value in row] for row in rows], form)
    if form == "vertical":
        return upright(columns, rows, cut=width is not None, paint=paint)
    fit = str if width is None else shortened
    cells = [[fit(cell(value)) for value in row] for row in rows]
    cells = cells if form == "github" else hung(cells)
    return tabulated(columns, cells, form or "table", paint=paint) if rows else ""


def _objects(found: list[dict[str, Any]], form: str) -> str:
    if form == "json":
        return f"{dumps(found)}\n"
    return "".join(f"{dumps(record)}\n" for record in found)


def _senders(columns: tuple[str, ...], rows: list[tuple[Any, ...]]) -> str:
    if "sender" not in columns:
        raise UsageError("--senders: this verb gives no senders")
    place = columns.index("sender")
    names = dict.fromkeys(str(row[place]) for row in rows)  # of jobs and files a node has several
    return "".join(f"{sanitize(name)}\n" for name in names)


def _separated(columns: tuple[str, ...], cells: list[list[str]], form: str) -> str:
    if form == "tsv":
        return "".join("\t".join(map(_one_line, row)) + "\n" for row in [columns, *cells])
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows([columns, *cells])
    return buffer.getvalue()


def _one_line(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n")
