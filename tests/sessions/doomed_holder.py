"""A client that holds a reply, and is killed by its own hand before a statement to its session.

doomed_holder.py CONFIG STATE SESSION STATEMENT

STATEMENT is how it begins. It dies by SIGKILL in whichever thread that is; after a minute without
it, it prints `survived`.
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

MINUTE = 60.0
connect = sqlite3.connect


def main() -> None:
    """Open the session, and wait for the end."""
    path, state, session, statement = sys.argv[1:]

    def step(said: str) -> None:
        if said.lstrip().startswith(statement):
            os.kill(os.getpid(), signal.SIGKILL)

    def watched(database: object, *arguments: object, **more: object) -> sqlite3.Connection:
        connection = connect(database, *arguments, **more)
        if Path(str(database)).name == f"{session}.sqlite":
            connection.set_trace_callback(step)
        return connection

    sqlite3.connect = watched
    settings = config.load(Path(path), overrides={"state": state})
    with Client(settings, session=session):
        threading.Event().wait(MINUTE)
        print("survived", flush=True)


main()
