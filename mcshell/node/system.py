"""The system below a node: its programs, files and processes, as agents reach them.

A daemon has the machine it runs on (`LocalSystem`), an emulated node one that is made up
(`node/emulator`). An agent that reaches the machine through `call.node.system`, or by
`agent.run`, serves both; whatever a message asks of an emulated node, nothing here is touched.
"""

from __future__ import annotations

import contextlib
import os
import signal
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

from mcshell.errors import AgentError
from mcshell.filters.data import FileEntry
from mcshell.node import command
from mcshell.node.files.parts import DiskParts
from mcshell.node.files.place import local_place, number_of
from mcshell.private import hold_public

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from mcshell.filters.data import HeldFile
    from mcshell.node.command import Deadline, ProgramResult
    from mcshell.node.files.parts import Parts
    from mcshell.node.files.place import Place
    from mcshell.node.files.transfers import Transfers

__all__ = ["LocalSystem", "System"]

_FIELDS = [
    "pid",
    "ppid",
    "username",
    "name",
    "cmdline",
    "memory_info",
    "cpu_times",
    "status",
    "create_time",
    "uids",
]


class System(Protocol):
    """What agents and filters may reach of a machine. Paths are absolute."""

    @property
    def up(self) -> bool:
        """Whether the machine runs."""

    def run(
        self,
        call: Deadline,
        argv: Sequence[str],
        *,
        stdin: bytes,
        env: Mapping[str, str] | None,
        cwd: str | None,
        timeout: float | None,
        limit: int,
        grace: float,
    ) -> ProgramResult:
        """Run a program (`command.run`)."""

    def which(self, program: str) -> str | None:
        """Where `run` would find a program; None when it is not there."""

    def exists(self, path: str) -> bool:
        """Whether there is anything at a path."""

    def real(self, path: str) -> str:
        """The path without links (realpath(3)); OSError when it leads in a circle."""

    def link(self, path: str) -> str | None:
        """Where a link leads, in its own words; None when it is none."""

    def hold(
        self, path: str, *, public: bool, follow: bool = True
    ) -> AbstractContextManager[HeldFile]:
        """Hold what a path leads to (without `follow`: a link itself) for as long as the context lasts.

        Raises:
            PermissionError: with `public`, what not every user of the machine could look at.
            OSError: there is nothing, or it leads in a circle.
        """

    def place(self, root: str, steps: list[str]) -> AbstractContextManager[Place]:
        """Hold the place that the steps below a root lead to, over no link.

        Raises:
            OSError: one of them is a link, or no folder.
        """

    def parts(self, state: Path | None) -> Parts:
        """What has come of files that are not whole; `state` is the node's own folder.

        Raises:
            AgentError: the node has none.
        """

    def owner(self, uid: int) -> str:
        """The name of a user, or the number."""

    def group(self, gid: int) -> str:
        """The name of a group, or the number."""

    @property
    def transfers(self) -> Transfers:
        """The files that come to it by broadcast."""

    def uid(self, owner: str) -> int:
        """The number of a user, whose name or number is given; AgentError (4) for a name of nobody."""

    def gid(self, group: str) -> int:
        """The number of a group, as `uid`."""

    def processes(self) -> list[dict[str, Any]]:
        """A row for each process: the outputs of `process.list`, and `uid`."""

    def pids(self) -> list[int]:
        """The numbers of all processes."""

    def command(self, pid: int) -> str | None:
        """The name of a process; None when it is gone."""

    def signal(self, pid: int, name: str, number: signal.Signals) -> bool:
        """Signal a process if it still has this name; False when it is gone.

        Raises:
            AgentError: it cannot be reached.
        """

    @property
    def spared(self) -> frozenset[int]:
        """Processes that no agent signals: init and those that the agent itself runs in."""


