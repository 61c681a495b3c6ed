"""The file of an audit log: one writer, one chain, over rotations, full disks and sudden ends.

What could not be written is counted, and before the next line that can be stands a `gap` (`chain`).
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import stat
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mcshell.node.audit.chain import START, Head, encode, link, linked
from mcshell.node.audit.files import RESERVE, end_of, newest_rotated
from mcshell.node.audit.reserve import AUDIT_ROOM, Reserve
from mcshell.storage import is_storage_fault

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["AuditFile"]

_LOOK_EVERY: Final = 1.0


class AuditFile:
    """One append-only file; for one thread at a time. PATH.1 is the newest of `keep` old ones.

    On a disk that takes nothing it is opened later, by the first `append` that can.

    Raises:
        OSError: it cannot be opened, or another process writes it.
    """

    def __init__(self, path: Path, max_bytes: int | None, keep: int) -> None:
        self.path = path
        self.head: Head | None = None
        """Of the chain, with what is in the reserve; None before its first line."""
        self._written: Head | None = None
        """The same without the reserve."""
        self._lost = 0
        self._max_bytes = max_bytes
        self._keep = max(1, keep)
        self._look_at = 0.0
        self._size = 0
        """What we left of the file, bytes."""
        self._own: list[dict[str, Any]] = []
        """Events of ours that are to stand before the next."""
        self._after_torn = False
        self._second, self._stamp = -1, b""
        self._file: int | None = None
        special = path.exists() and not path.is_file()
        self._reserve = (
            None if special else Reserve(path.with_name(path.name + RESERVE), AUDIT_ROOM)
        )
        self._opened = False
        """Whether it ever was: until then nobody knows where the chain ends."""
        try:
            self._open(path.name)
        except OSError as error:
            if not is_storage_fault(error):
                raise

    def append(self, event: Mapping[str, Any], now: float, *, vital: bool) -> bytes:
        """Write an event; returns its line, after those that had to stand before it.

        What is `vital` goes to the reserve when the disk is full.

        Raises:
            OSError: it could not be written.
        """
        try:
            return self._append(event, now)
        except OSError:
            text = self._keep_back(event, now) if vital else None
            if text is None:
                self._lost += 1
                raise
            return text

    @property
    def behind(self) -> bool:
        """Whether something is lost, or only in the reserve, since it could be written last."""
        return bool(self._lost or self._kept)

    def to_sync(self) -> int | None:
        """What must be on the disk before the head leaves: a duplicate, for the caller to close."""
        if self._reserve is not None and self._reserve.kept:
            self._reserve.sync()
        return None if self._file is None else os.dup(self._file)

    def close(self, now: float) -> None:
        """Close it, after a word about what was lost; a later `append` opens it again."""
        if self._lost:
            lost, self._lost = self._lost, 0
            with contextlib.suppress(OSError):  # it was said in the daemon's log, line by line
                self.append({"event": "gap", "lost": lost}, now, vital=True)
        self._shut()

    # --- writing -------------------------------------------------------------------------------

    def _append(self, event: Mapping[str, Any], now: float) -> bytes:
        self._ready()
        head = self.head or START
        text = b""
        if self._own or self._lost:
            gap = [{"event": "gap", "lost": self._lost}] if self._lost else []
            for one in (*self._own, *gap):
                line, head = link(self._text(one, now), head)
                text += line
        line, head = link(self._text(event, now), head)
        text += line
        more = self._kept + text
        if self._after_torn:
            more = b"\n" + more
        most, size = self._max_bytes, self._size
        if most and size and size + len(more) > most and self._rotate():
            return self._append(event, now)
        self._write(more)
        self._own, self._after_torn, self._lost = [], False, 0
        self.head = self._written = head
        if self._reserve is not None:
            self._reserve.empty()
        return text

    def _write(self, text: bytes) -> None:
        assert self._file is not None, "it is open"
        written = os.write(self._file, text)
        if written < len(text):
            # A full disk can take a part: it is taken back.
            try:
                os.ftruncate(self._file, self._size)
            except OSError:
                self._shut()  # opening it finds out what stands there
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._size += written if self._regular else 0

    def _keep_back(self, event: Mapping[str, Any], now: float) -> bytes | None:
        """Put an event into the reserve; None when there is no room there, either."""
        if self._reserve is None or not self._opened:
            return None
        head, text = self.head or START, b""
        if not self._reserve.kept:
            first = {"event": "gap", "previous": self._previous(self.path.name), "lost": self._lost}
            text, head = link(self._text(first, now), head)
        line, head = link(self._text(event, now), head)
        if not self._reserve.put(text + line):
            return None
        if text:
            self._lost = 0
        self.head = head
        return text + line

    def _text(self, event: Mapping[str, Any], now: float) -> bytes:
        # The same as of one dict, at two thirds of the price.
        second = int(now)
        if second != self._second:
            self._second = second
            self._stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second)).encode()
        thousandths = int((now - second) * 1000)
        known = self._stamp, thousandths, now, encode(event)[1:]
        return b'{"time":"%b.%03dZ","epoch":%.6f,%b' % known

    # --- which file ----------------------------------------------------------------------------

    def _ready(self) -> None:
        """Have the file of that name open, and in `_own` what must stand before the next event."""
        if self._file is None:
            self._open(self.path.name)
            return
        about, clock = os.fstat(self._file), time.monotonic()
        if about.st_size < self._size:
            self._after_torn = False
            self._begin("gap", self.path.name)
        self._size = about.st_size if self._regular else 0
        # Without a name it keeps nothing: it was deleted, or packed as soon as it was moved away.
        if clock >= self._look_at or not about.st_nlink:
            self._look_at = clock + _LOOK_EVERY
            try:
                there = os.path.samestat(about, self.path.stat())
            except FileNotFoundError:
                there = False
            if not there:
                name = self._name_now()
                self._shut()
                self._open(name)

    def _name_now(self) -> str:
        """What the file is called that we write to: it may have been moved away."""
        try:
            name = Path(f"/proc/self/fd/{self._file}").readlink().name
            return name.removesuffix(" (deleted)")
        except OSError:
            return self.path.name

    @property
    def _kept(self) -> bytes:
        return b"" if self._reserve is None else self._reserve.kept

    def _take_up_reserve(self) -> None:
        """Go on after what an earlier process has left in the reserve and not in the file."""
        assert self._reserve is not None or not self._kept
        last = self._kept.rstrip(b"\n").rpartition(b"\n")[2]
        found = linked(last) if last else None
        if found is not None and found[0] > (self._written or START).count:
            self.head = Head(found[0], hashlib.sha256(last).hexdigest())
            self._own = [one for one in self._own if "previous" not in one]
        elif self._reserve is not None:
            self._reserve.empty()

    def _open(self, name: str) -> None:
        """Open the file, and see what stands there; `name` is that of the one before it."""
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        file = os.open(self.path, flags, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(file)
            raise OSError(errno.EBUSY, "another process writes it") from None
        about = os.fstat(file)
        self._file, self._size = file, about.st_size
        self._regular = stat.S_ISREG(about.st_mode)
        self._look_at = time.monotonic() + _LOOK_EVERY
        self._own, self._after_torn = [], False
        if self._size:
            self._go_on(file, name)
        else:
            self._follow(name)
        if not self._opened:
            self._opened = True
            self._take_up_reserve()

    def _follow(self, name: str) -> None:
        """Begin a new file; at the start it follows what rotation has left, if there is any."""
        before = newest_rotated(self.path) if self.head is None and self._regular else None
        if before is None:
            self._begin("file", name)
            return
        name, self.head, rest = before
        self._written = self.head
        self._begin("file", name)
        if rest:
            self._own.append(_torn(rest))

    def _go_on(self, file: int, name: str) -> None:
        """Go on behind what stands in the file."""
        head, rest = end_of(file, self._size)
        if head is None and self.head is None:
            # Of an mcshell that knew no chain: the first line vouches for all that was before it.
            self._own = [{"event": "file", "previous": _unchained(file, self.path.name)}]
            self._after_torn = bool(rest)
            return
        if self._written is None:
            self.head = self._written = head
        elif head != self._written:
            self._begin("file", name)  # another's: what we know of the chain counts
        if rest:
            self._own.append(_torn(rest))
            self._after_torn = True

    def _shut(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _begin(self, event: str, name: str) -> None:
        """Have a file begin with a line that says so; the first in the reserve does, too."""
        lost = {"lost": 0} if event == "gap" else {}
        first = {"event": event, "previous": self._previous(name), **lost}
        self._own = [] if self._kept else [first]

    def _previous(self, name: str) -> dict[str, Any] | None:
        head = self.head
        return None if head is None else {"name": name, "count": head.count, "hash": head.hash}

    def _rotate(self) -> bool:
        """Begin a new file; False where the old one cannot be renamed: it goes on."""
        assert self._file is not None, "it is open"
        try:
            os.fdatasync(self._file)
            for number in range(self._keep - 1, 0, -1):
                old = self._numbered(number)
                if old.exists():
                    old.replace(self._numbered(number + 1))
            self.path.replace(self._numbered(1))
        except OSError:
            return False
        self._shut()
        self._open(self._numbered(1).name)
        return True

    def _numbered(self, number: int) -> Path:
        return self.path.with_name(f"{self.path.name}.{number}")


def _torn(rest: bytes) -> dict[str, Any]:
    return {"event": "torn", "bytes": len(rest), "hash": hashlib.sha256(rest).hexdigest()}


def _unchained(file: int, name: str) -> dict[str, Any]:
    """What `previous` says of a file, or the beginning of one, that is no chain."""
    with os.fdopen(os.dup(file), "rb") as whole:
        whole.seek(0)
        lines = sum(1 for _ in whole)
        whole.seek(0)
        digest = hashlib.file_digest(whole, "sha256").hexdigest()
    return {"name": name, "count": lines, "hash": digest}
