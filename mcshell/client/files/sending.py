"""One file to many nodes: each is sent the chunks that it says are missing, until it has them all."""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import time
from dataclasses import field, replace
from typing import IO, TYPE_CHECKING, Any, Final, Self

from mcshell import interrupts
from mcshell.client.files.copies import CHUNK, ChunkQuestions
from mcshell.errors import MachineError, UsageError
from mcshell.message import State
from mcshell.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from mcshell.client.files.copies import CopyTerms, FileCopy
    from mcshell.client.messaging.queries import NodeQueries
    from mcshell.message import Reply

__all__ = ["SourceFile", "chunks_of", "refuse_sources", "send"]

_UNTRUE: Final = "it is not as long as it says: send a copy of it"
_ROUNDS: Final = 16
"""So often a node may lose what it has had: killed on the way, or its parts taken away."""
_NAMED: Final = 256
"""Chunks that one answer names at least, where it has not room for all that are missing."""


class SourceFile:
    """A file of this machine, held open: `size` bytes of it are sent, whatever its path becomes."""

    def __init__(self, path: Path, file: IO[bytes]) -> None:
        self.path = path
        self._file = file
        self.size = os.fstat(file.fileno()).st_size
        digest, at = hashlib.sha256(), 0
        while at < self.size and (block := self._read(1 << 20, at)):
            digest.update(block)
            interrupts.check()  # of a large file this takes minutes
            at += len(block)
        if at < self.size:
            raise UsageError(f"{path}: {_UNTRUE}")
        self.sha256 = digest.hexdigest()

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open a plain file.

        Raises:
            UsageError: it is none, or its length is not known before it is read, as in /proc.
            MachineError: it cannot be read.
        """
        with contextlib.ExitStack() as stack:
            try:
                found = cls(path, stack.enter_context(_opened(path)))
            except OSError as error:
                raise MachineError(f"{path}: {error.strerror}") from None
            stack.pop_all()
            return found

    def __enter__(self) -> Self:
        """Use it in a with statement."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self._file.close()

    @property
    def chunks(self) -> int:
        """How many chunks it has."""
        return -(-self.size // CHUNK)

    def chunk(self, number: int) -> bytes:
        """The bytes of a chunk.

        Raises:
            UsageError: the file has become shorter.
            MachineError: it cannot be read any more.
        """
        wanted = min(CHUNK, self.size - number * CHUNK)
        try:
            data = self._read(wanted, number * CHUNK)
        except OSError as error:
            raise MachineError(f"{self.path}: {error.strerror}") from None
        if len(data) != wanted:
            raise UsageError(f"{self.path}: it has become shorter while it was read")
        return data

    def _read(self, length: int, offset: int) -> bytes:
        return os.pread(self._file.fileno(), min(length, self.size - offset), offset)


def refuse_sources(paths: Iterable[Path]) -> None:
    """Look at all of them before any is sent.

    Raises:
        UsageError: one is no plain file, or two have one name.
        MachineError: one cannot be read.
    """
    names: dict[str, Path] = {}
    for path in paths:
        _opened(path).close()
        if (other := names.get(path.name)) is not None:
            why = (
                "is named twice"
                if other == path
                else f"would replace {other}, which has the same name"
            )
            raise UsageError(f"{path}: it {why}")
        names[path.name] = path


def _opened(path: Path) -> IO[bytes]:
    """A plain file, open; a FIFO that comes in its place meanwhile does not hold us up."""
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError) as error:  # ValueError: a zero byte in its name
        why = getattr(error, "strerror", None) or str(error)
        raise UsageError(f"{path}: it is no file: {why.lower()}") from None
    if not stat.S_ISREG(mode):
        what = "a folder: name its files" if stat.S_ISDIR(mode) else "no file"
        raise UsageError(f"{path}: it is {what}")
    try:
        with contextlib.ExitStack() as stack:
            file = stack.enter_context(open(path, "rb", opener=_at_once))
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode):
                raise UsageError(f"{path}: it is no file any more")
            if not found.st_size and os.pread(file.fileno(), 1, 0):
                raise UsageError(f"{path}: {_UNTRUE}")
            stack.pop_all()
            return file
    except OSError as error:
        raise MachineError(f"{path}: {error.strerror}") from None


