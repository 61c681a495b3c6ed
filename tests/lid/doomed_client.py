"""A client that asks 200 nodes by queue and is killed at a chosen phase, by its own hand.

    doomed_client.py CONFIG STATE SESSION PHASE NUMBER NODES

It prints `committed` once the request is in the session file, then dies with SIGKILL: at
`before-send` (committed, nothing sent), `sending` (after the NUMBERth SEND), `waiting` (all sent,
nothing heard), `draining` (with the NUMBERth reply in hand) or `kept` (committed to the file, not
yet acknowledged).
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path

from mcshell import config
from mcshell.client import dispatch, receiver, store
from mcshell.client.client import Client
from mcshell.message import Via
from mcshell.wire.connector import Connector


def die() -> None:
    """End as a power cut would."""
    os.kill(os.getpid(), signal.SIGKILL)
    threading.Event().wait()


def arm(phase: str, number: int) -> None:
    """Have this process die at the phase."""
    counts = {"sent": 0, "kept": 0, "opened": 0}
    add, send, enter = store.Store.add, Connector.send, store.Store.enter
    opened, mark = receiver.Receiver._open, dispatch.Dispatch._mark

    def adding(self, record, *rest):
        add(self, record, *rest)
        if record.via is Via.QUEUE:
            print("committed", flush=True)
            if phase == "before-send":
                die()

    def sending(self, destination, *rest, **more):
        result = send(self, destination, *rest, **more)
        if ".work." in destination:
            counts["sent"] += 1
            if phase == "sending" and counts["sent"] >= number:
                die()
        return result

    def marking(self, *rest):
        mark(self, *rest)
        if phase == "waiting":
            die()

    def opening(self, *rest):
        word = opened(self, *rest)
        counts["opened"] += 1
        if phase == "draining" and counts["opened"] >= number:
            die()
        return word

    def entering(self, words, **more):
        news = enter(self, words, **more)
        counts["kept"] += len(news)
        if phase == "kept" and counts["kept"] >= number:
            die()
        return news

    store.Store.add = adding
    store.Store.enter = entering
    Connector.send = sending
    receiver.Receiver._open = opening
    dispatch.Dispatch._mark = marking


def main() -> None:
    """Ask, and wait for the end."""
    path, state, session, phase, number, nodes = sys.argv[1:]
    arm(phase, int(number))
    client = Client(config.load(Path(path), overrides={"state": state}), session=session)
    replies = client.rpc("rpcutil", "ping", via="queue", nodes=[nodes], ttl="1h", wait=False)
    replies.wait(120)
    print(f"survived: {replies!r}", flush=True)


main()
