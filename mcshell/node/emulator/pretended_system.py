"""The machine below an emulated node: what its agents see in place of this host."""

from __future__ import annotations

import errno
import os
import shlex
import stat
import threading
import time
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, Literal

from mcshell.errors import AgentError
from mcshell.node.command import ProgramResult, kept
from mcshell.node.emulator.pretended_files import PretendedParts, PretendedPlace
from mcshell.node.emulator.programs import PROGRAMS, ProgramCall, Said
from mcshell.node.emulator.state import NODE, MachineState
from mcshell.node.files.place import number_of
from mcshell.node.files.transfers import Transfers

if TYPE_CHECKING:
    import signal
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from mcshell.filters.data import HeldFile
    from mcshell.node.command import Deadline
    from mcshell.node.emulator.machines import Machine
    from mcshell.node.files.place import Place

__all__ = ["PretendedSystem"]

_SLOW: Final = 0.4
_SHELLS: Final = ("sh", "bash")
_FRONTS: Final = ("env", "sudo", "nice", "nohup")
_OPERATORS: Final = ("|", ";", "&&", "||", ">", ">>")


def _nowhere(_data: bytes) -> None:
    """A command within a script: what it writes may be for a pipe, or a file."""


class _Run:
    """A program that seems to run: for how long, what it has written, and how it has ended."""

    def __init__(self, call: Deadline, timeout: float | None) -> None:
        self._call = call
        self._began = time.monotonic()
        self._ends = call.deadline if timeout is None else min(call.deadline, self._began + timeout)
        self._ended: Literal["exit", "timeout", "cancelled"] = "exit"
        self._written = 0

    def wait(self, seconds: float) -> bool:
        """Wait as a program does; True when it was stopped meanwhile."""
        left = min(seconds, self._ends - time.monotonic())
        cancelled = self._call.cancelled.wait(max(0.0, left))
        if self._ended == "exit" and cancelled:
            self._ended = "cancelled"
        elif self._ended == "exit" and time.monotonic() >= self._ends:
            self._ended = "timeout"
        return self._ended != "exit"

    def write(self, data: bytes) -> None:
        """Have what it writes seen at once."""
        self._written += len(data)
        self._call.write(data)

    def result(self, said: Said, limit: int) -> ProgramResult:
        """What is told of it in the end; what was not seen yet is now."""
        self._call.write(said.stdout[self._written :] + said.err.encode())
        out, cut = kept(said.stdout, limit)
        err, cut_too = kept(said.err.encode(), limit)
        stopped = self._ended != "exit"
        return ProgramResult(
            exitcode=None if stopped else said.code,
            signal="SIGTERM" if stopped else "",
            stdout=out,
            stderr=err,
            truncated=cut or cut_too,
            elapsed=round(time.monotonic() - self._began, 3),
            ended=self._ended,
        )


