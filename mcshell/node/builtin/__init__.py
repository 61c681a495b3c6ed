"""The agents that every node has."""

from __future__ import annotations

from mcshell import ddl
from mcshell.ddl.library import builtin_dir, read
from mcshell.node.agents.registry import Service
from mcshell.node.builtin.discovery import DISCOVERY, Discovery
from mcshell.node.builtin.job import JobAgent

__all__ = ["builtin_agents"]


def builtin_agents() -> list[Service]:
    """The agents `discovery` and `job`, with their schemas."""
    return [
        Service(Discovery(), ddl.load(DISCOVERY), exempt=True),
        Service(JobAgent(), read(builtin_dir() / "job.json"), inside=True),
    ]
