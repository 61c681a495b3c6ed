"""What became of a file at one node, and how fast files go."""

from __future__ import annotations

import reprlib
import time
from collections import deque
from dataclasses import replace
from numbers import Real
from typing import TYPE_CHECKING, Any, Final

from mcshell import interrupts
from mcshell.config.readers import read_rate
from mcshell.errors import UsageError, WireError, on_one_line
from mcshell.message import State
from mcshell.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Mapping

    from mcshell.client.messaging.queries import NodeQueries, QueryAnswers
    from mcshell.client.rpc.replies import Row
    from mcshell.message import Reply
    from mcshell.table import Column

__all__ = ["CHUNK", "ChunkQuestions", "CopyTerms", "FileCopy", "columns", "rate_of", "refuse_rate"]

CHUNK: Final = 512 * 1024
WINDOW: Final = 4
"""Questions that are under way at a time."""
RESEND: Final = 10.0
"""Seconds after which a chunk without an answer is sent again."""
_PAUSE: Final = 0.2
_WORD: Final = 64
"""Characters of a node's word that are repeated."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileCopy:
    """A file and a node. `result`: written, same (it was there), partial, noop; `bytes` of it are there."""

    sender: str
    source: str
    path: str
    state: State
    result: str = ""
    bytes: int = 0
    sha256: str = ""
    seconds: float = 0.0
    changed: bool = False
    reason: str = ""

    @classmethod
    def of(cls, row: Row, source: str, path: str) -> FileCopy:
        """As it stands when the node has been asked for the first time."""
        one = cls(
            sender=row.sender, source=source, path=path, state=row.state, reason=row.statusmsg
        )
        return one.told(row.data) if row.state is State.OK else one

    def told(self, data: Mapping[str, Any]) -> FileCopy:
        """As the node has answered; what it says is its own word."""
        size, result = data.get("bytes"), data.get("result")
        return replace(
            self,
            state=State.OK,
            result=result if isinstance(result, str) else "",
            bytes=size if isinstance(size, int) else 0,
            sha256=str(data.get("sha256", "")),
            changed=self.changed or data.get("changed") is True,
            reason="",
        )

    def proved(self, sha256: str, results: Container[str]) -> FileCopy:
        """The same; a node that answers ok, and not that this very file came to one of these, has failed."""
        if self.state is not State.OK or (self.sha256 == sha256 and self.result in results):
            return self
        said = f"{self.result[:_WORD] or 'nothing'} of {self.sha256[:_WORD] or 'no file'}"
        return self.ended(State.FAILED, f"it answers ok, and not that the file is there: {said}")

    def ended(self, state: State, reason: str) -> FileCopy:
        """As it has come out."""
        return replace(self, state=state, reason=reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyTerms:
    """How a file goes: `rate` in bytes a second over all targets, `patience` in seconds without a word.

    `progress` is told, now and then, how many bytes of how many are there.
    """

    collective: str
    patience: float
    rate: float | None = None
    progress: Callable[[int, int], None] = lambda _done, _total: None


def rate_of(rate: float | str | None) -> float | None:
    """Bytes a second as a program gives them, a number or text such as "10M"; UsageError for what is neither."""
    try:
        found: Any = read_rate(rate) if isinstance(rate, str) else rate
    except ValueError as error:
        raise UsageError(f"rate {error}") from None
    if found is not None and (isinstance(found, bool) or not isinstance(found, Real)):
        said = on_one_line(reprlib.repr(rate))
        raise UsageError(f"rate {said}: a number of bytes a second is meant, or text as '10M'")
    return None if found is None else float(found)


def refuse_rate(rate: float | None) -> None:
    """UsageError for a rate at which nothing would ever come."""
    if rate is not None and not rate > 0:
        raise UsageError(f"rate is a number of bytes a second, not {rate:g}")


class ChunkQuestions:
    """Questions under way, oldest first; what comes back is taken in that order."""

    def __init__(self, queries: NodeQueries, terms: CopyTerms, action: str) -> None:
        self._queries = queries
        self._terms = terms
        self._action = action
        self._under_way: deque[tuple[str, QueryAnswers, int, tuple[str, ...]]] = deque()
        self._began = time.monotonic()
        self._bytes = 0

    @property
    def full(self) -> bool:
        """Whether as many are under way as may be."""
        return len(self._under_way) >= WINDOW

    @property
    def idle(self) -> bool:
        """Whether none is under way."""
        return not self._under_way

    def ask(self, number: int, names: Iterable[str], data: Mapping[str, Any], size: int) -> bool:
        """Ask each of these about a chunk of `size` bytes; False where there is no connection now."""
        names = tuple(names)
        terms = self._terms
        try:
            question, answers = self._queries.ask_each(
                terms.collective, "file", self._action, data, names
            )
        except WireError:
            interrupts.sleep(_PAUSE)
            return False
        self._under_way.append((question, answers, number, names))
        self._bytes += size * len(names)
        if terms.rate:
            early = self._began + self._bytes / terms.rate - time.monotonic()
            while early > 0:
                interrupts.sleep(min(early, _PAUSE))
                early -= _PAUSE
        return True

    def take(self) -> tuple[int, dict[str, Reply | None]]:
        """Wait for the answers to the oldest: the chunk's number, and each node's answer, if any."""
        question, answers, number, names = self._under_way.popleft()
        found = answers.wait(min(RESEND, self._terms.patience))
        self._queries.forget(question)
        return number, {name: found[name][0] if name in found else None for name in names}

    def close(self) -> None:
        """Wait for none of them any more."""
        while self._under_way:
            self._queries.forget(self._under_way.popleft()[0])


def columns(copies: Iterable[FileCopy]) -> dict[str, Column]:
    """The columns of a table with a row a node and file."""
    rows = list(copies)
    return {
        "sender": ("string", [one.sender for one in rows]),
        "source": ("string", [one.source for one in rows]),
        "path": ("string", [one.path for one in rows]),
        "state": ("string", [str(one.state) for one in rows]),
        "result": ("string", [one.result or None for one in rows]),
        "bytes": ("Int64", [one.bytes for one in rows]),
        "sha256": ("string", [one.sha256 or None for one in rows]),
        "seconds": ("Float64", [one.seconds for one in rows]),
        "changed": ("boolean", [one.changed for one in rows]),
        "reason": ("string", [one.reason or None for one in rows]),
    }
