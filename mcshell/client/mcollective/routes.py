"""Which wire a node is asked over: the one over which it is known.

A node that was ever known by its certificate is never taken for one of the old wire's, until it is
forgotten (`node forget`): else whoever has the psk could answer for it while it is down.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from mcshell.client.discovery.node_cache import CachedNode
from mcshell.message import NATIVE

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from mcshell.client.discovery.node_cache import NodeCache
    from mcshell.message import Reply

__all__ = ["Routes"]


class Routes:
    """Says over which wire a node is asked, from what is known of it."""

    def __init__(self, known: NodeCache) -> None:
        self._known = known

    def split(
        self, collective: str, names: Iterable[str]
    ) -> tuple[list[str], list[str], list[str]]:
        """Names of nodes of our wire, of the old one, and those of which nothing is known."""
        trusts = self._known.trusts(collective)
        ours: list[str] = []
        old: list[str] = []
        unknown: list[str] = []
        for name in names:
            trust = trusts.get(name)
            (unknown if trust is None else ours if trust == NATIVE else old).append(name)
        return ours, old, unknown

    def about(self, collective: str, sender: str, trust: str) -> dict[str, Any] | None:
        """What is known of a node of the old wire, as it would say it; None for one of ours."""
        node = self._known.node(collective, sender)
        if node is None:
            return {"trust": trust}
        if node.trust == NATIVE:
            return None
        return {
            "trust": trust,
            "facts": node.facts,
            "classes": sorted(node.classes),
            "agents": sorted(node.agents),
            "collectives": list(node.collectives),
            "version": node.version,
            "described": node.described,
            "agent_versions": dict(node.agent_versions),
        }

    def heard(self, collective: str, reply: Reply, now: float) -> None:
        """Note that a node of the old wire is there, when it was not known."""
        if self._known.node(collective, reply.sender) is None:
            self._known.learn(
                collective, [CachedNode(identity=reply.sender, seen=now, trust=reply.trust)]
            )

    def versions(self, collective: str, sender: str, versions: Mapping[str, str]) -> None:
        """Keep which versions of its agents a node of the old wire has said it has."""
        node = self._known.node(collective, sender)
        if node is not None and node.trust != NATIVE:
            self._known.learn(collective, [replace(node, agent_versions=versions)])

    def learn(self, collective: str, node: CachedNode) -> None:
        """Keep what a node of the old wire has said of itself."""
        self._known.learn(collective, [node])
