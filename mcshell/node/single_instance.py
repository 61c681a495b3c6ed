"""One daemon at a time works in a state directory: two would run one node's work twice over."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING

from mcshell.errors import ConfigError
from mcshell.private import lock_file

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["hold_state_directory"]


def hold_state_directory(state: Path) -> IO[str]:
    """Hold the directory until what is returned is closed, or this process ends.

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
