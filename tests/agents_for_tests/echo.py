"""Gives its inputs back, as they came."""

from __future__ import annotations

from typing import Any

from mcshell.node.agent import Agent, AgentError, Call


class Echo(Agent):
    """Says what it was told."""

    name = "echo"

    def say(self, call: Call) -> dict[str, Any]:
        """Give the inputs back, each and all."""
        return {
            "text": call.get("text"),
            "value": call.get("value"),
            "got": dict(call.request.data),
        }

    def fail(self, call: Call) -> dict[str, Any]:
        """Answer failed."""
        del call
        raise AgentError("as asked")
