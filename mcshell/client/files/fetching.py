"""One path of many nodes to this machine: read from where we are, proved by its SHA-256, then in place.

A node says the size and SHA-256 of its file first; so many bytes are fetched, however it grows. What
has come lies beside its place, named after that SHA-256, and the next try goes on from its end. Several
processes may fetch the same to the same place: each adds to what lies there, and one of them ends it.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import time
from contextlib import contextmanager
from dataclasses import field, replace
from typing import TYPE_CHECKING, Any, Final

from mcshell.client.files.copies import CHUNK, ChunkQuestions
from mcshell.errors import MachineError
from mcshell.message import State
from mcshell.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from io import BufferedRandom
    from pathlib import Path

    from mcshell.client.files.copies import CopyTerms, FileCopy
    from mcshell.client.messaging.queries import NodeQueries
    from mcshell.message import Reply

__all__ = ["FetchedFile", "fetch"]

_TRIES: Final = 3
_HEXADECIMAL: Final = frozenset("0123456789abcdef")
_DIGITS: Final = 64
_STEM: Final = 180
"""Bytes of the place's name that its part's name has: a name has 255 at most."""
_KEY, _PART = 16, ".part"
_LEFT: Final = 3600.0
"""Seconds after which nobody is at work on a part any more."""
_OURS, _OTHERS = 0o600, 0o066


@dataclass(slots=True, kw_only=True)
class FetchedFile:
    """A node's file on its way to `place`. `asked`: the offset up to which answers are awaited."""

    copy: FileCopy
    place: Path
    size: int = 0
    sha256: str = ""
    got: int = 0
    asked: int = 0
    tries: int = 0
    mode: int = _OURS
    heard: float = field(default_factory=time.monotonic)
    open: bool = True

    @property
    def part(self) -> Path:
        """Where what has come lies until all is there."""
        return self.place.with_name(f"{self._stem}{self.sha256[:_KEY]}{_PART}")

    @property
    def _stem(self) -> str:
        return f".{os.fsencode(self.place.name)[:_STEM].decode(errors='ignore')}."

    def begin(self, data: Mapping[str, Any], promised: int) -> None:
        """Take size and SHA-256 as the node says them, and go on where an earlier try has ended.

        One for which there is no room beside the bytes `promised` to others has failed, and takes none of it.
        """
        size, sha256 = data.get("size"), data.get("sha256")
        right = isinstance(sha256, str) and len(sha256) == _DIGITS and set(sha256) <= _HEXADECIMAL
        if not right or not isinstance(size, int) or size < 0:
            self.end(State.FAILED, "the node's answer is none of file.get")
            return
        self.size, self.sha256 = size, str(sha256)
        self.mode = _OURS | _permissions(data.get("mode")) & _OTHERS
        self.tries += 1
        self.got = self.asked = min(_size(self.part), size)
        room = shutil.disk_usage(self.place.parent).free - promised
        if size - self.got > room:
            self.end(
                State.FAILED, f"it has {size} bytes, and there is room for {max(room, 0)} here"
            )
            return
        if self.got == size:
            self.finish()

    def take(self, offset: int, content: object) -> None:
        """Keep what a node has read at an offset; what does not follow what is there is dropped."""
        if offset != self.got:
            return
        # Less than was asked for: the file has become shorter, and has another SHA-256 by now.
        if not isinstance(content, bytes) or len(content) != min(CHUNK, self.size - offset):
            self.again()
            return
        with self._alone() as file:
            there = os.fstat(file.fileno()).st_size >= self.got
            if there:
                file.seek(self.got)
                file.write(content)
        if not there:  # another process has finished it, or has given it up
            self._look()
            return
        self.got += len(content)
        if self.got == self.size:
            self.finish()

    def finish(self) -> None:
        """Put it in its place, if it is what the node has promised."""
        with self._alone() as file:
            right = hashlib.file_digest(file, "sha256").hexdigest() == self.sha256
            if right:
                os.fsync(file.fileno())
                self.part.replace(self.place)
        if right:
            self._done("written")
        else:
            self._look()

    def _look(self) -> None:
        """What has come is not what was promised: another process may have been first."""
        try:
            with open(self.place, "rb", opener=_no_link) as file:
                same = hashlib.file_digest(file, "sha256").hexdigest() == self.sha256
        except OSError:  # nothing, or a link, which is none of ours
            same = False
        if same:
            self.part.unlink(missing_ok=True)
            self._done("same")
        else:
            self.again()

    def _done(self, result: str) -> None:
        self.copy = replace(
            self.copy,
            result=result,
            bytes=self.size,
            sha256=self.sha256,
            changed=result == "written",
        )
        self._sweep()
        self.end(State.OK, "")

    def _sweep(self) -> None:
        """Take away what was broken off of an earlier content, which nobody can go on with."""
        for path in self.place.parent.iterdir():
            key = path.name.removeprefix(self._stem).removesuffix(_PART)
            named = len(key) == _KEY and path.name == f"{self._stem}{key}{_PART}"
            if named and set(key) <= _HEXADECIMAL and time.time() - _changed(path) > _LEFT:
                path.unlink(missing_ok=True)

    @contextmanager
    def _alone(self) -> Iterator[BufferedRandom]:
        """Be alone with what has come; another process may have put it in its place meanwhile."""
        try:
            while True:
                with open(self.part, "r+b", opener=self._made) as file:
                    fcntl.flock(file, fcntl.LOCK_EX)
                    if _inode(self.part) == os.fstat(file.fileno()).st_ino:
                        yield file
                        return
        except OSError as error:
            error.filename = self.place  # as what is wrong is told; a write knows no name
            raise

    def _made(self, path: str, flags: int) -> int:
        """What others could not read on the node they cannot read here."""
        return os.open(path, flags | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, self.mode)

    def again(self) -> None:
        """It is another file by now: begin anew, some times."""
        self.part.unlink(missing_ok=True)
        self.sha256, self.got, self.asked = "", 0, 0
        if self.tries >= _TRIES:
            self.end(State.FAILED, "it changes while it is read")

    def end(self, state: State, reason: str) -> None:
        """Ask no more."""
        self.copy, self.open = self.copy.ended(state, reason), False


