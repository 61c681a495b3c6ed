"""What no known node has is most likely a slip of the pen: which fact, value, class or agent was meant."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mcshell.errors import did_you_mean
from mcshell.filters.compound import parse
from mcshell.filters.facts import MISSING, lookup
from mcshell.filters.matcher import compile_filter
from mcshell.filters.simple import parse_fact, parse_name
from mcshell.filters.tree import ClassTest, Expression, FactTest, show, tests_of
from mcshell.filters.values import Regex
from mcshell.message import Filter

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from mcshell.client.discovery.node_cache import CachedNode

__all__ = ["unknown_fact", "unknown_in"]


def unknown_in(filter_: Filter, nodes: Sequence[CachedNode]) -> list[str]:
    """A line for each fact, class and agent of a filter that none of these nodes has.

    For a value of a fact, too, where another that a node has is written alike.
    """
    tests: list[FactTest | ClassTest] = [parse_fact(entry) for entry in filter_.fact]
    tests += [ClassTest(parse_name(entry, "class")) for entry in filter_.cls]
    tests += [one for text in filter_.compound for one in tests_of(parse(text))]
    lines = [
        _unknown_class(test, nodes)
        if isinstance(test, ClassTest)
        else unknown_fact(test.fact, nodes) or _unknown_value(test, nodes)
        for test in tests
    ]
    lines += [_unknown_agent(name, nodes) for name in filter_.agent]
    return list(dict.fromkeys(filter(None, lines)))


def unknown_fact(name: str, nodes: Iterable[CachedNode]) -> str:
    """A line about a fact that none of these nodes has, with those that are called alike; or nothing."""
    facts = [node.facts for node in nodes if node.facts]
    if not facts or any(lookup(one, name) is not MISSING for one in facts):
        return ""
    known = {path for one in facts for path in _paths(one)}
    return f"no known node has a fact {name!r}{did_you_mean(name, sorted(known))}"


def _unknown_value(test: FactTest, nodes: Sequence[CachedNode]) -> str:
    if isinstance(test.value, Regex) or test.operator != "==" or _some(test, nodes):
        return ""
    known = {str(lookup(node.facts, test.fact, "")) for node in nodes}
    near = did_you_mean(test.value.text, sorted(known))
    return near and f"no known node has {test.fact}={test.value.text}{near}"


def _unknown_class(test: ClassTest, nodes: Sequence[CachedNode]) -> str:
    known = {name for node in nodes for name in node.classes}
    if isinstance(test.name, Regex) or not known or _some(test, nodes):
        return ""
    near = did_you_mean(test.name.text, sorted(known))
    return f"no known node has a class {test.name.text!r}{near}"


def _unknown_agent(entry: str, nodes: Sequence[CachedNode]) -> str:
    name, known = parse_name(entry, "agent"), {one for node in nodes for one in node.agents}
    if isinstance(name, Regex) or not known or name.text in known:
        return ""
    return f"no known node has an agent {name.text!r}{did_you_mean(name.text, sorted(known))}"


def _some(test: Expression, nodes: Iterable[CachedNode]) -> bool:
    """Whether it is true of one of them."""
    matches = compile_filter(Filter(compound=(show(test),))).matches_known
    return any(map(matches, nodes))


def _paths(facts: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in facts.items():
        yield f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from _paths(value, f"{prefix}{key}.")