class _LocalFile:
    """A file that is held (a `HeldFile`): whatever its path means by now, it is the same one."""

    def __init__(self, descriptor: int) -> None:
        self._held = descriptor
        self._reader: int | None = None

    @property
    def real(self) -> str:
        """Its path without links, as the kernel knows it."""
        return os.readlink(f"/proc/self/fd/{self._held}")  # noqa: PTH115 - a kernel link, kept as it is

    @property
    def status(self) -> os.stat_result:
        """What it is now."""
        return os.fstat(self._held)

    def read(self, length: int, offset: int = 0) -> bytes:
        """So many bytes, fewer at its end."""
        if self._reader is None:
            flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK
            self._reader = os.open(f"/proc/self/fd/{self._held}", flags)
        data = bytearray()
        while len(data) < length:
            block = os.pread(self._reader, min(length - len(data), 1 << 20), offset + len(data))
            if not block:
                break
            data += block
        return bytes(data)

    def entries(self) -> Iterator[FileEntry]:
        """What is in a folder."""
        reader = os.open(f"/proc/self/fd/{self._held}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            with os.scandir(reader) as found:
                for one in found:
                    with contextlib.suppress(FileNotFoundError):  # it has gone meanwhile
                        yield FileEntry(one.name, one.stat(follow_symlinks=False), self._link(one))
        finally:
            os.close(reader)

    def _link(self, entry: os.DirEntry[str]) -> str | None:
        return os.readlink(entry.name, dir_fd=self._held) if entry.is_symlink() else None

    def close(self) -> None:
        """Let go of it."""
        for descriptor in (self._held, self._reader):
            if descriptor is not None:
                os.close(descriptor)


class LocalSystem:
    """The machine that this process runs on."""

    up = True
    run = staticmethod(command.run)
    which = staticmethod(command.which)

    def exists(self, path: str) -> bool:
        """Whether there is anything at a path."""
        return os.path.exists(path)  # noqa: PTH110 - strings in, strings out

    def real(self, path: str) -> str:
        """The path without links."""
        return os.path.realpath(path)

    def link(self, path: str) -> str | None:
        """Where a link leads."""
        try:
            return os.readlink(path)  # noqa: PTH115 - the text of the link, as it is
        except OSError:
            return None

    @contextlib.contextmanager
    def hold(self, path: str, *, public: bool, follow: bool = True) -> Iterator[HeldFile]:
        """Hold what a path leads to.

        With `public` each step is one that every user could take; without it `path` is taken as it
        is: resolved, and no link at its end is followed.
        """
        flags = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
        held = _LocalFile(hold_public(path, follow=follow) if public else os.open(path, flags))
        try:
            yield held
        finally:
            held.close()

    def place(self, root: str, steps: list[str]) -> AbstractContextManager[Place]:
        """Hold the place that the steps below a root lead to."""
        return local_place(root, steps)

    @cached_property
    def transfers(self) -> Transfers:
        """The files that come to it by broadcast."""
        # Loaded when it is used: an action's process should start in no time.
        from mcshell.node.files.transfers import Transfers  # noqa: PLC0415 - as above

        return Transfers()

    def parts(self, state: Path | None) -> Parts:
        """What has come of files that are not whole, in the node's state."""
        if state is None:
            raise AgentError("this node keeps no state, and so no parts of files")
        return DiskParts(state / "files")

    def owner(self, uid: int) -> str:
        """The name of a user, or the number."""
        import pwd  # noqa: PLC0415 - Unix only

        try:
            return pwd.getpwuid(uid).pw_name
        except KeyError:
            return str(uid)

    def group(self, gid: int) -> str:
        """The name of a group, or the number."""
        import grp  # noqa: PLC0415 - Unix only

        try:
            return grp.getgrgid(gid).gr_name
        except KeyError:
            return str(gid)

    def uid(self, owner: str) -> int:
        """The number of a user."""
        import pwd  # noqa: PLC0415 - Unix only

        number = number_of(owner)
        try:
            return pwd.getpwnam(owner).pw_uid if number is None else number
        except KeyError:
            raise AgentError(f"no such user: {owner}", statuscode=4) from None

    def gid(self, group: str) -> int:
        """The number of a group."""
        import grp  # noqa: PLC0415 - Unix only

        number = number_of(group)
        try:
            return grp.getgrnam(group).gr_gid if number is None else number
        except KeyError:
            raise AgentError(f"no such group: {group}", statuscode=4) from None

    def processes(self) -> list[dict[str, Any]]:
        """A row for each process."""
        import psutil  # noqa: PLC0415 - by the first call, not by the daemon's start

        return [_row(process.info) for process in psutil.process_iter(_FIELDS)]

    def pids(self) -> list[int]:
        """The numbers of all processes."""
        import psutil  # noqa: PLC0415 - as above

        return list(psutil.pids())

    def command(self, pid: int) -> str | None:
        """The name of a process."""
        import psutil  # noqa: PLC0415 - as above

        try:
            return str(psutil.Process(pid).name())
        except psutil.Error:
            return None

    def signal(self, pid: int, name: str, number: signal.Signals) -> bool:
        """Signal a process; it is held from the look at its name to the signal."""
        try:
            handle = os.pidfd_open(pid)
        except ProcessLookupError:
            return False
        except OSError as error:
            raise AgentError(f"cannot reach process {pid}: {error.strerror}") from None
        try:
            if self.command(pid) != name:
                return False
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(handle, number)
                return True
        except PermissionError:
            raise AgentError(f"not allowed to signal process {pid}") from None
        finally:
            os.close(handle)
        return False

    @property
    def spared(self) -> frozenset[int]:
        """Init, this process, and the daemon when we are its shim."""
        return frozenset({1, os.getpid(), os.getppid()})


def _row(info: Mapping[str, Any]) -> dict[str, Any]:
    memory, times, uids = info["memory_info"], info["cpu_times"], info["uids"]
    return {
        "pid": info["pid"],
        "ppid": info["ppid"] or 0,
        "user": info["username"] or "",
        "command": info["name"] or "",
        "args": info["cmdline"] or [],
        "rss_bytes": memory.rss if memory else 0,
        "cpu_seconds": round(times.user + times.system, 2) if times else 0.0,
        "state": info["status"] or "",
        "started": round(info["create_time"] or 0.0, 2),
        "uid": uids.real if uids else None,
    }
