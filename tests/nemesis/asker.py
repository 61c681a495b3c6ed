"""An operator's process that asks what it is told, line by line, and may be killed at any moment.

    asker.py CONFIG STATE SESSION FILE

Each line of standard input is a call as JSON (`script.Ask`). It appends to FILE, as JSON: `ready` once
the session is open; `kept` with the tag when the call has returned, `confirmed` when the broker has it; `refused` with the reason when
the call raised. At the end of its input it leaves, once no call is under way.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

from mcshell import config
from mcshell.client.client import Client
from mcshell.errors import ConnectError, MCShellError

PATIENCE = 4.0  # seconds for what is asked directly
TTL = 15.0


class Asker:
    """One client; each call has a thread, so that one that waits holds up no other."""

    def __init__(self, client: Client, path: Path) -> None:
        self._client = client
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def note(self, event: str, **more: Any) -> None:
        """Append a line."""
        line = {"event": event, "at": time.time(), **more}
        os.write(self._file, f"{json.dumps(line)}\n".encode())

    def ask(self, ask: dict[str, Any]) -> None:
        """Make a call, and wait until the broker has what it is to keep."""
        try:
            replies = self._put(ask)
            if ask["via"] in {"queue", "pool", "job"}:
                self.note("kept", tag=ask["tag"])
                if replies.wait_confirmed(600.0):
                    self.note("confirmed", tag=ask["tag"])
        except MCShellError as error:
            self.note("refused", tag=ask["tag"], why=str(error))

    def _put(self, ask: dict[str, Any]) -> Any:
        inputs = {"tag": ask["tag"], "sleep": ask["sleep"]}
        via, targets, action = ask["via"], ask["targets"], ask["action"]
        if via == "job":
            until = time.time() + ask["lasts"]
            return self._client.jobs.submit(
                "effect",
                action,
                inputs=inputs,
                nodes=targets,
                every="2s",
                until=until,
                timeout=0.0,
            )
        if via in {"queue", "pool"}:
            where: dict[str, Any] = {"pool": "sms"} if via == "pool" else {"nodes": targets}
            more = {"ttl": "1h", "wait": False}
        else:
            where = {} if via == "broadcast" else {"nodes": targets}
            more = {"ttl": TTL, "timeout": PATIENCE}
        return self._client.rpc("effect", action, inputs=inputs, via=via, **where, **more)


def opened(path: Path, state: str, session: str) -> Client:
    """A client as soon as there is a broker."""
    while True:
        try:
            return Client(config.load(path, overrides={"state": state}), session=session)
        except ConnectError:
            time.sleep(0.3)


def main() -> None:
    """Ask until the input ends."""
    path, state, session, file = sys.argv[1:]
    with opened(Path(path), state, session) as client:
        asker = Asker(client, Path(file))
        asker.note("ready")
        calls = []
        for line in sys.stdin:
            calls.append(threading.Thread(target=asker.ask, args=(json.loads(line),)))
            calls[-1].start()
        for call in calls:
            call.join()
        asker.note("left")


if __name__ == "__main__":
    main()
