"""One file to many nodes: each is sent the chunks that it says are missing, until it has them all."""

from __future__ import annotations

import hashlib
import os
import time
from dataclasses import field, replace
from typing import IO, TYPE_CHECKING, Any, Self

from mcshell.client.files.copies import CHUNK, ChunkQuestions
from mcshell.errors import MachineError, UsageError
from mcshell.message import State
from mcshell.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from mcshell.client.files.copies import CopyTerms, FileCopy
    from mcshell.client.messaging.queries import NodeQueries
    from mcshell.message import Reply

__all__ = ["SourceFile", "chunks_of", "send"]


class SourceFile:
    """A file of this machine, held open: `size` bytes of it are sent, whatever its path becomes."""

    def __init__(self, path: Path, file: IO[bytes]) -> None:
        self.path = path
        self._file = file
        self.size = os.fstat(file.fileno()).st_size
        digest, at = hashlib.sha256(), 0
        while at < self.size and (block := self._read(1 << 20, at)):
            digest.update(block)
            at += len(block)
        self.sha256 = digest.hexdigest()

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open a plain file.

        Raises:
            UsageError: it is none.
            MachineError: it cannot be read.
        """
        if not path.is_file():
            what = "a folder: name its files" if path.is_dir() else "no file"
            raise UsageError(f"{path}: it is {what}")
        try:
            return cls(path, path.open("rb"))
        except OSError as error:
            raise MachineError(f"{path}: {error.strerror}") from None

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
        """The bytes of a chunk; UsageError where the file has become shorter."""
        wanted = min(CHUNK, self.size - number * CHUNK)
        data = self._read(wanted, number * CHUNK)
        if len(data) != wanted:
            raise UsageError(f"{self.path}: it has become shorter while it was read")
        return data

    def _read(self, length: int, offset: int) -> bytes:
        return os.pread(self._file.fileno(), min(length, self.size - offset), offset)


@dataclass(slots=True, kw_only=True)
class _Target:
    """A node that is sent to: the numbers it lacks, and those of which its answer is awaited."""

    copy: FileCopy
    missing: set[int]
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
        name: _Target(copy=copy, missing=missing) for name, (copy, missing) in copies.items()
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
    elif not target.missing:
        target.missing = chunks_of(reply.data.get("missing"), chunks) - target.asked


def _judge(target: _Target, terms: CopyTerms) -> None:
    """Give up who has said nothing for too long."""
    if target.open and time.monotonic() - target.heard > terms.patience:
        why = f"no answer for {terms.patience:g} s; the same again goes on where it was"
        target.end(target.copy.ended(State.SILENT, why))
