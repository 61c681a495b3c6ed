"""The agents that every node has."""

from __future__ import annotations

from mcshell import ddl
from mcshell.ddl.library import builtin_dir, read
from mcshell.node.agents.registry import ServedAgent
from mcshell.node.builtin.discovery import DISCOVERY, DiscoveryAgent
from mcshell.node.builtin.job import JobAgent

__all__ = ["builtin_agents"]


def builtin_agents() -> list[ServedAgent]:
    """The agents `discovery` and `job`, with their schemas."""
    return [
        ServedAgent(DiscoveryAgent(), ddl.load(DISCOVERY), exempt=True),
        ServedAgent(JobAgent(), read(builtin_dir() / "job.json"), inside=True),
    ]
