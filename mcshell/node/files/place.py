"""Where a file goes: a folder that is held below a root, and a name in it.

From the root on no link is followed, and each step is taken from the folder that is held, so that
nobody can lead a write elsewhere by swapping one of them. A file appears whole and under its name in
one rename(2), or not at all.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final, Protocol

from mcshell.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = [
    "Attributes",
    "LocalPlace",
    "Place",
    "WrongContent",
    "local_place",
    "number_of",
    "steps_below",
]

_BLOCK: Final = 1 << 20
_FOLDER: Final = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_NOBODYS: Final = 0xFFFF_FFFF
"""To chown(2) it says that nothing changes; there are none above."""
PERMISSIONS: Final = 0o777
MODE: Final = 0o644
"""Of a file that is new, and of which nobody says another."""


class WrongContent(ValueError):
    """What came is not what was announced."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attributes:
    """Permissions and owner that a file is to have; None: those of the file that was there before."""

    mode: int | None = None
    uid: int | None = None
    gid: int | None = None

    def differ(self, found: os.stat_result) -> bool:
        """Whether a file has others than are wanted."""
        has = (stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid)
        return any(
            one not in (None, other)
            for one, other in zip((self.mode, self.uid, self.gid), has, strict=True)
        )


class Place(Protocol):
    """A name in a folder that is held."""

    @property
    def real(self) -> str:
        """Its path without links."""

    def status(self) -> os.stat_result | None:
        """What is there now, a link itself; None when there is nothing."""

    def digest(self, size: int) -> str | None:
        """The SHA-256 of the file that is there; None where it is no file of that size (bytes)."""

    def room(self) -> int:
        """How many bytes its file system has left."""

    def refuse_special(self) -> None:
        """OSError where something is there that is no plain file."""

    def replace(self, blocks: Iterable[bytes], sha256: str, wanted: Attributes, key: str) -> None:
        """Put a file there, whole or not at all; `key` tells this transfer from all others.

        Raises:
            WrongContent: the blocks do not have that SHA-256.
            OSError: it cannot be written, or what is there is no plain file.
        """

    def adjust(self, wanted: Attributes) -> None:
        """Give the file that is there other attributes; raises OSError."""


def number_of(name: str) -> int | None:
    """The number that a user's or group's name is; None where it is none that anybody can have."""
    number = int(name) if name.isascii() and name.isdecimal() else _NOBODYS
    return number if number < _NOBODYS else None


def steps_below(root: str, path: str) -> list[str] | None:
    """The names that lead from a root to a path; None where it does not lie below.

    They go down: a path with `..` in it lies below nothing.
    """
    roots, names = _names(root), _names(path)
    if ".." in names or names[: len(roots)] != roots or len(names) == len(roots):
        return None
    return names[len(roots) :]


def _names(path: str) -> list[str]:
    return [name for name in path.split("/") if name not in ("", ".")]


@contextmanager
def local_place(root: str, steps: list[str]) -> Iterator[LocalPlace]:
    """Hold the folder that the steps below a root lead to; OSError where they lead over a link."""
    here = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    top = _path_of(here)
    try:
        for name in steps[:-1]:
            found = os.open(name, _FOLDER, dir_fd=here)
            os.close(here)
            here = found
        yield LocalPlace(here, top, steps[-1])
    finally:
        os.close(here)


def _path_of(descriptor: int) -> str:
    return os.readlink(f"/proc/self/fd/{descriptor}")  # noqa: PTH115 - a kernel link, kept as it is


