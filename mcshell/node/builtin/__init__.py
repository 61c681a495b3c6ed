"""The agents that every node has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcshell import ddl
from mcshell.ddl.ddl_library import builtin_dir, read
from mcshell.node.agents.registry import ServedAgent
from mcshell.node.builtin.approval import ApprovalAgent, no_approvals
from mcshell.node.builtin.discovery import DISCOVERY, DiscoveryAgent
from mcshell.node.builtin.job import JobAgent, no_jobs

if TYPE_CHECKING:
    from collections.abc import Callable

    from mcshell.node.admission.approvals import Approvals
    from mcshell.node.builtin.job import JobRecords

__all__ = ["builtin_agents"]


def builtin_agents(
    jobs: Callable[[], JobRecords] = no_jobs, approvals: Callable[[], Approvals] = no_approvals
) -> list[ServedAgent]:
    """The agents that every node has, with their schemas; `jobs` and `approvals` are asked for records."""
    return [
        ServedAgent(DiscoveryAgent(), ddl.load(DISCOVERY), exempt=True),
        ServedAgent(JobAgent(jobs), read(builtin_dir() / "job.json"), inside=True),
        ServedAgent(ApprovalAgent(approvals), read(builtin_dir() / "approval.json"), inside=True),
    ]
