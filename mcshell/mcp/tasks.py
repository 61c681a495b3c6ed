"""MCP's tasks (extension io.modelcontextprotocol/tasks): a call that goes on, by its request id.

Nothing of a task is kept but the request itself, in the session: its replies wait in the session's
queue, and whoever serves that session later, after this process was killed, knows the same tasks.
"""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any, Final

from mcp_types import RequestParams
from pydantic import Field

from mcshell.errors import SessionError
from mcshell.mcp.reading import when

if TYPE_CHECKING:
    from mcshell.client.rpc.replies import Replies
    from mcshell.commands.context import Context

__all__ = ["EXTENSION", "TaskParams", "created", "described", "task_of"]

EXTENSION: Final = "io.modelcontextprotocol/tasks"
_ID: Final = re.compile("[0-9a-f]{32}")
_POLL: Final = 2_000
"""Milliseconds that a client should wait between two looks."""


class TaskParams(RequestParams):
    """What `tasks/get`, `tasks/update` and `tasks/cancel` name."""

    task_id: str = Field(alias="taskId")


def task_of(context: Context, task: str) -> Replies:
    """The request that a task is.

    Raises:
        SessionError: there is none of that id that went by queue.
    """
    if not _ID.fullmatch(task):
        raise SessionError("no task of that id: a task's id is a request's, 32 hexadecimal digits")
    found = context.client().replies(task)
    if not found.via.durable:
        raise SessionError(f"request {task} is no task: it did not go by queue")
    return found


def described(replies: Replies) -> dict[str, Any]:
    """How a task stands, without its result."""
    stats = replies.tracker.stats()
    counts = ", ".join(f"{number} {state}" for state, number in stats.states.items() if number)
    times = [entry.done or entry.received for entry in replies.entries()]
    newest = max((one for one in times if one is not None), default=replies.created)
    return {
        "taskId": replies.requestid,
        "status": "completed" if replies.done else "working",
        "statusMessage": f"{len(replies)} nodes: {counts}; until {when(replies.expires)}",
        "createdAt": when(replies.created),
        "lastUpdatedAt": when(min(newest, time.time())),
        "ttlMs": None,  # it is kept for as long as its session is
        "pollIntervalMs": _POLL,
    }


def created(replies: Replies) -> dict[str, Any]:
    """What is given in place of a result."""
    return {"resultType": "task", **described(replies), "status": "working"}
