"""Reading on in what a run of a job writes, piece by piece."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from mcshell import interrupts
from mcshell.errors import UsageError
from mcshell.message import State

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mcshell.client.jobs.finder import JobFinder

__all__ = ["read_log"]

_FOLLOW: Final = 0.5
_WIDE: Final = 200
_FURTHEST: Final = 2**63
"""Bytes that no file has."""
_GOING_ON: Final = ("running", "queued", "scheduled", "waiting")


def read_log(
    finder: JobFinder, job: str, node: str, run: str | None, *, follow: bool
) -> Iterator[tuple[str, str]]:
    """Ask a node for what a run (by default the newest) has written; `follow`: until it ends.

    Yields a text and "", or "" and in words why there is none (yet).

    Raises:
        UsageError: the node has no such job, does not answer, or answers something else.
    """
    offset, told = 0, ""
    data = {"job": job, "run": run}
    while True:
        replies = finder.ask("log", {**data, "offset": offset}, {"nodes": [node]})
        row = replies.rows()[0]
        if row.state is not State.OK:
            if follow and offset and row.state is State.SILENT:
                continue
            raise UsageError(f"{node}: {row.statusmsg or row.state.value}")
        if not _is_piece(row.data, offset):
            raise UsageError(f"{node}: its answer is none of job.log")
        text, offset = row.data["text"], row.data["offset"]
        if text:
            yield text, ""
            continue
        why = "" if offset else _nothing(row.data)
        if why != told:
            told = why
            yield "", f"{node}: {why}"
        if not follow or row.data["state"] not in _GOING_ON:
            return
        interrupts.sleep(_FOLLOW)


def _is_piece(told: Mapping[str, Any], before: int) -> bool:
    """Whether it is a text with the place behind it, or none: who goes on from there comes to an end."""
    text, offset = told.get("text"), told.get("offset")
    if not (
        isinstance(text, str) and isinstance(offset, int) and isinstance(told.get("state"), str)
    ):
        return False
    return (before if text else -1) < offset < _FURTHEST


def _nothing(told: Mapping[str, Any]) -> str:
    """Why a run has written nothing, by what its node said of it."""
    if not told.get("run"):
        return str(told.get("progress"))[:_WIDE]
    over = told["state"] not in _GOING_ON
    return f"{told['state']}, {'and it has written nothing' if over else 'nothing is written yet'}"
