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
from typing import TYPE_CHECKING

from mcshell import config
from mcshell.client.client import Client
from mcshell.client.messaging.receiver import Receiver
from mcshell.client.store.store import SessionStore
from mcshell.message import Via
from mcshell.wire.stomp.confirmed import ConfirmedSender
from mcshell.wire.stomp.connector import Connector

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mcshell.client.store.records import NewRequest


def die() -> None:
    """End as a power cut would."""
    os.kill(os.getpid(), signal.SIGKILL)
    threading.Event().wait()


class Doom:
    """Wraps what a client does on its way, and dies when the phase has come so far."""

    def __init__(self, phase: str, number: int) -> None:
        self.phase = phase
        self.left = {"sending": number, "draining": number, "kept": number}

    def comes(self, phase: str, steps: int = 1) -> None:
        """Count steps of a phase; the last of them is the end."""
        if phase != self.phase:
            return
        self.left[phase] = self.left.get(phase, 1) - steps
        if self.left[phase] <= 0:
            die()

    def wrap(self, owner: type, name: str, after: Callable[..., None]) -> None:
        """Have `after(result, *arguments)` called behind a method."""
        method = getattr(owner, name)

        def wrapped(*arguments: object, **more: object) -> object:
            result = method(*arguments, **more)
            after(result, *arguments)
            return result

        setattr(owner, name, wrapped)

    def committed(self, _result: object, _store: object, requests: Sequence[NewRequest]) -> None:
        """A request is in the file."""
        if any(one.record.via is Via.QUEUE for one in requests):
            print("committed", flush=True)
            self.comes("before-send")

    def sent(self, _result: object, _link: object, destination: str, *_rest: object) -> None:
        """A message is on its way."""
        if ".work." in destination:
            self.comes("sending")

    def arm(self) -> None:
        """Lie in wait."""
        self.wrap(SessionStore, "add_all", self.committed)
        self.wrap(Connector, "send", self.sent)
        self.wrap(ConfirmedSender, "_confirm", lambda *_: self.comes("waiting"))
        self.wrap(Receiver, "_open", lambda *_: self.comes("draining"))
        self.wrap(SessionStore, "enter", lambda news, *_: self.comes("kept", len(news)))


def main() -> None:
    """Ask, and wait for the end."""
    path, state, session, phase, number, nodes = sys.argv[1:]
    Doom(phase, int(number)).arm()
    client = Client(config.load(Path(path), overrides={"state": state}), session=session)
    replies = client.rpc("rpcutil", "ping", via="queue", nodes=[nodes], ttl="1h", wait=False)
    replies.wait(120)
    print(f"survived: {replies!r}", flush=True)


main()
