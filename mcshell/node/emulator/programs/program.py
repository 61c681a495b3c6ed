"""How a program of an emulated machine is called, and what it says."""

from __future__ import annotations

from dataclasses import field, replace
from posixpath import normpath
from typing import TYPE_CHECKING, Final

from mcshell.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mcshell.node.emulator.state import MachineState

__all__ = ["PROGRAMS", "ProgramCall", "Said", "program"]

PROGRAMS: Final[dict[str, Callable[[ProgramCall], Said]]] = {}


@dataclass(frozen=True, slots=True)
class Said:
    """What a program has written, and its exit code."""

    out: str | bytes = ""
    err: str = ""
    code: int = 0

    @property
    def stdout(self) -> bytes:
        """Its standard output."""
        return self.out.encode() if isinstance(self.out, str) else self.out


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgramCall:
    """One run: the machine, the words, what comes in, and how to wait (seconds; True when stopped).

    `write` is given what a script has written so far, as it goes.
    """

    machine: MachineState
    words: list[str]
    stdin: bytes = b""
    now: float
    wait: Callable[[float], bool]
    cwd: str = "/"
    env: Mapping[str, str] = field(default_factory=dict)
    write: Callable[[bytes], None] = lambda _data: None

    @property
    def name(self) -> str:
        """What it was called as."""
        return self.words[0].rpartition("/")[2]

    @property
    def options(self) -> list[str]:
        """The words that begin with a dash."""
        return [word for word in self.words[1:] if word.startswith("-") and word != "-"]

    @property
    def operands(self) -> list[str]:
        """The other words."""
        return [word for word in self.words[1:] if not word.startswith("-") or word == "-"]

    def path(self, word: str) -> str:
        """A path as it is meant here."""
        return normpath(word if word.startswith("/") else f"{self.cwd}/{word}")

    def instead(self, *words: str) -> ProgramCall:
        """The same with other words."""
        return replace(self, words=list(words))

    def fails(self, text: str, code: int = 1) -> Said:
        """End with one line about what is wrong."""
        return Said("", f"{self.name}: {text}\n", code)


def program(
    *names: str,
) -> Callable[[Callable[[ProgramCall], Said]], Callable[[ProgramCall], Said]]:
    """Have a function be these programs."""

    def register(run: Callable[[ProgramCall], Said]) -> Callable[[ProgramCall], Said]:
        PROGRAMS.update(dict.fromkeys(names, run))
        return run

    return register
