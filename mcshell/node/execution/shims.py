"""The daemon's side of a shim: start one, find one again after a restart, learn how it ended.

Shims outlive the daemon: one that starts again adopts them.
"""

from __future__ import annotations

import contextlib
import logging
import os
import selectors
import signal
import subprocess
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Final

from mcshell.children import python_environment, python_module
from mcshell.errors import MCShellError, Rejected
from mcshell.message import State, StatusCode
from mcshell.node.execution.run_directory import RunArchive, RunDirectory
from mcshell.node.verdicts import Outcome
from mcshell.values import dataclass
from mcshell.wire.documents import strict_json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from mcshell.config import NodeSettings
    from mcshell.node.execution.runner import Run
    from mcshell.node.host import Host
    from mcshell.node.store.records import Key, WorkItem
    from mcshell.node.verdicts import Admitted

__all__ = ["ShimRunner", "read_outcome"]

log = logging.getLogger(__name__)

_POLL: Final = 0.1
_OVERRAN: Final = Outcome(State.FAILED, StatusCode.UNKNOWN_ERROR, "timed out, and was ended")

_MOST = 1 << 30
"""Bytes of an outcome that are read at all; the shim keeps to max_reply by itself."""


class ShimRunner:
    """Runs each action in a shim process with a folder of its own below `folder` (a `Runner`)."""

    def __init__(self, folder: Path, settings: NodeSettings) -> None:
        self._folder = folder
        self.settings = settings
        """What is in force; another may take its place at any time."""
        self._run_archive = RunArchive(folder.with_name("runs"), settings.retention)
        self._running: list[_ShimRun] = []
        self._to_stop: SimpleQueue[Key] = SimpleQueue()
        self._stopping: set[Key] = set()
        self._wakeup, self._wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._wakeup, selectors.EVENT_READ)

    def places(self, work: WorkItem) -> Sequence[RunDirectory]:
        """Where the files of a run may be: it may just be moved."""
        return self._directory(work), self._run_archive.of(work.id)

    def adopt(self, work: WorkItem) -> Run | None:
        """What an earlier daemon's shim has left; None when it still runs."""
        run = _ShimRun(work, self._directory(work), None, None)
        if not run.ended():
            log.info("%s.%s of %s still runs", work.agent, work.action, work.id)
            self._running.append(run)
            return None
        return run

    def start(self, work: WorkItem, admitted: Admitted, host: Host) -> None:
        """Launch a shim; raises MCShellError when nothing has run."""
        run = _launch(self._directory(work), work, self._document(admitted, host))
        self._running.append(run)
        if run.handle is not None:
            self._selector.register(run.handle, selectors.EVENT_READ)

    def ended(self) -> Sequence[Run]:
        """The runs whose shims have."""
        self._stop_some()
        return [run for run in self._running if run.ended()]

    def drop(self, run: Run, *, keep: bool) -> None:
        """Clear a run's folder; `keep` moves what it has written to the archive."""
        assert isinstance(run, _ShimRun)
        if run in self._running:
            self._running.remove(run)
        if run.handle is not None:
            self._selector.unregister(run.handle)
        if keep:
            self._run_archive.keep(run.folder)
        run.clear()

    def stop(self, key: Key) -> None:
        """Have a run end, with all its processes."""
        self._to_stop.put(key)
        self.wake()

    def _stop_some(self) -> None:
        with contextlib.suppress(Empty):
            while True:
                self._stopping.add(self._to_stop.get_nowait())
        here = {run.work.key: run for run in self._running if run.work.key in self._stopping}
        self._stopping.clear()
        for key, run in here.items():
            if (pid := run.folder.shim_pid()) is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGTERM)
            elif not run.ended():
                self._stopping.add(key)  # it has just begun, and cannot be told yet

    def wait(self, seconds: float) -> None:
        """Wait until a shim has ended, until `wake`, or so long."""
        if self._stopping or any(run.handle is None for run in self._running):  # it must be asked
            seconds = min(seconds, _POLL)
        for key, _ in self._selector.select(seconds):
            if key.fd == self._wakeup:
                os.read(self._wakeup, 4096)

    def wake(self) -> None:
        """End `wait`."""
        try:
            os.write(self._wake, b"r")
        except BlockingIOError:
            return  # it has been told often enough

    def purge(self, now: float) -> None:
        """Drop what is too old in the archive, and too much."""
        self._run_archive.purge(now)

    def _directory(self, work: WorkItem) -> RunDirectory:
        return RunDirectory(self._folder / work.id)

    def _document(self, admitted: Admitted, host: Host) -> Mapping[str, Any]:
        """What the shim is told (request.json)."""
        request = admitted.request
        limit = self.settings.limits.get(request.agent)
        return {
            "source": str(admitted.service.source),
            "timeout": self.settings.time_for(
                request.agent, admitted.action.timeout, admitted.max_runtime
            ),
            "limits": {
                "memory": limit.memory if limit else None,
                "output": limit.output if limit else None,
            },
            "max_reply": self.settings.max_reply,
            "request": {
                "id": request.id,
                "agent": request.agent,
                "action": request.action,
                "caller": request.caller,
                "collective": request.collective,
                "via": request.via.value,
                "session": request.session,
                "created": request.created,
                "expires": request.expires,
                "data": request.data,
                "identity": request.identity,
            },
            "node": host.portable(),
        }


