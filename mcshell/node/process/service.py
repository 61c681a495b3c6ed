"""What makes a process a service: it alone works in its state directory, and it says `ready`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import IO

from mcshell.errors import ConfigError
from mcshell.private import FileLock, lock_file
from mcshell.storage import is_storage_fault

__all__ = ["hold_state_directory", "say_ready"]


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
    sys.stderr.write("ready\n")
    sys.stderr.flush()
