"""From a filter to a test that is asked of many nodes: compiled once, cached by its value.

An emulator with 10,000 nodes asks the same `Matcher` 10,000 times: it is a tuple of closures. What
reads the language (`expressions`) is loaded with the first filter that says anything.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol

from mcshell.errors import FilterError, PluginError
from mcshell.message import Filter

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from collections.abc import Set as AbstractSet
    from contextlib import AbstractContextManager

__all__ = ["Matcher", "Subject", "compile_filter", "parse_where"]


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

    __slots__ = ("_bounded", "_tests", "filter", "uses_data")

    def __init__(
        self,
        source: Filter,
        tests: tuple[Callable[[Subject], bool], ...] = (),
        *,
        uses_data: bool = False,
        bounded: Callable[[], AbstractContextManager[object]] | None = None,
    ) -> None:
        self.filter = source
        self._tests = tests
        self._bounded = bounded
        self.uses_data = uses_data
        """Whether a data plugin is asked: only the node itself can then tell."""

    def matches(self, subject: Subject) -> bool:
        """Whether the node is meant; FilterError when its regexes cost more than a message may."""
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


@lru_cache(maxsize=256)
def compile_filter(source: Filter, *, versions: bool = True) -> Matcher:
    """Compile a filter; raises FilterError for a part that does not parse or cannot be run.

    The empty filter matches everyone. Results are kept, the newest 256. Without `versions` what is
    no number has the order of text: what came over MCollective's wire means what it means there.
    """
    if not source:
        return Matcher(source)
    from mcshell.filters.expressions import tests_of  # noqa: PLC0415 - most lines are for everyone
    from mcshell.patterns import one_message  # noqa: PLC0415 - as above

    with one_message() as account:
        tests, uses_data = tests_of(source, versions=versions)
    bounded = one_message if account.patterns else None
    return Matcher(source, tests, uses_data=uses_data, bounded=bounded)


def parse_where(text: str) -> Filter:
    """Turn `where="os=Debian and role=web"` into a filter; FilterError when it does not parse."""
    from mcshell.filters.expressions import parse_compound  # noqa: PLC0415 - as above

    parse_compound(text)
    return Filter(compound=(text,))
