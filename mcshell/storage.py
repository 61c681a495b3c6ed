"""Disks that take nothing: full, read-only, broken. What needs the disk says so; the rest goes on.

A node whose state is on such a disk still answers `ping`, discovery and `explain`, refuses work in
signed words, and begins anew once there is room (mcshell/README.md §9).

A SQLite file that is deleted or replaced while it is open goes on without a name, and what is
committed there is gone with the process: what it holds gets its name again (`put_back`).
"""

from __future__ import annotations

import errno
import os
import time
from typing import TYPE_CHECKING, Final

from mcshell.errors import MachineError, MCShellError, UsageError

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable
    from pathlib import Path

__all__ = [
    "SQLITE",
    "copy_temporary",
    "exhausted",
    "files_at",
    "has_room",
    "is_storage_fault",
    "lacking",
    "not_written",
    "put_back",
    "storage_flaws",
    "when_room",
]

SQLITE: Final = b"SQLite format 3\0"
"""What a file of SQLite's begins with, once anything is in it."""
_ERRNOS: Final = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO}
# SQLITE_READONLY, SQLITE_IOERR, SQLITE_FULL: shims come here, and have no use for sqlite3 else.
_CODES: Final = {8, 10, 13}
_CANNOT_OPEN: Final = 14  # SQLITE_CANTOPEN
_NO_SHARED_MEMORY: Final = 4874  # SQLITE_IOERR_SHMSIZE
_FILES: Final = 4
"""A database, its WAL, the memory that is shared with others, and a folder to be synchronised."""
_NO_DESCRIPTOR: Final = (errno.EMFILE, errno.ENFILE)
_AGAIN: Final = 1.0
_ROOM: Final = 256 * 1024
"""Bytes below which a disk counts as full: what opening a few databases takes."""


def is_storage_fault(error: BaseException | None) -> bool:
    """Whether the disk is at fault, or what its owner may have of it: not a mode, a name or a content."""
    if isinstance(error, OSError):
        return error.errno in _ERRNOS
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in _CODES


def lacking(path: Path, error: Exception) -> str:
    """What the disk lacks for a SQLite file to be opened; nothing where something else is at fault."""
    code = getattr(error, "sqlite_errorcode", 0)
    if code & 0xFF == _CANNOT_OPEN:  # the file, or one beside it that has to be made
        why = _why_no_room(path.parent)
        return f"{why.strerror}" if why is not None and is_storage_fault(why) else ""
    if not is_storage_fault(error):
        return ""
    return "its disk is full" if code == _NO_SHARED_MEMORY else f"{error}"


def exhausted(error: Exception) -> str:
    """What says that nothing more can be opened here (`ulimit -n`), where that is what is wrong; else ""."""
    if (
        getattr(error, "sqlite_errorcode", 0) & 0xFF == _CANNOT_OPEN
    ):  # it keeps the reason to itself
        opened: list[int] = []
        try:
            opened += (os.open(os.devnull, os.O_RDONLY) for _ in range(_FILES))
        except OSError as lack:
            error = lack
        finally:
            for one in opened:
                os.close(one)
    lacks = isinstance(error, OSError) and error.errno in _NO_DESCRIPTOR
    return os.strerror(errno.EMFILE) if lacks else ""


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
    return _why_no_room(folder) is None


def _why_no_room(folder: Path) -> OSError | None:
    """Why nothing can be written below a folder; None where something can."""
    import tempfile  # noqa: PLC0415 - not for shims

    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(_ROOM))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        return error
    return None


def storage_flaws(folder: Path, *, new_files: bool = True) -> tuple[str, ...]:
    """What is wrong with the disk that a folder is on, a line each, without writing to it.

    Without `new_files` it is enough that those which are there can grow.
    """
    try:
        found = os.statvfs(folder)
    except OSError as error:
        return (f"{folder}: {error.strerror}: nothing can be kept",)
    if found.f_flag & os.ST_RDONLY:
        return (f"{folder} is read-only: nothing can be kept, work is refused",)
    free = found.f_bavail * found.f_frsize
    if free < _ROOM:
        return (f"the disk of {folder} is full ({free} bytes free): work is refused",)
    if new_files and found.f_files and not found.f_favail:  # some disks do not count them
        return (f"the disk of {folder} has no inode left: no work can begin",)
    return ()


def files_at(path: Path) -> list[tuple[int, int]]:
    """Which files a SQLite file and its WAL are, those that are there; before each commit, so quickly."""
    name, found = os.fspath(path), []
    for one in (name, name + "-wal"):
        try:
            about = os.stat(one)  # noqa: PTH116 - as above
        except (FileNotFoundError, NotADirectoryError):
            continue
        found.append((about.st_dev, about.st_ino))
    return found


def put_back(connection: sqlite3.Connection, path: Path) -> str:
    """Write what a connection sees to its file's name; says what became of what lay there."""
    from mcshell.private import private_file  # noqa: PLC0415 - not for shims

    draft, aside = (path.with_name(f"{path.name}.{ending}") for ending in ("draft", "found"))
    draft.unlink(missing_ok=True)
    connection.execute("VACUUM INTO ?", (str(private_file(draft)),))
    with draft.open("rb") as file:
        os.fsync(file.fileno())
    found = ""
    if path.exists():
        path.replace(aside)
        found = f", and what lay there is {aside}"
    for ending in ("-wal", "-shm"):
        path.with_name(path.name + ending).unlink(missing_ok=True)
    draft.replace(path)
    return found


def copy_temporary(old: sqlite3.Connection, new: sqlite3.Connection) -> None:
    """Give a connection the tables that another has for itself alone."""
    query = "SELECT name, sql FROM temp.sqlite_master WHERE type = 'table'"
    for name, sql in old.execute(query).fetchall():
        new.execute(sql.replace("CREATE TABLE", "CREATE TEMP TABLE", 1))
        for row in old.execute(f"SELECT * FROM temp.{name}"):  # noqa: S608 - our own names
            new.execute(f"INSERT INTO temp.{name} VALUES ({', '.join('?' * len(row))})", tuple(row))  # noqa: S608 - as above
