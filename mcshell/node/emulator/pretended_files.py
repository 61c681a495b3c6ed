"""Files that come to an emulated machine: kept in memory, as all of its files are."""

from __future__ import annotations

import errno
import hashlib
import stat
import threading
from collections import OrderedDict
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from mcshell.node.files.parts import refuse_beyond
from mcshell.node.files.place import MODE, PERMISSIONS, Attributes, WrongContent

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Iterator
    from threading import RLock

    from mcshell.node.emulator.file_tree import FileTree
    from mcshell.node.files.parts import FilePart, PartLimits, Shape

__all__ = ["PretendedParts", "PretendedPlace"]

_SHARED: Final = 256 << 20


class _RecentContents:
    """Contents of the last moments, so many bytes: what machines of one process are sent alike is one."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._kept: OrderedDict[bytes, bytes] = OrderedDict()
        self._size = 0

    def share(self, content: bytes) -> bytes:
        """The same bytes, as whoever had them before us has them."""
        digest = hashlib.sha256(content).digest()
        with self._lock:
            if (known := self._kept.get(digest)) is not None:
                self._kept.move_to_end(digest)
                return known
            self._kept[digest] = content
            self._size += len(content)
            while self._size > self._most:
                self._size -= len(self._kept.popitem(last=False)[1])
            return content


_recent = _RecentContents(_SHARED)


class PretendedPlace:
    """A place in a tree of files, in which no link is followed. `room` is what its disk has left."""

    def __init__(
        self, files: FileTree, path: str, lock: RLock, room: Callable[[], int], now: float
    ) -> None:
        self.real = path
        self.room = room
        self._files = files
        self._lock = lock
        self._now = now

    def status(self) -> os.stat_result | None:
        """What is there now."""
        with self._lock:
            try:
                with self._files.hold(self.real, public=False, follow=False) as held:
                    return held.status
            except FileNotFoundError:
                return None

    def digest(self, size: int) -> str | None:
        """The SHA-256 of the file that is there."""
        found = self.status()
        if found is None or not stat.S_ISREG(found.st_mode) or found.st_size != size:
            return None
        with self._lock, self._files.hold(self.real, public=False, follow=False) as held:
            return hashlib.sha256(held.read(size)).hexdigest()

    def refuse_special(self) -> None:
        """What is there is a plain file, or nothing."""
        found = self.status()
        if found is not None and not stat.S_ISREG(found.st_mode):
            raise OSError(errno.EEXIST, "what is there is no plain file", self.real)

    def replace(self, blocks: Iterable[bytes], sha256: str, wanted: Attributes, key: str) -> None:
        """Put a file there."""
        del key  # nothing is half there
        self.refuse_special()
        content = _recent.share(b"".join(blocks))
        found = hashlib.sha256(content).hexdigest()
        if found != sha256:
            raise WrongContent(f"the SHA-256 of what came is {found}, not {sha256}")
        with self._lock:
            before = self.status()
            mode = MODE if before is None else stat.S_IMODE(before.st_mode) & PERMISSIONS
            uid, gid = (0, 0) if before is None else (before.st_uid, before.st_gid)
            self._files.write(
                self.real,
                content,
                mode if wanted.mode is None else wanted.mode,
                at=self._now,
                uid=uid if wanted.uid is None else wanted.uid,
                gid=gid if wanted.gid is None else wanted.gid,
            )

    def adjust(self, wanted: Attributes) -> None:
        """Give the file that is there other attributes."""
        with self._lock:
            one = self._files.at(self.real, follow=False)
            one.mode = one.mode if wanted.mode is None else stat.S_IFREG | wanted.mode
            one.uid = one.uid if wanted.uid is None else wanted.uid
            one.gid = one.gid if wanted.gid is None else wanted.gid


class PretendedParts:
    """What has come of files, for as long as the process lives."""

    def __init__(self, lock: RLock) -> None:
        self._lock = lock
        self._parts: dict[str, _PretendedPart] = {}

    def has(self, key: str) -> bool:
        """Whether anything has come."""
        return key in self._parts

    @contextmanager
    def open(self, key: str, shape: Shape, limits: PartLimits) -> Iterator[FilePart]:
        """Be alone with what there is of a transfer."""
        with self._lock:
            if key not in self._parts:
                sizes = {other: one.shape.size for other, one in self._parts.items()}
                refuse_beyond(sizes, key, shape, limits)
                self._parts[key] = _PretendedPart(shape, lambda: self._parts.pop(key, None))
            yield self._parts[key]


class _PretendedPart:
    def __init__(self, shape: Shape, discard: Callable[[], object]) -> None:
        self.shape = shape
        self._discard = discard
        self._chunks: dict[int, bytes] = {}

    def missing(self) -> list[int]:
        return [number for number in range(self.shape.chunks) if number not in self._chunks]

    def write(self, number: int, data: bytes) -> None:
        self._chunks.setdefault(number, _recent.share(data))

    def blocks(self) -> Iterator[bytes]:
        for number in range(self.shape.chunks):
            yield self._chunks[number]

    def discard(self) -> None:
        self._discard()
