"""Files of a node: looked at (stat, checksum, a piece, the last lines), listed, fetched, put there.

Symbolic links are followed first and the file that is then held open is checked, so nothing can be
swapped in between: open(2) with O_PATH (which neither blocks on a FIFO nor wakes a device), look at
what /proc/self/fd says it is, and only then open that for reading. The node's own keys and state
are refused wherever they are. What not every user of the machine could look at is not told, unless
`[node] tell_files = "all"` says so. Files named by `deny` can be looked up with stat, not read.

`put` follows no link below its roots, writes into no folder that lies elsewhere, and puts a file in its
place whole, or not at all. What the node obeys (its configuration and all that this names) or has noted is
not written, wherever it lies. `put` asks policy for an action of its own, as all do.
"""

from __future__ import annotations

import contextlib
import errno
import fnmatch
import hashlib
import heapq
import os
import stat
from typing import TYPE_CHECKING, Any, ClassVar

from mcshell.node.agent import (
    Agent,
    AgentError,
    Call,
    NodeView,
    Unavailable,
    receive_file,
    text,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mcshell.node.agent import FileEntry, HeldFile

ROOTS = ("/etc", "/var/log", "/usr/share")
# Secrets that live below the default roots on common systems; case and depth do not matter.
DENY = (
    "/etc/shadow*",
    "/etc/gshadow*",
    "/etc/security/opasswd*",
    "/etc/ssl/private/*",
    "/etc/pki/tls/private/*",
    "/etc/ssh/ssh_host_*_key",
    "/etc/NetworkManager/system-connections/*",
    "/etc/wireguard/*",
    "*.key",
    "*.keytab",
    "*privkey*",
    "*/.ssh/*",
    "*/.pgpass",
    "*/.netrc",
)
MAX_READ = 512 * 1024
BLOCK = 64 * 1024
MAX_LINES = 100_000
MAX_ENTRIES = 1000
MAX_OFFSET = (1 << 63) - 1 - (1 << 30)  # the kernel's numbers have an end


class File(Agent):
    """Look below the roots, and write below those that are for it.

    Attributes:
        roots: what lies below these is looked at, and nothing else; by default `/etc`, `/var/log` and
            `/usr/share`.
        deny: patterns of paths whose content stays here; by default those of the secrets that commonly lie
            below the default roots.
        max_read: how much of a file one reply has, by default 512KiB.
        write: `put` writes below these; by default nowhere.
        max_file: the largest file that `put` takes, by default 1GiB.
        parts_max: how much room all unfinished files may take in the node's state, by default 4GiB; a quarter
            is for others than who has some already.
        parts_keep: after how long an unfinished one is given up that no chunk comes for, by default 7d.
        keep_free: how much of a disk is left alone, by default 64MiB.
    """

    name = "file"
    settings: ClassVar = (
        dict.fromkeys(("roots", "write"), "folders")
        | {"deny": "words", "parts_keep": "length of time"}
        | dict.fromkeys(("max_read", "max_file", "parts_max", "keep_free"), "size")
    )

    def activate(self, node: NodeView) -> None:
        """Needs O_PATH and /proc, which is Linux."""
        del node
        if not hasattr(os, "O_PATH") or not os.path.isdir("/proc/self/fd"):  # noqa: PTH112 - a plain test
            raise Unavailable("file needs Linux's O_PATH and /proc")

    def stat(self, call: Call) -> dict[str, Any]:
        """What a path is; one that does not exist is no failure."""
        path = call["path"]
        try:
            with _hold(call, path, content=False) as (file, real):
                return _describe(call, path, real, file.status)
        except FileNotFoundError:
            # Told only of what would be told if it were there: below the roots.
            return {"path": path, "realpath": _allowed(call, path), "exists": False}

    def checksum(self, call: Call) -> dict[str, Any]:
        """A digest of the whole content."""
        algorithm = call.get("algorithm", "sha256")
        digest = hashlib.new(algorithm, usedforsecurity=False)
        with _reading(call) as (file, real):
            read = 0
            while block := file.read(16 * BLOCK, read):
                read += len(block)
                digest.update(block)
                if call.cancelled.is_set() or not call.remaining:
                    raise AgentError.at(call["path"], "stopped before the end of the file")
            found = file.status
        return {
            "path": call["path"],
            "realpath": real,
            "algorithm": algorithm,
            "checksum": digest.hexdigest(),
            "size": found.st_size,
            "mtime": found.st_mtime,
        }

    def read(self, call: Call) -> dict[str, Any]:
        """A piece; `offset` plus `length` of one reply is the offset of the next."""
        offset, wanted = call.get("offset", 0), call.get("length", 65536)
        most = _most(call)
        if not 0 <= offset <= MAX_OFFSET or not 0 <= wanted <= most:
            raise AgentError(f"offset is from 0 to {MAX_OFFSET}, length to {most}", statuscode=4)
        with _reading(call) as (file, real):
            data = file.read(wanted, offset)
            size = file.status.st_size
        content = text(data, cut=len(data) == wanted)
        length = len(content.encode()) if isinstance(content, str) else len(content)
        return {
            "path": call["path"],
            "realpath": real,
            "content": content,
            "offset": offset,
            "length": length,
            "size": size,
            "eof": offset + length >= size,
        }

    def tail(self, call: Call) -> dict[str, Any]:
        """The last lines, read from the end, whatever the size of the file."""
        wanted = call.get("lines", 10)
        if not 0 <= wanted <= MAX_LINES:
            raise AgentError(f"lines is from 0 to {MAX_LINES}", statuscode=4)
        with _reading(call) as (file, real):
            size = file.status.st_size
            _refuse_untrue(call["path"], file, size, size)
            data, cut = _last_lines(file, size, wanted, _most(call))
        return {
            "path": call["path"],
            "realpath": real,
            "content": text(data),
            "lines": data.count(b"\n") + (bool(data) and not data.endswith(b"\n")),
            "size": size,
            "truncated": cut,
        }

    def list(self, call: Call) -> dict[str, Any]:
        """What is in a folder, by name; `after` is the last name of the reply before."""
        wanted, after = call.get("limit", MAX_ENTRIES), _name(call.get("after", ""))
        if not 1 <= wanted <= MAX_ENTRIES:
            raise AgentError(f"limit is from 1 to {MAX_ENTRIES}", statuscode=4)
        with _listing(call) as (folder, real):
            found = heapq.nsmallest(
                wanted + 1,
                (one for one in folder.entries() if os.fsencode(one.name) > after),
                key=lambda one: os.fsencode(one.name),
            )
        return {
            "path": call["path"],
            "realpath": real,
            "entries": [_entry(call, one) for one in found[:wanted]],
            "truncated": len(found) > wanted,
        }

    def get(self, call: Call) -> dict[str, Any]:
        """Bytes of a file; with `digest` the SHA-256 of its first `size` bytes too."""
        offset, wanted = call.get("offset", 0), call.get("length", 0)
        most = _most(call)
        if not 0 <= offset <= MAX_OFFSET or not 0 <= wanted <= most:
            raise AgentError(f"offset is from 0 to {MAX_OFFSET}, length to {most}", statuscode=4)
        with _reading(call) as (file, real):
            found = file.status
            size = call.get("size", found.st_size)
            sha256 = _digest(call, file, size) if call.get("digest") else None
            data = file.read(wanted, offset)
        return {
            "path": call["path"],
            "realpath": real,
            "content": data,
            "offset": offset,
            "size": found.st_size,
            "sha256": sha256,
            "mode": f"{stat.S_IMODE(found.st_mode):04o}",
            "mtime": found.st_mtime,
        }

    def put(self, call: Call) -> dict[str, Any]:
        """Take a chunk of a file, without one say what is missing; the last puts it in its place."""
        return receive_file(call)


def _name(name: object) -> bytes:
    """The name of an entry, as the caller has it from a reply."""
    try:
        return os.fsencode(name)  # type: ignore[arg-type] # whatever a caller has sent
    except (TypeError, ValueError):
        raise AgentError("after is the name of an entry", statuscode=4) from None


@contextlib.contextmanager
def _listing(call: Call) -> Iterator[tuple[HeldFile, str]]:
    """Hold the call's folder; what not all can list is not told, unless all is."""
    path = call["path"]
    try:
        with _hold(call, path, content=False) as (folder, real):
            mode = folder.status.st_mode
            if not stat.S_ISDIR(mode):
                raise AgentError.at(path, f"it is a {_kind(mode)}, no folder")
            if not (call.node.tells_all_files or mode & stat.S_IROTH):
                raise AgentError.at(path, "not readable by all: not told")
            yield folder, real
    except OSError as error:
        raise AgentError.at(path, error) from None


def _entry(call: Call, entry: FileEntry) -> dict[str, Any]:
    found, system = entry.status, call.node.system
    return {
        "name": text(os.fsencode(entry.name)),
        "type": "link" if entry.link is not None else _kind(found.st_mode),
        "size": found.st_size,
        "mode": f"{stat.S_IMODE(found.st_mode):04o}",
        "owner": system.owner(found.st_uid),
        "group": system.group(found.st_gid),
        "mtime": found.st_mtime,
        "link": None if entry.link is None else text(os.fsencode(entry.link)),
    }


def _digest(call: Call, file: HeldFile, size: int) -> str:
    """The SHA-256 of the first `size` bytes."""
    digest, at = hashlib.sha256(), 0
    while at < size and (block := file.read(min(16 * BLOCK, size - at), at)):
        digest.update(block)
        at += len(block)
        if call.cancelled.is_set() or not call.remaining:
            raise AgentError.at(call["path"], "stopped before the end of the file")
    _refuse_untrue(call["path"], file, size, at)
    return digest.hexdigest()


def _refuse_untrue(path: str, file: HeldFile, size: int, end: int) -> None:
    """Refuse what says a size and does not end there, as files of /proc; one that changes is none."""
    more = not size and file.read(1)
    if (more or end < size) and file.status.st_size == size:
        raise AgentError.at(path, "it is not as long as it says: the action read shows it")


def _most(call: Call) -> int:
    return int(call.node.settings("file").get("max_read", MAX_READ))


def _last_lines(file: HeldFile, size: int, wanted: int, most: int) -> tuple[bytes, bool]:
    """Return the last `wanted` lines, at most `most` bytes of them, and whether that cut some."""
    if not wanted:
        return b"", False
    data, start = b"", size
    # The newline that ends the file ends its last line: it separates nothing.
    while start > 0 and len(data) < most and data.count(b"\n", 0, -1) < wanted:
        step = min(BLOCK, start, most - len(data))
        start -= step
        data = file.read(step, start) + data
    lines = _split(data)
    cut = start > 0 and len(lines) <= wanted
    return b"".join(lines[-wanted:]), cut


def _split(data: bytes) -> list[bytes]:
    """Split at newlines only: a carriage return is part of its line."""
    *whole, last = data.split(b"\n")
    return [line + b"\n" for line in whole] + ([last] if last else [])


def _allowed(call: Call, path: str) -> str:
    """Return the file a path leads to; AgentError when that is not to be looked at."""
    _absolute(path)
    try:
        real = call.node.system.real(path)
    except OSError as error:
        raise AgentError.at(path, error) from None
    _judge(call, path, real)
    return real


def _absolute(path: str) -> None:
    if not path.startswith("/") or "\0" in path:
        raise AgentError(f"{path!r} is not an absolute path", statuscode=4)


def _judge(call: Call, path: str, real: str) -> None:
    roots = call.node.settings("file").get("roots", ROOTS)
    inside = any(_below(real, call.node.system.real(root)) for root in roots)
    if not inside:
        raise AgentError.at(path, f"not below the roots of the file agent ({', '.join(roots)})")
    if call.node.protects(real) or call.node.protects(path):
        raise AgentError.at(path, "the node's own keys and state are not shown")


def _below(path: str, root: str) -> bool:
    return path == root or path.startswith(root.rstrip("/") + "/")


@contextlib.contextmanager
def _hold(call: Call, path: str, *, content: bool) -> Iterator[tuple[HeldFile, str]]:
    """Hold what a path leads to, checked after it is held; FileNotFoundError when there is none."""
    with contextlib.ExitStack() as stack:
        try:
            file = stack.enter_context(_held(call, path))
        except (FileNotFoundError, NotADirectoryError):
            raise FileNotFoundError(errno.ENOENT, "no such file", path) from None
        except OSError as error:
            raise AgentError.at(path, error) from None
        real = file.real
        _judge(call, path, real)  # a directory on the way may have been swapped meanwhile
        if content:
            _readable(call, path, real, file.status)
        yield file, real


@contextlib.contextmanager
def _held(call: Call, path: str) -> Iterator[HeldFile]:
    hold = call.node.system.hold
    if call.node.tells_all_files:
        with hold(_allowed(call, path), public=False) as file:
            yield file
        return
    # Judged by its words first: what it leads to may be just what is not told.
    _absolute(path)
    with contextlib.ExitStack() as stack:
        try:
            file = stack.enter_context(hold(path, public=True))
        except PermissionError:
            _judge(call, path, os.path.normpath(path))
            raise
        except OSError:
            _allowed(call, path)
            raise
        yield file


def _readable(call: Call, path: str, real: str, found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise AgentError.at(path, f"a {_kind(found.st_mode)} is not read")
    for pattern in call.node.settings("file").get("deny", DENY):
        if fnmatch.fnmatch(real.lower(), pattern.lower()):
            raise AgentError.at(path, f"its content is not shown (deny: {pattern})")
    if not (call.node.tells_all_files or found.st_mode & stat.S_IROTH):
        raise AgentError.at(path, "not readable by all: not told")


@contextlib.contextmanager
def _reading(call: Call) -> Iterator[tuple[HeldFile, str]]:
    """Hold the call's file to be read: a plain file below the roots, or AgentError."""
    path = call["path"]
    try:
        with _hold(call, path, content=True) as held:
            yield held
    except OSError as error:
        raise AgentError.at(path, error) from None


def _kind(mode: int) -> str:
    return {
        stat.S_IFREG: "file",
        stat.S_IFDIR: "directory",
        stat.S_IFIFO: "fifo",
        stat.S_IFSOCK: "socket",
        stat.S_IFBLK: "block",
        stat.S_IFCHR: "char",
    }.get(stat.S_IFMT(mode), "unknown")


def _describe(call: Call, path: str, real: str, found: os.stat_result) -> dict[str, Any]:
    system = call.node.system
    return {
        "path": path,
        "realpath": real,
        "exists": True,
        "type": _kind(found.st_mode),
        "link": system.link(path),
        "size": found.st_size,
        "mode": f"{stat.S_IMODE(found.st_mode):04o}",
        "owner": system.owner(found.st_uid),
        "group": system.group(found.st_gid),
        "uid": found.st_uid,
        "gid": found.st_gid,
        "mtime": found.st_mtime,
        "ctime": found.st_ctime,
        "inode": found.st_ino,
        "links": found.st_nlink,
    }