def fetch(
    queries: NodeQueries,
    path: str,
    files: Mapping[str, FetchedFile],
    said: Mapping[str, Mapping[str, Any]],
    terms: CopyTerms,
) -> Iterator[FileCopy]:
    """Fetch a path from each node; each copy as it comes out. `said`: what each has said of it first.

    Raises:
        MachineError: this machine does not take it.
    """
    began = time.monotonic()
    questions = ChunkQuestions(queries, terms, "get")
    told: set[str] = set()
    try:
        for name, one in files.items():
            one.begin(said[name], _promised(files))
        while still := {name: one for name, one in files.items() if name not in told}:
            some = {name: one for name, one in still.items() if one.open}
            if not questions.full and _ask_next(questions, path, some):
                continue
            if not questions.idle:
                offset, answers = questions.take()
                for name, reply in answers.items():
                    _enter(files[name], offset, reply, files)
            for one in still.values():
                _judge(one, terms)
            terms.progress(
                sum(one.got for one in files.values()), sum(one.size for one in files.values())
            )
            for name, one in still.items():
                if not one.open:
                    told.add(name)
                    yield replace(one.copy, seconds=time.monotonic() - began)
    except OSError as error:
        raise MachineError(f"{error.filename}: {error.strerror}") from None
    finally:
        questions.close()


def _ask_next(questions: ChunkQuestions, path: str, files: Mapping[str, FetchedFile]) -> bool:
    """Ask for the next chunk, all who are at the same place together; whether there was one."""
    begin = {name: one for name, one in files.items() if not one.sha256 and one.asked == 0}
    if begin:
        data = {"path": path, "digest": True}
        if not questions.ask(-1, begin, data, 0):
            return False
        for one in begin.values():
            one.asked = 1  # awaited; `begin` says where it goes on
        return True
    wanted = [one.asked for one in files.values() if one.sha256 and one.asked < one.size]
    if not wanted:
        return False
    offset = min(wanted)
    some = {name: one for name, one in files.items() if one.sha256 and one.asked == offset}
    data = {"path": path, "offset": offset, "length": CHUNK}
    if not questions.ask(offset, some, data, CHUNK):
        return False
    for one in some.values():
        one.asked = min(offset + CHUNK, one.size)
    return True


def _promised(files: Mapping[str, FetchedFile]) -> int:
    """The bytes that are still to come."""
    return sum(one.size - one.got for one in files.values() if one.open and one.sha256)


def _enter(
    file: FetchedFile, offset: int, reply: Reply | None, files: Mapping[str, FetchedFile]
) -> None:
    """Take what a node says; without an answer it is asked again from where we are."""
    if not file.open:
        return
    if reply is None:
        file.asked = file.got if file.sha256 else 0
        return
    file.heard = time.monotonic()
    if reply.state is not State.OK:
        file.end(State(reply.state or State.FAILED), reply.statusmsg)
    elif offset < 0:
        file.begin(reply.data, _promised(files))
    elif file.sha256:
        content = reply.data.get("content")
        file.take(offset, content[: file.size - offset] if isinstance(content, bytes) else content)


def _judge(file: FetchedFile, terms: CopyTerms) -> None:
    if file.open and time.monotonic() - file.heard > terms.patience:
        why = f"no answer for {terms.patience:g} s; the same again goes on where it was"
        file.end(State.SILENT, why)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _changed(path: Path) -> float:
    """When it was written to, seconds since the epoch; of one that has gone meanwhile: now."""
    try:
        return path.lstat().st_mtime
    except FileNotFoundError:
        return time.time()


def _inode(path: Path) -> int | None:
    try:
        return path.lstat().st_ino
    except FileNotFoundError:
        return None


def _permissions(said: object) -> int:
    """A node's own word: octal digits, or nothing."""
    try:
        return int(said, 8) if isinstance(said, str) else 0
    except ValueError:
        return 0


def _no_link(path: str, flags: int) -> int:
    """What is there is a file, or it is not read: no link leads elsewhere, and no FIFO holds us up."""
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
