"""What makes a process a service: it alone works in its state directory, and it says `ready`."""

from __future__ import annotations

import sys
from typing import IO, TYPE_CHECKING

from mcshell.errors import ConfigError
from mcshell.private import lock_file

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["hold_state_directory", "say_ready"]


def hold_state_directory(state: Path) -> IO[str]:
    """Hold the directory until what is returned is closed, or this process ends.

    Two daemons there would run one node's work twice over.

    Raises:
        ConfigError: another daemon is at work there.
    """
    lock = lock_file(state / "lock")
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
