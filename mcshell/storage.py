"""Disks that take nothing: full, read-only, broken. What needs the disk says so; the rest goes on.

A node whose state is on such a disk still answers `ping`, discovery and `explain`, refuses work in
signed words, and begins anew once there is room (mcshell/README.md §9).
"""

from __future__ import annotations

import errno
import os
import time
from typing import TYPE_CHECKING, Final

from mcshell.errors import MachineError, MCShellError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["has_room", "is_storage_fault", "not_written", "storage_flaws", "when_room"]

_ERRNOS: Final = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO}
# SQLITE_READONLY, SQLITE_IOERR, SQLITE_FULL: shims come here, and have no use for sqlite3 else.
_CODES: Final = {8, 10, 13}
_AGAIN: Final = 1.0
_ROOM: Final = 256 * 1024
"""Bytes below which a disk counts as full: what opening a few databases takes."""


def is_storage_fault(error: BaseException | None) -> bool:
    """Whether the disk is at fault, or its owner's quota: not a mode, a name or a content."""
    if isinstance(error, OSError):
        return error.errno in _ERRNOS
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in _CODES


def not_written(path: Path, error: OSError, kind: type[MCShellError] = UsageError) -> MCShellError:
    """The error that says why a file was not written: the machine's where its disk takes nothing."""
    said = f"{error.filename or path}: {error.strerror or error}"
    return (MachineError if is_storage_fault(error) else kind)(said)


def when_room(write: Callable[[], None]) -> None:
    """Write, however long it takes until the disk takes it; raises what else goes wrong."""
    while True:
        try:
            write()
        except OSError as error:
            if not is_storage_fault(error):
                raise
        else:
            return
        time.sleep(_AGAIN)


def has_room(folder: Path) -> bool:
    """Whether something can be written below a folder; what is written for that is gone again."""
    import tempfile  # noqa: PLC0415 - not for shims

    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(_ROOM))
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        return False
    return True


def storage_flaws(folder: Path) -> tuple[str, ...]:
    """What is wrong with the disk that a folder is on, a line each, without writing to it."""
    try:
        found = os.statvfs(folder)
    except OSError as error:
        return (f"{folder}: {error.strerror}: nothing can be kept",)
    if found.f_flag & os.ST_RDONLY:
        return (f"{folder} is read-only: nothing can be kept, work is refused",)
    free = found.f_bavail * found.f_frsize
    if free < _ROOM:
        return (f"the disk of {folder} is full ({free} bytes free): work is refused",)
    return ()
