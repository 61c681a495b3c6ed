"""`policy lint` and `policy test`: what a node's policies say, and where they say nothing; no broker."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mcshell import plugins
from mcshell.commands.output.result import Table
from mcshell.ddl.ddl_library import shipped_dir
from mcshell.errors import UsageError
from mcshell.node.admission.policy import Policies
from mcshell.node.admission.policy_file import caller_flaw
from mcshell.node.agents.registry import load_agents
from mcshell.node.builtin.discovery import DiscoveryAgent
from mcshell.node.facts.classes import read_classes
from mcshell.node.facts.sendable import plain
from mcshell.node.facts.source import FactSource, read_yaml
from mcshell.node.host import Host
from mcshell.texts import decoded

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mcshell.commands.context import Context
    from mcshell.commands.grammar.local_options import PolicyLintOptions, PolicyTestOptions

__all__ = ["decide", "lint"]

_DENIED = 1
_FLAWED = 1


def lint(context: Context, options: PolicyLintOptions) -> Table:
    """One row for each line that cannot be used, with what that costs; the exit code is then 1.

    Raises:
        UsageError: there is no such file or folder.
    """
    path = Path(options.file) if options.file else _folder(context)
    folder, name = (path, None) if path.is_dir() else (path.parent, path.name)
    if not os.path.lexists(path):
        raise UsageError(f"policy lint: there is no {path}")
    try:
        found = Policies(folder).flaws(name)
    except OSError as error:
        raise UsageError(f"policy lint: {folder}: {error.strerror}") from error
    rows = [
        (str(folder / file), flaw.line or None, flaw.message, str(flaw.cost))
        for file, flaw in found
    ]
    notes = () if rows else (f"{path}: nothing is wrong",)
    return Table(("file", "line", "problem", "costs"), rows, _FLAWED if rows else 0, notes)


def decide(context: Context, options: PolicyTestOptions) -> Table:
    """What a node with these policies would decide, and its line; the exit code is 1 for a no.

    Raises:
        UsageError: a caller that there cannot be, facts or classes that cannot be read.
    """
    for caller in (options.caller, options.owner):
        if caller is not None and (flaw := caller_flaw(caller)):
            raise UsageError(f"policy test: {flaw}")
    folder = _folder(context)
    host = _host(context, options)
    decision = Policies(folder).decide(
        options.caller,
        options.agent,
        options.action,
        host.facts,
        host.classes,
        options.owner if options.owner != options.caller else None,
        query=host.query,
    )
    row = (
        options.caller,
        options.agent,
        options.action,
        "allowed" if decision.allowed else "denied",
        decision.why,
        _line(folder / decision.file, decision.line) if decision.line else None,
    )
    columns = ("caller", "agent", "action", "decision", "why", "line")
    notes = [f"policies: {folder}"]
    if options.agent == DiscoveryAgent.name:
        notes.append("no policy is asked about discovery: it answers every operator")
    if decision.allowed and (asked := plugins.names("authoriser")):
        notes.append(f"a node here asks its authorisers, too: {', '.join(asked)}")
    return Table(columns, [row], 0 if decision.allowed else _DENIED, tuple(notes))


def _folder(context: Context) -> Path:
    settings = context.settings
    return settings.node.policies or settings.state_dir / "node" / "policies"


def _host(context: Context, options: PolicyTestOptions) -> Host:
    """The node that is asked about: this machine, with the facts and classes of the line."""
    settings = context.settings
    facts = _facts(context, options.facts)
    served = load_agents([*settings.node.agents, shipped_dir()])
    host = Host(
        settings.node.identity or "this",
        facts=lambda: facts,
        served=served,
        classes=_classes(context, options.classes),
        collectives=settings.collective.member or (settings.collective.main,),
        settings=settings.agents,
    )
    served.activate(host)
    return host


def _line(path: Path, number: int) -> str:
    return decoded(path.read_bytes()).split("\n")[number - 1].strip()


def _facts(context: Context, file: str | None) -> Mapping[str, Any]:
    """The facts of a file, YAML or JSON; else those of a node on this machine."""
    if file is None:
        node, state = context.settings.node, context.settings.state_dir / "node"
        return FactSource(node.facts, state, room=node.fact_room).facts()
    try:
        document = plain(read_yaml(decoded(Path(file).read_bytes())))
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"--facts {file}: {' '.join(str(error).split())}") from error
    if not isinstance(document, dict):
        raise UsageError(f"--facts {file}: a hash of facts is meant")
    return document


def _classes(context: Context, given: str | None) -> frozenset[str]:
    """The classes of a file, or names with commas between; else those of a node on this machine."""
    if given is not None and "/" not in given and not Path(given).exists():
        return frozenset(name for name in given.split(",") if name)
    path = context.settings.node.classes if given is None else Path(given)
    if given is not None and not Path(given).is_file():
        raise UsageError(f"--classes {given}: there is no such file")
    classes, flaws = read_classes(path, context.settings.node.class_room)
    if given is not None and flaws:
        raise UsageError(f"--classes {given}: {flaws[0]}")
    return frozenset(classes)
