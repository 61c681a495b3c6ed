"""Which session this process has: its file, its lock and its reply queue (DESIGN §8).

A process without a named session takes the first `scratch-N` of the state directory that no live
process holds, and reuses its queue, so that queues do not pile up on the broker.
"""

from __future__ import annotations

import fcntl
import os
from typing import IO, TYPE_CHECKING

from mcshell.client.store import Store
from mcshell.errors import SessionError
from mcshell.wire import destinations

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Session"]


class Session:
    """An open session: `name`, `store`, and the `queue` that the nodes answer to."""

    def __init__(self, path: Path, lock: IO[str], caller: str, collective: str) -> None:
        self.name = path.stem
        self._lock = lock
        self.store = Store(path)
        self.queue = destinations.reply(collective, caller, self.name)
        self._claim("caller", caller)
        self._claim("collective", collective)

    def _claim(self, key: str, value: str) -> None:
        """Take an unowned session; refuse another caller's."""
        owner = self.store.meta(key)
        if owner is None:
            self.store.set_meta(key, value)
        elif owner != value:
            self.close()
            raise SessionError(
                f"session {self.name!r} belongs to {key} {owner}, not to {value}", self.name
            )

    @classmethod
    def open(cls, state_dir: Path, caller: str, collective: str, name: str | None) -> Session:
        """Open the named session, or the first free scratch one.

        Raises:
            SessionError: another process holds it, or it belongs to another caller.
        """
        folder = state_dir / "sessions"
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if name is not None:
            destinations.check_word("session", name)
            lock = _lock(folder / f"{name}.lock")
            if lock is None:
                raise SessionError(f"session {name!r} is held by another process", name)
            return cls(folder / f"{name}.sqlite", lock, caller, collective)
        return cls._scratch(folder, caller, collective)

    @classmethod
    def _scratch(cls, folder: Path, caller: str, collective: str) -> Session:
        number = 0
        while True:
            number += 1
            lock = _lock(folder / f"scratch-{number}.lock")
            if lock is None:
                continue
            try:
                return cls(folder / f"scratch-{number}.sqlite", lock, caller, collective)
            except SessionError:
                # Another caller's or collective's scratch session is no use to this one.
                lock.close()

    def close(self) -> None:
        """Close the file and let the next process have the session."""
        self.store.close()
        self._lock.close()


def _lock(path: Path) -> IO[str] | None:
    """Hold a lock file for the life of this process, or return None when another does."""
    handle = path.open("a")
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        handle.close()
        return None
    handle.truncate(0)
    handle.write(str(os.getpid()))
    handle.flush()
    return handle
