"""Actions whose effects are a history: each appends one line to a file of its own node."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from mcshell.node.agent import Agent, Call


class Effect(Agent):
    """Leaves lines in the folder that `[agents.effect] folder` names."""

    name = "effect"

    def once(self, call: Call) -> dict[str, Any]:
        """Append a line; not safe to run twice."""
        return self._leave(call)

    def again(self, call: Call) -> dict[str, Any]:
        """Append a line; as good twice as once."""
        return self._leave(call)

    def _leave(self, call: Call) -> dict[str, Any]:
        node = call.node.identity
        # the machine's own time, whatever a test has Python believe
        now = time.clock_gettime(time.CLOCK_REALTIME)
        effect = {"id": call.request.id, "tag": call["tag"], "node": node, "at": now}
        path = Path(call.node.settings("effect")["folder"], node)
        handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(handle, f"{json.dumps(effect)}\n".encode())
        finally:
            os.close(handle)
        end = time.monotonic() + call.get("sleep", 0.0)
        while (left := end - time.monotonic()) > 0 and not call.cancelled.is_set():
            time.sleep(min(left, 0.02))
        return {"pid": os.getpid()}
