"""This host, looked at before and after: what a demo could change of it, and what it leaves running."""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from tests.peers.processes import MARK, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["untouched_host"]

_SET_SUBREAPER = 36  # prctl(2): orphans below us become our children, not init's


@contextmanager
def untouched_host() -> Iterator[None]:
    """Nothing of this host changes inside, and nothing that begins inside outlives it.

    Whatever session of its own a process makes, and whatever its environment: it is below us. What is
    not below us, nor below any run of tests, is there afterwards as it was.
    """
    own = psutil.Process()
    installed, others, below = _installed(), _daemons(), set(own.children(recursive=True))
    _adopt_orphans(yes=True)
    try:
        yield
    finally:
        ended = wait_until(lambda: not _living(own, below), 60.0)
        left = _living(own, below)
        _adopt_orphans(yes=False)
    assert ended, f"left behind: {left}"
    assert _installed() == installed
    gone = others - _daemons()
    assert not gone, f"processes of this host that have ended: {gone}"


def _adopt_orphans(*, yes: bool) -> None:
    assert ctypes.CDLL(None).prctl(_SET_SUBREAPER, int(yes), 0, 0, 0) == 0


def _living(own: psutil.Process, below: set[psutil.Process]) -> list[psutil.Process]:
    """What has begun below us since, and has not ended."""
    return [one for one in own.children(recursive=True) if one not in below and _lives(one)]


def _lives(one: psutil.Process) -> bool:
    """Whether it does; one that has ended, and that nobody waits for, is taken leave of."""
    with contextlib.suppress(psutil.NoSuchProcess):
        if one.status() != psutil.STATUS_ZOMBIE:
            return True
        with contextlib.suppress(ChildProcessError):
            os.waitpid(one.pid, os.WNOHANG)
    return False


def _installed() -> dict[str, object]:
    """Packages and services, with their states."""

    def said(*words: str) -> str:
        return subprocess.run(words, capture_output=True, text=True, check=False).stdout

    scripts = Path("/etc/init.d")
    return {
        "packages": said("dpkg-query", "-W") if shutil.which("dpkg-query") else "",
        "services": sorted(one.name for one in scripts.iterdir()) if scripts.is_dir() else [],
        "states": said("service", "--status-all") if shutil.which("service") else "",
    }


def _daemons() -> set[tuple[int, float, str]]:
    """The processes of all sessions below init that are older than this run of tests: pid, start, name.

    A session that somebody sits in, or another run's, comes and goes as it likes.
    """
    found = set()
    own = psutil.Process()
    runs = [own, *(one for one in own.parents() if one.name().startswith("python"))]
    began = min(one.create_time() for one in runs)
    for one in psutil.process_iter():
        with contextlib.suppress(psutil.Error, ProcessLookupError):
            leader = psutil.Process(os.getsid(one.pid))
            older = one.create_time() < began and MARK not in one.environ()
            if older and leader.ppid() == 1:
                found.add((one.pid, one.create_time(), one.name()))
    return found
