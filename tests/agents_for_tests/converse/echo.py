"""Says back what it hears, and can be told to do other things."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from mcshell.node.handler import AgentError, Handler, HandlerConversation


class Echo(Handler):
    """Counts what it hears; with a `file`, leaves what it heard and how it ended there."""

    protocol = "echo"

    def __init__(self) -> None:
        self.heard: list[Any] = []

    def opened(self, line: HandlerConversation) -> None:
        """Greet, if that is wanted."""
        if isinstance(line.data, dict) and "greet" in line.data:
            line.send({"from": line.node.identity, "to": line.caller, "said": line.data["greet"]})

    def turn(self, line: HandlerConversation, data: Any) -> None:
        """Answer one turn."""
        self.heard.append(data)
        order = data.get("do", "") if isinstance(data, dict) else ""
        if order == "crash":
            raise ZeroDivisionError("as told")
        if order == "fail":
            raise AgentError("no wish to go on")
        if order == "close":
            line.close()
        elif order == "count":
            for number in range(data["to"]):
                line.send(number)
        elif order == "wait":
            end = time.monotonic() + 60
            while not Path(data["file"]).exists() and time.monotonic() < end:
                time.sleep(0.05)
        else:
            line.send(data)

    def closed(self, line: HandlerConversation, why: str) -> None:
        """Leave a note."""
        if isinstance(line.data, dict) and "file" in line.data:
            text = "\n".join([why, *map(repr, self.heard)])
            path = Path(line.data["file"])
            path.with_suffix(".new").write_text(text)
            path.with_suffix(".new").replace(path)
