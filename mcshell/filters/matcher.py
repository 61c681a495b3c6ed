"""From a filter to a test that is asked of many nodes: compiled once, cached by its value.

An emulator with 10,000 nodes asks the same `Matcher` 10,000 times: it is a tuple of closures.
"""

from __future__ import annotations

from functools import lru_cache
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Protocol

from mcshell.errors import FilterError, PluginError
from mcshell.filters.facts import MISSING, reader
from mcshell.filters.simple import parse_fact, parse_identity, parse_name
from mcshell.filters.tree import And, ClassTest, DataTest, Expression, FactTest, Not, Or
from mcshell.filters.values import SpelledText, Value, comparison
from mcshell.message import Filter
from mcshell.patterns import compile_pattern, one_message

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from collections.abc import Set as AbstractSet

__all__ = [
    "Matcher",
    "Subject",
    "compile_expression",
    "compile_filter",
    "parse_compound",
    "parse_where",
]


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
    """A compiled filter. Immutable, without state: any thread may ask it."""

    __slots__ = ("_has_patterns", "_tests", "filter", "uses_data")

    def __init__(
        self,
        source: Filter,
        tests: tuple[Callable[[Subject], bool], ...],
        *,
        uses_data: bool,
        has_patterns: bool,
    ) -> None:
        self.filter = source
        self._tests = tests
        self._has_patterns = has_patterns
        self.uses_data = uses_data
        """Whether a data plugin is asked: only the node itself can then tell."""

    def matches(self, subject: Subject) -> bool:
        """Whether the node is meant; FilterError when its regexes cost more than a message may."""
        try:
            if not self._has_patterns:
                return all(test(subject) for test in self._tests)
            with one_message():
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
def compile_filter(source: Filter) -> Matcher:
    """Compile a filter; raises FilterError for a part that does not parse or cannot be run.

    The empty filter matches everyone. Results are kept, the newest 256.
    """
    with one_message() as account:
        tests, uses_data = _compiled(source)
    has_patterns = bool(account.patterns)
    return Matcher(source, tests, uses_data=uses_data, has_patterns=has_patterns)


def _compiled(source: Filter) -> tuple[tuple[Callable[[Subject], bool], ...], bool]:
    compound = [parse_compound(text) for text in source.compound]
    tests: list[Callable[[Subject], bool]] = []
    if source.identity:
        tests.append(_identity(source.identity))
    tests.extend(_named(parse_name(text, "agent"), _agents) for text in source.agent)
    tests.extend(_named(parse_name(text, "class"), _classes) for text in source.cls)
    tests.extend(compile_expression(parse_fact(text)) for text in source.fact)
    tests.extend(compile_expression(expression) for expression in compound)
    return tuple(tests), any(map(_asks, compound))


def parse_where(text: str) -> Filter:
    """Turn `where="os=Debian and role=web"` into a filter; FilterError when it does not parse."""
    parse_compound(text)
    return Filter(compound=(text,))


def parse_compound(text: str) -> Expression:
    """Parse a compound filter to its tree: this loads lark. Raises FilterError."""
    from mcshell.filters.compound import parse  # noqa: PLC0415 - lark, only when it is needed

    return parse(text)


def compile_expression(expression: Expression) -> Callable[[Subject], bool]:
    """Compile a tree to a test."""
    match expression:
        case FactTest(fact, operator, value):
            return _fact(fact, operator, value)
        case ClassTest(name):
            return _named(name, _classes)
        case DataTest(plugin, params, output, operator, value):
            return _data(plugin, params, output, operator, value)
        case Not(operand):
            inner = compile_expression(operand)
            return lambda subject: not inner(subject)
        case And(operands):
            every = tuple(map(compile_expression, operands))
            return lambda subject: all(test(subject) for test in every)
        case Or(operands):
            some = tuple(map(compile_expression, operands))
            return lambda subject: any(test(subject) for test in some)


def _asks(expression: Expression) -> bool:
    if isinstance(expression, Not):
        return _asks(expression.operand)
    if isinstance(expression, (And, Or)):
        return any(map(_asks, expression.operands))
    return isinstance(expression, DataTest)


def _fact(path: str, operator: str, value: Value) -> Callable[[Subject], bool]:
    read = reader(path)
    compare = comparison(operator, value)

    def test(subject: Subject) -> bool:
        found = read(subject.facts)
        return found is not MISSING and compare(found)

    return test


def _data(
    plugin: str, params: str | None, output: str, operator: str, value: Value
) -> Callable[[Subject], bool]:
    compare = comparison(operator, value)

    def test(subject: Subject) -> bool:
        return compare(subject.query(plugin, params).get(output))

    return test


_agents: Callable[[Subject], AbstractSet[str]] = attrgetter("agents")
_classes: Callable[[Subject], AbstractSet[str]] = attrgetter("classes")


def _named(value: Value, names: Callable[[Subject], AbstractSet[str]]) -> Callable[[Subject], bool]:
    if isinstance(value, SpelledText):
        name = value.text
        return lambda subject: name in names(subject)
    found = compile_pattern(value.pattern).found
    return lambda subject: any(map(found, names(subject)))


def _identity(entries: Iterable[str]) -> Callable[[Subject], bool]:
    names: set[str] = set()
    patterns: list[Callable[[str], bool]] = []
    for entry in entries:
        parsed = parse_identity(entry)
        if isinstance(parsed, tuple):
            names.update(parsed)
        else:
            patterns.append(parsed.found)

    def test(subject: Subject) -> bool:
        identity = subject.identity
        return identity.lower() in names or any(found(identity) for found in patterns)

    return test
