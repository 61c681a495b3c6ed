"""Regexes from operators: compiled once, and refused when they could run for ever.

A filter is evaluated before policy is asked, inside the node's own process, and Python's `re`
holds the interpreter while it backtracks: one `(a+)+$` from anyone with a certificate would stop
the node. So a pattern is scanned first:

- a repeat over a part that itself varies (`(a+)+`, `(a|b)*`, `(a?){9}`) takes exponential time and
  is refused;
- otherwise the steps are about f * n**(k+1) / (k+1)!, with n the length of the text, k the number
  of open-ended repeats and f the product of the other choices and counts (`a|b|c` is 3, `a?` 2, `a{9}` 9). They stay
  below `MAX_STEPS` because a pattern has a *reach*: a longer text it does not judge, and neither
  `=~` nor `!=~` matches. `web.*db` reaches 10,000 characters, `a.*b.*c` 600, `a.*b.*c.*d` 180.
  With a reach below `MIN_REACH` the pattern is refused.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from mcshell.errors import FilterError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["MAX_PATTERN", "MAX_STEPS", "MAX_TEXT", "MIN_REACH", "Pattern", "compile_pattern"]

MAX_PATTERN = 512
MAX_TEXT = 65_536
MIN_REACH = 64
"""Characters of a pattern; the longest reach and the shortest that is of use, in characters."""

MAX_STEPS = 5e7
"""Steps that a search may take: about half a second."""

_COUNTED = re.compile(r"\{([0-9]*)(?:(,)([0-9]*))?\}")
_FLAGS = re.compile(r"\?([a-zA-Z]*)(?:-[a-zA-Z]+)?[:)]")
_NAMED = re.compile(r"\?P<\w+>|\?:|\?>|\?<?[=!]|\?P=\w+(?=\))|\?#[^)]*(?=\))")
_MANY = 32


@dataclass(slots=True)
class _Group:
    """What has been seen of a group that is still open."""

    varies: bool = False
    choices: int = 1


class _Scan:
    """One pass over a pattern, that knows just enough of its syntax to see nested repeats."""

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        self.at = 0
        self.repeats = 0
        self.factor = 1
        self.open: list[_Group] = [_Group()]
        self.atom_varies = False

    def run(self) -> None:
        while self.at < len(self.pattern):
            self._step(self.pattern[self.at])
        while self.open:
            self.factor *= self.open.pop().choices

    def reach(self) -> int:
        power = self.repeats + 1
        reach = (MAX_STEPS * math.factorial(min(power, 100)) / self.factor) ** (1 / power)
        return min(int(reach), MAX_TEXT)

    def _step(self, char: str) -> None:
        if char == "\\":
            self._atom(2)
        elif char == "[":
            self._class()
        elif char == "(":
            self._open_group()
        elif char == ")":
            self._close_group()
        elif char == "|":
            self.open[-1].varies = True
            self.open[-1].choices += 1
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

    def _open_group(self) -> None:
        self.at += 1
        if named := _NAMED.match(self.pattern, self.at):
            self.at = named.end()
        elif flags := _FLAGS.match(self.pattern, self.at):
            if "x" in flags[1]:
                raise self._error("the flag x is not supported")
            closed = flags[0].endswith(")")
            self.at = flags.end() - closed
        self.open.append(_Group())

    def _close_group(self) -> None:
        group = self.open.pop() if len(self.open) > 1 else _Group()
        self.open[-1].varies |= group.varies
        self.factor *= group.choices
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
            self.open[-1].varies = self.atom_varies = True
        if high != low and high >= _MANY:
            self.repeats += 1
        else:
            self.factor *= max(high, high - low + 1)
        return None

    def _error(self, why: str) -> FilterError:
        return FilterError(
            f"regex {_shown(self.pattern)}: {why}",
            self.pattern,
            min(self.at, len(self.pattern)) + 1,
        )


@dataclass(frozen=True, slots=True)
class Pattern:
    """A compiled regex and the length of the longest text that it judges."""

    search: Callable[[str], re.Match[str] | None]
    reach: int

    def found(self, text: str) -> bool:
        """Whether it is found in a text; never in one beyond its reach."""
        return len(text) <= self.reach and self.search(text) is not None


def _shown(pattern: str) -> str:
    """A pattern in its slashes, on one line."""
    return f"/{''.join(char if char.isprintable() else repr(char)[1:-1] for char in pattern)}/"


@lru_cache(maxsize=512)
def compile_pattern(pattern: str, flags: int = 0) -> Pattern:
    """Compile an operator's regex; FilterError when it is wrong or could run for ever."""
    if len(pattern) > MAX_PATTERN:
        raise FilterError(
            f"regex of {len(pattern)} characters: more than {MAX_PATTERN}", pattern, MAX_PATTERN
        )
    scan = _Scan(pattern)
    scan.run()
    if scan.repeats >= MAX_PATTERN // 8 or (reach := scan.reach()) < MIN_REACH:
        raise FilterError(
            f"regex {_shown(pattern)}: could take too long, it leaves too much open"
            f" ({scan.repeats} repeats like .* and {scan.factor} choices)",
            pattern,
            1,
        )
    try:
        return Pattern(re.compile(pattern, flags).search, reach)
    except (re.error, OverflowError, RecursionError) as error:
        column = (getattr(error, "pos", None) or 0) + 1
        reason = str(error).partition(" at position")[0]
        raise FilterError(
            f"regex {_shown(pattern)}: {reason}, at its character {column}", pattern, column
        ) from error
