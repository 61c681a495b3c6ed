"""Is this audit log what the node wrote? The chain (`chain`) is gone through, line by line.

Pure: the files are given as names and lines, oldest first. What can be told is whatever lies before the
last head that left the node; behind it lines may have been changed and the chain made anew.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import field
from typing import Any, Final, TypeAlias

from mcshell.node.audit.chain import START, Head, is_first, linked
from mcshell.values import dataclass

__all__ = ["Break", "Found", "Gap", "Heads", "verify"]

Heads: TypeAlias = Mapping[int, Collection[str]]
"""The hashes that have left the node for a line, by its number."""

_HASH: Final = 12


class _Broken(Exception):
    """What is wrong at a line."""


@dataclass(frozen=True, slots=True)
class Break:
    """The first place where a log is not what was written; `line` from 1 on, in the file."""

    file: str
    line: int
    what: str


@dataclass(frozen=True, slots=True)
class Gap:
    """A place where the log itself says that `lost` lines could not be written."""

    file: str
    line: int
    lost: int


@dataclass(slots=True, kw_only=True)
class Found:
    """What was found. `first` is the number of the first line at hand, `head` the last.

    `torn` counts places where the end of the daemon (or a power cut) left less than a line, `before`
    the lines of an mcshell that kept no chain, `checked` the heads that fit, `beyond` those of lines
    that are not at hand any more. `whose` are the identities that lines name.
    """

    files: int = 0
    lines: int = 0
    first: int = 0
    head: Head = START
    gaps: list[Gap] = field(default_factory=list)
    torn: int = 0
    before: int = 0
    checked: int = 0
    beyond: int = 0
    anchored: int = 0
    whose: set[str] = field(default_factory=set)
    broken: Break | None = None

    @property
    def unanchored(self) -> int:
        """How many lines no head vouches for that has left the node."""
        return self.head.count - max(self.anchored, self.first - 1) if self.lines else 0


def verify(files: Iterable[tuple[str, Iterable[bytes]]], heads: Heads) -> Found:
    """Go through files (lines with their line feeds), up to the first break."""
    walk = _Walk(heads)
    for name, lines in files:
        walk.file(name, lines)
        if walk.found.broken is not None:
            return walk.found
    walk.end()
    return walk.found


class _Rest:
    """Lines, joined by line feeds, of which only their number, size and hash are kept."""

    def __init__(self) -> None:
        self.lines = self.size = 0
        self._hash = hashlib.sha256()

    def add(self, text: bytes) -> None:
        joined = b"\n" + text if self.lines else text
        self.lines += 1
        self.size += len(joined)
        self._hash.update(joined)

    def digest(self, more: bytes = b"") -> str:
        whole = self._hash.copy()
        whole.update(more)
        return whole.hexdigest()


class _Walk:
    def __init__(self, heads: Heads) -> None:
        self.found = Found()
        self._heads = heads
        self._name, self._number = "", 0
        self._rest = _Rest()
        """Since the last line of the chain: what is none."""
        self._rest_at = ("", 0)
        self._open_end = False

    def file(self, name: str, lines: Iterable[bytes]) -> None:
        self.found.files += 1
        self._name, self._number = name, 0
        try:
            for line in lines:
                self._number += 1
                self._line(line)
        except _Broken as broken:
            place = self._rest_at if self._rest.lines else (self._name, self._number)
            self.found.broken = Break(*place, str(broken))

    def end(self) -> None:
        """See what is left when all is read."""
        head = self.found.head
        if self._rest.lines and not (
            self._open_end and self._rest_at == (self._name, self._number)
        ):
            what = "this is no line of the chain, nor a torn one"
            self.found.broken = Break(*self._rest_at, what)
            return
        self.found.torn += bool(self._rest.lines)
        later = [count for count in self._heads if count > head.count]
        if later:
            what = (
                f"the log ends with line {head.count} of the chain, and line {max(later)} has left"
                " the node as a head: it was cut"
            )
            self.found.broken = Break(self._name, self._number + 1, what)

    def _line(self, line: bytes) -> None:
        text = line.removesuffix(b"\n")
        link = linked(text) if text != line else None
        if link is None:
            if self._number > 1 or not self.found.lines:
                self._set_aside(text, line)
                return
            raise _Broken("the file does not begin with a line of the chain")
        count, previous = link
        if not self.found.lines or self._number == 1:
            self._begin(text, count, previous)
        if (count, previous) != (self.found.head.count + 1, self.found.head.hash):
            raise _Broken(self._mismatch(count))
        self._note(text)
        digest = hashlib.sha256(text).hexdigest()
        self.found.head = Head(count, digest)
        self.found.lines += 1
        if (known := self._heads.get(count)) is not None:
            if set(known) != {digest}:
                shown = ", ".join(sorted(one[:_HASH] for one in known))
                raise _Broken(
                    f"line {count} of the chain is not the one whose head has left the node"
                    f" ({digest[:_HASH]}, not {shown})"
                )
            self.found.checked += 1
            self.found.anchored = count

    def _set_aside(self, text: bytes, line: bytes) -> None:
        if not self._rest.lines:
            self._rest_at = (self._name, self._number)
        self._rest.add(text)
        self._open_end = text == line

    def _begin(self, text: bytes, count: int, previous: str) -> None:
        """The first line of the chain in a file."""
        if not is_first(text):
            raise _Broken(
                "the file does not begin with its first line: lines before it are missing"
            )
        if self.found.lines:
            return
        self.found.first = count
        self.found.head = Head(count - 1, previous)
        before = [one for one in self._heads if one < count]
        self.found.beyond = len(before)
        if count - 1 in self._heads:
            if set(self._heads[count - 1]) != {previous}:
                raise _Broken(
                    f"line {count - 1} of the chain, before it, is not the one whose head has left"
                )
            self.found.anchored = count - 1
        if self._rest.lines:
            self._unchained(text, count)

    def _unchained(self, text: bytes, count: int) -> None:
        """Lines of an mcshell that kept no chain: the first of the chain has the hash of them all."""
        if count != 1:
            raise _Broken(f"this is no line of the chain, where lines 1 to {count - 1} are missing")
        told = _before(_event(text)) or {}
        hashes = {self._rest.digest(), self._rest.digest(b"\n")}
        if str(told.get("hash")) not in hashes:
            raise _Broken("what stands before the chain is not what stood there when it began")
        self.found.before = self._rest.lines
        self._rest = _Rest()

    def _mismatch(self, count: int) -> str:
        head = self.found.head
        if count > head.count + 1:
            missing = f"{head.count + 1} to {count - 1}"
            return f"this is line {count} of the chain: {missing} are missing"
        if count <= head.count:
            return f"this is line {count} of the chain, after line {head.count}: out of order"
        return f"line {head.count} of the chain, before it, was changed (or this one's `prev`)"

    def _note(self, text: bytes) -> None:
        """What a line tells of the log itself, and of whom."""
        event = _event(text)
        name = event.get("event")
        if isinstance(identity := event.get("identity"), str):
            self.found.whose.add(identity)
        if name == "gap":
            lost = event.get("lost") or 0
            if not isinstance(lost, int):
                raise _Broken("this tells no number of lost lines")
            self.found.gaps.append(Gap(self._name, self._number, lost))
        elif name == "torn":
            told = (event.get("bytes"), event.get("hash"))
            if told != (self._rest.size, self._rest.digest()):
                raise _Broken("what is said to be torn is not what was found there")
            self._rest = _Rest()
            self.found.torn += 1
        told_before = _before(event) if name in ("file", "gap") else None
        if told_before and self.found.head.count:
            self._previous(told_before)

    def _previous(self, told: Any) -> None:
        head = self.found.head
        if (told.get("count"), told.get("hash")) != (head.count, head.hash):
            raise _Broken("the file before is not the one that this one follows")


def _event(text: bytes) -> dict[str, Any]:
    """What a line says, which whoever hands a log over may have written."""
    try:
        event: Any = json.loads(text)
    except (ValueError, RecursionError):
        event = None
    if not isinstance(event, dict):
        raise _Broken("this is no JSON")
    return event


def _before(event: Mapping[str, Any]) -> dict[str, Any] | None:
    """What a line tells of the file before; None where there was none."""
    told = event.get("previous")
    if told is not None and not isinstance(told, dict):
        raise _Broken("what it tells of the file before is nothing of the kind")
    return told
