"""The built-in agent `job`: what operators ask of a node's jobs, under policy like any other.

A job is handed in over the work queue, so that it waits for a node that is down; all the rest may
also come by broadcast or directly.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mcshell.node.agent import Agent, AgentError
from mcshell.node.host import Host

if TYPE_CHECKING:
    from mcshell.node.agent import Call
    from mcshell.node.host import JobRecords

__all__ = ["JobAgent"]


class JobAgent(Agent):
    """Changes and shows the jobs of a node; runs in the daemon, since the records are its own."""

    name = "job"

    def submit(self, call: Call) -> dict[str, Any]:
        """Refuse it: over the work queue a job goes to `JobManager.take`, and comes here never."""
        via = call.request.via
        raise AgentError(f"a job is handed in over the work queue, not by {via}", statuscode=4)

    def edit(self, call: Call) -> dict[str, Any]:
        """Put a new revision in the place of the old one."""
        return _job_manager(call).edit(call.node.identity, call.request)

    def pause(self, call: Call) -> dict[str, Any]:
        """Have it start no more until it is resumed; a run under way goes on."""
        return _job_manager(call).pause(call.node.identity, call.request)

    def resume(self, call: Call) -> dict[str, Any]:
        """Let a paused job start again."""
        return _job_manager(call).resume(call.node.identity, call.request)

    def skip(self, call: Call) -> dict[str, Any]:
        """Leave out its next start."""
        return _job_manager(call).skip(call.node.identity, call.request)

    def cancel(self, call: Call) -> dict[str, Any]:
        """End a job, and a run of it that is under way."""
        return _job_manager(call).cancel(call.node.identity, call.request)

    def list(self, call: Call) -> dict[str, Any]:
        """Where the jobs of this node stand."""
        return _job_manager(call).job_queries.list(call.node.identity, call.data)

    def show(self, call: Call) -> dict[str, Any]:
        """One job with its history."""
        return _job_manager(call).job_queries.show(call.node.identity, call["job"])

    def log(self, call: Call) -> dict[str, Any]:
        """What a run of it wrote."""
        return _job_manager(call).job_queries.log(call.node.identity, call.data)

    def forecast(self, call: Call) -> dict[str, Any]:
        """Which jobs start when."""
        return _job_manager(call).job_queries.forecast(call.node.identity, call.data)


def _job_manager(call: Call) -> JobRecords:
    node = call.node
    assert isinstance(node, Host), "it acts in the daemon"
    if node.job_manager is None:
        raise AgentError("this node keeps no jobs")
    return node.job_manager