class LocalPlace:
    """A place on the machine that this process runs on."""

    def __init__(self, folder: int, top: str, name: str) -> None:
        self._folder = folder
        self._top = top
        self._name = name

    @property
    def real(self) -> str:
        """Its path as the kernel knows it."""
        return f"{_path_of(self._folder).rstrip('/')}/{self._name}"

    def status(self) -> os.stat_result | None:
        """What is there now."""
        try:
            return os.stat(self._name, dir_fd=self._folder, follow_symlinks=False)
        except FileNotFoundError:
            return None

    def room(self) -> int:
        """How many bytes its file system has left for us."""
        found = os.statvfs(f"/proc/self/fd/{self._folder}")
        return found.f_bavail * found.f_frsize

    def digest(self, size: int) -> str | None:
        """The SHA-256 of the file that is there; nothing else is opened."""
        if self.status() is None:
            return None
        with self._held() as held:
            found = os.fstat(held)
            if not stat.S_ISREG(found.st_mode) or found.st_size != size:
                return None
            with open(f"/proc/self/fd/{held}", "rb") as file:  # noqa: PTH123 - what is held
                return hashlib.file_digest(file, "sha256").hexdigest()

    def refuse_special(self) -> None:
        """What is there is a plain file, or nothing."""
        self._plain()

    def replace(self, blocks: Iterable[bytes], sha256: str, wanted: Attributes, key: str) -> None:
        """Put a file there, whole or not at all."""
        before = self._plain()
        temporary = f".mcs-{key[:32]}"
        with suppress(FileNotFoundError):  # of a process that was killed here
            os.unlink(temporary, dir_fd=self._folder)
        descriptor = os.open(temporary, _NEW, 0o600, dir_fd=self._folder)
        try:
            _fill(descriptor, blocks, sha256)
            _dress(descriptor, wanted, before)
            os.fsync(descriptor)
            self._refuse_outside()
            self._refuse_another(temporary, os.fstat(descriptor))
            self._plain()
            os.rename(temporary, self._name, src_dir_fd=self._folder, dst_dir_fd=self._folder)
        except BaseException:
            with suppress(FileNotFoundError):
                os.unlink(temporary, dir_fd=self._folder)
            raise
        finally:
            os.close(descriptor)
        self._sync()

    def adjust(self, wanted: Attributes) -> None:
        """Give the file that is there other attributes."""
        self._plain()
        with self._held() as held:
            if not stat.S_ISREG(os.fstat(held).st_mode):
                raise OSError(errno.EINVAL, "it is no plain file", self._name)
            place = f"/proc/self/fd/{held}"
            os.chown(place, _kept(wanted.uid), _kept(wanted.gid))
            if wanted.mode is not None:
                os.chmod(place, wanted.mode)  # noqa: PTH101 - a kernel link

    @contextmanager
    def _held(self) -> Iterator[int]:
        flags = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
        held = os.open(self._name, flags, dir_fd=self._folder)
        try:
            yield held
        finally:
            os.close(held)

    def _plain(self) -> os.stat_result | None:
        """What is there, which may be a file or nothing."""
        found = self.status()
        if found is not None and not stat.S_ISREG(found.st_mode):
            raise OSError(errno.EEXIST, "what is there is no plain file", self._name)
        return found

    def _refuse_outside(self) -> None:
        """The folder that is held may have been moved meanwhile, as far as out of the root."""
        if not f"{_path_of(self._folder)}/".startswith(f"{self._top.rstrip('/')}/"):
            raise OSError(errno.EXDEV, "its folder was moved out of the root", self._name)

    def _refuse_another(self, temporary: str, written: os.stat_result) -> None:
        """Whoever may write in the folder could have put another file under our name."""
        found = os.stat(temporary, dir_fd=self._folder, follow_symlinks=False)
        if (found.st_dev, found.st_ino) != (written.st_dev, written.st_ino):
            raise OSError(errno.EBUSY, "another file was put in its place", self._name)

    def _sync(self) -> None:
        descriptor = os.open(".", os.O_RDONLY | os.O_DIRECTORY, dir_fd=self._folder)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _fill(descriptor: int, blocks: Iterable[bytes], sha256: str) -> None:
    digest = hashlib.sha256()
    for block in blocks:
        digest.update(block)
        view = memoryview(block)
        while view:
            view = view[os.write(descriptor, view) :]
    if digest.hexdigest() != sha256:
        raise WrongContent(f"the SHA-256 of what came is {digest.hexdigest()}, not {sha256}")


def _dress(descriptor: int, wanted: Attributes, before: os.stat_result | None) -> None:
    """Owner first, as chown(2) takes bits away; a file in whose place it goes lends both."""
    if wanted.uid is not None or wanted.gid is not None:
        os.fchown(descriptor, _kept(wanted.uid), _kept(wanted.gid))
    if before is not None:
        with suppress(PermissionError):  # a node that is not root makes files of its own
            uid = before.st_uid if wanted.uid is None else -1
            os.fchown(descriptor, uid, before.st_gid if wanted.gid is None else -1)
    lent = MODE if before is None else stat.S_IMODE(before.st_mode) & PERMISSIONS
    os.fchmod(descriptor, lent if wanted.mode is None else wanted.mode)


def _kept(number: int | None) -> int:
    return -1 if number is None else number
