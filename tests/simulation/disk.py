"""The disks of the simulated machines: real SQLite files, cut back where the power fails.

A commit that SQLite was told to sync (`synchronous=FULL`, asked of the connection itself) survives a
power cut; of what came after the last such commit a part does, to the byte, as SQLite's log (the
`-wal` file, which only grows between two checkpoints) is cut there. A process that is killed leaves
its files as they are. Other files (audit, reserves, locks) are not cut.
"""

from __future__ import annotations

import errno
import os
import resource
import shutil
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mcshell.node.audit.file import AuditFile
from mcshell.node.audit.reserve import Reserve
from mcshell.private import FileLock
from mcshell.sqlite import Database

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterator

    from tests.simulation.green import Process, Scheduler

__all__ = ["Disk"]

FULL = 2


def _wal(path: Path) -> Path:
    return Path(f"{path}-wal")


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


class Disk:
    """All files of a run: who has which open, and how much of each is safe."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._open: dict[Database, Process] = {}
        self._files: list[tuple[AuditFile | Reserve | FileLock, Process]] = []
        self._safe: dict[Path, int] = {}
        self.full: set[Any] = set()
        """Machines whose disk takes nothing."""

    # --- what mcshell does -----------------------------------------------------------------------

    def patches(self) -> Iterator[tuple[Any, str, Any]]:
        """What stands for methods of mcshell: each does as before, and the disk takes note."""
        yield from self._of_databases()
        for kind in (FileLock, AuditFile, Reserve):
            yield kind, "__init__", self._noted(kind.__init__)
        append, close = AuditFile._append, Reserve.close

        @wraps(close)
        def closed(self_: Reserve) -> None:
            close(self_)
            self_._file = None  # a number that is another file's by the time the process dies

        @wraps(append)
        def appended(self_: AuditFile, *about: Any) -> bytes:
            if not self.has_room(self_.path):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return append(self_, *about)

        yield AuditFile, "_append", appended
        yield Reserve, "close", closed

    def _of_databases(self) -> Iterator[tuple[Any, str, Any]]:
        disk = self
        make, close, checkpoint = Database.__init__, Database.close, Database.checkpoint
        transaction = Database.transaction

        @wraps(make)
        def made(self: Database, *about: Any, **more: Any) -> None:
            make(self, *about, **more)
            current = disk._scheduler.current
            if current is not None:
                disk._open[self] = current.process
            disk._safe[self.path] = _size(_wal(self.path))

        @wraps(close)
        def closed(self: Database) -> None:
            close(self)
            disk._open.pop(self, None)

        @wraps(checkpoint)
        def checkpointed(self: Database) -> None:
            checkpoint(self)
            if not _size(_wal(self.path)):
                disk._safe[self.path] = 0

        @contextmanager
        def committed(self: Database, *, durable: bool = True) -> Iterator[Any]:
            disk._scheduler.point()
            with disk._no_room_if_full(self), transaction(self, durable=durable) as connection:
                yield connection
                (level,) = connection.execute("PRAGMA synchronous").fetchone()
            if level >= FULL:
                disk._safe[self.path] = _size(_wal(self.path))
            disk._scheduler.point()

        yield Database, "__init__", made
        yield Database, "close", closed
        yield Database, "checkpoint", checkpointed
        yield Database, "transaction", committed

    def _noted(self, make: Callable[..., None]) -> Callable[..., None]:
        """Have a file closed when the process dies that has opened it."""

        @wraps(make)
        def made(one: Any, *about: Any) -> None:
            make(one, *about)
            self._note(one)

        return made

    def _note(self, file: AuditFile | Reserve | FileLock) -> None:
        if self._scheduler.current is not None:
            self._files.append((file, self._scheduler.current.process))

    @contextmanager
    def _no_room_if_full(self, database: Database) -> Iterator[None]:
        """Let no file of this process grow beyond what the log has, as on a full disk."""
        owner = self._open.get(database)
        if owner is None or owner.machine not in self.full:
            yield
            return
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (_size(_wal(database.path)), before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    def has_room(self, _folder: Path) -> bool:
        """Whether the disk of whoever asks takes anything."""
        current = self._scheduler.current
        return current is None or current.process.machine not in self.full

    # --- what befalls it -------------------------------------------------------------------------

    def killed(self, process: Process) -> None:
        """A process dies: its files are as it left them, its locks are free."""
        self._end({process}, cut=None)

    def cut(self, processes: set[Process], dice: random.Random) -> None:
        """The power fails below all these: their files are cut back."""
        self._end(processes, cut=dice)

    def close(self) -> None:
        """Close all that is open: the run is over."""
        self._end(set(self._open.values()) | {owner for _, owner in self._files}, cut=None)

    def _end(self, processes: set[Process], cut: random.Random | None) -> None:
        mine = [one for one, owner in self._open.items() if owner in processes]
        others = {one.path for one, owner in self._open.items() if owner not in processes}
        alone = {one.path for one in mine} - others
        saved = {path: self._save(path) for path in sorted(alone)}
        for database in mine:
            # SQLite brings the log into the file as the last connection closes; the dead do not.
            database._connection.close()
            del self._open[database]
        for path, copies in saved.items():
            self._restore(path, copies, cut)
        for file, owner in self._files:
            if owner not in processes:
                continue
            if isinstance(file, FileLock):
                file.close()
            elif file._file is not None:
                os.close(file._file)
                file._file = None
        self._files = [(file, owner) for file, owner in self._files if owner not in processes]

    def _save(self, path: Path) -> list[Path]:
        copies = []
        for one in (path, _wal(path)):
            if one.exists():
                copy = one.with_name(f"{one.name}.saved")
                shutil.copyfile(one, copy)
                copies.append(copy)
        return copies

    def _restore(self, path: Path, copies: list[Path], cut: random.Random | None) -> None:
        for end in ("", "-wal", "-shm"):
            Path(f"{path}{end}").unlink(missing_ok=True)
        for copy in copies:
            copy.rename(copy.with_name(copy.name.removesuffix(".saved")))
        wal = _wal(path)
        if cut is not None and wal.exists():
            safe, size = self._safe.get(path, 0), _size(wal)
            left = cut.choice((safe, size, cut.randint(min(safe, size), size)))
            with wal.open("r+b") as file:
                file.truncate(left)
