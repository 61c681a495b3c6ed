"""One node as its agents and filters see it: who it is, what it knows of itself."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final, Protocol

from mcshell.node.facts.sendable import plain
from mcshell.node.files.obeyed import is_among, is_obeyed
from mcshell.node.journal import Journal
from mcshell.node.system import LocalSystem
from mcshell.storage import storage_flaws
from mcshell.version import VERSION
from mcshell.wire.documents.registration import MOST_FLAW, MOST_FLAWS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from mcshell.node.agents.registry import AgentRegistry, ServedAgent
    from mcshell.node.audit.history import AuditHistory
    from mcshell.node.revocation import Revocation
    from mcshell.node.system import System

__all__ = ["Host"]

_TOLD_FOR: Final = 5.0


class RuleRecords(Protocol):
    """Which rules a machine has (`store.rule_table.RuleTable`)."""

    def held(self, identity: str, machine: str) -> dict[str, int]:
        """The revision of each rule, by AUTHOR/NAME."""


class Records(Protocol):
    """What is on disk about requests (`store.spool.Spool`)."""

    @property
    def rules(self) -> RuleRecords:
        """The rules of the machine."""

    def counts(self, identity: str) -> dict[str, int]:
        """Counters for `stats`."""

    def seen(self, identity: str, requestid: str) -> dict[str, Any] | None:
        """What is known of a request; None when nothing is."""


class Host:
    """A node's identity, facts, classes and agents: an `agent.NodeView` and a filter's subject.

    `records` are those of a node that takes queued requests and serves pools; `system` is the machine
    below, by default the one that this process runs on.
    """

    def __init__(
        self,
        identity: str,
        *,
        facts: Callable[[], Mapping[str, Any]],
        served: AgentRegistry,
        classes: Iterable[str] = (),
        collectives: Iterable[str] = ("mcs",),
        private: Iterable[Path] = (),
        obeyed: Iterable[Path] = (),
        settings: Mapping[str, Mapping[str, Any]] | None = None,
        pools: Iterable[str] = (),
        revocation: Revocation | None = None,
        audit_history: AuditHistory | None = None,
        records: Records | None = None,
        machine: str = "",
        flaws: Callable[[], Iterable[str]] = tuple,
        state: Path | None = None,
        tells_all_files: bool = False,
        system: System | None = None,
    ) -> None:
        self.identity = identity
        self.system: System = LocalSystem() if system is None else system
        """The machine that its agents see."""
        self.machine = machine
        """What tells this machine from another of the same name."""
        self.classes = frozenset(classes)
        self.collectives = tuple(collectives)
        self.pools = tuple(pools)
        self.revocation = revocation
        self.tells_all_files = tells_all_files
        self.journal = Journal()
        self.reads: float | None = None
        """Since when (epoch) its work queue is read; None while it is not."""
        self._audit_history = audit_history
        self._facts = facts
        self._served = served
        self._private = tuple(path.resolve() for path in private)
        self._obeyed = tuple(path.resolve() for path in obeyed)
        self._settings = settings or {}
        self._records = records
        self._flaws = flaws
        self.state = state
        self._told: list[str] = []
        self._told_until = 0.0

    def renew(
        self,
        *,
        facts: Callable[[], Mapping[str, Any]],
        classes: Iterable[str],
        settings: Mapping[str, Mapping[str, Any]],
        tells_all_files: bool,
        flaws: Callable[[], Iterable[str]],
    ) -> None:
        """Know other things of itself from now on."""
        self._facts = facts
        self.classes = frozenset(classes)
        self._settings = settings
        self.tells_all_files = tells_all_files
        self._flaws = flaws
        self._told_until = 0.0

    @property
    def facts(self) -> Mapping[str, Any]:
        """All facts, as of now."""
        return self._facts()

    @property
    def up(self) -> bool:
        """Whether its machine runs: one that is pretended may be off, and then hears nothing."""
        return self.system.up

    @property
    def agents(self) -> frozenset[str]:
        """The names of the active agents."""
        return self._served.names

    def service(self, agent: str) -> ServedAgent | None:
        """An active agent with its schema."""
        return self._served.get(agent)

    def inventory(self) -> list[dict[str, Any]]:
        """The active agents' metadata."""
        return self._served.inventory

    def stats(self) -> dict[str, Any]:
        """Counters since the daemon's start."""
        records = {} if self._records is None else self._records.counts(self.identity)
        return {"started": self.journal.started, **self.journal.counts, **records}

    def seen(self, requestid: str) -> dict[str, Any]:
        """What this node knows of a request: from its spool, its memory or its audit file.

        `up` is when the daemon started: what is unknown may have been before that. `reads` is since when
        the work queue is read: what is unknown and was queued before will not come any more.
        """
        known = None if self._records is None else self._records.seen(self.identity, requestid)
        known = known or self.journal.seen(requestid)
        if known["state"] == "unknown" and self._audit_history is not None:
            known = self._audit_history.seen(self.identity, requestid) or known
        return {**known, "up": self.journal.started, "reads": self.reads}

    def protects(self, path: str) -> bool:
        """Whether a path is the node's key or state, by what it resolves to."""
        return is_among(path, self._private)

    def obeys(self, path: str) -> bool:
        """Whether a path is what the node obeys or has noted."""
        return is_obeyed(path, self._obeyed)

    def rules(self) -> dict[str, int]:
        """The rules that this machine has: the revision of each AUTHOR/NAME."""
        return (
            {} if self._records is None else self._records.rules.held(self.identity, self.machine)
        )

    def flaws(self) -> tuple[str, ...]:
        """What cannot be used here, one line each: of agents, policies, facts and classes."""
        return (*self._served.flaws(), *self._flaws())

    def told_flaws(self) -> list[str]:
        """As much of that as a node says of itself, as of some seconds ago at most."""
        now = time.monotonic()
        if now >= self._told_until:
            self._told = [flaw[:MOST_FLAW] for flaw in self.flaws()[:MOST_FLAWS]]
            self._told_until = now + _TOLD_FOR
        disk = () if self.state is None else storage_flaws(self.state)
        return [*disk, *self._told][:MOST_FLAWS]

    def settings(self, agent: str) -> Mapping[str, Any]:
        """The [agents.NAME] table of the configuration."""
        return self._settings.get(agent, {})

    def portable(self) -> dict[str, Any]:
        """All that a shim needs to answer for this node, as JSON has it."""
        return {
            "identity": self.identity,
            "facts": self.facts,
            "classes": sorted(self.classes),
            "agents": sorted(self.agents),
            "collectives": list(self.collectives),
            "inventory": self.inventory(),
            "stats": self.stats(),
            "tells_all_files": self.tells_all_files,
            "state": None if self.state is None else str(self.state),
            "private": [str(path) for path in self._private],
            "obeyed": [str(path) for path in self._obeyed],
            "settings": plain(self._settings),
        }

    def query(self, plugin: str, params: str | None) -> Mapping[str, Any]:
        """Answer a data plugin of a compound filter."""
        from mcshell.filters.data import answer  # noqa: PLC0415 - only compound filters ask

        return answer(plugin, params, self)

    def describe(self) -> dict[str, Any]:
        """What the node says of itself in discovery and registration."""
        return {
            "facts": self.facts,
            "classes": sorted(self.classes),
            "agents": sorted(self.agents),
            "collectives": list(self.collectives),
            "version": VERSION,
            "pools": list(self.pools),
            "started": self.journal.started,
            "crl": None if self.revocation is None else self.revocation.number,
            "machine": self.machine,
            "flaws": self.told_flaws(),
            "agent_versions": self._served.versions,
        }
