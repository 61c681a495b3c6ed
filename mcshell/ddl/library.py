"""The DDLs that are to hand: `NAME.json` or `NAME.ddl` in a list of folders, the first one wins."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mcshell.ddl.load import NAME, load
from mcshell.errors import ConfigError, DDLError, UsageError, did_you_mean
from mcshell.private import UnsafeFile, read_obeyed

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable

    from mcshell.ddl.model import DDL

__all__ = ["MAX_FILE", "Library", "builtin_dir", "read", "shipped_dir"]

MAX_FILE = 4 * 1024 * 1024
"""Bytes of a DDL file."""

_SUFFIXES = (".json", ".ddl")


def shipped_dir() -> Path:
    """Return the folder of the agents that ship: in the wheel, or beside the package.

    Raises ConfigError when neither is there.
    """
    package = Path(__file__).resolve().parent.parent
    for folder in (package / "agents", package.parent / "agents"):
        if folder.is_dir():
            return folder
    raise ConfigError("the agents that ship with mcshell are not there: install it again")


def builtin_dir() -> Path:
    """Return the folder of the DDLs of agents that are part of the node itself."""
    return Path(__file__).resolve().parent / "builtin"


def read(path: Path, *, lenient: bool = False) -> DDL:
    """Read one DDL file; DDLError names the file and what is wrong with it.

    With `lenient` a validator that is not here is passed over (`load`).
    """
    try:
        content = read_obeyed(path, MAX_FILE)
    except UnsafeFile as error:
        raise DDLError(error.why, str(path)) from error
    except ValueError as error:
        raise DDLError(str(error), str(path)) from error
    except OSError as error:
        raise DDLError(f"cannot be read: {error.strerror}", str(path)) from error
    try:
        text = content.decode("utf-8")
        document = _ruby(text, path) if path.suffix == ".ddl" else json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DDLError(f"is no JSON: {error}", str(path)) from error
    ddl = load(document, str(path), lenient=lenient)
    if ddl.name != path.stem:
        raise DDLError(
            f"metadata.name is {ddl.name!r}: the file must be {ddl.name}.json", str(path)
        )
    return ddl


def _ruby(text: str, path: Path) -> dict[str, Any]:
    """The document of a `.ddl` file.

    The default of an optional input is left out: MCollective fills it in nowhere, so that an agent
    written for it has another meaning for an input that is not there.
    """
    from mcshell.ddl import ruby  # noqa: PLC0415 - only where such files are

    document = ruby.read(text, str(path), path.stem)
    for action in document.get("actions", ()):
        for one in action["input"].values():
            if one["optional"]:
                one.pop("default", None)
    return document


class Library:
    """DDLs by agent, read when first asked for and kept until `reload`."""

    def __init__(self, dirs: Iterable[str | os.PathLike[str]]) -> None:
        self.dirs = tuple(Path(folder) for folder in dirs)
        self._known: dict[str, DDL] = {}

    def get(self, agent: str) -> DDL:
        """Return an agent's DDL.

        Raises:
            UsageError: there is no such agent; says what was meant.
            DDLError: its file is no DDL.
        """
        if agent not in self._known:
            path = self.path(agent)
            if path is None:
                known = self.agents()
                near = did_you_mean(agent, known) or f": there are {', '.join(known) or 'none'}"
                raise UsageError(f"no agent {agent[:60]!r}{near}")
            # The node that serves the action has the last word.
            self._known[agent] = read(path, lenient=True)
        return self._known[agent]

    def path(self, agent: str) -> Path | None:
        """Return the file of an agent's DDL, or None. A name is a name, never a path."""
        if re.fullmatch(NAME, agent):
            for folder in self.dirs:
                for suffix in _SUFFIXES:
                    path = folder / f"{agent}{suffix}"
                    if path.is_file():
                        return path
        return None

    def agents(self) -> list[str]:
        """Return the names of all agents that have a DDL, sorted."""
        found = {
            path.stem
            for folder in self.dirs
            for suffix in _SUFFIXES
            for path in folder.glob(f"*{suffix}")
        }
        return sorted(name for name in found if re.fullmatch(NAME, name))
