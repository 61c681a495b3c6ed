"""From the tree of a filter to tests that are asked of many nodes: closures over what it says."""

from __future__ import annotations

from functools import partial
from operator import attrgetter
from typing import TYPE_CHECKING

from mcshell.errors import FilterError
from mcshell.filters.facts import MISSING, reader
from mcshell.filters.nodes import MAX_NODES, count, parts
from mcshell.filters.simple import parse_fact, parse_identity, parse_name
from mcshell.filters.tree import And, ClassTest, DataTest, Expression, FactTest, Not, Or
from mcshell.filters.values import Comparison, SpelledText, Value, comparison
from mcshell.patterns import compile_pattern

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from collections.abc import Set as AbstractSet

    from mcshell.filters.matcher import Subject
    from mcshell.message import Filter

__all__ = ["compile_expression", "parse_compound", "tests_of"]

_MOST_TEXT = 32_768
"""Characters of all expressions of a filter, each of which costs two hundred bytes and some microseconds."""


def tests_of(
    source: Filter, *, versions: bool
) -> tuple[tuple[Callable[[Subject], bool], ...], bool, int]:
    """What a node is asked, whether a data plugin is, and the characters and names in it; raises FilterError as `compile_filter`."""
    if (length := sum(map(len, source.compound))) > _MOST_TEXT:
        raise FilterError(f"expressions of {length} characters in all: more than {_MOST_TEXT}")
    compound = [parse_compound(text) for text in source.compound]
    tests: list[Callable[[Subject], bool]] = []
    weight = sum(len(text) for text in (*source.fact, *source.cls, *source.agent)) + length
    if source.identity:
        test, names = _identity(source.identity)
        tests.append(test)
        weight += names + sum(map(len, source.identity))
    tests.extend(_named(parse_name(text, "agent"), _agents) for text in source.agent)
    tests.extend(_named(parse_name(text, "class"), _classes) for text in source.cls)
    tests.extend(compile_expression(parse_fact(text), versions=versions) for text in source.fact)
    tests.extend(compile_expression(expression, versions=versions) for expression in compound)
    return tuple(tests), any(map(_asks, compound)), weight


def parse_compound(text: str) -> Expression:
    """Parse a compound filter to its tree. Raises FilterError."""
    from mcshell.filters.compound import parse  # noqa: PLC0415 - few filters have such a part

    return parse(text)


def compile_expression(
    expression: Expression, *, versions: bool = True
) -> Callable[[Subject], bool]:
    """Compile a tree to a test; `versions` as in `compile_filter`."""
    inside = partial(compile_expression, versions=versions)
    match expression:
        case FactTest(fact, operator, value):
            return _fact(fact, comparison(operator, value, fact, versions=versions))
        case ClassTest(name):
            return _named(name, _classes)
        case DataTest(plugin, params, output, operator, value):
            compare = comparison(operator, value, output, versions=versions)
            return _data(plugin, params, output, compare)
        case Not(operand):
            inner = inside(operand)
            return lambda subject: not inner(subject)
        case And(operands):
            every = tuple(map(inside, operands))
            return lambda subject: all(test(subject) for test in every)
        case Or(operands):
            some = tuple(map(inside, operands))
            return lambda subject: any(test(subject) for test in some)


def _asks(expression: Expression) -> bool:
    if isinstance(expression, Not):
        return _asks(expression.operand)
    if isinstance(expression, (And, Or)):
        return any(map(_asks, expression.operands))
    return isinstance(expression, DataTest)


def _fact(path: str, compare: Comparison) -> Callable[[Subject], bool]:
    read = reader(path)

    def test(subject: Subject) -> bool:
        found = read(subject.facts)
        return found is not MISSING and compare(found, subject.facts)

    return test


def _data(
    plugin: str, params: str | None, output: str, compare: Comparison
) -> Callable[[Subject], bool]:
    def test(subject: Subject) -> bool:
        return compare(subject.query(plugin, params).get(output), subject.facts)

    return test


_agents: Callable[[Subject], AbstractSet[str]] = attrgetter("agents")
_classes: Callable[[Subject], AbstractSet[str]] = attrgetter("classes")


def _named(value: Value, names: Callable[[Subject], AbstractSet[str]]) -> Callable[[Subject], bool]:
    if isinstance(value, SpelledText):
        name = value.text
        return lambda subject: name in names(subject)
    found = compile_pattern(value.pattern).found
    return lambda subject: any(map(found, names(subject)))


def _identity(entries: Sequence[str]) -> tuple[Callable[[Subject], bool], int]:
    """The test, and how many names are in it."""
    names: set[str] = set()
    patterns: list[Callable[[str], bool]] = []
    ranged = [entry for entry in entries if "[" in entry and not entry.startswith("/")]
    if sum(count(part) for entry in ranged for part in parts(entry)) > MAX_NODES:
        raise FilterError(f"its ranges stand for more than {MAX_NODES:,} nodes")
    for entry in entries:
        parsed = parse_identity(entry)
        if isinstance(parsed, tuple):
            names.update(parsed)
        else:
            patterns.append(parsed.found)

    def test(subject: Subject) -> bool:
        identity = subject.identity
        return identity.lower() in names or any(found(identity) for found in patterns)

    return test, len(names)
