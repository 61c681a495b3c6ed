"""What has come so far of files that come in chunks, until they are whole.

One file for each transfer: its content, then a byte for each chunk that says whether it is there. So
what a process leaves behind that is killed goes on with the next one, and chunks may come in any order
and more than once. A power cut may take content that the bytes vouch for: the whole has a SHA-256.

The first letters of a transfer's key say whose it is: nobody may take all the room there is for them, and
where one has no more, what he broke off longest ago gives way.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, Protocol

from mcshell.private import private_folder
from mcshell.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from contextlib import AbstractContextManager
    from pathlib import Path

__all__ = ["CHUNKS", "DiskParts", "FilePart", "PartLimits", "Parts", "Shape", "owner_of", "ranges"]

_BLOCK: Final = 1 << 20
CHUNKS: Final = 65_536
"""So many at most."""
_OWNER: Final = 8
_IDLE: Final = 3600.0
"""Seconds without a chunk after which a transfer gives way to another of its caller's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """How a file is cut: `size` and `chunk` are bytes; only the last chunk may be shorter."""

    size: int
    chunk: int

    @property
    def chunks(self) -> int:
        """How many there are."""
        return -(-self.size // self.chunk)

    def length(self, number: int) -> int:
        """The length of a chunk, in bytes."""
        return min(self.chunk, self.size - number * self.chunk)


@dataclass(frozen=True, slots=True, kw_only=True)
class PartLimits:
    """What unfinished transfers may take: `most` bytes in all, `keep` seconds without a new chunk.

    `free` bytes of the file system are left alone.
    """

    most: int
    keep: float
    free: int


class FilePart(Protocol):
    """What there is of one transfer. Whoever has it is alone with it."""

    def missing(self) -> list[int]:
        """The numbers of the chunks that have not come."""

    def write(self, number: int, data: bytes) -> None:
        """Keep a chunk; of one that is there already nothing changes. Raises OSError."""

    def blocks(self) -> Iterator[bytes]:
        """The content, from its beginning."""

    def discard(self) -> None:
        """Keep nothing of it."""


class Parts(Protocol):
    """The unfinished transfers of a node."""

    def has(self, key: str) -> bool:
        """Whether anything is kept of a transfer."""

    def open(self, key: str, shape: Shape, limits: PartLimits) -> AbstractContextManager[FilePart]:
        """Be alone with what there is of a transfer; a new one gets its room at once.

        Raises:
            OSError: there is no room for it, by the limits or on the disk.
        """


def ranges(numbers: list[int], most: int) -> list[list[int]]:
    """Rising numbers as pairs of first and last, at most so many pairs."""
    found: list[list[int]] = []
    for number in numbers:
        if found and number == found[-1][1] + 1:
            found[-1][1] = number
        elif len(found) == most:
            break
        else:
            found.append([number, number])
    return found


class DiskParts:
    """Those of a folder, which threads and processes share."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def has(self, key: str) -> bool:
        """Whether there is a file for it."""
        return self._path(key).exists()

    @contextmanager
    def open(self, key: str, shape: Shape, limits: PartLimits) -> Iterator[FilePart]:
        """Be alone with its file."""
        private_folder(self._folder)
        path = self._path(key)
        descriptor = _locked(path)
        try:
            if os.fstat(descriptor).st_size != shape.size + shape.chunks:
                try:
                    self._make_room(descriptor, key, shape, limits)
                except BaseException:
                    path.unlink(missing_ok=True)
                    raise
            yield _DiskPart(descriptor, path, shape)
        finally:
            os.close(descriptor)

    def _path(self, key: str) -> Path:
        return self._folder / f"{key}.part"

    def _make_room(self, descriptor: int, key: str, shape: Shape, limits: PartLimits) -> None:
        """Drop what was given up, and take the room of one more; one after the other."""
        whole = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(whole, fcntl.LOCK_EX)
            self._drop(key, shape, limits)
            room = os.statvfs(self._folder)
            free = room.f_bavail * room.f_frsize
            refuse_full(free, shape.size, limits, " where the node keeps what has come")
            os.ftruncate(descriptor, 0)
            os.posix_fallocate(descriptor, 0, shape.size + shape.chunks)
        finally:
            os.close(whole)

    def _drop(self, key: str, shape: Shape, limits: PartLimits) -> None:
        """Drop what was given up, and as much of the caller's own as one more needs; OSError if it cannot."""
        now = time.time()
        others = [_KeptPart.of(path) for path in self._folder.glob("*.part") if path.stem != key]
        others.sort(key=lambda one: one.since)
        for one in [*others]:
            if now - one.since > limits.keep:
                one.path.unlink(missing_ok=True)
                others.remove(one)
        idle = [one for one in others if owns(key, one.path.stem) and now - one.since > _IDLE]
        while True:
            sizes = {one.path.stem: one.size for one in others}
            try:
                refuse_beyond(sizes, key, shape, limits)
            except OSError:
                if not idle:
                    raise
                oldest = idle.pop(0)
                oldest.path.unlink(missing_ok=True)
                others.remove(oldest)
            else:
                return


@dataclass(frozen=True, slots=True, kw_only=True)
class _KeptPart:
    """What is kept of a transfer: its bytes, and when a chunk has come last."""

    path: Path
    size: int
    since: float

    @classmethod
    def of(cls, path: Path) -> _KeptPart:
        try:
            found = path.stat()
        except FileNotFoundError:  # it has ended meanwhile
            return cls(path=path, size=0, since=time.time())
        return cls(path=path, size=found.st_size, since=found.st_mtime)


def owner_of(caller: str) -> str:
    """How the keys of a caller's transfers begin."""
    return hashlib.sha256(caller.encode()).hexdigest()[:_OWNER]


def owns(key: str, other: str) -> bool:
    """Whether two transfers are one caller's."""
    return key[:_OWNER] == other[:_OWNER]


def refuse_beyond(sizes: Mapping[str, int], key: str, shape: Shape, limits: PartLimits) -> None:
    """Refuse one more transfer where the quota has no room for it; OSError.

    `sizes` are the bytes of the others by their keys. Who has some already leaves a quarter to others.
    """
    taken = sum(sizes.values())
    if taken + shape.size > limits.most:
        why = f"unfinished transfers have {taken} of {limits.most} bytes (parts_max)"
        raise OSError(errno.EDQUOT, why)
    own = sum(size for other, size in sizes.items() if owns(key, other))
    most = limits.most * 3 // 4
    if own and own + shape.size > most:
        why = f"unfinished transfers of this caller's have {own} of {most} bytes (of parts_max)"
        raise OSError(errno.EDQUOT, why)


def refuse_full(room: int, size: int, limits: PartLimits, where: str = "") -> None:
    """Refuse what would leave too little on a disk; OSError."""
    if room - size < limits.free:
        why = f"no space left{where}: {room} bytes, of which {limits.free} stay free (keep_free)"
        raise OSError(errno.ENOSPC, why)


def _locked(path: Path) -> int:
    """Open a file and be alone with it; another may have finished and removed it meanwhile."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        if os.fstat(descriptor).st_nlink:
            return descriptor
        os.close(descriptor)


class _DiskPart:
    def __init__(self, descriptor: int, path: Path, shape: Shape) -> None:
        self._descriptor = descriptor
        self._path = path
        self._shape = shape

    def missing(self) -> list[int]:
        shape = self._shape
        there = os.pread(self._descriptor, shape.chunks, shape.size)
        return [number for number, one in enumerate(there) if not one]

    def write(self, number: int, data: bytes) -> None:
        shape = self._shape
        if os.pread(self._descriptor, 1, shape.size + number) == b"\1":
            return
        _write_at(self._descriptor, data, number * shape.chunk)
        _write_at(self._descriptor, b"\1", shape.size + number)

    def blocks(self) -> Iterator[bytes]:
        at, size = 0, self._shape.size
        while at < size and (block := os.pread(self._descriptor, min(_BLOCK, size - at), at)):
            yield block
            at += len(block)

    def discard(self) -> None:
        self._path.unlink(missing_ok=True)


def _write_at(descriptor: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(descriptor, view, offset)
        view, offset = view[written:], offset + written
