"""The folders of actions: what daemon and shim tell each other through files, and what they leave.

    request.json   what to do, for the shim's eyes (0600)
    lock           held by the shim as long as it lives, whatever becomes of the daemon
    pid            {"pid", "start", "boot"} of the shim
    log            what the action wrote to its standard streams, the first of it
    log.N          the same from byte N on: of these only the last are kept (`RunLog`)
    progress.jsonl what `call.progress` said
    outcome.json   how it came out: there whole or not at all

The lock is what says that a shim lives: it is taken by the daemon before the shim is started and
handed on to it, so that there is no moment in which a daemon that starts again could be mistaken.
The boot id tells a shim that a reboot ended.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from mcshell.node.command import left_out_line, whole
from mcshell.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = [
    "RunArchive",
    "RunDirectory",
    "RunLog",
    "boot_id",
    "read_log",
    "start_time",
    "write_whole",
]

log = logging.getLogger(__name__)

_MOST: Final = 256 << 20
_KEPT: Final = ("log", "log.*", "progress.jsonl", "outcome.json")


@dataclass(frozen=True, slots=True)
class RunDirectory:
    """The paths, and the questions that they answer."""

    path: Path

    @property
    def request(self) -> Path:
        """What to do."""
        return self.path / "request.json"

    @property
    def pid(self) -> Path:
        """Who does it."""
        return self.path / "pid"

    @property
    def log(self) -> Path:
        """What it wrote."""
        return self.path / "log"

    @property
    def progress(self) -> Path:
        """How far it said it is."""
        return self.path / "progress.jsonl"

    @property
    def outcome(self) -> Path:
        """How it came out."""
        return self.path / "outcome.json"

    def take_lock(self) -> int | None:
        """Take the lock and return its descriptor; None when a shim holds it."""
        handle = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            return None
        return handle

    def alive(self) -> bool:
        """Whether a shim is at work here."""
        if not self.path.exists():
            return False
        handle = self.take_lock()
        if handle is None:
            return True
        os.close(handle)
        return False

    def clear(self) -> None:
        """Drop it with all that is in it, which is files only."""
        try:
            with os.scandir(self.path) as found:
                for one in found:
                    os.unlink(one)  # noqa: PTH108 - not a Path
            self.path.rmdir()
        except FileNotFoundError:
            return
        except OSError as error:
            log.warning("%s cannot be cleared: %s", self.path, error)

    def shim_pid(self) -> int | None:
        """The shim's pid, if that process is still the one that wrote it down."""
        try:
            noted = json.loads(self.pid.read_bytes())
            if noted["boot"] == boot_id() and noted["start"] == start_time(noted["pid"]):
                return int(noted["pid"])
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return None

    def note_pid(self) -> None:
        """Write down who this process is."""
        pid = os.getpid()
        text = json.dumps({"pid": pid, "start": start_time(pid), "boot": boot_id()})
        write_whole(self.pid, text.encode())


class RunLog:
    """What a run writes, within `room` bytes: the first half of it, and the last quarter or more.

    What comes after the first half goes into parts of a quarter each, named by where they begin; of
    these the last two are kept. So whoever follows a run reads it whole, and an offset means the same
    at all times.
    """

    def __init__(self, folder: RunDirectory, room: int) -> None:
        self._folder = folder
        self._room = room
        self._part = max(1, room // 4)
        self._parts: list[Path] = []
        self._file = folder.log.open("ab", buffering=0)
        self._at = self._file.tell()
        self._ends = max(self._at, room - 2 * self._part)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def write(self, data: bytes) -> None:
        """Keep some more."""
        while data and self._room:
            if self._at >= self._ends:
                self._next()
            kept = data[: self._ends - self._at]
            written = self._file.write(kept)
            self._at += written
            data = data[written:]

    def _next(self) -> None:
        part = self._folder.log.with_name(f"log.{self._at}")
        file = part.open("ab", buffering=0)
        self._file.close()
        while len(self._parts) > 1:
            self._parts.pop(0).unlink(missing_ok=True)
        self._parts.append(part)
        self._file = file
        self._ends = self._at + self._part


def read_log(folders: Sequence[RunDirectory], offset: int, limit: int) -> tuple[bytes, int]:
    """Read on in what a run wrote: the bytes from `offset` on, or a line where they are not kept.

    Its files may just be moved from one of `folders` to the next. Returns with the bytes where to read
    on; nothing where there is nothing (yet).
    """
    names = {0: "log"}
    for folder in folders:
        names |= {int(path.suffix[1:]): path.name for path in folder.path.glob("log.*")}
    for start, name in sorted(names.items()):
        found = _part_from(folders, name, offset - start, limit)
        if found is None:
            continue  # the run has gone on meanwhile
        if offset < start:
            return left_out_line(start - offset), start
        if found:
            kept = whole(found) or found
            return kept, offset + len(kept)
    return b"", offset


def _part_from(folders: Iterable[RunDirectory], name: str, offset: int, limit: int) -> bytes | None:
    """Some bytes of one file, wherever it is by now; None where there is none."""
    for folder in folders:
        try:
            with (folder.path / name).open("rb") as file:
                file.seek(max(0, offset))
                return file.read(limit)
        except FileNotFoundError:
            continue
    return None


def boot_id() -> str:
    """What tells this boot of the machine from all others (random(4))."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def start_time(pid: int) -> int:
    """When a process started, in ticks since boot (proc(5), stat); OSError when it is none."""
    stat = Path(f"/proc/{pid}/stat").read_text()
    return int(stat.rpartition(")")[2].split()[19])


def write_whole(path: Path, data: bytes) -> None:
    """Write a file so that it is there whole or not at all, also after a power cut."""
    draft = path.with_name(f"{path.name}.tmp")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


class RunArchive:
    """What the runs of jobs leave, one folder a run, kept for `retention` seconds and `most` bytes."""

    def __init__(self, folder: Path, retention: float, most: int = _MOST) -> None:
        self._folder = folder
        self._retention = retention
        self._most = most

    def of(self, name: str) -> RunDirectory:
        """The folder of a run."""
        return RunDirectory(self._folder / name)

    def keep(self, run: RunDirectory) -> None:
        """Move what a run leaves here; what cannot be moved is lost, the run is not."""
        node = self._folder / run.path.name
        try:
            node.mkdir(mode=0o700, parents=True, exist_ok=True)
            for path in [path for name in _KEPT for path in run.path.glob(name)]:
                path.replace(node / path.name)
        except OSError as error:
            log.warning("what %s leaves cannot be kept: %s", run.path.name, error)

    def purge(self, now: float) -> None:
        """Drop what is too old, and the oldest of what is too much."""
        found = []
        for node in self._folder.iterdir() if self._folder.is_dir() else ():
            with contextlib.suppress(FileNotFoundError):
                size = sum(one.stat().st_size for one in node.iterdir())
                found.append((node.stat().st_mtime, size, node))
        total = 0
        for made, size, node in sorted(found, key=lambda one: -one[0]):
            total += size
            if made < now - self._retention or total > self._most:
                RunDirectory(node).clear()
