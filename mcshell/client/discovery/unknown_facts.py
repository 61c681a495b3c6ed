"""A fact that no known node has is most likely a slip of the pen: which was meant is said."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mcshell.errors import did_you_mean
from mcshell.filters.compound import parse
from mcshell.filters.facts import MISSING, lookup
from mcshell.filters.simple import parse_fact
from mcshell.filters.tree import facts_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from mcshell.client.discovery.node_cache import CachedNode
    from mcshell.message import Filter

__all__ = ["unknown_fact", "unknown_in"]


def unknown_in(filter_: Filter, nodes: Sequence[CachedNode]) -> list[str]:
    """A line for each fact of a filter (`-F`, `-S`) that none of these nodes has."""
    tests = [parse_fact(entry).fact for entry in filter_.fact]
    for text in filter_.compound:
        tests += facts_of(parse(text))
    return list(filter(None, (unknown_fact(name, nodes) for name in dict.fromkeys(tests))))


def unknown_fact(name: str, nodes: Iterable[CachedNode]) -> str:
    """A line about a fact that none of these nodes has, with those that are called alike; or nothing."""
    facts = [node.facts for node in nodes if node.facts]
    if not facts or any(lookup(one, name) is not MISSING for one in facts):
        return ""
    known = {path for one in facts for path in _paths(one)}
    return f"no known node has a fact {name!r}{did_you_mean(name, sorted(known))}"


def _paths(facts: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in facts.items():
        yield f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from _paths(value, f"{prefix}{key}.")
