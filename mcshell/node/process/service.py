"""What makes a process a service: its log, its end, and that it alone works in its state directory."""

from __future__ import annotations

import faulthandler
import os
import signal
import threading
from pathlib import Path
from typing import IO

from mcshell.errors import ConfigError
from mcshell.private import FileLock, lock_file
from mcshell.storage import is_storage_fault
from mcshell.wire.log_lines import begin_log, say

__all__ = [
    "begin",
    "end",
    "hold_state_directory",
    "say_ready",
]


def begin(level: str, *, as_json: bool, until_eof: bool) -> None:
    """Be a service from here on.

    Args:
        level: from where on it logs.
        as_json: whether each record is a line of JSON.
        until_eof: whether the end of standard input ends it, as SIGTERM does.
    """
    begin_log(level, as_json=as_json)
    faulthandler.enable()  # what each thread was at, when a watchdog ends us by SIGABRT
    if until_eof:
        threading.Thread(target=_watch, name="mcshell-eof", daemon=True).start()


def end() -> None:
    """Be told nothing more: Python, on its way out, would be killed by what a service has heeded."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)


def _watch() -> None:
    """End as SIGTERM does once standard input has: whoever started us is gone, perhaps killed."""
    while os.read(0, 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def hold_state_directory(state: Path) -> FileLock | IO[str]:
    """Hold the directory until what is returned is closed, or this process ends.

    Two daemons there would run one node's work twice over; where nothing can be written, none runs
    any.

    Raises:
        ConfigError: another daemon is at work there.
    """
    try:
        lock = lock_file(state / "lock")
    except OSError as error:
        if not is_storage_fault(error):
            raise
        return Path(os.devnull).open(encoding="ascii")
    if lock is None:
        raise ConfigError(
            f"another daemon is at work in {state}: give this one a `state` of its own",
            origin=str(state),
        )
    return lock


def say_ready() -> None:
    """Write `ready` to standard error: whoever started this service may use it now (§12)."""
    say("ready")
