"""The large bodies of replies, in a file beside their session's: SQLite would write them twice.

In a row's place for such a body stands where it is. Bodies are on the disk before their rows are
committed; what lies behind the end that the session file knows of is of a commit that was never
made, and is written over. None is ever changed or dropped, but with the whole session.
"""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING, Final

from mcshell.client.store.records import LARGE
from mcshell.errors import MachineError, StorageError
from mcshell.private import private_file
from mcshell.storage import is_storage_fault

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable
    from pathlib import Path

    from mcshell.client.store.records import ReplyRow

__all__ = ["BESIDE", "bring_in", "is_beside", "put_aside", "whole"]

BESIDE: Final = "-bodies"
"""What the file's name has behind that of the session file."""
# A zero, with which no reply begins, of our wire or the old one; then the place and the size.
_PLACE: Final = struct.Struct(">xQI")
_MARK: Final = b"\0"
_END: Final = "bodies"


def put_aside(db: sqlite3.Connection, session: Path, rows: list[ReplyRow]) -> list[ReplyRow]:
    """Write what is large into the file, in a transaction; gives the rows with its places.

    Raises:
        StorageError: the disk takes nothing.
        MachineError: it could not be written.
    """
    if all(len(body) <= LARGE for body, *_ in rows):
        return rows
    found = db.execute("SELECT value FROM meta WHERE key=?", (_END,)).fetchone()
    end = int(found[0]) if found else 0
    path = session.with_name(session.name + BESIDE)
    placed: list[ReplyRow] = []
    try:
        if not end:  # what is there was another session's, or a commit that was never made
            path.unlink(missing_ok=True)
        with private_file(path).open("r+b") as file:
            file.seek(end)
            for row in rows:
                kept = body = row[0]
                if len(body) > LARGE:
                    kept = _PLACE.pack(end, len(body))
                    end += file.write(body)
                placed.append((kept, *row[1:]))
            file.flush()
            os.fdatasync(file.fileno())
        if not found:
            _sync_folder(path.parent)
    except OSError as error:
        kind = StorageError if is_storage_fault(error) else MachineError
        raise kind(f"{path} cannot be written: {error}") from error
    db.execute("INSERT OR REPLACE INTO meta VALUES (?,?)", (_END, str(end)))
    return placed


def _sync_folder(folder: Path) -> None:
    """Have the name of a new file on the disk."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def is_beside(kept: bytes) -> bool:
    """Whether what a row has of a body is where it is."""
    return kept.startswith(_MARK)


def whole(session: Callable[[], Path], kept: bytes) -> bytes:
    """A reply's body, of what its row has; MachineError where the file has it no more."""
    if not is_beside(kept):
        return kept
    while True:
        path = session()
        try:
            return _read(path, kept)
        except MachineError:
            if path == session():  # else it has had another name since
                raise


def _read(session: Path, kept: bytes) -> bytes:
    path = session.with_name(session.name + BESIDE)
    try:
        place, size = _PLACE.unpack(kept)
        with path.open("rb") as file:
            if place + size <= os.fstat(file.fileno()).st_size:
                file.seek(place)
                return file.read(size)
    except (OSError, struct.error) as error:
        raise MachineError(f"{path} cannot be read: {error}") from error
    raise MachineError(f"{path} is not whole: a reply in it ends at {place + size} bytes")


def bring_in(db: sqlite3.Connection, session: Path) -> None:
    """Put all bodies into the rows of a copy of a session file, in a transaction."""
    marked = "SELECT number FROM replies WHERE substr(body, 1, 1)=?"
    for (number,) in db.execute(marked, (_MARK,)).fetchall():
        (kept,) = db.execute("SELECT body FROM replies WHERE number=?", (number,)).fetchone()
        db.execute(
            "UPDATE replies SET body=? WHERE number=?", (whole(lambda: session, kept), number)
        )
    db.execute("DELETE FROM meta WHERE key=?", (_END,))
