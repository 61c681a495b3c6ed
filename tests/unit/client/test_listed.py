"""What nodes list of themselves, such as their jobs: each speaks for itself."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from mcshell.client.jobs.replies import JOBS, listed


def replies(**said: Any) -> Any:
    """Replies of these nodes, each with what it gave under `jobs`."""
    rows = [SimpleNamespace(sender=name, data={"jobs": jobs}) for name, jobs in said.items()]
    return SimpleNamespace(rows=lambda: rows)


def test_no_node_speaks_for_another() -> None:
    """A job that a node calls another's is its own; what is no list of hashes is nothing."""
    found = listed(
        replies(liar=[{"job": "a", "sender": "web1"}, "x", None], odd=7, none=None), "jobs", JOBS
    )
    assert found == [{"job": "a", "sender": "liar"}]
