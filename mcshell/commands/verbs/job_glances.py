"""`job list`, `submit` and `forecast` for a reader who names no format: a line a job, nodes folded.

What stands in the rows is what nodes have said: it may be anything but its sender.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from mcshell.client.analysis.answers import number
from mcshell.commands.output.result import Table
from mcshell.commands.output.sanitize import shortened
from mcshell.filters.nodes import fold
from mcshell.message import State

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    Row = Mapping[str, Any]

__all__ = ["forecast_glance", "list_glance", "submit_glance"]

_LIST: Final = ("name", "job", "states", "next", "last", "nodes", "action", "owner")
_FORECAST: Final = (
    "name",
    "job",
    "starts",
    "first",
    "last",
    "nodes",
    "action",
    "unsure",
    "conflicts",
)
_SUBMITTED: Final = ("job", "states", "first", "last", "nodes")
_SHORT: Final = 8  # letters of a job's id: as many as a request's below its rows
_WHYS: Final = 5  # reasons that are told


def list_glance(table: Table, rows: Iterable[Row]) -> Table:
    """How many nodes have a job in which state, and what is the earliest and the latest."""
    jobs, others = _by_job(rows)
    lines = [
        (
            _first(stands, "name"),
            job[:_SHORT],
            _counted(stands),
            min(_moments(stands, "next"), default=None),
            max(_moments(stands, "last"), default=None),
            _nodes(stands),
            _action(stands),
            ", ".join(dict.fromkeys(_said(stands, "owner"))),
        )
        for job, stands in jobs.items()
    ]
    lines.sort(key=lambda row: (row[3] is None, row[3] or 0.0, row[0] or "", row[1]))
    # The silent are named already.
    untold = [one for one in others if one.get("state") != State.SILENT]
    notes = (
        *_folded((one for one in untold if one.get("state")), "state"),
        *_folded((one for one in untold if not one.get("state")), "progress"),
        *_more("list", lines),
    )
    return _glance(table, _LIST, lines, notes, times=("next", "last"), quiet=("last",))


def forecast_glance(table: Table, rows: Iterable[Row]) -> Table:
    """How often a job starts on how many nodes, and when first and last."""
    jobs, others = _by_job(rows)
    lines = [
        (
            _first(starts, "name"),
            job[:_SHORT],
            len(_moments(starts, "start")),
            min(_moments(starts, "start"), default=None),
            max(_moments(starts, "start"), default=None),
            _nodes(starts),
            _action(starts),
            sum(one.get("sure") is not True for one in starts),
            sum(one.get("conflict") is True for one in starts),
        )
        for job, starts in jobs.items()
    ]
    lines.sort(key=lambda row: (row[3] is None, row[3] or 0.0, row[0] or "", row[1]))
    whys = (one for starts in (*jobs.values(), others) for one in starts if one.get("why"))
    notes = (*_folded(whys, "why"), *_more("forecast", lines))
    quiet = ("unsure", "conflicts")
    return _glance(table, _FORECAST, lines, notes, times=("first", "last"), quiet=quiet)


def submit_glance(table: Table, rows: Iterable[Row]) -> Table:
    """How many nodes have the job that was handed in, and when the first and the last start it."""
    jobs, _others = _by_job(rows)
    lines = [
        (
            job[:_SHORT],
            _counted(stands),
            min(_moments(stands, "start"), default=None),
            max(_moments(stands, "start"), default=None),
            _nodes(stands),
        )
        for job, stands in jobs.items()
    ]
    whys = (one for stands in jobs.values() for one in stands if one.get("reason"))
    return _glance(
        table, _SUBMITTED, lines, tuple(_folded(whys, "reason")), times=("first", "last"), quiet=()
    )


def _glance(
    table: Table,
    columns: tuple[str, ...],
    rows: list[tuple[Any, ...]],
    notes: tuple[str, ...],
    *,
    times: tuple[str, ...],
    quiet: tuple[str, ...],
) -> Table:
    """The table with what is shown in its place."""
    notes, minor = (*table.notes, *notes), ("owner", "action")
    shown = Table(columns, rows, table.code, notes, times=times, quiet=quiet, minor=minor)
    return replace(table, glance=shown)


def _by_job(rows: Iterable[Row]) -> tuple[dict[str, list[Row]], list[Row]]:
    """The rows of each job by its id, and those of none."""
    jobs: dict[str, list[Row]] = {}
    others: list[Row] = []
    for row in rows:
        (jobs.setdefault(str(row["job"]), []) if row.get("job") else others).append(row)
    return jobs, others


def _folded(rows: Iterable[Row], what: str) -> Iterator[str]:
    """A line for each thing that nodes have said, or that is said of them; a few of them."""
    nodes: dict[str, list[str]] = {}
    for row in rows:
        nodes.setdefault(str(row.get(what)), []).append(row["sender"])
    for said, names in list(nodes.items())[:_WHYS]:
        yield f"{shortened(said)}: {fold(sorted(set(names)))}"
    if len(nodes) > _WHYS:
        yield f"and {len(nodes) - _WHYS} more (--format table shows all)"


def _more(verb: str, lines: list[tuple[Any, ...]]) -> tuple[str, ...]:
    named = ", job list JOB" if verb == "list" else ""
    return (f"a line a node: job {verb} -I NODE{named}",) if lines else ()


def _nodes(rows: Iterable[Row]) -> str:
    return fold(sorted({row["sender"] for row in rows}))


def _counted(rows: Iterable[Row]) -> str:
    counts = Counter(_said(rows, "state")).most_common()
    return ", ".join(f"{many} {one}" for one, many in counts)


def _action(rows: list[Row]) -> str:
    return f"{rows[0].get('agent')}.{rows[0].get('action')}"


def _first(rows: Iterable[Row], what: str) -> str | None:
    return next(iter(_said(rows, what)), None)


def _said(rows: Iterable[Row], what: str) -> list[str]:
    """What nodes have said, as text."""
    return [str(row[what]) for row in rows if row.get(what)]


def _moments(rows: Iterable[Row], what: str) -> list[float]:
    return [row[what] for row in rows if number(row.get(what))]
