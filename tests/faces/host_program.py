"""A program with ways of its own, which asks the fleet; prints what is not as it was before."""

from __future__ import annotations

import asyncio
import json
import locale
import logging
import os
import resource
import signal
import socket
import sys
import threading
from typing import Any

THEIRS = set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}


def handled(_number: int, _frame: object) -> None:
    """Do what this program does with a signal."""


def state() -> dict[str, Any]:
    """What a library may not change in the program that uses it."""
    mask = os.umask(0)
    os.umask(mask)
    return {
        "signals": {number: signal.getsignal(number) for number in THEIRS},
        "hooks": (sys.excepthook, threading.excepthook, sys.unraisablehook, sys.displayhook),
        "asyncio": (type(asyncio.get_event_loop_policy()), sys.get_asyncgen_hooks()),
        "logging": (logging.root.level, list(logging.root.handlers), logging.raiseExceptions),
        "locale": locale.setlocale(locale.LC_ALL),
        "umask": mask,
        "environ": dict(os.environ),
        "folder": os.getcwd(),  # noqa: PTH109 - as the system has it
        "path": list(sys.path),
        "streams": (sys.stdin, sys.stdout, sys.stderr),
        "limits": (resource.getrlimit(resource.RLIMIT_NOFILE), sys.getrecursionlimit()),
        "sockets": socket.getdefaulttimeout(),
    }


def main() -> None:
    """Ask, look again, and say what has changed."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(number, handled)
    before = state()
    import mcshell

    with mcshell.connect() as client:
        replies = client.rpc("rpcutil", "ping")
        assert len(replies.ok) == len(replies), replies
        during = state()
    after = state()
    print(json.dumps([name for name in before if not before[name] == during[name] == after[name]]))


if __name__ == "__main__":
    main()
