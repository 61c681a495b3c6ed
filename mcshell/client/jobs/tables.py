"""The columns of what nodes tell of their jobs (mcshell/README.md §4)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mcshell.table import Column

__all__ = ["FORECAST", "JOBS", "forecast_columns", "job_columns"]

JOBS = {
    "sender": "string",
    "job": "string",
    "revision": "Int64",
    "owner": "string",
    "agent": "string",
    "action": "string",
    "state": "string",
    "next": "Float64",
    "last": "Float64",
    "attempt": "Int64",
    "progress": "string",
}
FORECAST = {
    "sender": "string",
    "job": "string",
    "name": "string",
    "agent": "string",
    "action": "string",
    "start": "Float64",
    "sure": "boolean",
    "conflict": "boolean",
    "why": "string",
}


def job_columns(rows: Sequence[Mapping[str, Any]]) -> dict[str, Column]:
    """The columns of the table of jobs; `next` and `last` are epoch seconds."""
    return _columns(JOBS, rows)


def forecast_columns(rows: Sequence[Mapping[str, Any]]) -> dict[str, Column]:
    """The columns of a forecast; a `start` that is not `sure` is "not before"."""
    return _columns(FORECAST, rows)


def _columns(kinds: Mapping[str, str], rows: Sequence[Mapping[str, Any]]) -> dict[str, Column]:
    return {name: (kind, [row.get(name) for row in rows]) for name, kind in kinds.items()}