def _at_once(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC)


@dataclass(slots=True, kw_only=True)
class _Target:
    """A node that is sent to: the numbers it lacks, and those of which its answer is awaited.

    `rounds`: how often it may still say that it lacks more, when it has had all that it said before.
    """

    copy: FileCopy
    missing: set[int]
    rounds: int
    asked: set[int] = field(default_factory=set)
    heard: float = field(default_factory=time.monotonic)
    open: bool = True

    def end(self, copy: FileCopy) -> None:
        self.copy, self.open = copy, False


def chunks_of(pairs: object, most: int) -> set[int]:
    """The numbers that pairs of first and last stand for, of `most` at all: a node's own word."""
    found: set[int] = set()
    for pair in pairs if isinstance(pairs, list) else ():
        match pair:
            case [int(first), int(last)] if 0 <= first <= last < most:
                found.update(range(first, last + 1))
    return found


def send(
    queries: NodeQueries,
    source: SourceFile,
    inputs: Mapping[str, Any],
    copies: Mapping[str, tuple[FileCopy, set[int]]],
    terms: CopyTerms,
) -> Iterator[FileCopy]:
    """Send each node the chunks it lacks; each copy as it comes out.

    `inputs` are those of `file.put` that all chunks have in common.
    """
    began = time.monotonic()
    targets = {
        name: _Target(copy=copy, missing=missing, rounds=_ROUNDS + source.chunks // _NAMED)
        for name, (copy, missing) in copies.items()
    }
    questions = ChunkQuestions(queries, terms, "put")
    total = source.size * len(targets)
    try:
        while still := {name: one for name, one in targets.items() if one.open}:
            if not questions.full and _ask_next(questions, source, inputs, still):
                continue
            if not questions.idle:
                number, answers = questions.take()
                for name, reply in answers.items():
                    _enter(targets[name], number, reply, source.chunks)
            for one in still.values():
                _judge(one, terms)
                if not one.open:
                    yield replace(one.copy, seconds=time.monotonic() - began)
            terms.progress(sum(one.copy.bytes for one in targets.values()), total)
    finally:
        questions.close()


def _ask_next(
    questions: ChunkQuestions,
    source: SourceFile,
    inputs: Mapping[str, Any],
    targets: Mapping[str, _Target],
) -> bool:
    """Send the next chunk that somebody lacks, to all who do; whether there was one."""
    wanted = [one.missing - one.asked for one in targets.values()]
    number = min((min(one) for one in wanted if one), default=None)
    if number is None:
        # Whoever lacks nothing as far as we know, and has not ended: an answer was lost.
        lost = {name: one for name, one in targets.items() if not (one.missing or one.asked)}
        if not lost:
            return False
        number, content = -1, None
    else:
        lost = {name: one for name, one in targets.items() if number in one.missing - one.asked}
        content = source.chunk(number)
    data = {**inputs, **({} if content is None else {"offset": number * CHUNK, "content": content})}
    if not questions.ask(number, lost, data, len(content or b"")):
        return False
    for one in lost.values():
        one.asked.add(number)
    return True


def _enter(target: _Target, number: int, reply: Reply | None, chunks: int) -> None:
    """Take what a node says about a chunk; without an answer it is sent again."""
    target.asked.discard(number)
    if reply is None or not target.open:
        return
    target.heard = time.monotonic()
    if reply.state is not State.OK:
        target.end(target.copy.ended(State(reply.state or State.FAILED), reply.statusmsg))
        return
    target.copy = target.copy.told(reply.data)
    target.missing.discard(number)
    if target.copy.result != "partial":
        target.end(target.copy)
    elif not (target.missing or target.asked):
        target.rounds -= 1
        if not target.rounds:
            why = "it says again and again that it lacks what it was given"
            target.end(target.copy.ended(State.FAILED, why))
            return
        target.missing = chunks_of(reply.data.get("missing"), chunks) - target.asked


def _judge(target: _Target, terms: CopyTerms) -> None:
    """Give up who has said nothing for too long."""
    if target.open and time.monotonic() - target.heard > terms.patience:
        why = f"no answer for {terms.patience:g} s; the same again goes on where it was"
        target.end(target.copy.ended(State.SILENT, why))