@dataclass(slots=True, eq=False)
class _ShimRun:
    """One action at work (a `Run`): of this daemon's starting, or adopted (without `process`)."""

    work: WorkItem
    folder: RunDirectory
    process: subprocess.Popen[bytes] | None
    handle: int | None
    """A pidfd, readable when the process has ended; None: it must be asked."""

    def ended(self) -> bool:
        """Whether it has; what it leaves is then complete."""
        if self.process is not None:
            return self.process.poll() is not None
        return not self.folder.alive()

    def outcome(self) -> Outcome | None:
        """How it came out; None when it died without saying so."""
        outcome = read_outcome(self.folder)
        # The kernel's alarm ends one that could not end itself in time.
        overran = self.process is not None and self.process.returncode == -signal.SIGALRM
        return _OVERRAN if outcome is None and overran else outcome

    def death(self) -> str:
        """What is known of how it died."""
        code = None if self.process is None else self.process.returncode
        if code is not None and code < 0:
            with contextlib.suppress(ValueError):
                return f"its process was ended by {signal.Signals(-code).name}"
        return "its process died" if code is None else f"its process ended with code {code}"

    def clear(self) -> None:
        """Drop its folder."""
        if self.handle is not None:
            os.close(self.handle)
            self.handle = None
        self.folder.clear()


def _launch(folder: RunDirectory, work: WorkItem, document: Mapping[str, Any]) -> _ShimRun:
    """Start a shim for a row that is marked as running.

    Raises:
        MCShellError: it cannot be started; nothing has run.
    """
    try:
        folder.clear()
        folder.path.mkdir(mode=0o700, parents=True)
        body = strict_json.dumps(document, max_depth=60)
        handle = os.open(folder.request, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(body)
        lock = folder.take_lock()
        assert lock is not None, "a new folder"
        try:
            process = _spawn(folder.path, lock)
        finally:
            os.close(lock)
    except (OSError, strict_json.Unwritable) as error:
        raise MCShellError(f"the action cannot be started: {error}") from error
    return _ShimRun(work, folder, process, _pidfd(process.pid))


def read_outcome(folder: RunDirectory) -> Outcome | None:
    """Read what a shim wrote down; None when it did not."""
    try:
        size = folder.outcome.stat().st_size
        if size > _MOST:
            return _broken(f"{size} bytes")
        document = strict_json.loads(folder.outcome.read_bytes(), max_depth=60)
        return Outcome(
            State(document["state"]),
            int(document["statuscode"]),
            str(document["statusmsg"]),
            dict(document["data"]),
        )
    except FileNotFoundError:
        return None
    except (OSError, Rejected, ValueError, KeyError, TypeError) as error:
        return _broken(str(error))


def _broken(why: str) -> Outcome:
    text = f"what the action left cannot be read: {why}"
    return Outcome(State.FAILED, StatusCode.UNKNOWN_ERROR, text)


def _spawn(path: Path, lock: int) -> subprocess.Popen[bytes]:
    # The daemon's environment, without what is mcshell's own: a passcode may stand there.
    env = {key: value for key, value in os.environ.items() if not key.startswith("MCSHELL_")}
    with (path / "log").open("wb") as log_file:
        return subprocess.Popen(
            python_module("mcshell.node.execution.shim_main", str(path), str(lock)),
            stdin=subprocess.DEVNULL,
            stdout=log_file,
            stderr=log_file,
            pass_fds=(lock,),
            start_new_session=True,
            env=python_environment(env),
        )


def _pidfd(pid: int) -> int | None:
    try:
        return os.pidfd_open(pid)
    except OSError:  # an old kernel
        return None
