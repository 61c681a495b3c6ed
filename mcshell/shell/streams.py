"""Standard input, output and error as the shell has given them: closed, full, of some encoding."""

from __future__ import annotations

import codecs
import io
import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, TextIO

from mcshell.errors import MachineError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from _typeshed import ReadableBuffer as Buffer

__all__ = ["StandardStreams", "fault_of", "writing"]

_HANDLER: Final = "mcshell.escaped"
_NO_THREAD: Final = "can't start new thread"
_LIMITS: Final = "`ulimit -a` and its cgroup say what it may have"


class StandardStreams:
    """The three streams of a process, made fit for use; `escaped` counts letters that had to be."""

    def __init__(self) -> None:
        self.escaped = 0
        self.closed = sys.stdout is None
        heard = sys.stderr is not None
        # What is opened later must not become standard output.
        for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
            if getattr(sys, name) is None:
                _fill(number)
                setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: PTH123, SIM115 - for the life of the process
        if heard and _is_plain(sys.stderr):
            lossy = io.BufferedWriter(_Lossy(sys.stderr.fileno(), "w", closefd=False))
            encoding, errors = sys.stderr.encoding, sys.stderr.errors
            sys.stderr = io.TextIOWrapper(lossy, encoding, errors, line_buffering=True)
        codecs.register_error(_HANDLER, self._escape)
        if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
            sys.stdout.reconfigure(errors=_HANDLER)

    def _escape(self, error: UnicodeError) -> tuple[str, int]:
        r"""Letters outside the encoding as `\uXXXX`, which JSON reads as what they are."""
        assert isinstance(error, UnicodeEncodeError)
        letters = error.object[error.start : error.end]
        self.escaped += len(letters)
        units = letters.encode("utf-16-be", "surrogatepass")
        codes = [units[at : at + 2].hex() for at in range(0, len(units), 2)]
        return "".join(f"\\u{code}" for code in codes), error.end

    def note(self) -> str:
        """A line on what had to be escaped; "" when nothing had."""
        if not self.escaped:
            return ""
        letters = "1 letter is" if self.escaped == 1 else f"{self.escaped} letters are"
        return (
            f"standard output takes {sys.stdout.encoding}: {letters} written as"
            r" \uXXXX (PYTHONIOENCODING=utf-8 writes all as they are)"
        )

    def require_output(self) -> None:
        """Raise MachineError where nothing could be shown: before anything is asked."""
        if self.closed:
            raise MachineError("standard output is closed")

    def drop_output(self) -> None:
        """Let what is still to be written go nowhere: the interpreter writes it when it ends."""
        null = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(null, sys.stdout.fileno())
        except (OSError, ValueError):
            sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115 - as above
        finally:
            os.close(null)


class _Lossy(io.FileIO):
    """Standard error: what a full disk or a reader that is gone does not take is lost, and nothing else.

    What was done is done; the exit code says how it came out, not whether somebody could read of it.
    """

    def write(self, data: Buffer, /) -> int:
        """Write it, or let it go."""
        try:
            return super().write(data)
        except BlockingIOError:
            raise
        except OSError:
            return memoryview(data).nbytes


@contextmanager
def writing(what: str = "standard output") -> Iterator[None]:
    """Say of an output that takes no more which it was; who reads us may go without a word."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise MachineError(f"{what}: {error.strerror or error}") from error


def fault_of(error: Exception) -> str | None:
    """What this machine cannot do, as one line: the file and the reason; None where it is our fault."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    if isinstance(error, MemoryError):
        return f"no memory left for this process ({_LIMITS})"
    if isinstance(error, RuntimeError) and str(error) == _NO_THREAD:
        return f"no thread left for this process ({_LIMITS})"
    sqlite = sys.modules.get("sqlite3")  # heavy, and loaded by whoever has raised such an error
    if sqlite is not None and isinstance(error, sqlite.OperationalError):
        return " ".join(str(error).split())
    return None


def _is_plain(stream: TextIO) -> bool:
    """Whether a stream is as Python makes it at its start."""
    if type(stream) is not io.TextIOWrapper:
        return False
    return type(getattr(stream.buffer, "raw", stream.buffer)) is io.FileIO


def _fill(number: int) -> None:
    """Take a standard number that is free, so that nothing else gets it."""
    try:
        os.fstat(number)
    except OSError:
        opened = os.open(os.devnull, os.O_RDWR)
        if opened != number:
            os.dup2(opened, number)
            os.close(opened)
