"""The files of an emulated machine: a tree in memory, looked at and held as real ones are."""

from __future__ import annotations

import errno
import os
import posixpath
import stat
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from mcshell.filters.data import FileEntry
from mcshell.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["FileTree", "PretendedFile"]

_MOST_LINKS: Final = 40
_BLOCK: Final = 4096


@dataclass(slots=True, kw_only=True)
class PretendedFile:
    """A file, folder or link. `mode` says which; `padding` is how many zero bytes follow its content."""

    mode: int
    mtime: float
    content: bytes = b""
    link: str = ""
    uid: int = 0
    gid: int = 0
    padding: int = 0
    number: int = 0

    @property
    def size(self) -> int:
        """In bytes."""
        if stat.S_ISDIR(self.mode):
            return _BLOCK
        return len(self.link or self.content) + self.padding


class FileTree:
    """All files of one machine; folders come with what is in them."""

    def __init__(self, born: float) -> None:
        self._files = {"/": PretendedFile(mode=stat.S_IFDIR | 0o755, mtime=born, number=2)}

    def add(
        self,
        path: str,
        content: str = "",
        mode: int = 0o644,
        *,
        at: float,
        uid: int = 0,
        gid: int = 0,
        padding: int = 0,
    ) -> None:
        """Put a file there, in place of any."""
        self.write(path, content.encode(), mode, at=at, uid=uid, gid=gid, padding=padding)

    def write(
        self,
        path: str,
        content: bytes,
        mode: int,
        *,
        at: float,
        uid: int = 0,
        gid: int = 0,
        padding: int = 0,
    ) -> None:
        """As `add`, of bytes."""
        self._put(
            path,
            PretendedFile(
                mode=stat.S_IFREG | mode,
                mtime=at,
                content=content,
                uid=uid,
                gid=gid,
                padding=padding,
            ),
        )

    def add_folder(self, path: str, mode: int = 0o755, *, at: float) -> None:
        """Put a folder there, unless there is one."""
        if path not in self._files:
            self._put(path, PretendedFile(mode=stat.S_IFDIR | mode, mtime=at))

    def add_link(self, path: str, to: str, *, at: float) -> None:
        """Put a link there."""
        self._put(path, PretendedFile(mode=stat.S_IFLNK | 0o777, mtime=at, link=to))

    def _put(self, path: str, file: PretendedFile) -> None:
        parent = posixpath.dirname(path)
        if parent != path:
            self.add_folder(parent, at=file.mtime)
        before = self._files.get(path)
        file.number = before.number if before is not None else len(self._files) + 2
        self._files[path] = file

    def append(self, path: str, text: str, *, at: float) -> None:
        """Add to the end of a file; where there is none, make one."""
        if path not in self._files:
            self.add(path, at=at)
        file = self._files[path]
        file.content += text.encode()
        file.mtime = at

    def remove(self, path: str) -> None:
        """Remove a file or link; OSError when it is none."""
        if stat.S_ISDIR(self.at(path, follow=False).mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
        del self._files[self.real(path, follow=False)]

    def real(self, path: str, *, follow: bool = True) -> str:
        """The path without links; of what is not there as far as it goes."""
        done, steps, links = "", posixpath.normpath(path).strip("/").split("/")[::-1], 0
        while steps:
            name = steps.pop()
            here = posixpath.normpath(f"{done}/{name}")
            file = self._files.get(here)
            if file is None or not file.link or not (follow or steps):
                done = here
                continue
            links += 1
            if links > _MOST_LINKS:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
            target = posixpath.normpath(posixpath.join(posixpath.dirname(here), file.link))
            done = ""
            steps += target.strip("/").split("/")[::-1]
        return done or "/"

    def at(self, path: str, *, follow: bool = True) -> PretendedFile:
        """What a path leads to; FileNotFoundError when there is nothing."""
        try:
            return self._files[self.real(path, follow=follow)]
        except KeyError:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path) from None

    def exists(self, path: str) -> bool:
        """Whether a path leads to anything."""
        return self.real(path) in self._files

    def names(self, path: str) -> list[str]:
        """The names in a folder, sorted; NotADirectoryError when it is none."""
        if not stat.S_ISDIR(self.at(path).mode):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path)
        start = self.real(path).rstrip("/") + "/"
        inside = {one[len(start) :].split("/")[0] for one in self._files if one.startswith(start)}
        return sorted(inside - {""})

    def padding_below(self, folder: str) -> int:
        """The bytes of the large files below a folder."""
        start = folder.rstrip("/") + "/"
        return sum(one.padding for path, one in self._files.items() if path.startswith(start))

    @contextmanager
    def hold(self, path: str, *, public: bool, follow: bool = True) -> Iterator[HeldPretendedFile]:
        """Hold a file as `node.system.System.hold` does."""
        real = self.real(path, follow=follow)
        if public:
            parts = real.strip("/").split("/")
            for count in range(1, len(parts)):
                above = self._files.get("/" + "/".join(parts[:count]))
                if above is not None and not above.mode & stat.S_IXOTH:
                    raise PermissionError(errno.EACCES, "not readable by all: not told", path)
        yield HeldPretendedFile(real, self.at(real, follow=False), self)


@dataclass(frozen=True, slots=True)
class HeldPretendedFile:
    """A file of a tree that is held (a `HeldFile`)."""

    real: str
    file: PretendedFile
    tree: FileTree

    @property
    def status(self) -> os.stat_result:
        """What it is."""
        one = self.file
        moment = int(one.mtime)
        return os.stat_result(
            (one.mode, one.number, 0, 1, one.uid, one.gid, one.size, moment, moment, moment)
        )

    def read(self, length: int, offset: int = 0) -> bytes:
        """So many bytes; what pads a file is zero."""
        found = self.file.content[offset : offset + length]
        room = min(length - len(found), self.file.size - offset - len(found))
        return found + bytes(max(0, room))

    def entries(self) -> Iterator[FileEntry]:
        """What is in a folder."""
        for name in self.tree.names(self.real):
            path = posixpath.join(self.real, name)
            with self.tree.hold(path, public=False, follow=False) as held:
                yield FileEntry(name, held.status, held.file.link or None)
