"""`agents` and `doc`: what can be asked, from the DDLs alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mcshell.commands.output.result import Table

if TYPE_CHECKING:
    from mcshell.commands.context import Context
    from mcshell.commands.grammar.local_options import DocOptions
    from mcshell.commands.grammar.options import Options
    from mcshell.ddl import DDL, Action

__all__ = ["agents", "doc"]


def agents(context: Context, _options: Options) -> Table:
    """Every agent that has a schema here."""
    rows = []
    for name in sorted(context.library.agents()):
        ddl = context.library.get(name)
        rows.append((name, ddl.metadata["version"], list(ddl.actions), _description(ddl)))
    return Table(("agent", "version", "actions", "description"), rows, 0 if rows else 1)


def doc(context: Context, options: DocOptions) -> Table:
    """An agent's actions, or an action's inputs and outputs."""
    agent, dot, action = options.agent.partition(".")
    ddl = context.library.get(agent)
    return _inside(ddl.action(action)) if dot else _actions(ddl)


def _description(ddl: DDL) -> str:
    return str(ddl.metadata.get("description", ""))


def _actions(ddl: DDL) -> Table:
    rows = [
        (f"{ddl.name}.{name}", list(action.inputs), list(action.outputs), action.description)
        for name, action in ddl.actions.items()
    ]
    notes = (f"{ddl.name} {ddl.metadata['version']}: {_description(ddl)}",)
    return Table(("action", "inputs", "outputs", "description"), rows, notes=notes)


def _inside(action: Action) -> Table:
    rows: list[tuple[Any, ...]] = []
    for name, one in action.inputs.items():
        text = one.description
        if one.choices:
            text += f" (one of {', '.join(map(str, one.choices))})"
        rows.append(("input", name, one.type, not one.optional, one.default, text))
    for name, out in action.outputs.items():
        rows.append(("output", name, out.type, None, None, out.description))
    columns = ("kind", "name", "type", "required", "default", "description")
    return Table(columns, rows, notes=(action.description,))
