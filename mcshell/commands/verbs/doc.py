"""`agents` and `doc`: what can be asked, from the DDLs alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mcshell.commands.output.result import Table
from mcshell.errors import DDLError, UsageError

if TYPE_CHECKING:
    from mcshell.commands.context import Context
    from mcshell.commands.grammar.local_options import DocOptions
    from mcshell.commands.grammar.options import Options
    from mcshell.ddl import DDL
    from mcshell.ddl.ddl_library import Library

__all__ = ["agents", "doc"]


def agents(context: Context, _options: Options) -> Table:
    """Every schema of an agent that is here; an agent whose schemas cannot be read says why."""
    library = context.ddls
    rows: list[tuple[Any, ...]] = []
    notes: list[str] = []
    for name in library.agents():
        try:
            every = library.every(name)
        except DDLError as error:
            rows.append((name, None, [], f"cannot be read: {error}"))
            continue
        for ddl in every:
            rows.append((name, ddl.version, list(ddl.actions), _description(library, ddl)))
            notes += _flaws(ddl)
    columns = ("agent", "version", "actions", "description")
    return Table(columns, rows, 0 if rows else 1, tuple(notes))


def doc(context: Context, options: DocOptions) -> Table:
    """An agent's actions, or an action's inputs and outputs: of each of its schemas."""
    library = context.ddls
    agent, dot, action = options.agent.partition(".")
    if options.action is not None:
        if dot:
            raise UsageError(
                f"doc: {options.action!r} is one word too many: {options.agent} is an action"
            )
        dot, action = " ", options.action
    every = library.every(agent)
    if dot:
        return _inside([ddl for ddl in every if action in ddl.actions] or every[:1], action)
    rows = [
        (f"{ddl.name}.{name}", list(one.inputs), list(one.outputs), one.description)
        for ddl in every
        for name, one in ddl.actions.items()
    ]
    notes = [
        line
        for ddl in every
        for line in (f"{ddl.name} {ddl.version}: {_description(library, ddl)}", *_flaws(ddl))
    ]
    return Table(("action", "inputs", "outputs", "description"), rows, notes=tuple(notes))


def _flaws(ddl: DDL) -> list[str]:
    return [f"{ddl.name}: {flaw}" for flaw in ddl.flaws]


def _description(library: Library, ddl: DDL) -> str:
    said = str(ddl.metadata.get("description", ""))
    return f"{said} (MCollective's)" if library.is_old(ddl) else said


def _inside(every: list[DDL], name: str) -> Table:
    rows: list[tuple[Any, ...]] = []
    notes: list[str] = []
    for ddl in every:
        action = ddl.action(name)
        which = f" ({ddl.name} {ddl.version})" if len(every) > 1 else ""
        for one in action.inputs.values():
            text = one.description
            if one.choices:
                text += f" (one of {', '.join(map(str, one.choices))})"
            needed = not one.optional
            rows.append(("input", one.name, one.type, needed, one.default, text + which))
        rows += [
            ("output", out.name, out.type, None, None, out.description + which)
            for out in action.outputs.values()
        ]
        notes += [action.description, *(one for one in _flaws(ddl) if f"action {name}" in one)]
    columns = ("kind", "name", "type", "required", "default", "description")
    return Table(columns, rows, notes=tuple(notes))
