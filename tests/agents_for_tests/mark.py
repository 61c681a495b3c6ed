"""Actions with a side effect that can be counted: each appends one line to a file."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from mcshell.node.agent import Agent, AgentError, Call


class Mark(Agent):
    """Leaves marks."""

    name = "mark"

    def once(self, call: Call) -> dict[str, Any]:
        """Append the request's id; not safe to run twice."""
        return self._mark(call)

    def again(self, call: Call) -> dict[str, Any]:
        """Append the request's id; as good twice as once."""
        return self._mark(call)

    def _mark(self, call: Call) -> dict[str, Any]:
        line = f"{call.request.id} {call.get('text', '')}\n"
        handle = os.open(call["file"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        with os.fdopen(handle, "w") as file:
            file.write(line)
        pause = call.get("sleep", 0.0)
        end = time.monotonic() + pause
        while (left := end - time.monotonic()) > 0 and not call.cancelled.is_set():
            call.progress(100 * (1 - left / pause), "marking")
            time.sleep(min(left, 0.02))
        return {"pid": os.getpid(), "text": call.get("text", "")}

    def count(self, call: Call) -> dict[str, Any]:
        """Mark, and say a number each tenth of a second, aloud and as progress."""
        self._mark(Call(call.request, {"file": call["file"]}, call.node, call.deadline))
        steps = int(call.get("sleep", 1.0) * 10)
        for number in range(1, steps + 1):
            print(number, flush=True)
            call.progress(100 * number / steps, f"said {number}")
            if call.cancelled.wait(0.1):
                raise AgentError("stopped")
        return {"pid": os.getpid(), "text": str(steps)}

    def hold(self, call: Call) -> dict[str, Any]:
        """Mark, and wait until the file named by `text` is there, deaf to everything."""
        self._mark(Call(call.request, {"file": call["file"]}, call.node, call.deadline))
        while not Path(call["text"]).exists():
            time.sleep(0.02)
        return {"pid": os.getpid()}

    def nap(self, call: Call) -> dict[str, Any]:
        """Sleep, deaf to everything."""
        time.sleep(call["sleep"])
        return {"pid": os.getpid()}

    def fail(self, call: Call) -> dict[str, Any]:
        """Answer failed."""
        raise AgentError(call.get("text", "as asked"), data={"pid": os.getpid()})

    def crash(self, call: Call) -> dict[str, Any]:
        """Raise what no agent should."""
        raise RuntimeError(call.get("text", "as asked"))

    def eat(self, call: Call) -> dict[str, Any]:
        """Take memory."""
        return {"pid": len(bytearray(call["bytes"]))}

    def write(self, call: Call) -> dict[str, Any]:
        """Write a file of so many bytes."""
        Path(call["file"]).write_bytes(bytes(call["bytes"]))
        return {"pid": os.getpid()}

    def talk(self, call: Call) -> dict[str, Any]:
        """Write so many bytes to standard output, and answer with as many."""
        print("x" * call["bytes"], flush=True)
        return {"pid": os.getpid(), "text": "x" * call["bytes"]}
