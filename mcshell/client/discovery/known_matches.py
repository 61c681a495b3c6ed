"""Which of the known nodes match a filter: remembered, for an open shell asks the same again.

Of a node only its name and its times stay in memory, and of a filter the names that match it; what
nodes say of themselves stays in the file, from which each is read once for all filters.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from mcshell.filters import Subject, compile_filter
from mcshell.message import NATIVE

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from mcshell.filters import Matcher
    from mcshell.message import Filter

__all__ = ["DescribedNode", "KnownMatches", "NodeTimes"]

_FILTERS: Final = 16
_UNREAD: Final = -1.0


class DescribedNode(Subject, Protocol):
    """A node as it last described itself (`node_cache.CachedNode`)."""

    @property
    def seen(self) -> float:
        """When it was last heard of."""

    @property
    def interval(self) -> float | None:
        """How often it registers, if it has said so."""

    @property
    def skew(self) -> float | None:
        """How far its clock was ahead of ours when it last registered, in seconds."""

    @property
    def trust(self) -> str:
        """The wire over which it is known."""


class NodeTimes(NamedTuple):
    """When a node was last heard of (`seen`, epoch), and how often it registers (`interval`, seconds).

    `native`: it is known over our own wire.
    """

    seen: float
    interval: float | None
    native: bool


class KnownMatches:
    """The known nodes of one collective, by the filters that were asked of lately.

    It does no I/O and holds no lock: its owner reads the file, and brings what has changed there.
    """

    def __init__(self) -> None:
        self.nodes: dict[str, NodeTimes] = {}
        self.heard: dict[str, float] = {}
        """When those came here by our clock (epoch) whose own is behind: `seen` is by theirs."""
        self._matching: OrderedDict[Filter, set[str]] = OrderedDict()
        self._matchers: dict[Filter, dict[bool, Matcher]] = {}

    def begin(self, filter_: Filter) -> bool:
        """Have a filter remembered; whether it is new, so that all nodes are to be put again."""
        if filter_ in self._matching:
            self._matching.move_to_end(filter_)
            return False
        # As a node would itself: those of MCollective's wire have its order of texts.
        both = {native: compile_filter(filter_, versions=native) for native in (True, False)}
        self._matchers[filter_] = both
        self._matching[filter_] = set()
        while len(self._matching) > _FILTERS:
            self._matchers.pop(self._matching.popitem(last=False)[0])
        self.nodes.clear()
        self.heard.clear()
        for names in self._matching.values():
            names.clear()
        return True

    def matching(self, filter_: Filter) -> set[str]:
        """The names of those that match a filter that was begun."""
        return self._matching[filter_]

    def changed(self, rows: Sequence[tuple[str, float]]) -> list[str]:
        """Which of the nodes in the file (name, `seen`) are not as they are here.

        Those that are not in the file are dropped.
        """
        for name in self.nodes.keys() - {name for name, _seen in rows}:
            self.drop(name)
        known = self.nodes
        return [n for n, seen in rows if (one := known.get(n)) is None or one.seen != seen]

    def put(self, node: DescribedNode) -> None:
        """Take over what the file has of a node."""
        self._keep(node, node.interval)

    def _keep(self, node: DescribedNode, interval: float | None) -> None:
        name, native = node.identity, node.trust == NATIVE
        self.nodes[name] = NodeTimes(node.seen, interval, native)
        if node.skew is not None and node.skew < 0:
            self.heard[name] = node.seen - node.skew
        else:
            self.heard.pop(name, None)
        for filter_, names in self._matching.items():
            if self._matchers[filter_][native].matches_known(node):
                names.add(name)
            else:
                names.discard(name)

    def learn(self, node: DescribedNode) -> None:
        """Take over what a node has just said, where the file does; who says no interval keeps the one before."""
        before = self.nodes.get(node.identity)
        signed = node.trust == NATIVE
        same = before is None or signed is before.native
        if (before is None or node.seen >= before.seen) if same else signed:
            old = None if before is None else before.interval
            self._keep(node, old if node.interval is None else node.interval)

    def touch(self, names: Iterable[str], seen: float) -> None:
        """Note a sign of life, as the file does."""
        for name in names:
            if (one := self.nodes.get(name)) is not None and one.seen < seen:
                self.nodes[name] = NodeTimes(seen, one.interval, one.native)

    def doubt(self, names: Iterable[str]) -> None:
        """Have nodes read again from the file: it may not have taken what was written of them."""
        for name in names:
            if (one := self.nodes.get(name)) is not None:
                self.nodes[name] = NodeTimes(_UNREAD, one.interval, one.native)

    def drop(self, name: str) -> None:
        """Forget a node."""
        self.nodes.pop(name, None)
        self.heard.pop(name, None)
        for names in self._matching.values():
            names.discard(name)
