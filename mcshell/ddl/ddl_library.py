"""The DDLs that are to hand: `NAME.json` or `NAME.ddl` in a list of folders, the first one wins."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mcshell.ddl.load import NAME, load
from mcshell.ddl.model import joint
from mcshell.errors import ConfigError, DDLError, UsageError, did_you_mean
from mcshell.private import UnsafeFile, read_obeyed
from mcshell.texts import decoded

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Iterator

    from mcshell.ddl.model import DDL, Action

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
    """Read one DDL file; what of it cannot be used is in `DDL.flaws`, and costs no more (`load`).

    The agent is called as the file is. DDLError names the file and why it is no DDL.
    """
    try:
        content = read_obeyed(path, MAX_FILE)
    except UnsafeFile as error:
        raise DDLError(error.why, str(path)) from error
    except ValueError as error:
        raise DDLError(str(error), str(path)) from error
    except OSError as error:
        raise DDLError(f"cannot be read: {error.strerror}", str(path)) from error
    flaws: list[str] = []
    try:
        text = decoded(content)
    except ValueError as error:
        if not isinstance(error.__context__, UnicodeDecodeError):
            raise DDLError(str(error), str(path)) from error
        text = content.decode("utf-8-sig", "replace")
        flaws.append(str(error))
    try:
        document = _ruby(text, path, flaws) if path.suffix == ".ddl" else json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DDLError(f"is no JSON: {error}", str(path)) from error
    metadata = document.get("metadata") if isinstance(document, dict) else None
    if isinstance(metadata, dict) and metadata.get("name") != path.stem:
        flaws.append(f"metadata: its name is the file's, not {metadata.get('name')!r}")
        document = {**document, "metadata": {**metadata, "name": path.stem}}
    ddl = load(document, str(path), lenient=lenient)
    return replace(ddl, flaws=(*flaws, *ddl.flaws))


def _ruby(text: str, path: Path, flaws: list[str]) -> dict[str, Any]:
    """The document of a `.ddl` file.

    The default of an optional input is left out: MCollective fills it in nowhere, so that an agent
    written for it has another meaning for an input that is not there.
    """
    from mcshell.ddl import ruby  # noqa: PLC0415 - only where such files are

    document = ruby.read(text, str(path), path.stem, flaws)
    for action in document.get("actions", ()):
        for one in action["input"].values():
            if one["optional"]:
                one.pop("default", None)
    return document


class Library:
    """DDLs by agent, read when first asked for; the first folder that has one wins.

    `dirs` are the folders of our nodes' agents, `old` those of MCollective's: an agent may be in
    both, and in several.
    """

    def __init__(
        self, dirs: Iterable[str | os.PathLike[str]], old: Iterable[str | os.PathLike[str]] = ()
    ) -> None:
        ours = tuple(Path(folder) for folder in dirs)
        self._old = frozenset(Path(folder) for folder in old) - {*ours}
        self.dirs = (*ours, *(Path(folder) for folder in old))
        self._known: dict[Path, DDL] = {}

    def get(self, agent: str) -> DDL:
        """Return an agent's DDL, the first one.

        Raises:
            UsageError: there is no such agent; says what was meant.
            DDLError: its file is no DDL.
        """
        return self._read(self._paths(agent)[0])

    def every(self, agent: str) -> list[DDL]:
        """All DDLs of an agent, the first one first; those that are none are left out.

        Raises:
            UsageError: there is no such agent; says what was meant.
            DDLError: none of its files is a DDL.
        """
        found: list[DDL] = []
        failed: list[DDLError] = []
        for path in self._paths(agent):
            try:
                found.append(self._read(path))
            except DDLError as error:
                failed.append(error)
        if not found:
            raise failed[0]
        return found

    def is_old(self, ddl: DDL) -> bool:
        """Whether a DDL is one of MCollective's."""
        return Path(ddl.path).parent in self._old

    def of_node(self, agent: str, *, old: bool, version: str = "") -> DDL:
        """The DDL that holds for a node: of its wire before the other, then of its version.

        Raises as `every`.
        """
        return min(
            self.every(agent),
            key=lambda ddl: (self.is_old(ddl) is not old, ddl.version != version),
        )

    def joint(self, agent: str, action: str) -> Action:
        """One action that stands for all of that name, as the DDLs of an agent have it.

        Raises:
            UsageError: there is no such agent or action; says what was meant.
            DDLError: none of the agent's files is a DDL.
        """
        every = self.every(agent)
        found = [ddl.actions[action] for ddl in every if action in ddl.actions]
        return joint(found) if found else every[0].action(action)

    def merged(self, agent: str) -> DDL:
        """The first DDL of an agent with the actions, inputs and outputs of all; raises as `every`."""
        every = self.every(agent)
        names = dict.fromkeys(name for ddl in every for name in ddl.actions)
        return replace(every[0], actions={name: self.joint(agent, name) for name in names})

    def _paths(self, agent: str) -> list[Path]:
        paths = list(self._files(agent))
        if not paths:
            known = self.agents()
            head, _, action = agent.partition(".")
            if head in known and action in self.get(head).actions:  # as requests are named
                near = f" (did you mean {head} {action}?)"
            else:
                near = did_you_mean(agent, known) or f": there are {', '.join(known) or 'none'}"
            raise UsageError(f"no agent {agent[:60]!r}{near}")
        return paths

    def _read(self, path: Path) -> DDL:
        if path not in self._known:
            # The node that serves the action has the last word.
            self._known[path] = read(path, lenient=True)
        return self._known[path]

    def path(self, agent: str) -> Path | None:
        """Return the file of an agent's first DDL, or None."""
        return next(self._files(agent), None)

    def _files(self, agent: str) -> Iterator[Path]:
        """The files of an agent's DDLs, one a folder. A name is a name, never a path."""
        if not re.fullmatch(NAME, agent):
            return
        for folder in self.dirs:
            for suffix in _SUFFIXES:
                path = folder / f"{agent}{suffix}"
                if path.is_file():
                    yield path
                    break

    def agents(self) -> list[str]:
        """Return the names of all agents that have a DDL, sorted."""
        found = {
            path.stem
            for folder in self.dirs
            for suffix in _SUFFIXES
            for path in folder.glob(f"*{suffix}")
        }
        return sorted(name for name in found if re.fullmatch(NAME, name))
