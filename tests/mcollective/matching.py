"""MCollective's own filter evaluation in a Ruby child."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mcshell.errors import PluginError
from mcshell.wire.mcollective import marshal
from tests.mcollective.ruby import RubyChild

if TYPE_CHECKING:
    from collections.abc import Mapping

SCRIPT = Path(__file__).with_name("matcher.rb")


@dataclass(frozen=True)
class Node:
    """A node as both sides see it; it answers the data plugin `fact`."""

    identity: str
    agents: frozenset[str]
    classes: frozenset[str]
    facts: Mapping[str, Any]

    def query(self, plugin: str, params: str | None) -> Mapping[str, Any]:
        """Answer for a fact that is there."""
        if plugin == "fact" and params in self.facts:
            return {"exists": True, "value": str(self.facts[params])}
        raise PluginError("no such fact", "data", plugin)


class RealMatcher(RubyChild):
    """A child that parses filters as mco does, and evaluates them as mcollectived does."""

    def __init__(self, folder: Path) -> None:
        config = folder / "matcher.cfg"
        config.write_text(
            f"""libdir = {SCRIPT.with_name("libdir")}:/usr/share/mcollective/plugins
identity = here
logger_type = console
loglevel = fatal
classesfile = {folder}/classes.txt
factsource = given
"""
        )
        super().__init__(SCRIPT, config)

    def matches(self, structure: Any, node: Node) -> bool:
        """Whether the node that is described would answer; an error there is no answer."""
        question = {
            "do": "matches",
            "filter": marshal.dump(structure).hex(),
            "facts": dict(node.facts),
            "classes": sorted(node.classes),
            "identity": node.identity,
            "agents": sorted(node.agents),
        }
        return bool(self._ask(question)["matches"])

    def parse(self, **filters: list[str]) -> Any:
        """The structure that mco sends for -F, -C, -I and -S."""
        parts = {key: filters.get(key, []) for key in ("fact", "class", "identity", "compound")}
        return marshal.load(bytes.fromhex(self._ask({"do": "parse"} | parts)["filter"]))
