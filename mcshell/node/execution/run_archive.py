"""What runs of jobs leave: what they wrote, how far they were, how it came out; kept for a while.

By age and by size: what is older than the node's `retention` goes, and the oldest beyond 256 MiB.
"""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING, Final

from mcshell.node.execution.run_directory import RunDirectory

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["RunArchive"]

log = logging.getLogger(__name__)

_MOST: Final = 256 << 20
_KEPT: Final = ("log", "progress.jsonl", "outcome.json")


class RunArchive:
    """A folder of folders, one a run. `retention` is seconds, `most` bytes."""

    def __init__(self, folder: Path, retention: float, most: int = _MOST) -> None:
        self._folder = folder
        self._retention = retention
        self._most = most

    def keep(self, run: RunDirectory) -> None:
        """Move what a run leaves here; what cannot be moved is lost, the run is not."""
        node = self._folder / run.path.name
        try:
            node.mkdir(mode=0o700, parents=True, exist_ok=True)
            for name in _KEPT:
                with contextlib.suppress(FileNotFoundError):
                    (run.path / name).replace(node / name)
        except OSError as error:
            log.warning("what %s leaves cannot be kept: %s", run.path.name, error)

    def purge(self, now: float) -> None:
        """Drop what is too old, and the oldest of what is too much."""
        found = []
        for node in self._folder.iterdir() if self._folder.is_dir() else ():
            with contextlib.suppress(FileNotFoundError):
                size = sum(one.stat().st_size for one in node.iterdir())
                found.append((node.stat().st_mtime, size, node))
        total = 0
        for made, size, node in sorted(found, key=lambda one: -one[0]):
            total += size
            if made < now - self._retention or total > self._most:
                RunDirectory(node).clear()
