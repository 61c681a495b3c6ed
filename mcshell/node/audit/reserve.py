"""Room on a disk that is taken while there is some: a file that is written in place.

What is put there needs no free block, so it is kept when the disk is full; its owner takes it out
again when there is room elsewhere.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Final

from mcshell.private import private_file
from mcshell.storage import is_storage_fault

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["AUDIT_ROOM", "CLAIMS_ROOM", "Reserve", "read_reserve"]

AUDIT_ROOM: Final = 192 * 1024
CLAIMS_ROOM: Final = 64 * 1024
"""The two halves of a node's reserve, bytes: 256 KiB in all."""


class Reserve:
    """One such file of `size` bytes; what it holds is `kept`, lines each. For one thread at a time.

    On a disk that takes nothing there is no room in it, until it is emptied.

    Raises:
        OSError: it cannot be made, or read.
    """

    def __init__(self, path: Path, size: int) -> None:
        self._path, self._wanted = path, size
        self._file: int | None = None
        self._size = 0
        self._stale = 0
        """Bytes at the start that are forgotten, and still stand there."""
        try:
            self._open()
        except OSError as error:
            if not is_storage_fault(error):
                raise
            self.kept = read_reserve(path)

    def _open(self) -> None:
        size = self._wanted
        self._file = os.open(private_file(self._path), os.O_RDWR | os.O_CLOEXEC)
        self.kept = _lines(os.pread(self._file, size, 0))
        room = os.fstat(self._file).st_size
        if room < size:
            # Zeros are written: blocks that are only promised may need others when they are used.
            with contextlib.suppress(OSError):  # a disk that is full already: it stays smaller
                os.pwrite(self._file, bytes(size - room), room)
                os.fsync(self._file)
        self._size = min(size, os.fstat(self._file).st_size)

    def put(self, line: bytes) -> bool:
        """Keep a line, with its line feed; whether there was room for it."""
        end = len(self.kept)
        self._overwrite()
        if self._file is None or self._stale or end + len(line) > self._size:
            return False
        try:
            written = os.pwrite(self._file, line, end)
        except OSError:
            return False
        if written < len(line):
            return False
        self.kept += line
        return True

    def empty(self) -> None:
        """Forget what is kept. On a disk that takes nothing it stands there until one does."""
        if not self.kept and not self._stale:
            return
        self._stale = max(self._stale, len(self.kept))
        self.kept = b""
        self._overwrite()

    def _overwrite(self) -> None:
        if not self._stale:
            return
        with contextlib.suppress(OSError):  # tried again before anything else is kept
            if self._file is None:
                self._open()
                self.kept = b""
            if self._file is not None:
                os.pwrite(self._file, bytes(self._stale), 0)
                self._stale = 0

    def sync(self) -> None:
        """Have what is kept on the disk."""
        if self._file is not None:
            os.fdatasync(self._file)

    def close(self) -> None:
        """Close the file; what is kept stays."""
        if self._file is not None:
            os.close(self._file)


def read_reserve(path: Path) -> bytes:
    """What a reserve holds, for those who only read it; nothing where there is none."""
    return _lines(path.read_bytes()) if path.is_file() else b""


def _lines(text: bytes) -> bytes:
    """The whole lines at the start of a reserve."""
    used = text.partition(b"\0")[0]
    return used[: used.rfind(b"\n") + 1]
