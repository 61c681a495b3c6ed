"""Which agents this node has: found by path, read with their DDLs, activated or not.

A folder holds `NAME.py` beside `NAME.json`. Folders are searched in order, the first that has an
agent wins, so that a site replaces one of ours by its own.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mcshell.ddl.library import read
from mcshell.errors import MCShellError, PluginError, Unavailable
from mcshell.node.agents.loading import load_agent

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mcshell import ddl
    from mcshell.node.agent import Agent, NodeView

__all__ = ["AgentRegistry", "ServedAgent", "load_agents"]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ServedAgent:
    """An agent with its schema.

    `exempt`: answers every operator, whatever the policy. `inside`: acts on the node's own records,
    in the daemon, and at once, also over the work queue.
    """

    agent: Agent
    ddl: ddl.DDL
    exempt: bool = False
    inside: bool = False

    @property
    def source(self) -> Path:
        """The agent's file, beside its DDL: Python, or an executable of any language."""
        return _source(Path(self.ddl.path))


class AgentRegistry:
    """The agents of a node process: active ones by name, inactive ones with the reason."""

    def __init__(self, services: Iterable[ServedAgent]) -> None:
        self._services = {service.ddl.name: service for service in services}
        self.inactive: dict[str, str] = {}
        self.broken: dict[str, str] = {}
        """Those of the inactive that do not load."""
        self._refresh()

    def get(self, name: str) -> ServedAgent | None:
        """The active agent of that name."""
        return self._services.get(name)

    def activate(self, node: NodeView) -> None:
        """Keep the agents that this platform can serve; note why the others cannot."""
        for name, service in list(self._services.items()):
            try:
                service.agent.activate(node)
            except Unavailable as reason:
                del self._services[name]
                self.inactive[name] = str(reason)
                log.info("agent %s is not active: %s", name, reason)
            except Exception as error:
                del self._services[name]
                self.inactive[name] = f"does not activate: {type(error).__name__}: {error}"
                log.exception("agent %s does not activate", name)
        self._refresh()

    def inventory(self) -> list[dict[str, Any]]:
        """The active agents' metadata and actions, by name."""
        return self._inventory

    def _refresh(self) -> None:
        self.names = frozenset(self._services)
        self._inventory = [_about(service.ddl) for _name, service in sorted(self._services.items())]


def _about(schema: ddl.DDL) -> dict[str, Any]:
    metadata = schema.metadata
    return {
        "name": schema.name,
        "agent": schema.name,
        "version": str(metadata.get("version", "")),
        "description": str(metadata.get("description", "")),
        "author": str(metadata.get("author", "")),
        "license": str(metadata.get("license", "")),
        "url": str(metadata.get("url", "")),
        "timeout": metadata.get("timeout", 10),
        "actions": sorted(schema.actions),
    }


def load_agents(
    folders: Iterable[Path], builtin: Iterable[ServedAgent] = (), *, lenient: bool = False
) -> AgentRegistry:
    """Load every agent of the folders. One that does not load is inactive, with its reason.

    With `lenient` their DDLs may name validators that are not here (`ddl.load`).
    """
    services = [*builtin]
    seen = {service.ddl.name for service in services}
    broken: dict[str, str] = {}
    for folder in folders:
        if not folder.is_dir():
            log.warning("no agents from %s: there is no such folder", folder)
        for schema in sorted([*folder.glob("*.json"), *folder.glob("*.ddl")], key=_order):
            name = schema.stem
            if name in seen or not _source(schema).is_file():
                continue
            seen.add(name)
            try:
                services.append(_load(schema, lenient=lenient))
            except Exception as error:  # noqa: BLE001 - another's module may raise anything
                known = isinstance(
                    error, (MCShellError, OSError, ValueError, ImportError, SyntaxError)
                )
                text = str(error) if known else f"{type(error).__name__}: {error}"
                broken[name] = f"does not load: {text}"
                log.warning("agent %s does not load: %s", name, text)
    served = AgentRegistry(services)
    served.inactive.update(broken)
    served.broken.update(broken)
    return served


def _source(schema: Path) -> Path:
    """The file of the agent whose DDL this is: Python's, else the executable."""
    python = schema.with_suffix(".py")
    return python if python.exists() else schema.with_suffix("")


def _order(schema: Path) -> tuple[str, bool]:
    """By name, JSON first."""
    return schema.stem, schema.suffix != ".json"


def _load(path: Path, *, lenient: bool) -> ServedAgent:
    schema = read(path, lenient=lenient)
    source = _source(path)
    agent = load_agent(source)
    if source.suffix != ".py":
        from mcshell.node.agents.external import External  # noqa: PLC0415 - only where there is one

        assert isinstance(agent, External)
        agent.check(schema.actions)
    missing = [name for name in schema.actions if not callable(getattr(agent, name, None))]
    if missing:
        raise PluginError(f"{source} has no method {missing[0]!r}", "agent", path.stem)
    return ServedAgent(agent, schema)
