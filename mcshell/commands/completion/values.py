"""The words that may stand in one place: names from the cache, allowed values from the DDLs."""

from __future__ import annotations

import re
import shlex
import sys
import time
from bisect import bisect_left
from typing import TYPE_CHECKING, Protocol, TypeVar

from mcshell.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from mcshell.commands.completion.cache import KnownRequest
    from mcshell.ddl import DDL, Action, Input

__all__ = [
    "LIMIT",
    "Candidate",
    "Completion",
    "Knowledge",
    "actions",
    "agents",
    "compound",
    "fact_values",
    "fitting",
    "inputs",
    "limited",
    "named",
    "requests",
    "starting",
]

T = TypeVar("T")

LIMIT = 200
"""Of more words nobody reads a list."""
_MOMENTS = {"today": "the newest of today", "yesterday": "of yesterday", "7d": "as of a week ago"}

_OPERATOR = re.compile(r"!=|<=|>=|=~|!~|==|=|<|>")
_ODD = re.compile(r"[\s'\"\\;|>]")
_INSIDE = re.compile(r"[^\s()!]*$")


class Knowledge(Protocol):
    """What can be named on a line, as `Cache` has it; the sequences are sorted."""

    @property
    def ddls(self) -> Mapping[str, DDL]:
        """The agents' schemas."""

    @property
    def nodes(self) -> Sequence[str]:
        """The nodes' names."""

    @property
    def facts(self) -> Mapping[str, Sequence[str]]:
        """The values of each fact."""

    @property
    def classes(self) -> Sequence[str]:
        """The classes of any node."""

    @property
    def collectives(self) -> Sequence[str]:
        """The collectives."""

    @property
    def sessions(self) -> Sequence[str]:
        """The durable sessions."""

    @property
    def pools(self) -> Sequence[str]:
        """The pools of the configuration."""

    @property
    def groups(self) -> Sequence[str]:
        """What may stand behind `@`."""

    @property
    def aliases(self) -> Mapping[str, str]:
        """`[aliases]`."""

    @property
    def requests(self) -> Sequence[KnownRequest]:
        """What was asked, the newest first."""

    @property
    def jobs(self) -> Sequence[KnownRequest]:
        """The jobs, the newest first."""

    @property
    def plans(self) -> Sequence[KnownRequest]:
        """The plans, the newest first."""

    def some_values(self, fact: str) -> Sequence[str]:
        """A few of a fact's values, for a remark."""

    def alias(self, word: str) -> Sequence[str]:
        """The words for which an alias stands; none where it is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One way to go on: `text` takes the place of the line from `start` to the cursor.

    `display` is what a menu shows, `kind` what it is (verb, option, agent, …), `meta` a remark;
    `open`: more is to follow it at once.
    """

    text: str
    start: int
    display: str
    kind: str
    meta: str = ""
    open: bool = False


@dataclass(frozen=True, slots=True)
class Completion:
    """A word that may stand here. `open`: more is to follow it at once, as after `name=`."""

    text: str
    meta: str = ""
    display: str = ""
    open: bool = False

    def quoted(self, quote: str) -> str:
        """The word as it is typed; `quote` is the quote that the operator has opened."""
        if quote and quote not in self.text and (quote == "'" or "\\" not in self.text):
            return f"{quote}{self.text}{'' if self.open else quote}"
        if not _ODD.search(self.text):
            return self.text
        quoted = shlex.quote(self.text)
        return quoted.removesuffix("'") if self.open else quoted


def starting(names: Sequence[str], prefix: str) -> list[str]:
    """Those of sorted names that start so, as `limited` has them; found by halving: there may be many."""
    at, end = bisect_left(names, prefix), bisect_left(names, prefix + chr(sys.maxunicode))
    if end - at <= LIMIT:
        return list(names[at:end])
    return [*names[at : at + LIMIT - 1], names[end - 1]]


def limited(found: Sequence[T], text: Callable[[T], str] = str) -> list[T]:
    """The first of them, with the first and the last in the order of the alphabet.

    A shell types what all that are offered begin with, which has to be so of those that are not.
    """
    if len(found) <= LIMIT:
        return list(found)
    every = list(map(text, found))
    offered = {*every[: LIMIT - 2], min(every), max(every)}
    return [one for one, word in zip(found, every, strict=True) if word in offered]


