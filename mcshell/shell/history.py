"""The prompt's history on disk, without the lines that give a sensitive input."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prompt_toolkit.history import FileHistory

from mcshell.commands.grammar.parser import split_line
from mcshell.errors import MCShellError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from mcshell.ddl.library import Library

__all__ = ["LineHistory", "gives_secret"]


class LineHistory(FileHistory):
    """Lines of the past; what DDLs call sensitive is remembered until the prompt ends, no longer."""

    def __init__(self, path: Path, library: Library) -> None:
        super().__init__(str(path))
        self._library = library

    def store_string(self, string: str) -> None:
        """Write a line to the file, unless it gives a secret."""
        if not gives_secret(string, self._library):
            super().store_string(string)


def gives_secret(line: str, library: Library) -> bool:
    """Whether a word of the line is NAME=VALUE with an input that some DDL marks `sensitive`."""
    try:
        words = split_line(line)
    except UsageError:
        words = line.split()
    given = {word.partition("=")[0] for word in words if "=" in word}
    return bool(given) and not given.isdisjoint(_sensitive(library))


def _sensitive(library: Library) -> set[str]:
    names: set[str] = set()
    for agent in library.agents():
        try:
            actions = library.get(agent).actions.values()
        except MCShellError:
            continue  # a DDL that cannot be read gives nothing that could be asked
        names.update(*(action.sensitive for action in actions))
    return names
