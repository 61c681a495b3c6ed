"""An action whose effect the history tells."""

from __future__ import annotations

import time
from typing import Any

from mcshell.node.agent import Agent, Call
from tests.simulation import effects


class Mark(Agent):
    """Leaves marks."""

    name = "mark"

    def once(self, call: Call) -> dict[str, Any]:
        """Not safe to run twice."""
        return self._mark(call)

    def again(self, call: Call) -> dict[str, Any]:
        """As good twice as once."""
        return self._mark(call)

    def _mark(self, call: Call) -> dict[str, Any]:
        time.sleep(call["before"])
        effects.ran(call["tag"], call.node.identity, call.request.run)
        time.sleep(call["after"])
        return {"tag": call["tag"]}
