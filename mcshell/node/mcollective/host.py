"""The node as the old wire sees it: its name, collectives and counters there."""

from __future__ import annotations

import threading
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from mcshell.node.agents.registry import ServedAgent
    from mcshell.node.host import Host
    from mcshell.node.journal import Journal
    from mcshell.node.system import System

__all__ = ["MCollectiveHost"]

_COUNTED: Final = (
    "total",
    "validated",
    "unvalidated",
    "passed",
    "filtered",
    "ttlexpired",
    "replies",
)
_PLUGINS: Final = ("agent", "collective", "fact", "fstat")


class MCollectiveHost:
    """An `agent.NodeView` and a filter's subject, around the host that it really is."""

    def __init__(
        self, host: Host, identity: str, collectives: tuple[str, ...], configfile: str
    ) -> None:
        self.host = host
        self.identity = identity
        self.collectives = collectives
        self._configfile = configfile
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()

    def count(self, what: str) -> None:
        """Count an event under MCollective's name."""
        with self._lock:
            self._counts[what] += 1

    @property
    def journal(self) -> Journal:
        """What the node remembers of requests."""
        return self.host.journal

    @property
    def facts(self) -> Mapping[str, Any]:
        """All facts, as text: MCollective's nodes know no other (`facts/base.rb`)."""
        return {name: _text(value) for name, value in self.host.facts.items()}

    @property
    def classes(self) -> frozenset[str]:
        """The configuration classes."""
        return self.host.classes

    @property
    def agents(self) -> frozenset[str]:
        """The active agents that can be asked over this wire."""
        return frozenset(name for name in self.host.agents if self.service(name) is not None)

    def service(self, agent: str) -> ServedAgent | None:
        """An agent that can be asked over this wire: not one that needs signed documents."""
        service = self.host.service(agent)
        return None if service is None or service.inside else service

    def inventory(self) -> list[dict[str, Any]]:
        """The metadata of these agents."""
        return [about for about in self.host.inventory() if about["name"] in self.agents]

    def stats(self) -> dict[str, Any]:
        """Counters since the daemon's start; those of messages are of this wire alone."""
        with self._lock:
            counts = {name: self._counts[name] for name in _COUNTED}
        more = {"configfile": self._configfile, "data_plugins": list(_PLUGINS)}
        return {**self.host.stats(), **counts, **more}

    def seen(self, requestid: str) -> dict[str, Any]:
        """What this node knows of a request."""
        return self.host.seen(requestid)

    @property
    def system(self) -> System:
        """The machine that its agents see."""
        return self.host.system

    @property
    def state(self) -> Path | None:
        """As the node itself has it."""
        return self.host.state

    @property
    def tells_all_files(self) -> bool:
        """As the node itself has it."""
        return self.host.tells_all_files

    def protects(self, path: str) -> bool:
        """Whether a path is the node's key or state."""
        return self.host.protects(path)

    def obeys(self, path: str) -> bool:
        """Whether a path is what the node obeys or has noted."""
        return self.host.obeys(path)

    def settings(self, agent: str) -> Mapping[str, Any]:
        """The [agents.NAME] table of the configuration."""
        return self.host.settings(agent)

    def query(self, plugin: str, params: str | None) -> Mapping[str, Any]:
        """Answer a data plugin of a compound filter."""
        from mcshell.filters.data import answer  # noqa: PLC0415 - only compound filters ask

        return answer(plugin, params, self)


def _text(value: Any) -> Any:
    """A fact's value as Ruby's `to_s` has it, hashes and arrays kept."""
    if isinstance(value, dict):
        return {str(name): _text(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_text(one) for one in value]
    if value is None or isinstance(value, bool):
        return {None: "", True: "true", False: "false"}[value]
    return value if isinstance(value, str) else str(value)
