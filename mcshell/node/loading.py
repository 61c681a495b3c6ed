"""Loads one agent's class from its file; light, because every shim does it at its start."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING

from mcshell.errors import PluginError
from mcshell.node.agent import Agent

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["load_agent"]


def load_agent(source: Path) -> Agent:
    """Import `NAME.py` and make its one `Agent` whose name is NAME; raises PluginError.

    A file without an ending is an external agent.
    """
    if source.suffix != ".py":
        from mcshell.node.external import External  # noqa: PLC0415 - only where there is one

        return External(source)
    name = source.stem
    spec = importlib.util.spec_from_file_location(f"mcshell_agent_{name}", source)
    if spec is None or spec.loader is None:
        raise PluginError(f"{source} cannot be imported", "agent", name)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    classes = [
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Agent) and value.name == name
    ]
    if len(classes) != 1:
        raise PluginError(
            f"{source} must hold one Agent whose name is {name!r}, it holds {len(classes)}",
            "agent",
            name,
        )
    agent: Agent = classes[0]()
    return agent
