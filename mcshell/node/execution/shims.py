"""The daemon's side of a shim: start one, find one again after a restart, learn how it ended."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import site
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mcshell.errors import MCShellError, Rejected
from mcshell.message import State, StatusCode
from mcshell.node.verdicts import Outcome
from mcshell.wire.documents import strict_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mcshell.node.execution.run_directory import RunDirectory
    from mcshell.node.store.records import WorkItem

__all__ = ["Running", "adopt", "launch"]

log = logging.getLogger(__name__)

_MOST = 1 << 30
"""Bytes of an outcome that are read at all; the shim keeps to max_reply by itself."""


@dataclass(slots=True, eq=False)
class Running:
    """One action at work in a shim: of this daemon's starting, or adopted (without `process`)."""

    work: WorkItem
    folder: RunDirectory
    process: subprocess.Popen[bytes] | None
    handle: int | None
    """A pidfd, readable when the process has ended; None: it must be asked."""

    def ended(self) -> bool:
        """Whether the shim has ended; what it leaves is then complete."""
        if self.process is not None:
            return self.process.poll() is not None
        return not self.folder.alive()

    def outcome(self) -> Outcome | None:
        """How it came out; None when it died without saying so."""
        return read_outcome(self.folder)

    def death(self) -> str:
        """What is known of how it died."""
        code = None if self.process is None else self.process.returncode
        if code is not None and code < 0:
            with contextlib.suppress(ValueError):
                return f"its process was ended by {signal.Signals(-code).name}"
        return "its process died" if code is None else f"its process ended with code {code}"

    def overran(self) -> bool:
        """Whether the kernel's alarm ended it, because it could not end itself in time."""
        return self.process is not None and self.process.returncode == -signal.SIGALRM

    def clear(self) -> None:
        """Drop its folder."""
        if self.handle is not None:
            os.close(self.handle)
            self.handle = None
        self.folder.clear()


def launch(folder: RunDirectory, work: WorkItem, document: Mapping[str, Any]) -> Running:
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
    return Running(work, folder, process, _pidfd(process.pid))


def adopt(folder: RunDirectory, work: WorkItem) -> Running | None:
    """Find the shim of a row that was running before a restart; None when it is gone."""
    if not folder.alive():
        return None
    return Running(work, folder, None, None)


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


def _environment() -> dict[str, str]:
    """The daemon's, without what is mcshell's own: a passcode may stand there."""
    env = {key: value for key, value in os.environ.items() if not key.startswith("MCSHELL_")}
    root = str(Path(__file__).parents[3])
    if root not in site.getsitepackages():  # a checkout, which only the daemon's path may know
        env["PYTHONPATH"] = os.pathsep.join(filter(None, (root, env.get("PYTHONPATH"))))
    return env


def _spawn(path: Path, lock: int) -> subprocess.Popen[bytes]:
    # -P: no code is taken from whatever folder the daemon was started in.
    command = ["-P", "-m", "mcshell.node.execution.shim_main", str(path), str(lock)]
    with (path / "log").open("wb") as log_file:
        return subprocess.Popen(
            [sys.executable, *command],
            stdin=subprocess.DEVNULL,
            stdout=log_file,
            stderr=log_file,
            pass_fds=(lock,),
            start_new_session=True,
            env=_environment(),
        )


def _pidfd(pid: int) -> int | None:
    try:
        return os.pidfd_open(pid)
    except OSError:  # an old kernel
        return None
