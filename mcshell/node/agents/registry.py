"""Which agents this node has: found by path, read with their DDLs, activated or not.

A folder holds `NAME.py` beside `NAME.json`. Folders are searched in order, the first that has an
agent wins, so that a site replaces one of ours by its own.
"""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from mcshell.ddl.ddl_library import read
from mcshell.errors import ConfigError, MCShellError, PluginError, Unavailable, did_you_mean
from mcshell.node.agents.loading import load_agent
from mcshell.node.agents.settings import read_settings
from mcshell.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from mcshell import ddl
    from mcshell.node.agent import Agent, NodeView
    from mcshell.node.agents.external import External

__all__ = ["AgentRegistry", "ServedAgent", "load_agents"]

log = logging.getLogger(__name__)

_MOMENT: Final = 2.0
_GOODBYE: Final = 2.0
_ASKED: Final = "it has not said yet whether it serves this machine"


@dataclass(frozen=True, slots=True)
class ServedAgent:
    """An agent with its schema.

    `exempt`: answers every operator, whatever the policy. `inside`: acts on the node's own records,
    in the daemon, and at once, also over the work queue. `external`: it is a program.
    """

    agent: Agent
    ddl: ddl.DDL
    exempt: bool = False
    inside: bool = False
    external: bool = False

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
        self.misspelt: list[str] = []
        """Tables of settings that are no agent's, and look like one's."""
        self._lock = threading.Lock()
        """Guards changes: what is read meanwhile stays as it is, another takes its place."""
        self._asked = 0
        self._threads: list[threading.Thread] = []
        self._stopped = threading.Event()
        self._refresh()

    def get(self, name: str) -> ServedAgent | None:
        """The active agent of that name."""
        return self._services.get(name)

    def wrong_settings(self, tables: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
        """What is wrong with the settings of agents, by the agent's name."""
        found: dict[str, str] = {}
        for name, service in self._services.items():
            try:
                read_settings(service.agent, tables.get(name, {}))
            except ConfigError as error:
                found[name] = str(error)
        return found

    def configure(self, tables: Mapping[str, Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
        """The settings as the agents mean them; an agent whose settings are wrong is served no more."""
        for name, error in self.wrong_settings(tables).items():
            log.warning("agent %s is not served: %s", name, error)
            del self._services[name]
            self.inactive[name] = self.broken[name] = f"is not served: {error}"
        self._refresh()
        # handlers of conversations have settings there, too: only what looks like an agent's is told
        known = [*self._services, *self.inactive]
        meant = {name: did_you_mean(name, known) for name in tables if name not in known}
        self.misspelt = [f"agents.{name}: no agent{one}" for name, one in meant.items() if one]
        for line in self.misspelt:
            log.warning("%s: its settings are nobody's", line)
        served = self._services
        return {
            name: read_settings(served[name].agent, table) if name in served else table
            for name, table in tables.items()
        }

    def activate(self, node: NodeView, known: Callable[[], None] | None = None) -> None:
        """Keep the agents that this platform can serve; note why the others cannot.

        External ones are asked side by side, however long that takes. With `known` they are waited
        for a moment only: they are inactive until they have said yes, and `known` is called after
        each answer.
        """
        external = {name: one for name, one in self._services.items() if one.external}
        with self._lock:
            self._asked = len(external)
            self._services = {n: one for n, one in self._services.items() if n not in external}
            self.inactive = {**self.inactive, **dict.fromkeys(external, _ASKED)}
        for name, service in list(self._services.items()):
            self._judge(name, service, partial(service.agent.activate, node))
        self._refresh()
        self._threads = [
            threading.Thread(
                target=self._ask,
                args=(name, one, node, known),
                name="mcshell-activate",
                daemon=True,
            )
            for name, one in external.items()
        ]
        for thread in self._threads:
            thread.start()
        until = time.monotonic() + _MOMENT
        for thread in self._threads:
            thread.join(None if known is None else max(0.0, until - time.monotonic()))

    @property
    def pending(self) -> bool:
        """Whether a program has still to say whether it serves this machine."""
        return self._asked > 0

    def succeed(self, other: AgentRegistry) -> None:
        """Serve what another one serves, from now on; who has an agent of before goes on with it.

        Those that are still being asked are waited for.
        """
        for thread in self._threads:
            thread.join()
        with self._lock:
            self._services = other._services
            self.inactive, self.broken = other.inactive, other.broken
            self._refresh()

    def stop(self) -> None:
        """End the programs that are being asked."""
        self._stopped.set()
        for thread in self._threads:
            thread.join(_GOODBYE)

    def _ask(
        self, name: str, service: ServedAgent, node: NodeView, known: Callable[[], None] | None
    ) -> None:
        agent = cast("External", service.agent)
        self._judge(name, service, lambda: agent.activate(node, self._stopped))
        if known is not None:
            known()

    def _judge(self, name: str, service: ServedAgent, activate: Callable[[], None]) -> None:
        """Take an agent in or leave it out, as its activation says."""
        why = ""
        try:
            activate()
        except Unavailable as reason:
            why = str(reason)
            log.info("agent %s is not active: %s", name, reason)
        except Exception as error:
            why = f"does not activate: {type(error).__name__}: {error}"
            log.exception("agent %s does not activate", name)
        with self._lock:
            inactive = {n: reason for n, reason in self.inactive.items() if n != name}
            services = {n: one for n, one in self._services.items() if n != name}
            self.inactive = {**inactive, name: why} if why else inactive
            self._services = services if why else {**services, name: service}
            self._asked -= service.external
            self._refresh()

    def flaws(self) -> list[str]:
        """What cannot be used of the agents, one line each: those that do not load, parts of schemas."""
        found = [*self.misspelt]
        found += [f"agent {name} {why}" for name, why in sorted(self.broken.items())]
        for name, service in sorted(self._services.items()):
            found += [f"agent {name}: {flaw}" for flaw in service.ddl.flaws]
        return found

    def _refresh(self) -> None:
        self.names = frozenset(self._services)
        self.inventory = [_about(service.ddl) for _name, service in sorted(self._services.items())]
        self.versions = {one["agent"]: one["version"] for one in self.inventory}


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
                service = _load(schema, lenient=lenient)
            except Exception as error:  # noqa: BLE001 - another's module may raise anything
                known = isinstance(
                    error, (MCShellError, OSError, ValueError, ImportError, SyntaxError)
                )
                text = str(error) if known else f"{type(error).__name__}: {error}"
                broken[name] = f"does not load: {text}"
                log.warning("agent %s does not load: %s", name, text)
            else:
                services.append(service)
                for flaw in service.ddl.flaws:
                    log.warning("agent %s: %s", name, flaw)
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
    if missing and len(missing) == len(schema.actions):
        raise PluginError(f"{source} has no method {missing[0]!r}", "agent", path.stem)
    served = {name: one for name, one in schema.actions.items() if name not in missing}
    unserved = (f"action {name} is left out: {source} has no such method" for name in missing)
    schema = replace(schema, actions=served, flaws=(*schema.flaws, *unserved))
    return ServedAgent(agent, schema, external=source.suffix != ".py")
