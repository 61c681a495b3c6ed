"""The built-in agent `job`: what operators ask of a node's jobs, under policy like any other.

A job is handed in over the work queue, so that it waits for a node that is down; all the rest may
also come by broadcast or directly.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from mcshell.node.agent import Agent, AgentError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mcshell.message import Request
    from mcshell.node.agent import Call

__all__ = ["JobAgent", "JobRecords", "no_jobs"]


class JobReports(Protocol):
    """Answers questions about jobs (`jobs.queries.JobQueries`)."""

    def list(self, identity: str, data: Mapping[str, Any]) -> dict[str, Any]:
        """The jobs of a node that are asked for."""

    def show(self, identity: str, job: str) -> dict[str, Any]:
        """One job in full, with its newest runs."""

    def log(self, identity: str, data: Mapping[str, Any]) -> dict[str, Any]:
        """A part of what a run wrote."""

    def forecast(self, identity: str, data: Mapping[str, Any]) -> dict[str, Any]:
        """Which jobs start when."""


class JobRecords(Protocol):
    """Where jobs are changed and looked up (`jobs.manager.JobManager`)."""

    @property
    def job_queries(self) -> JobReports:
        """Answers questions about jobs."""

    def edit(self, identity: str, request: Request) -> dict[str, Any]:
        """Put a new revision in the place of the old one."""

    def pause(self, identity: str, request: Request) -> dict[str, Any]:
        """Start it no more until it is resumed."""

    def resume(self, identity: str, request: Request) -> dict[str, Any]:
        """Let a paused job start again."""

    def skip(self, identity: str, request: Request) -> dict[str, Any]:
        """Leave out the next start."""

    def cancel(self, identity: str, request: Request) -> dict[str, Any]:
        """End it."""


def no_jobs() -> JobRecords:
    """The records of a node that has none."""
    raise AgentError("this node keeps no jobs")


class JobAgent(Agent):
    """Changes and shows the jobs of a node; runs in the daemon, since the records are its own.

    `records` is asked for them at each call.
    """

    name = "job"

    def __init__(self, records: Callable[[], JobRecords] = no_jobs) -> None:
        self._records = records

    def submit(self, call: Call) -> dict[str, Any]:
        """Refuse it: over the work queue a job goes to `JobManager.take`, and comes here never."""
        via = call.request.via
        raise AgentError(f"a job is handed in over the work queue, not by {via}", statuscode=4)

    def edit(self, call: Call) -> dict[str, Any]:
        """Put a new revision in the place of the old one."""
        return self._records().edit(call.node.identity, call.request)

    def pause(self, call: Call) -> dict[str, Any]:
        """Have it start no more until it is resumed; a run under way goes on."""
        return self._records().pause(call.node.identity, call.request)

    def resume(self, call: Call) -> dict[str, Any]:
        """Let a paused job start again."""
        return self._records().resume(call.node.identity, call.request)

    def skip(self, call: Call) -> dict[str, Any]:
        """Leave out its next start."""
        return self._records().skip(call.node.identity, call.request)

    def cancel(self, call: Call) -> dict[str, Any]:
        """End a job, and a run of it that is under way."""
        return self._records().cancel(call.node.identity, call.request)

    def list(self, call: Call) -> dict[str, Any]:
        """Where the jobs of this node stand."""
        return self._records().job_queries.list(call.node.identity, call.data)

    def show(self, call: Call) -> dict[str, Any]:
        """One job with its history."""
        return self._records().job_queries.show(call.node.identity, call["job"])

    def log(self, call: Call) -> dict[str, Any]:
        """What a run of it wrote."""
        return self._records().job_queries.log(call.node.identity, call.data)

    def forecast(self, call: Call) -> dict[str, Any]:
        """Which jobs start when."""
        return self._records().job_queries.forecast(call.node.identity, call.data)
