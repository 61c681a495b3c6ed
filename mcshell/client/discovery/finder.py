"""From a targeting to names: who answers now, and who should have (mcshell/README.md §5).

Names given by hand are taken as they are. Else a discovery method is asked (`methods`): by
default the network, with the known nodes that match by their last known facts, were seen lately
and did not answer named beside it.
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING

from mcshell import plugins
from mcshell.client.discovery.methods import Answer, Discovered, DiscoveryQuery, named
from mcshell.client.discovery.targeting import Targeting, choose, plain_names
from mcshell.errors import PluginError, UsageError
from mcshell.filters import compile_filter
from mcshell.filters.nodes import expand
from mcshell.wire.destinations import check_word

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from mcshell.client.discovery.methods import DiscoveryMethod
    from mcshell.client.discovery.node_cache import NodeCache
    from mcshell.client.messaging.queries import NodeQueries
    from mcshell.config import Settings

__all__ = ["Answer", "Discovered", "Finder"]

_OPEN = 8


class Finder:
    """Finds the targets of one client's requests; `fill` as of a `DiscoveryQuery`."""

    def __init__(
        self,
        queries: NodeQueries,
        known: NodeCache,
        settings: Settings,
        fill: Callable[[str], None] = lambda _collective: None,
    ) -> None:
        self._fill = fill
        self._queries = queries
        self._known = known
        self._settings = settings
        self._open: deque[str] = deque()

    def find(self, targeting: Targeting, agent: str | None = None) -> Discovered:
        """Turn a targeting into names; with `agent`, of nodes that have that agent.

        Raises:
            FilterError: a filter does not parse.
            UsageError: the source is unknown, or wants names and has none.
        """
        source = _source(targeting.source)
        if targeting.collective is not None:
            check_word("collective", targeting.collective)
        compile_filter(targeting.filter)
        if targeting.nodes is not None and targeting.filter:
            asked = source if source is not named else _source("broadcast")
            return self._among(targeting.nodes, asked, targeting, agent)
        if targeting.nodes is None:
            targeting = replace(targeting, nodes=plain_names(targeting.filter))
        if targeting.nodes is not None:
            source = named
        return source(self._search(targeting, agent))

    def _among(
        self, names: Iterable[str], source: DiscoveryMethod, targeting: Targeting, agent: str | None
    ) -> Discovered:
        """Filters beside names: those of the names that match, by answer or last known facts."""
        wanted = set(expand(names))
        everyone = replace(targeting, nodes=None, limit=None, one=False)
        found = source(self._search(everyone, agent))
        chosen = choose([name for name in found.names if name in wanted], targeting)
        kept = set(chosen)
        return replace(
            found,
            names=chosen,
            answers={name: answer for name, answer in found.answers.items() if name in kept},
            absent=[node for node in found.absent if node.identity in kept],
        )

    def _search(self, targeting: Targeting, agent: str | None) -> DiscoveryQuery:
        filter_ = targeting.filter
        if agent is not None and agent not in filter_.agent:
            filter_ = replace(filter_, agent=(*filter_.agent, agent))
        return DiscoveryQuery(
            targeting,
            filter_,
            targeting.collective or self._settings.collective.main,
            self._known,
            self._queries,
            self._settings.client,
            self._retire,
            self._fill,
        )

    def _retire(self, question: str) -> None:
        self._open.append(question)
        while len(self._open) > _OPEN:
            self._queries.forget(self._open.popleft())


def _source(name: str) -> DiscoveryMethod:
    try:
        source: DiscoveryMethod = plugins.find("discovery", name)
    except PluginError as error:
        raise UsageError(f"--dm {name}: {error}") from error
    return source
