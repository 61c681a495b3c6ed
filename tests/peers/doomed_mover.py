"""`mcshell broker move`, killed by its own hand:

    doomed_mover.py PHASE NUMBER WORD …

with the words behind `broker move`. It dies with SIGKILL at `sent` (after the NUMBERth SEND to the new
broker, of which nobody knows whether it arrived) or `confirmed` (the new broker has confirmed NUMBER
messages, and the old one was told of all but the last).
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from typing import Any

from mcshell.__main__ import main
from mcshell.broker.move import Mover
from mcshell.wire.stomp.connector import Connector

METHODS = {"sent": (Mover, "_send"), "confirmed": (Connector, "ack")}


def doom(phase: str, number: int) -> None:
    """Have the process die there."""
    owner, name = METHODS[phase]
    method = getattr(owner, name)
    left = number

    def counted(*arguments: Any, **more: Any) -> Any:
        nonlocal left
        left -= 1
        if phase == "confirmed" and not left:
            _die()
        result = method(*arguments, **more)
        if not left:
            _die()
        return result

    setattr(owner, name, counted)


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
    threading.Event().wait()


if __name__ == "__main__":
    doom(sys.argv[1], int(sys.argv[2]))
    sys.argv = ["mcshell", "broker", "move", *sys.argv[3:]]
    sys.exit(main())
