"""Files and folders whose modes count.

What we write is made for its owner alone (state, sessions, queues, history), in folders where nobody
else can write (`private_folder`). What we obey (code, policies, configuration, passcodes, the CA)
must be such that nobody else can change it: `read_obeyed` and `check_obeyed` are the one way in for
all of it. As OpenSSH's StrictModes has it: owner root or us; neither others nor a group can write,
unless it is the owner's own group; and so with each folder and link on the way from the root, where
a sticky one (/tmp) does no harm. Since nobody else can then change any step of the way, what is
opened after the look is what was looked at.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import struct
from pathlib import Path
from typing import IO, Final, Self

from mcshell import forking

__all__ = [
    "FileLock",
    "UnsafeFile",
    "check_obeyed",
    "hold_public",
    "is_installed",
    "is_locked",
    "lock_file",
    "make_folder",
    "private_file",
    "private_folder",
    "read_obeyed",
    "replace_file",
]

_PACKAGE: Final = Path(__file__).resolve().parent
_BESIDE: Final = () if (_PACKAGE / "agents").is_dir() else (_PACKAGE.parent / "agents",)
# What is installed is not checked: it runs already.
_INSTALLED: Final = tuple(f"{folder}/" for folder in (_PACKAGE, *_BESIDE))
_MOST: Final = 64 << 20
_MOST_LINKS: Final = 40
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO

# struct flock (fcntl(2)). A lock of an open file, as flock(2) takes it, that can also be asked for.
_FLOCK = "hhqqi0q"
_WHOLE = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)


def private_folder(path: Path) -> Path:
    """Make a folder with mode 0700, and so those above it that are missing; what is there stays.

    `Path.mkdir(parents=True, mode=…)` gives its mode to the last one only. What we keep is believed
    later (which requests have run, which certificates are good), so nobody else may put it there: one
    that was made for us, in a place where others can write, is a trap.

    Raises:
        UnsafeFile: somebody else could change what is in it.
        OSError: it cannot be made.
    """
    make_folder(path)
    check_obeyed(path)
    if path.stat().st_mode & stat.S_IWOTH:  # a sticky one: what is not there yet may be another's
        raise UnsafeFile(path, "anyone can write in it: a folder of one's own is meant")
    return path


def make_folder(path: Path) -> Path:
    """Make a folder as `private_folder` does, for what is believed by its signature alone.

    Raises:
        OSError: it cannot be made.
    """
    for folder in (*reversed(path.parents), path):
        if not folder.is_dir():
            try:
                folder.mkdir(mode=0o700, exist_ok=True)
            except FileExistsError as error:  # in its place, and no folder
                raise NotADirectoryError(
                    errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder)
                ) from error
    return path


def private_file(path: Path) -> Path:
    """Make an empty file with mode 0600; what is there stays as it is.

    SQLite gives the mode of a database to the files beside it (`-wal`, `-shm`).

    Raises:
        OSError: it cannot be made.
    """
    path.touch(mode=0o600)
    return path


class FileLock:
    """A lock file that this process holds until it is closed; no child of it does."""

    def __init__(self, handle: IO[str]) -> None:
        self._handle = handle
        forking.hold(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def fileno(self) -> int:
        """For a program that is to hold it as well, for its own life (`subprocess`'s `pass_fds`)."""
        return self._handle.fileno()

    def close(self) -> None:
        """Let another process have it."""
        self._handle.close()

    def rest(self, timeout: float) -> bool:  # noqa: ARG002 - as `forking.Inherited` has it
        """Be ready for a fork, as it always is."""
        return True

    def go_on(self) -> None:
        """Stay held by the parent of a child."""

    def let_go(self) -> None:
        """Be held by the parent alone: the lock is the open file's, which both had."""
        self._handle.close()


def replace_file(path: Path, content: bytes, mode: int, *, exact: bool = False) -> None:
    """Write a file so that a reader sees the old one or the new one, whole and on the disk.

    With the mode from the first byte on, less what the umask takes, or `exact` whatever that is.

    Raises:
        OSError: it cannot be; it names the file, and nothing is left of it.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.unlink(missing_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        with os.fdopen(os.open(temporary, flags, mode), "wb") as file:
            if exact:
                os.fchmod(file.fileno(), mode)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        error.filename, error.filename2 = str(path), None
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


def lock_file(path: Path) -> FileLock | None:
    """Hold a lock file for the life of this process or until closed; None when another does.

    Raises:
        OSError: the file cannot be made.
    """
    handle = private_file(path).open("a")
    lock = FileLock(handle)
    try:
        fcntl.fcntl(handle, fcntl.F_OFD_SETLK, _WHOLE)
    except (BlockingIOError, PermissionError):  # fcntl(2): EAGAIN or EACCES
        handle.close()
        return None
    return lock


def is_locked(path: Path) -> bool:
    """Whether somebody holds a lock file; nothing is held or made meanwhile."""
    try:
        with path.open("rb") as handle:
            found = fcntl.fcntl(handle, fcntl.F_OFD_GETLK, _WHOLE)
    except FileNotFoundError:
        return False
    kind: int = struct.unpack(_FLOCK, found)[0]
    return kind != fcntl.F_UNLCK


class UnsafeFile(PermissionError):
    """A file that somebody else could change; `why` says who, where, and how to mend it."""

    def __init__(self, path: str | os.PathLike[str], why: str) -> None:
        super().__init__(errno.EPERM, why, str(path))
        self.why = why

    def __str__(self) -> str:
        return f"{self.filename}: {self.why}"


def read_obeyed(
    path: str | os.PathLike[str],
    most: int | None = None,
    *,
    pipes: bool = False,
    secret: bool = False,
) -> bytes:
    """Read a file that is obeyed; `most` is in bytes (64 MiB), `pipes` takes what is no regular file too.

    Raises:
        UnsafeFile: somebody else could change it, or read it where it is `secret`.
        ValueError: it is larger than `most`, or no file.
        OSError: it cannot be read.
    """
    # A pipe in its place would hold us up: nobody may ever write into it.
    descriptor = _open(path, os.O_RDONLY | os.O_NONBLOCK)
    with open(descriptor, "rb") as file:  # noqa: PTH123 - a descriptor
        status = os.fstat(descriptor)
        mode = status.st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        if not stat.S_ISREG(mode) and not pipes:
            raise ValueError("it is no file")
        if secret and stat.S_ISREG(mode) and mode & _OTHERS:
            why = f"others can read this secret (mode {stat.S_IMODE(mode):04o}); run: chmod 600"
            raise UnsafeFile(path, f"{why} {path}")
        _refuse_others(path, status)
        os.set_blocking(descriptor, True)
        content = file.read((_MOST if most is None else most) + 1)
    if most is not None and len(content) > most:
        raise ValueError(f"larger than {most} bytes")
    if len(content) > _MOST:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), str(path))
    return content


def hold_public(path: str | os.PathLike[str], *, follow: bool = True) -> int:
    """Hold what an absolute path leads to (O_PATH), where every user of the machine could find it.

    Each step is taken from the folder that is held, so that nothing can be swapped on the way.
    Without `follow` a link at the end is held itself.

    Raises:
        PermissionError: a folder on the way may not be searched by all.
        OSError: there is nothing, or it leads in a circle.
    """
    steps, links = [*reversed(Path(path).parts)], 0
    here = os.open("/", os.O_PATH | os.O_CLOEXEC)
    try:
        while steps:
            name = steps.pop()
            _refuse_hidden(os.fstat(here).st_mode, path)
            flags = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
            found = os.open(name, flags, dir_fd=here)
            if not stat.S_ISLNK(os.fstat(found).st_mode) or not (follow or steps):
                os.close(here)
                here = found
                continue
            target = Path(os.readlink("", dir_fd=found))
            os.close(found)
            links += 1
            _refuse_circle(links, path)
            steps += reversed(target.parts)
    except BaseException:
        os.close(here)
        raise
    return here


def is_installed(path: str | os.PathLike[str]) -> bool:
    """Whether a file is of the installed package; one that a link elsewhere leads to is not."""
    return os.path.abspath(path).startswith(_INSTALLED)  # noqa: PTH100 - it would follow links


def check_obeyed(path: str | os.PathLike[str]) -> None:
    """Look at a program before it is run, a folder before what is in it counts.

    Raises:
        UnsafeFile: somebody else could change it.
        OSError: it is not there.
    """
    descriptor = _open(path, os.O_PATH)
    try:
        _refuse_others(path, os.fstat(descriptor))
    finally:
        os.close(descriptor)


def _refuse_hidden(mode: int, path: str | os.PathLike[str]) -> None:
    if stat.S_ISDIR(mode) and not mode & stat.S_IXOTH:
        raise PermissionError(errno.EACCES, "not readable by all: not told", str(path))


def _refuse_circle(links: int, path: str | os.PathLike[str]) -> None:
    if links > _MOST_LINKS:
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))


def _open(path: str | os.PathLike[str], flags: int) -> int:
    return os.open(path if is_installed(path) else _walk(Path(path)), flags | os.O_CLOEXEC)


def _refuse_others(path: str | os.PathLike[str], status: os.stat_result) -> None:
    why = "" if is_installed(path) else _why_not(status, Path(path), "")
    if why:
        raise UnsafeFile(path, why)


def _walk(path: Path) -> Path:
    """Check each step from the root to a file, links too; return where it really is."""
    steps = [*reversed((path if path.is_absolute() else Path.cwd() / path).parts)]
    here, links = Path("/"), 0
    while steps:
        name = steps.pop()
        place = here.parent if name == ".." else here / name
        status = place.lstat()
        folder, why = here, ""
        if stat.S_ISLNK(status.st_mode):
            links += 1
            target = place.readlink()
            _refuse_circle(links, path)
            if here.is_relative_to("/proc") and ":[" in target.name:
                return place  # a pipe of ours, as in <(program)
            why = _not_ours(status, place, f" ({place})")
            steps += reversed(target.parts)
        else:
            here = place
        why = _why_not(folder.stat(), folder, f" (the folder {folder})") or why
        if why:
            raise UnsafeFile(path, why)
    return here


def _why_not(status: os.stat_result, path: Path, where: str) -> str:
    """What is wrong with the mode of a step; `where` is said of those that are not the file."""
    mode = status.st_mode
    sticky = stat.S_ISDIR(mode) and mode & stat.S_ISVTX
    if _not_ours(status, path, where) or sticky or stat.S_ISCHR(mode):  # as /dev/null
        return _not_ours(status, path, where)
    if mode & stat.S_IWOTH:
        return f"anyone can write it{where}; run: chmod o-w {path}"
    if mode & stat.S_IWGRP and not _own_group(status, path):
        return f"the group {status.st_gid} can write it{where}; run: chmod g-w {path}"
    return ""


def _not_ours(status: os.stat_result, path: Path, where: str) -> str:
    us, option = os.geteuid(), "-h " if stat.S_ISLNK(status.st_mode) else ""
    if status.st_uid in (0, us):
        return ""
    return f"it belongs to user {status.st_uid}{where}; run: chown {option}{us} {path}"


def _own_group(status: os.stat_result, path: Path) -> bool:
    """Whether nobody is in the group but the owner: it has his name. An ACL may name others."""
    import grp  # noqa: PLC0415 - only where a group can write
    import pwd  # noqa: PLC0415 - as above

    try:
        owner = pwd.getpwuid(status.st_uid).pw_name
        group = grp.getgrgid(status.st_gid)
    except KeyError:
        return False
    try:
        acl = "system.posix_acl_access" in os.listxattr(path)
    except OSError:  # a file system without them
        acl = False
    return group.gr_name == owner and set(group.gr_mem) <= {owner} and not acl
