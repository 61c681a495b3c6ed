"""The folders of actions: what daemon and shim tell each other through files, and what they leave.

    request.json   what to do, for the shim's eyes (0600)
    lock           held by the shim as long as it lives, whatever becomes of the daemon
    pid            {"pid", "start", "boot"} of the shim
    log            what the action wrote to its standard streams, the first of it
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
from dataclasses import dataclass
from pathlib import Path
from typing import Final

__all__ = ["RunArchive", "RunDirectory", "boot_id", "start_time", "write_whole"]

log = logging.getLogger(__name__)

_MOST: Final = 256 << 20
_KEPT: Final = ("log", "progress.jsonl", "outcome.json")


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

    def keep(self, run: RunDirectory) -> None:
        """Move what a run leaves here; what cannot be moved is lost, the run is not."""
        node = self._folder / run.path.name
        try:
            node.mkdir(mode=0o700, parents=True, exist_ok=True)
            for name in _KEPT:
                with contextlib.suppress(FileNotFoundError):
                    (run.path / name).replace(node / name)
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
