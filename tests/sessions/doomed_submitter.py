"""A client that hands something in, and is killed by its own hand before a write to its session.

    doomed_submitter.py CONFIG STATE SESSION KIND STEP

KIND is request, job, edit (of the session's job) or wave (of the plan beside CONFIG). It dies by
SIGKILL before the STEPth statement that writes to the session's file, counted from the call, in
whichever thread that is; where there are fewer it prints `survived`.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import sys
import threading
from pathlib import Path

from mcshell import config
from mcshell.client.client import Client

NODES = ["n1", "n2"]
READS = ("SELECT", "PRAGMA")


class Doom:
    """Counts what is written while it is armed."""

    def __init__(self, session: str, step: int) -> None:
        self.armed = threading.Event()
        self._file = f"{session}.sqlite"
        self._left = step
        self._connect = sqlite3.connect
        sqlite3.connect = self.connect

    def connect(self, database: object, *arguments: object, **more: object) -> sqlite3.Connection:
        """Open a file as `sqlite3` does, and look over the shoulder of the session's."""
        connection = self._connect(database, *arguments, **more)
        if Path(str(database)).name == self._file:
            connection.set_trace_callback(self.step)
        return connection

    def step(self, statement: str) -> None:
        """Come one statement nearer to the end."""
        if self.armed.is_set() and not statement.lstrip().upper().startswith(READS):
            self._left -= 1
            if self._left <= 0:
                os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    """Hand it in."""
    path, state, session, kind, step = sys.argv[1:]
    doom = Doom(session, int(step))
    settings = config.load(Path(path), overrides={"state": state})
    with Client(settings, session=session) as client:
        doom.armed.set()
        if kind == "request":
            client.rpc("rpcutil", "ping", via="queue", nodes=NODES, wait=False, timeout=0)
        elif kind == "job":
            client.jobs.submit("rpcutil", "ping", nodes=NODES, at="+1h", name="late", timeout=0)
        elif kind == "edit":
            client.jobs.edit("late", at="+2h", nodes=NODES, timeout=0)
        else:
            client.plans.run(Path(path).with_name("plan.yaml"), timeout=0, again=True)
        doom.armed.clear()
        print("survived", flush=True)


main()
