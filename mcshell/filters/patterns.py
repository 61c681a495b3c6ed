"""Regexes from operators: compiled once, and refused when they could run for ever.

A filter is evaluated before policy is asked, inside the node's own process, and Python's `re`
holds the interpreter while it backtracks: one `(a+)+$` from anyone with a certificate would stop
the node. So a pattern is scanned first, and refused when a repeat stands over a group that itself
varies (`(a+)+`, `(a|b)*`, `(a?){9}`): that takes exponential time. What is left is polynomial:
`MAX_PATTERN` and `MAX_REPEATS` bound the pattern and `MAX_SUBJECT` the text that is searched.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from mcshell.errors import FilterError

__all__ = ["MAX_PATTERN", "MAX_REPEATS", "MAX_SUBJECT", "compile_pattern"]

MAX_PATTERN = 512
MAX_REPEATS = 8
MAX_SUBJECT = 4096
"""Characters of a pattern, open-ended repeats in it, characters of the text it is searched in."""

_COUNTED = re.compile(r"\{([0-9]*)(?:(,)([0-9]*))?\}")
_FLAGS = re.compile(r"\?([a-zA-Z]*)(?:-[a-zA-Z]+)?[:)]")
_NAMED = re.compile(r"\?P<\w+>|\?:|\?>|\?<?[=!]|\?P=\w+(?=\))|\?#[^)]*(?=\))")
_MANY = 32


@dataclass(slots=True)
class _Group:
    """What has been seen of a group that is still open."""

    varies: bool = False


class _Scan:
    """One pass over a pattern, that knows just enough of its syntax to see nested repeats."""

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        self.at = 0
        self.repeats = 0
        self.open: list[_Group] = [_Group()]
        self.atom_varies = False

    def run(self) -> None:
        while self.at < len(self.pattern):
            self._step(self.pattern[self.at])

    def _step(self, char: str) -> None:
        if char == "\\":
            self._atom(2)
        elif char == "[":
            self._class()
        elif char == "(":
            self._enter()
        elif char == ")":
            self._leave()
        elif char == "|":
            self.open[-1].varies = True
            self._atom(1)
        elif char in "*+?{":
            self._repeat(char)
        else:
            self._atom(1)

    def _atom(self, length: int) -> None:
        self.at += length
        self.atom_varies = False

    def _class(self) -> None:
        start = self.at
        self.at += 2 if self.pattern.startswith("[^", start) else 1
        first = True
        while self.at < len(self.pattern):
            char = self.pattern[self.at]
            if char == "]" and not first:
                return self._atom(1)
            if char == "[":
                raise self._error("'[' inside [...] wants a backslash; [:alpha:] is not known here")
            if char in "-&~|" and self.pattern.startswith(char * 2, self.at):
                raise self._error(f"{char * 2!r} inside [...] means nothing here")
            self.at += 2 if char == "\\" else 1
            first = False
        return None

    def _enter(self) -> None:
        self.at += 1
        if named := _NAMED.match(self.pattern, self.at):
            self.at = named.end()
        elif flags := _FLAGS.match(self.pattern, self.at):
            if "x" in flags[1]:
                raise self._error("the flag x is not supported")
            closed = flags[0].endswith(")")
            self.at = flags.end() - closed
        self.open.append(_Group())

    def _leave(self) -> None:
        group = self.open.pop() if len(self.open) > 1 else _Group()
        self.open[-1].varies |= group.varies
        self._atom(1)
        self.atom_varies = group.varies

    def _repeat(self, char: str) -> None:
        low, high = 0, 1
        if char == "{":
            counted = _COUNTED.match(self.pattern, self.at)
            if counted is None or counted[0] == "{}":
                return self._atom(1)
            self.at = counted.end()
            low = int(counted[1][:6] or 0)
            high = low if counted[2] is None else int(counted[3][:6] or _MANY)
        else:
            self.at += 1
            high = 1 if char == "?" else _MANY
        if self.at < len(self.pattern) and self.pattern[self.at] in "?+":
            self.at += 1
        if high > 1 and self.atom_varies:
            raise self._error("a repeat over a part that itself varies could run for ever")
        if high != low:
            self.open[-1].varies = True
            self.atom_varies = True
            self.repeats += high >= _MANY
        if self.repeats > MAX_REPEATS:
            raise self._error(f"more than {MAX_REPEATS} open-ended repeats")
        return None

    def _error(self, why: str) -> FilterError:
        return FilterError(
            f"regex /{self.pattern}/: {why}", self.pattern, min(self.at, len(self.pattern)) + 1
        )


@lru_cache(maxsize=512)
def compile_pattern(pattern: str, flags: int = 0) -> re.Pattern[str]:
    """Compile an operator's regex; FilterError when it is wrong or could run for ever."""
    if len(pattern) > MAX_PATTERN:
        raise FilterError(
            f"regex of {len(pattern)} characters: more than {MAX_PATTERN}", pattern, MAX_PATTERN
        )
    _Scan(pattern).run()
    try:
        return re.compile(pattern, flags)
    except (re.error, OverflowError, RecursionError) as error:
        column = (getattr(error, "pos", None) or 0) + 1
        reason = str(error).partition(" at position")[0]
        raise FilterError(
            f"regex /{pattern}/: {reason}, at its character {column}", pattern, column
        ) from error
