"""What will start when on a node, by its own records: the same arithmetic that starts it.

What depends on time alone starts then. What waits for another job, for a free slot or is under way
already starts "not before" (`sure` is false), and `why` says what it waits for.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import asdict, replace
from heapq import nsmallest
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from mcshell import schedule
from mcshell.node.jobs.scheduler import zone_of_node
from mcshell.node.store.job_table import SCHEDULED, WAITING
from mcshell.node.store.records import QUEUED
from mcshell.values import dataclass
from mcshell.wire.documents.rule import read_job

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mcshell.message import Job
    from mcshell.node.execution.lifecycle import RunLifecycle
    from mcshell.node.store.job_table import JobRow
    from mcshell.node.store.spool import Spool

__all__ = ["Planned", "forecast", "planned_starts"]

_SPARE: Final = 1000
_OWN_RUN: Final = "its own run before may still be under way: then it is missed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """One start to come: `start` is epoch seconds. `conflict`: the slots may be taken then."""

    job: str
    name: str
    agent: str
    action: str
    run: str
    start: float
    sure: bool = True
    conflict: bool = False
    why: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Its form in a reply."""
        return asdict(self)


def forecast(
    spool: Spool, lifecycle: RunLifecycle, slots: int, window: tuple[float, float], most: int
) -> list[Planned]:
    """The starts of a node within a window (from, to), in order; more than `most` when so many."""
    found: list[tuple[Planned, float]] = []
    for row in spool.jobs.coming(lifecycle.host.identity, window[1]):
        assert row.body is not None, "an open job has its document"
        job = read_job(row.body)
        length = _length(row, job, lifecycle)
        if row.state == WAITING:
            found += [(one, length) for one in _waiting(spool, row, window)]
        else:
            starts = islice(planned_starts(row, job, lifecycle, window), most + 1)
            found += [(one, length) for one in _own_runs(spool, row, starts, length)]
        if len(found) > 2 * most + _SPARE:
            found = nsmallest(most + 1, found, key=_order)
            # What is later than all of these is looked at no more, in however many jobs.
            window = window[0], math.nextafter(found[-1][0].start, math.inf)
    return _throttled(sorted(found, key=_order)[: most + 1], slots)


def _order(one: tuple[Planned, float]) -> tuple[float, str]:
    return one[0].start, one[0].job


def _waiting(spool: Spool, row: JobRow, window: tuple[float, float]) -> Iterator[Planned]:
    """A job that waits for others: not before its time, and not before they have ended."""
    begin = max(window[0], row.due or window[0])
    if begin < window[1]:
        yield _planned(row, row.run, begin, sure=False, why=spool.jobs.waits(row.key))


def _own_runs(
    spool: Spool, row: JobRow, starts: Iterable[schedule.Start], length: float
) -> Iterator[Planned]:
    """The starts of a job; one that may fall into a run before it is not sure: it would be missed."""
    ends = float("-inf")
    if row.state == QUEUED and (run := next(iter(spool.runs_of(row.key, 1)), None)) is not None:
        ends = (run.started or run.due) + length
    for one in starts:
        sure = one.due >= ends
        ends = max(ends, one.due + length)
        yield _planned(row, one.name, one.due, sure=sure, why="" if sure else _OWN_RUN)


def planned_starts(
    row: JobRow, job: Job, lifecycle: RunLifecycle, window: tuple[float, float]
) -> Iterator[schedule.Start]:
    """The starts of a job by time alone, within a window."""
    begin, end = window
    until = float("inf") if job.when.until is None else job.when.until
    skips = row.skips
    if row.state == SCHEDULED and row.due is not None and row.planned is not None:
        first = schedule.Start(row.run, row.planned, row.due)
        if skips:
            skips -= 1
        elif begin <= row.due < end and row.due <= until:
            yield first
    if not job.when.recurs or row.planned is None:
        return
    seed = f"{row.id}/{row.identity}"
    node, after = zone_of_node(lifecycle.host), row.planned
    for start in islice(
        schedule.starts(job.when, after, seed=seed, node=node, created=job.created), skips
    ):
        after = start.planned
    # Only the window is looked at: what lies before it may be years of a start a second.
    after = max(after, begin - schedule.delay(job.when, seed) - 1)
    for start in schedule.starts(job.when, after, seed=seed, node=node, created=job.created):
        if start.due >= end or start.due > until:
            return
        if start.due >= begin:
            yield start


def _planned(row: JobRow, run: str, start: float, *, sure: bool = True, why: str = "") -> Planned:
    return Planned(
        job=row.id,
        name=row.name,
        agent=row.agent,
        action=row.action,
        run=run,
        start=start,
        sure=sure,
        why=why,
    )


def _length(row: JobRow, job: Job, lifecycle: RunLifecycle) -> float:
    """How long a run may take, in seconds."""
    if job.max_runtime is not None:
        return job.max_runtime
    service = lifecycle.host.service(row.agent)
    action = service.ddl.actions.get(row.action) if service is not None else None
    return action.timeout if action is not None else 0.0


def _throttled(found: list[tuple[Planned, float]], slots: int) -> list[Planned]:
    """Mark the starts at which others may still have all slots."""
    ends: list[float] = []
    marked = []
    for one, length in found:
        if not one.sure:  # nobody knows when it starts
            marked.append(one)
            continue
        busy = len(ends) - bisect_right(ends, one.start)
        if busy >= slots:
            why = f"{busy} others may have the {slots} slots"
            one = replace(one, sure=False, conflict=True, why=why)  # noqa: PLW2901 - as it is then
        marked.append(one)
        end = one.start + length
        ends.insert(bisect_right(ends, end), end)
    return marked