def fitting(names: Iterable[str], prefix: str) -> list[str]:
    """Those of a few names that start so, whatever their case."""
    low = prefix.lower()
    return limited([name for name in names if name.lower().startswith(low)])


def agents(cache: Knowledge, prefix: str) -> Iterator[Completion]:
    """Agents, with what they are for."""
    for name in fitting(cache.ddls, prefix):
        yield Completion(name, str(cache.ddls[name].metadata.get("description", "")))


def actions(cache: Knowledge, agent: str, prefix: str, front: str = "") -> Iterator[Completion]:
    """An agent's actions, with what they do."""
    ddl = cache.ddls.get(agent)
    for name in fitting(ddl.actions if ddl else (), prefix):
        assert ddl is not None
        yield Completion(front + name, ddl.actions[name].description, name)


def inputs(
    cache: Knowledge, action: Action, given: Sequence[str], current: str
) -> Iterator[Completion]:
    """`name=` for each input that is not given yet, or the values that one may have."""
    name, equals, value = current.partition("=")
    if equals:
        if name in action.inputs:
            for text in fitting(_allowed(cache, action.inputs[name]), value):
                yield Completion(f"{name}={text}", display=text)
        return
    names = {word.partition("=")[0] for word in given}
    for one in action.inputs.values():
        if one.name not in names and one.name.startswith(current):
            needed = "" if one.optional or one.default is not None else "needed: "
            yield Completion(f"{one.name}=", f"{needed}{one.description}", open=True)


def _allowed(cache: Knowledge, one: Input) -> Iterable[str]:
    if one.choices:
        return [one.to_text(choice) for choice in one.choices]
    if one.type == "boolean":
        return ["true", "false"]
    if one.name == "fact":
        return cache.facts
    return [] if one.default is None else [one.to_text(one.default)]


def fact_values(cache: Knowledge, current: str) -> Iterator[Completion]:
    """A fact's name with `=`, or after an operator the values that nodes have."""
    operator = _OPERATOR.search(current)
    if operator is None:
        for name in fitting(cache.facts, current):
            yield Completion(f"{name}=", _some(cache.some_values(name)), open=True)
        return
    name, sign, value = current[: operator.start()], operator[0], current[operator.end() :]
    for text in fitting(cache.facts.get(name, ()), value):
        yield Completion(f"{name}{sign}{text}", display=text)


def _some(values: Sequence[str]) -> str:
    more = ", …" if len(values) > 3 else ""  # noqa: PLR2004 - a glance
    return ", ".join(values[:3]) + more


def compound(cache: Knowledge, current: str, *, quoted: bool) -> tuple[int, list[Completion]]:
    """The words at the end of an expression, and how many letters of it they replace."""
    match = _INSIDE.search(current)
    last = match[0] if match else ""
    words = list(fact_values(cache, last))
    if not _OPERATOR.search(last):
        words += [Completion(name, "class", open=quoted) for name in fitting(cache.classes, last)]
        if current.rstrip() and current.strip() != last:
            words += [Completion(name, open=quoted) for name in fitting(("and", "or", "not"), last)]
    if quoted:
        words = [Completion(one.text, one.meta, one.display, open=True) for one in words]
    return len(last), words


def named(known: Iterable[KnownRequest], prefix: str) -> Iterator[Completion]:
    """Those that have a name by it, others by the first letters of their ids, newest first."""
    low, seen = prefix.lower(), set()
    for one in known:
        text = one.name
        if not (text and text.lower().startswith(low)):
            text = one.id[: max(10, len(prefix))] if one.id.startswith(low) else ""
        if text and text not in seen:
            seen.add(text)
            yield Completion(text, _ago(one))


def requests(cache: Knowledge, prefix: str) -> Iterator[Completion]:
    """Requests by the first letters of their ids, the newest first."""
    found = [one for one in cache.requests if one.id.startswith(prefix)]
    for one in limited(found, lambda known: known.id):
        yield Completion(one.id[: max(10, len(prefix))], _ago(one))
    what, at, _moment = prefix.rpartition("@")
    if at:
        for text, meta in _MOMENTS.items():
            if (whole := f"{what}@{text}").startswith(prefix):
                yield Completion(whole, meta)


def _ago(request: KnownRequest) -> str:
    seconds = max(0.0, time.time() - request.created)
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{request.about}, {seconds / size:.0f} {unit} ago"
    return f"{request.about}, {seconds:.0f} s ago"
