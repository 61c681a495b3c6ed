"""Folders and files that only their owner can enter and read: state, sessions, queues, history."""

from __future__ import annotations

import fcntl
import os
import struct
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["is_locked", "lock_file", "private_file", "private_folder"]

# struct flock (fcntl(2)). A lock of an open file, as flock(2) takes it, that can also be asked for.
_FLOCK = "hhqqi0q"
_WHOLE = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)


def private_folder(path: Path) -> Path:
    """Make a folder with mode 0700, and so those above it that are missing; what is there stays.

    `Path.mkdir(parents=True, mode=…)` gives its mode to the last one only.

    Raises:
        OSError: it cannot be made.
    """
    for folder in (*reversed(path.parents), path):
        if not folder.is_dir():
            folder.mkdir(mode=0o700, exist_ok=True)
    return path


def private_file(path: Path) -> Path:
    """Make an empty file with mode 0600; what is there stays as it is.

    SQLite gives the mode of a database to the files beside it (`-wal`, `-shm`).

    Raises:
        OSError: it cannot be made.
    """
    path.touch(mode=0o600)
    return path


def lock_file(path: Path) -> IO[str] | None:
    """Hold a lock file for the life of this process or until closed; None when another does.

    Raises:
        OSError: the file cannot be made.
    """
    handle = private_file(path).open("a")
    try:
        fcntl.fcntl(handle, fcntl.F_OFD_SETLK, _WHOLE)
    except (BlockingIOError, PermissionError):  # fcntl(2): EAGAIN or EACCES
        handle.close()
        return None
    return handle


def is_locked(path: Path) -> bool:
    """Whether somebody holds a lock file; nothing is held or made meanwhile."""
    try:
        with path.open("rb") as handle:
            found = fcntl.fcntl(handle, fcntl.F_OFD_GETLK, _WHOLE)
    except FileNotFoundError:
        return False
    kind: int = struct.unpack(_FLOCK, found)[0]
    return kind != fcntl.F_UNLCK
