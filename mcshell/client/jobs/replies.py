"""What handing in a job gives back, and the columns of what nodes tell of their jobs (mcshell/README.md §4)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from mcshell.client.rpc.replies import Replies
from mcshell.message import State
from mcshell.table import TIME
from mcshell.values import dataclass
from mcshell.wire.documents.fields import MAX_MOMENT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mcshell.client.rpc.replies import Row
    from mcshell.table import Column

__all__ = [
    "FORECAST",
    "JOBS",
    "JobReplies",
    "JobsTold",
    "forecast_columns",
    "job_columns",
    "left_out",
    "listed",
    "unfit",
    "unheard",
]

JOBS = {
    "sender": "string",
    "job": "string",
    "revision": "Int64",
    "owner": "string",
    "agent": "string",
    "action": "string",
    "state": "string",
    "next": TIME,
    "last": TIME,
    "attempt": "Int64",
    "progress": "string",
}
_KINDS: Final = {"string": (str,), "Int64": (int,), "boolean": (bool,), TIME: (int, float)}
FORECAST = {
    "sender": "string",
    "job": "string",
    "name": "string",
    "agent": "string",
    "action": "string",
    "start": TIME,
    "sure": "boolean",
    "conflict": "boolean",
    "why": "string",
}


class JobReplies(Replies):
    """What comes of a job: the replies of its run, or, if it recurs, where it stands as a whole."""

    @property
    def job(self) -> str:
        """The job's id."""
        return self.requestid

    @property
    def accepted(self) -> bool:
        """Whether every target has said that it has the job, or that it does not take it."""
        return all(entry.state is not State.PENDING for entry in self.entries())

    def wait_accepted(self, timeout: float) -> bool:
        """Wait (seconds) until every target has said whether it takes the job; Stopped at Ctrl-C."""
        with self.stopping():
            return self._tracker.wait(lambda ledger: not ledger.pending(), timeout)

    def note_progress(self, told: Mapping[str, str]) -> None:
        """Enter how far running targets say they are; the ledger's `reason` shows it."""
        running = {one.sender for one in self.entries() if one.state is State.RUNNING}
        for sender, text in told.items():
            if sender in running and text:
                self._tracker.note([sender], text)


@dataclass(frozen=True, slots=True)
class JobsTold:
    """The rows of a table of jobs or of starts, what they were read from, and who told nothing."""

    rows: list[dict[str, Any]]
    replies: Replies
    unheard: list[Row]

    @property
    def silent(self) -> list[str]:
        """Who said nothing."""
        return [row.sender for row in self.unheard if row.state is State.SILENT]


def unheard(replies: Replies) -> list[Row]:
    """Those who told nothing: they are silent, or may not be asked."""
    return [row for row in replies.rows() if row.state is not State.OK]


def listed(replies: Replies, what: str, columns: Mapping[str, str]) -> list[dict[str, Any]]:
    """The things that nodes list in an output, each with its sender: nobody speaks for another."""
    return [
        {**one, "sender": row.sender}
        for row in replies.rows()
        if isinstance(found := row.data.get(what), list)
        for one in found
        if _fits(one, columns)
    ]


def unfit(replies: Replies, what: str, columns: Mapping[str, str]) -> list[dict[str, Any]]:
    """A row for each node that lists something else, which is not shown."""
    action, told_in = {"jobs": ("list", "progress"), "starts": ("forecast", "why")}[what]
    words = f"not shown: some of its answer is none of job.{action}"
    return [
        {**dict.fromkeys(columns), "sender": row.sender, told_in: words}
        for row in replies.rows()
        if row.state is State.OK
        if not isinstance(found := row.data.get(what), list)
        or not all(_fits(one, columns) for one in found)
    ]


def _fits(one: object, columns: Mapping[str, str]) -> bool:
    """Whether each value is of its column's kind, or none."""
    if not isinstance(one, dict):
        return False
    values = ((one.get(name), kind) for name, kind in {**columns, "name": "string"}.items())
    return all(
        value is None
        or (type(value) in _KINDS[kind] and (kind != TIME or 0 <= value <= MAX_MOMENT))
        for value, kind in values
    )


def left_out(
    replies: Replies, columns: Mapping[str, str], told_in: str, words: str
) -> list[dict[str, Any]]:
    """A row for each node that has more than it lists: what is not shown is said to be missing."""
    return [
        {**dict.fromkeys(columns), "sender": row.sender, told_in: words}
        for row in replies.rows()
        if row.data.get("more")
    ]


def job_columns(rows: Sequence[Mapping[str, Any]]) -> dict[str, Column]:
    """The columns of the table of jobs."""
    return _columns(JOBS, rows)


def forecast_columns(rows: Sequence[Mapping[str, Any]]) -> dict[str, Column]:
    """The columns of a forecast; a `start` that is not `sure` is "not before"."""
    return _columns(FORECAST, rows)


def _columns(kinds: Mapping[str, str], rows: Sequence[Mapping[str, Any]]) -> dict[str, Column]:
    return {name: (kind, [row.get(name) for row in rows]) for name, kind in kinds.items()}
