"""Loads one class from its file: an agent's or a handler's. Light: every shim starts with it."""

from __future__ import annotations

from importlib.machinery import SourceFileLoader
from types import CodeType, ModuleType
from typing import TYPE_CHECKING, TypeVar

from mcshell.errors import PluginError
from mcshell.node.agent import Agent
from mcshell.private import UnsafeFile, is_installed, read_obeyed

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["load_agent", "load_class"]

T = TypeVar("T")


def load_agent(source: Path) -> Agent:
    """Import `NAME.py` and make its one `Agent` whose name is NAME; raises PluginError.

    A file without an ending is an external agent.
    """
    if source.suffix != ".py":
        from mcshell.node.agents.external import External  # noqa: PLC0415 - only where there is one

        return External(source)
    return load_class(source, Agent, "name")()


def load_class(source: Path, base: type[T], attribute: str) -> type[T]:
    """Import NAME.py for the one class derived from `base` that has NAME as its `attribute`.

    Raises:
        PluginError: there is none, or several. What the file itself raises passes.
    """
    kind, name = base.__name__, source.stem
    module = ModuleType(f"mcshell_{kind.lower()}_{name}")
    module.__file__ = str(source)
    try:
        exec(_code(module.__name__, source), vars(module))  # type: ignore[arg-type] # it has a source  # noqa: S102 - an agent is code
    except UnsafeFile as error:
        raise PluginError(str(error), kind.lower(), name) from error
    classes = [
        value
        for value in vars(module).values()
        if isinstance(value, type)
        and issubclass(value, base)
        and getattr(value, attribute, None) == name
    ]
    if len(classes) != 1:
        raise PluginError(
            f"{source} must hold one {kind} whose {attribute} is {name!r}, it holds {len(classes)}",
            kind.lower(),
            name,
        )
    return classes[0]


def _code(module: str, source: Path) -> CodeType | None:
    """Compiled from what was looked at, past any __pycache__: that others may have filled."""
    if is_installed(source):
        return SourceFileLoader(module, str(source)).get_code(module)
    return compile(read_obeyed(source), str(source), "exec", dont_inherit=True)
