"""Child processes of the tests: started in a group of their own, ended to the last descendant.

Every child inherits the environment variable `MARK`, set once a test session, so that
`leftovers()` finds whatever was started by it and still runs, however far down the tree.
"""

from __future__ import annotations

import contextlib
import os
import random
import resource
import signal
import socket
import subprocess
import threading
import time
from collections import deque
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

__all__ = [
    "MARK",
    "PORTS",
    "Child",
    "PeerError",
    "free_ports",
    "leftovers",
    "no_descriptors",
    "no_threads",
    "said",
    "wait_until",
]

MARK = "MCSHELL_TEST_SESSION"
PORTS = "MCSHELL_TEST_PORTS"
"""The variable with the ports that may be taken, `FIRST-END`."""

_handed_out: deque[int] = deque(maxlen=400)


class PeerError(Exception):
    """A peer that did not come up; the message ends with the tail of its log."""


def wait_until(condition: Callable[[], bool], seconds: float, pause: float = 0.05) -> bool:
    """Wait until the condition holds; return whether it did before the deadline."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(pause)
    return True


@contextlib.contextmanager
def no_threads() -> Iterator[None]:
    """Leave this process no room for a thread: each wants a stack larger than all that it may have."""
    limits = resource.getrlimit(resource.RLIMIT_AS)
    stack = threading.stack_size(1 << 30)
    room = psutil.Process().memory_info().vms + (512 << 20)
    resource.setrlimit(resource.RLIMIT_AS, (room, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)
        threading.stack_size(stack)


@contextlib.contextmanager
def no_descriptors() -> Iterator[None]:
    """Let this process open nothing more for a while."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def said(
    *argv: str | Path, cwd: Path | None = None, text: str = "", timeout: float = 300.0, **more: str
) -> str:
    """Run a program that must succeed (seconds at most); what it writes. `more` is environment."""
    done = subprocess.run(
        [str(word) for word in argv],
        cwd=cwd,
        input=text,
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout,
        env={**os.environ, **more},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def free_ports(count: int) -> list[int]:
    """Find ports of the loopback interface that nobody uses.

    They lie below the range from which the kernel hands out ports to clients, so that a broker
    that is killed finds its port free when it starts again. Groups of tests that run side by side
    have ranges of their own (`tests/parallel.py`), and what was found once is not found again soon:
    whoever has it has perhaps not yet taken it.
    """
    first, _, end = os.environ.get(PORTS, "12000-32000").partition("-")
    found: list[int] = []
    while len(found) < count:
        port = random.randrange(int(first), int(end))
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            if port not in _handed_out:
                _handed_out.append(port)
                found.append(port)
    return found


class Child:
    """One process with its descendants; its output goes to `log`."""

    def __init__(
        self, argv: Sequence[str | Path], log: Path, env: Mapping[str, str] | None = None
    ) -> None:
        self.argv = [str(word) for word in argv]
        self.log = log
        with log.open("ab") as out:
            self.process = subprocess.Popen(
                self.argv,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(env or {})},
                start_new_session=True,
            )
        self._family: dict[int, psutil.Process] = {}

    @property
    def pid(self) -> int:
        """The pid of the process that was started."""
        return self.process.pid

    @property
    def running(self) -> bool:
        """Whether that process still runs."""
        return self.process.poll() is None

    def family(self) -> list[psutil.Process]:
        """The process and its descendants that run, also those whose parent has died."""
        with contextlib.suppress(psutil.NoSuchProcess):
            head = psutil.Process(self.pid)
            for member in [head, *head.children(recursive=True)]:
                self._family.setdefault(member.pid, member)
        return [member for member in self._family.values() if _alive(member)]

    def signal(self, number: int) -> None:
        """Send a signal to every process of the family."""
        for member in self.family():
            with contextlib.suppress(psutil.NoSuchProcess):
                member.send_signal(number)

    def kill9(self) -> None:
        """Kill the family as a power cut would."""
        family = self.family()
        self.signal(signal.SIGKILL)
        self.process.wait(30)
        psutil.wait_procs(family, timeout=30)

    def stop(self, seconds: float = 20.0, pid: int | None = None) -> None:
        """Ask `pid` (else the process) to end, then kill what of the family is left."""
        family = self.family()
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid or self.pid, signal.SIGTERM)
            os.kill(pid or self.pid, signal.SIGCONT)  # a stopped process ends as well
        # reaping first: a zombie of ours would look as if it lived
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(seconds)
        psutil.wait_procs(family, timeout=0.5)
        self.kill9()

    def tail(self, lines: int = 20) -> str:
        """The end of its log, for a message."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])


def _alive(process: psutil.Process) -> bool:
    """Whether it runs; a process that only waits to be reaped does not."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def leftovers(mark: str) -> list[psutil.Process]:
    """The processes, other than this one, that were started in the session `mark`."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.pid != os.getpid() and process.environ().get(MARK) == mark:
                found.append(process)
    return [process for process in found if _alive(process)]