class PretendedSystem:
    """A `System` that is made up: nothing here is touched, no process is started.

    What it has is made when somebody first looks. All its methods may be called from any thread.
    """

    def __init__(self, machine: Machine, *, at: float | None = None, age: float = 0.0) -> None:
        self._machine = machine
        self._at = at
        self._age = age
        self._lock = threading.RLock()
        self._parts = PretendedParts(self._lock)
        self._made: MachineState | None = None
        self._boot = self._now() - machine.facts["uptime_seconds"]

    def facts(self) -> Mapping[str, Any]:
        """What the machine says of itself now."""
        made = self._made
        boot = self._boot if made is None else made.boot
        return {**self._machine.facts, "uptime_seconds": int(self._now() - boot)}

    @property
    def _state(self) -> MachineState:
        if self._made is None:
            self._made = MachineState(self._machine, self._now(), self._boot, self._age)
        return self._made

    def _now(self) -> float:
        return time.time() if self._at is None else self._at

    def _pause(self) -> None:
        if self._machine.trouble == "slow" and self._at is None:
            time.sleep(_SLOW)

    # --- programs --------------------------------------------------------------------------

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
        grace: float,  # noqa: ARG002 - nothing has to be ended
    ) -> ProgramResult:
        """Pretend to run a program."""
        run = _Run(call, timeout)
        where = cwd or "/"
        with self._lock:
            if not self._state.files.exists(where):
                raise AgentError(f"no such directory: {cwd}")
        self._pause()
        program = ProgramCall(
            machine=self._state,
            words=list(argv),
            stdin=stdin,
            now=self._now(),
            wait=run.wait,
            cwd=where,
            env=env or {},
            write=run.write,
        )
        return run.result(self._said(program), limit)

    def which(self, program: str) -> str | None:
        """Where a program would be: only those of its system are there."""
        apt = ("dpkg-query", "dpkg", "apt-get", "apt", "apt-cache")
        other = apt if self._state.rpm else ("rpm", "dnf", "yum")
        there = program in (*PROGRAMS, *_SHELLS) and program not in other
        return f"/usr/bin/{program}" if there else None

    def _said(self, call: ProgramCall) -> Said:
        words, name = call.words, call.name
        if name in _FRONTS:
            # What env(1) sets is for a process, and there is none.
            rest = [one for one in words[1:] if "=" not in one and not one.startswith("-")]
            if rest:
                return self._said(call.instead(*words[words.index(rest[0]) :]))
        if name in _SHELLS and words[1:2] and words[1].startswith("-") and words[1].endswith("c"):
            return self._script(call, " ".join(words[2:3]))
        if self.which(name) is None or name in _SHELLS:
            known = "this emulated machine knows it not; `help` lists what it knows"
            raise AgentError(f"no such program: {words[0]} ({known})")
        try:
            if name == "sleep":
                return PROGRAMS[name](call)
            with self._lock:
                return PROGRAMS[name](call)
        except OSError as error:
            return call.fails(f"{error.filename}: {error.strerror}")
        except (ValueError, TypeError, StopIteration):
            return call.fails("this emulated machine cannot do that with these words", 2)

    def _script(self, call: ProgramCall, text: str) -> Said:
        """What a shell would do with a line of commands, pipes, `&&`, `||`, `;` and `>`."""
        lexer = shlex.shlex(text, posix=True, punctuation_chars="|;&>")
        lexer.whitespace_split = True
        try:
            tokens = [*lexer, ";"]
        except ValueError as error:
            return call.fails(str(error), 2)
        out, err, code = b"", "", 0
        words: list[str] = []
        piped, skip = call.stdin, False
        for word in tokens:
            if word not in _OPERATORS or (word.startswith(">") and not words):
                words.append(word)
                continue
            if word.startswith(">"):
                words.append(f"\0{word}")
                continue
            if words and not skip:
                said = self._redirected(replace(call, words=words, stdin=piped, write=_nowhere))
                code, err = said.code, err + said.err
                if word != "|":
                    call.write(said.stdout)
                out, piped = (out, said.stdout) if word == "|" else (out + said.stdout, call.stdin)
            skip = (word == "&&" and code != 0) or (word == "||" and code == 0)
            words = []
        return Said(out, err, code)

    def _redirected(self, call: ProgramCall) -> Said:
        """One command of a shell's line, its output perhaps in a file."""
        words = call.words
        place = next((place for place, one in enumerate(words) if one.startswith("\0")), None)
        try:
            said = self._said(call.instead(*words[:place]))
        except AgentError:
            return Said("", f"sh: {words[0]}: not found\n", 127)
        if place is None or place + 1 >= len(words):
            return said
        path, text = call.path(words[place + 1]), said.stdout.decode(errors="replace")
        if path != "/dev/null":
            with self._lock:
                put = self._state.files.append if words[place] == "\0>>" else self._state.files.add
                put(path, text, at=self._now())
        return Said("", said.err, said.code)

    # --- files -----------------------------------------------------------------------------

    def exists(self, path: str) -> bool:
        """Whether there is anything at a path."""
        with self._lock:
            return self._state.files.exists(path)

    def real(self, path: str) -> str:
        """The path without links."""
        with self._lock:
            return self._state.files.real(path)

    def link(self, path: str) -> str | None:
        """Where a link leads."""
        with self._lock:
            try:
                return self._state.files.at(path, follow=False).link or None
            except OSError:
                return None

    def hold(
        self, path: str, *, public: bool, follow: bool = True
    ) -> AbstractContextManager[HeldFile]:
        """Hold what a path leads to."""
        self._pause()
        with self._lock:
            self._state.grow(self._now())
            return self._state.files.hold(path, public=public, follow=follow)

    @contextmanager
    def place(self, root: str, steps: list[str]) -> Iterator[Place]:
        """Hold the place that the steps below a root lead to."""
        with self._lock:
            here = self._state.files.real(root)
            for name in steps[:-1]:
                here = f"{here.rstrip('/')}/{name}"
                if not stat.S_ISDIR(self._state.files.at(here, follow=False).mode):
                    raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), here)
        path = f"{here.rstrip('/')}/{steps[-1]}"
        yield PretendedPlace(self._state.files, path, self._lock, self._room(path), self._now())

    def _room(self, path: str) -> Callable[[], int]:
        """What the disk of a path has left, in bytes."""

        def left() -> int:
            mounted = [one for one in self._state.disks if path.startswith(one[1])]
            _device, _mount, size, used = max(mounted, key=lambda one: len(one[1]))
            return size - used

        return left

    @cached_property
    def transfers(self) -> Transfers:
        """The files that come to it by broadcast."""
        return Transfers()

    def parts(self, state: Path | None) -> PretendedParts:
        """What has come of files that are not whole; nothing of it is on this host's disk."""
        del state
        return self._parts

    def uid(self, owner: str) -> int:
        """The number of a user."""
        number = number_of(owner)
        try:
            return self._state.users[owner] if number is None else number
        except KeyError:
            raise AgentError(f"no such user: {owner}", statuscode=4) from None

    def gid(self, group: str) -> int:
        """The number of a group: each user has one."""
        return self.uid(group)

    def owner(self, uid: int) -> str:
        """The name of a user, or the number."""
        names = {number: name for name, number in self._state.users.items()}
        return names.get(uid, str(uid))

    def group(self, gid: int) -> str:
        """The name of a group, or the number: each user has one."""
        return self.owner(gid)

    # --- processes -------------------------------------------------------------------------

    def processes(self) -> list[dict[str, Any]]:
        """A row for each process."""
        self._pause()
        with self._lock:
            return self._state.processes(self._now())

    def pids(self) -> list[int]:
        """The numbers of all processes."""
        return [row["pid"] for row in self.processes()]

    def command(self, pid: int) -> str | None:
        """The name of a process."""
        with self._lock:
            table = self._state.process_table(self._now())
        return next((one.command for one in table if one.pid == pid), None)

    def signal(self, pid: int, name: str, number: signal.Signals) -> bool:
        """Pretend to signal a process: all but HUP end it."""
        if self.command(pid) != name:
            return False
        if number.name not in ("SIGHUP", "SIGUSR1", "SIGUSR2", "SIGCONT"):
            with self._lock:
                self._state.end(pid, self._now())
        return True

    @property
    def spared(self) -> frozenset[int]:
        """Init and the node's own."""
        return frozenset({1, NODE})

    # --- power -----------------------------------------------------------------------------

    @property
    def up(self) -> bool:
        """Whether it runs; one that nobody has looked at does."""
        if self._made is None:
            return True
        with self._lock:
            return self._made.is_up(self._now())
