"""Random filters, nodes and a slow model of what they mean, for the property tests."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

from mcshell.errors import PluginError
from mcshell.filters.tree import (
    And,
    ClassTest,
    DataTest,
    Expression,
    FactTest,
    Not,
    Or,
    conjunction,
    disjunction,
)
from mcshell.filters.values import Regex, SpelledText

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Node:
    """A subject with everything given; a data plugin that is not in `data` cannot be answered."""

    identity: str = "web1.example.com"
    agents: frozenset[str] = frozenset()
    classes: frozenset[str] = frozenset()
    facts: Mapping[str, Any] = field(default_factory=dict)
    data: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def query(self, plugin: str, params: str | None) -> Mapping[str, Any]:
        """Answer from `data`."""
        del params
        if plugin not in self.data:
            raise PluginError("not here", "data", plugin)
        return self.data[plugin]


NAMES = ("os", "cpu.count", "mem", "flag", "tags", "a.b", "weird name", "n", "and")
WORDS = (
    "Debian",
    "web",
    "db",
    "3",
    "10",
    "2.5",
    "-1",
    "1",
    "0",
    "true",
    "FALSE",
    "x y",
    "a(b)",
    "",
    "not",
)

texts = st.builds(
    SpelledText.of,
    st.sampled_from(WORDS) | st.text(max_size=6),
    quoted=st.booleans(),
)
regexes = (
    st.sampled_from(["^web", "e", "a/b", "^[0-9]+$", "b i", r"\.", ""]).filter(bool).map(Regex)
)
facts = st.sampled_from(NAMES) | st.text(min_size=1, max_size=5)
tests = st.one_of(
    st.builds(FactTest, facts, st.sampled_from(["==", "!=", "<", "<=", ">", ">="]), texts),
    st.builds(FactTest, facts, st.sampled_from(["=~", "!=~"]), regexes),
    st.builds(
        ClassTest, st.sampled_from(["web", "role::db", "and", "x y", "(", "/"]).map(SpelledText)
    ),
    st.builds(ClassTest, regexes),
)
datas = st.builds(
    DataTest,
    st.just("fact"),
    st.none() | st.text(max_size=5),
    st.sampled_from(["value", "exists"]),
    st.sampled_from(["==", "!=", "<"]),
    texts,
)


def expressions(leaves: st.SearchStrategy[Expression]) -> st.SearchStrategy[Expression]:
    """Canonical trees over the given tests."""
    return st.recursive(
        leaves,
        lambda inner: st.one_of(
            st.builds(Not, inner),
            st.lists(inner, min_size=2, max_size=3).map(lambda some: conjunction(*some)),
            st.lists(inner, min_size=2, max_size=3).map(lambda some: disjunction(*some)),
        ),
        max_leaves=12,
    )


scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-12, 12),
    st.floats(allow_nan=False, allow_infinity=False, width=16),
    st.sampled_from(WORDS),
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["b", "count", "web", "x"]), inner, max_size=3)
    ),
    max_leaves=5,
)
nodes = st.builds(
    Node,
    facts=st.dictionaries(st.sampled_from([*NAMES, "cpu", "a"]), values, max_size=6),
    classes=st.frozensets(st.sampled_from(["web", "role::db", "and", "x y"])),
)


def holds(expression: Expression, node: Node) -> bool:
    """Say whether a tree is true of a node, the slow and obvious way."""
    match expression:
        case Not(operand):
            return not holds(operand, node)
        case And(operands):
            return all(holds(operand, node) for operand in operands)
        case Or(operands):
            return any(holds(operand, node) for operand in operands)
        case ClassTest(SpelledText(name)):
            return name in node.classes
        case ClassTest(Regex(pattern)):
            return any(re.search(pattern, name) for name in node.classes)
        case FactTest(path, operator, value):
            found = find(node.facts, path)
            return any(compare(one, operator, value) for one in elements(found))
    raise AssertionError(expression)


def find(value: Any, path: str) -> list[Any]:
    """Give the first value that a path leads to, in a list; the longest keys first."""
    if isinstance(value, dict):
        if path in value:
            return [value[path]]
        cuts = [at for at in range(len(path)) if path[at] == "."]
        for cut in reversed(cuts):
            if path[:cut] in value and (found := find(value[path[:cut]], path[cut + 1 :])):
                return found
    if isinstance(value, list):
        head, dot, rest = path.partition(".")
        if re.fullmatch("[0-9]+", head) and int(head) < len(value):
            return find(value[int(head)], rest) if dot else [value[int(head)]]
    return []


def elements(value: Any) -> list[Any]:
    """All that a comparison looks at: elements of lists, keys of hashes."""
    if value is None:
        return []
    if isinstance(value, list):
        return [one for element in value for one in elements(element)]
    return list(value) if isinstance(value, dict) else [value]


def compare(fact: Any, operator: str, value: SpelledText | Regex) -> bool:
    """Compare one scalar."""
    shown = str(fact).lower() if isinstance(fact, bool) else str(fact)
    if isinstance(value, Regex):
        return bool(re.search(value.pattern, shown)) == (operator == "=~")
    left, right = shown, value.text
    numeric = r"[+-]?[0-9]+(\.[0-9]+)?"
    if isinstance(fact, bool):
        if operator not in ("==", "!="):
            return False
        right = right if value.literal else {"1": "true", "0": "false"}.get(right, right.lower())
    elif not value.literal and re.fullmatch(numeric, right):
        if isinstance(fact, (int, float)):
            left, right = fact, float(right)
        elif re.fullmatch(numeric, left):
            left, right = float(left), float(right)
    elif isinstance(fact, (int, float)) and operator not in ("==", "!=") and not value.literal:
        return False
    return {
        "==": lambda: left == right,
        "!=": lambda: left != right,
        "<": lambda: left < right,
        "<=": lambda: left <= right,
        ">": lambda: left > right,
        ">=": lambda: left >= right,
    }[operator]()
