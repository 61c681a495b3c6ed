"""From a filter to a test that is asked of many nodes: compiled once, cached by its value.

An emulator with 10,000 nodes asks the same `Matcher` 10,000 times: it is a tuple of closures. What
reads the language (`expressions`) is loaded with the first filter that says anything.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Protocol

from mcshell.errors import FilterError, PluginError
from mcshell.message import Filter

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from collections.abc import Set as AbstractSet
    from contextlib import AbstractContextManager

__all__ = ["KeptMatchers", "Matcher", "Subject", "compile_filter", "kept", "parse_where"]

_MOST = 256
_SHORT = 200
"""Characters and names up to which a filter costs nothing to speak of, however long a node's lists are."""
MAX_WEIGHT = 150_000
"""Of the matchers that are kept: some 30 MB."""


class Subject(Protocol):
    """Whom a filter is asked about: a node, or what a client last knew of it."""

    @property
    def identity(self) -> str:
        """The node's name, lower case."""

    @property
    def agents(self) -> AbstractSet[str]:
        """The names of its active agents."""

    @property
    def classes(self) -> AbstractSet[str]:
        """Its configuration classes."""

    @property
    def facts(self) -> Mapping[str, Any]:
        """Its facts, nested."""

    def query(self, plugin: str, params: str | None) -> Mapping[str, Any]:
        """Answer a data plugin's question (`filters.data.answer`).

        Raises PluginError when it cannot be answered: the filter then does not match.
        """


class Matcher:
    """A compiled filter. Immutable, without state: any thread may ask it.

    `bounded` holds what the regexes of one question cost to what a message may (None: it has none).
    """

    __slots__ = ("_bounded", "_tests", "filter", "uses_data", "weight")

    def __init__(
        self,
        source: Filter,
        tests: tuple[Callable[[Subject], bool], ...] = (),
        *,
        uses_data: bool = False,
        bounded: Callable[[], AbstractContextManager[object]] | None = None,
        weight: int = 1,
    ) -> None:
        self.filter = source
        self.weight = weight
        """Characters and names in it, some two hundred bytes each."""
        self._tests = tests
        self._bounded = bounded
        self.uses_data = uses_data
        """Whether a data plugin is asked: only the node itself can then tell."""

    def matches(self, subject: Subject) -> bool:
        """Whether the node is meant; FilterError when finding out costs more than a message may."""
        if self.uses_data:
            from mcshell.filters.data import AskedOnce  # noqa: PLC0415 - few filters ask so

            subject = AskedOnce(subject)
        try:
            if self._bounded is None:
                return all(test(subject) for test in self._tests)
            with self._bounded():
                return all(test(subject) for test in self._tests)
        except PluginError:
            if self.uses_data:
                return False
            raise

    def matches_known(self, subject: Subject) -> bool:
        """Whether a node is meant by what it said of itself; not where that is too much to search."""
        try:
            return self.matches(subject)
        except FilterError:
            return False

    def __repr__(self) -> str:
        return f"Matcher({self.filter!r})"


class KeptMatchers:
    """Those that were asked for last: the newest, and as many before it as do not weigh too much.

    Who may nothing may send filters, and some of a few letters stand for 100,000 names.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: dict[tuple[Filter, bool], Matcher] = {}
        self._weight = 0

    @property
    def size(self) -> tuple[int, int]:
        """How many are kept, and what they weigh."""
        return len(self._kept), self._weight

    def get(self, key: tuple[Filter, bool]) -> Matcher | None:
        """One that is there, which is the newest now."""
        with self._lock:
            found = self._kept.pop(key, None)
            if found is not None:
                self._kept[key] = found
        return found

    def put(self, key: tuple[Filter, bool], matcher: Matcher) -> None:
        """Keep one; the oldest go."""
        with self._lock:
            if key in self._kept:
                return
            self._kept[key] = matcher
            self._weight += matcher.weight
            while len(self._kept) > _MOST or (self._weight > MAX_WEIGHT and len(self._kept) > 1):
                self._weight -= self._kept.pop(next(iter(self._kept))).weight


kept = KeptMatchers()


def compile_filter(source: Filter, *, versions: bool = True) -> Matcher:
    """Compile a filter; raises FilterError for a part that does not parse or cannot be run.

    The empty filter matches everyone. Results are kept (`KeptMatchers`). Without `versions` what is
    no number has the order of text: what came over MCollective's wire means what it means there.
    """
    if not source:
        return Matcher(source)
    if (found := kept.get((source, versions))) is not None:
        return found
    from mcshell.filters.expressions import tests_of  # noqa: PLC0415 - most lines are for everyone
    from mcshell.patterns import one_message  # noqa: PLC0415 - as above

    with one_message() as account:
        tests, uses_data, weight = tests_of(source, versions=versions)
    bounded = one_message if account.patterns or weight > _SHORT else None
    made = Matcher(source, tests, uses_data=uses_data, bounded=bounded, weight=weight)
    kept.put((source, versions), made)
    return made


def parse_where(text: str) -> Filter:
    """Turn `where="os=Debian and role=web"` into a filter; FilterError when it does not parse."""
    from mcshell.filters.expressions import parse_compound  # noqa: PLC0415 - as above

    parse_compound(text)
    return Filter(compound=(text,))
