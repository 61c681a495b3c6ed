"""Runs programs for agents: an argument list, a deadline, a bound on what is kept, no shell.

Re-exported by `mcshell.node.agent`, which is all that an agent imports. Each program leads a
process group of its own, so that what it started ends with it when time is up or the request was
cancelled. What leaves that group on purpose (a daemon that an init script starts) goes on.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import time
from typing import TYPE_CHECKING, Literal, Protocol, Self

from mcshell.errors import AgentError
from mcshell.values import dataclass

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Mapping, Sequence


__all__ = ["ProgramResult", "kept", "left_out_line", "run", "text", "which", "whole"]

LIMIT = 64 * 1024
TICK = 0.05
GRACE = 1.0
LINGER = 0.2
# Of UTF-8: what a byte begins or continues.
_CONTINUES, _LEAD, _LEAD_OF_3, _LEAD_OF_4 = 0x80, 0xC0, 0xE0, 0xF0
SYSTEM_PATH = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgramResult:
    """How a program ended. `exitcode` is None and `signal` a name ("SIGKILL") if one killed it.

    `stdout` and `stderr` are up to `limit` bytes of each, the first and the last half; `truncated`
    says that more was written, and where it was a line says how much. `ended` is why we stopped
    waiting; `elapsed` is in seconds.
    """

    exitcode: int | None
    signal: str
    stdout: bytes
    stderr: bytes
    truncated: bool
    elapsed: float
    ended: Literal["exit", "timeout", "cancelled"]

    @property
    def ok(self) -> bool:
        """Whether it ended by itself with exit code 0."""
        return self.ended == "exit" and self.exitcode == 0

    @property
    def lines(self) -> list[str]:
        """Standard output as lines of text; what is not UTF-8 is replaced."""
        return self.stdout.decode(errors="replace").splitlines()

    @property
    def complaint(self) -> str:
        """The last line it wrote, standard error first: what most programs say when they fail."""
        for stream in (self.stderr, self.stdout):
            written = stream.decode(errors="replace").strip()
            if written:
                return written.splitlines()[-1].strip()
        return ""

    def why(self) -> str:
        """One clause about how it failed, such as "exit code 3: no such file"."""
        if self.ended == "timeout":
            return f"stopped after {self.elapsed:.1f} s: out of time"
        if self.ended == "cancelled":
            return "stopped: the request was cancelled"
        how = f"killed by {self.signal}" if self.signal else f"exit code {self.exitcode}"
        return f"{how}: {self.complaint}" if self.complaint else how


class Deadline(Protocol):
    """Whatever has an end (`agent.Call`): monotonic seconds, and whether it was cancelled."""

    @property
    def grace(self) -> float:
        """Seconds after its end in which it may still be answered."""

    def write(self, data: bytes) -> None:
        """Keep what was written, where somebody may look at it meanwhile."""

    @property
    def deadline(self) -> float:
        """When it is over."""

    @property
    def remaining(self) -> float:
        """Seconds until then."""

    @property
    def cancelled(self) -> threading.Event:
        """Set when it is to end at once."""


def text(data: bytes, *, cut: bool = False) -> str | bytes:
    """Return text when `data` is UTF-8, else the bytes as they are.

    With `cut`, the data may end in the middle of a character: that piece is left out.
    """
    try:
        return (whole(data) if cut else data).decode()
    except UnicodeDecodeError:
        return data


def whole(data: bytes) -> bytes:
    """Leave out a UTF-8 character that is not complete at the end."""
    for back in range(1, min(3, len(data)) + 1):
        lead = data[-back]
        if lead >= _LEAD:
            length = 2 + (lead >= _LEAD_OF_3) + (lead >= _LEAD_OF_4)
            return data[:-back] if length > back else data
        if lead < _CONTINUES:
            break
    return data


def which(program: str) -> str | None:
    """Where `run` would find a program; None when it is not on this node.

    In place of `shutil.which`: a daemon has no other need of what that loads.
    """
    places = (f"{folder}/{program}" for folder in _path().split(":"))
    return next((at for at in places if os.path.isfile(at) and os.access(at, os.X_OK)), None)  # noqa: PTH113 - strings in, strings out


def run(
    call: Deadline,
    argv: Sequence[str],
    *,
    stdin: bytes = b"",
    env: Mapping[str, str] | None = None,
    cwd: str | None = None,
    timeout: float | None = None,
    limit: int = LIMIT,
    grace: float = GRACE,
) -> ProgramResult:
    """Run `argv` and wait for it, at most `timeout` seconds and always within the call's time.

    `env` is laid over the daemon's environment, which is passed on without what is mcshell's own
    (a passcode may stand there). `limit` is in bytes, for each of the two streams; what is written
    goes to `call.write`, too. Out of time or cancelled, the whole process group gets SIGTERM, and
    `grace` seconds later SIGKILL.

    Raises:
        AgentError: the program cannot be started at all; the message says why.
    """
    began = time.monotonic()
    # To end the group and still answer in time.
    spare = call.grace or min(GRACE + grace, call.remaining / 4)
    deadline = call.deadline if call.grace else call.deadline - spare
    if timeout is not None:
        deadline = min(deadline, began + timeout)
    ended: Literal["exit", "timeout", "cancelled"] = "exit"
    process = _start(argv, env or {}, cwd, feed=bool(stdin))
    with _Pump(process, stdin, limit, call.write) as pump:
        while not pump.exited():
            if call.cancelled.is_set():
                ended = "cancelled"
                break
            if time.monotonic() >= deadline:
                ended = "timeout"
                break
            pump.turn(TICK)
        if ended != "exit":
            pump.end_group(min(grace, spare))
        pump.drain()
        code = pump.process.wait()
    return ProgramResult(
        exitcode=code if code >= 0 else None,
        signal=_signal_name(-code) if code < 0 else "",
        stdout=pump.kept["stdout"].value(),
        stderr=pump.kept["stderr"].value(),
        truncated=any(one.left_out for one in pump.kept.values()),
        elapsed=round(time.monotonic() - began, 3),
        ended=ended,
    )


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"  # a real-time signal has no name


def _environment(extra: Mapping[str, str]) -> dict[str, str]:
    env = {key: value for key, value in os.environ.items() if not key.startswith("MCSHELL_")}
    return {**env, "PATH": _path(), **extra}


def _path() -> str:
    """The daemon's own, and where a system's programs are."""
    path = os.environ.get("PATH", "").split(":")
    return ":".join([*filter(None, path), *(d for d in SYSTEM_PATH if d not in path)])


def _start(
    argv: Sequence[str], env: Mapping[str, str], cwd: str | None, *, feed: bool
) -> subprocess.Popen[bytes]:
    if cwd is not None and not os.path.isdir(cwd):  # noqa: PTH112 - a plain test of a string
        raise AgentError(f"no such directory: {cwd}")
    try:
        return subprocess.Popen(
            list(argv),
            stdin=subprocess.PIPE if feed else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=_environment(env),
            cwd=cwd,
            start_new_session=True,
        )
    except FileNotFoundError:
        if "/" in argv[0] and os.path.exists(argv[0]):  # noqa: PTH110 - a plain test of a string
            raise AgentError(f"cannot run {argv[0]}: what its #! line names is not there") from None
        raise AgentError(f"no such program: {argv[0]}") from None
    except OSError as error:
        raise AgentError(f"cannot run {argv[0]}: {error.strerror}") from None
    except ValueError as error:  # a NUL in an argument, a "=" in a variable's name
        raise AgentError(f"cannot run {argv[0]!r}: {error}") from None


class _Kept:
    """The first and the last of what is written, `limit` bytes of it; both end with whole characters."""

    def __init__(self, limit: int) -> None:
        self._first = limit - limit // 2
        self._last = limit // 2
        self._head = bytearray()
        self._tail = bytearray()
        self.left_out = 0

    def add(self, data: bytes) -> None:
        room = self._first - len(self._head)
        self._head += data[:room]
        self._tail += data[room:]
        if (over := len(self._tail) - self._last) > 0:
            self.left_out += over
            del self._tail[:over]

    def value(self) -> bytes:
        if not self.left_out:
            return bytes(self._head + self._tail)
        head, tail = whole(bytes(self._head)), bytes(self._tail)
        begun = next((n for n, one in enumerate(tail[:4]) if not _CONTINUES <= one < _LEAD), 0)
        left_out = self.left_out + len(self._head) - len(head) + begun
        return head + left_out_line(left_out) + tail[begun:] if head or tail else b""


def kept(data: bytes, limit: int) -> tuple[bytes, bool]:
    """The first and the last half of `limit` bytes of what was written, and whether that is not all."""
    some = _Kept(limit)
    some.add(data)
    return some.value(), bool(some.left_out)


def left_out_line(count: int) -> bytes:
    """The line that stands where something long was cut."""
    return f"\n[... {count} bytes left out ...]\n".encode()


class _Pump:
    """Moves bytes between a process and us without ever blocking; owned by one thread."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        stdin: bytes,
        limit: int,
        tell: Callable[[bytes], None],
    ) -> None:
        self.process = process
        self.kept = {"stdout": _Kept(limit), "stderr": _Kept(limit)}
        self._tell = tell
        self._unsent = memoryview(stdin)
        self._selector = selectors.DefaultSelector()
        for name in ("stdout", "stderr"):
            self._watch(getattr(process, name).fileno(), selectors.EVENT_READ, name)
        if process.stdin is not None:
            self._watch(process.stdin.fileno(), selectors.EVENT_WRITE, "stdin")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is not None:
            self._kill(signal.SIGKILL)
        self._selector.close()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            if stream is not None:
                with contextlib.suppress(BrokenPipeError):
                    stream.close()
        self.process.wait()

    def _watch(self, fd: int, event: int, name: str) -> None:
        os.set_blocking(fd, False)
        self._selector.register(fd, event, name)

    def exited(self) -> bool:
        """Whether it has ended; it stays a zombie, so that its group's number stays its own."""
        if self.process.returncode is not None:
            return True
        options = os.WEXITED | os.WNOHANG | os.WNOWAIT
        try:
            return os.waitid(os.P_PID, self.process.pid, options) is not None
        except ChildProcessError:  # someone else has reaped it
            return True

    def turn(self, wait: float) -> bool:
        """Move what can be moved within `wait` seconds; False when nothing could."""
        if not self._selector.get_map():
            time.sleep(wait)
            return False
        events = self._selector.select(wait)
        for key, _ in events:
            if key.data == "stdin":
                self._write(key.fd)
            else:
                self._read(key.fd, key.data)
        return bool(events)

    def _read(self, fd: int, name: str) -> None:
        try:
            data = os.read(fd, 65536)
        except BlockingIOError:
            return
        if not data:
            self._selector.unregister(fd)
            return
        self.kept[name].add(data)
        self._tell(data)

    def _write(self, fd: int) -> None:
        try:
            self._unsent = self._unsent[os.write(fd, self._unsent[:65536]) :]
        except BlockingIOError:
            return
        except BrokenPipeError:  # it does not want the rest
            self._unsent = self._unsent[:0]
        if not self._unsent:
            self._selector.unregister(fd)
            if self.process.stdin is not None:
                self.process.stdin.close()

    def _kill(self, number: signal.Signals) -> None:
        if self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, number)

    def end_group(self, grace: float) -> None:
        """SIGTERM to the group, SIGKILL to what of it is left after the grace."""
        self._kill(signal.SIGTERM)
        limit = time.monotonic() + grace
        while not self.exited() and time.monotonic() < limit:
            self.turn(TICK)
        self._kill(signal.SIGKILL)
        while not self.exited():
            self.turn(TICK)

    def drain(self) -> None:
        """Take what is still in the pipes; a background child may hold them open for ever."""
        limit = time.monotonic() + LINGER
        while self._selector.get_map() and time.monotonic() < limit:
            self.turn(TICK)
