"""What a verb may ask for: settings, schemas, a client; each is made when it is first wanted.

So help, `pki` and `broker` never need a broker, and a prompt keeps its connection from line to
line. A face makes one `Context`, says how the operator is told and asked, and closes it.
"""

from __future__ import annotations

import sys
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from mcshell import config
from mcshell.commands.output.result import Feed, Prose, Table
from mcshell.errors import ConfigError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractContextManager

    from mcshell.client.client import Client
    from mcshell.client.rpc.replies import Replies
    from mcshell.commands.grammar.parser import Face
    from mcshell.commands.output.result import Result
    from mcshell.config import Settings
    from mcshell.ddl.library import Library
    from mcshell.message import Filter

__all__ = ["Context"]


class Context:
    """The surroundings of the lines of one face. Not for several threads.

    `variables` are the names that `--nodes X` may mean before a file (IPython's; at the prompt `_`,
    the last rows shown), `inputs` the action's inputs that came beside the line (a cell's YAML).

    `session` is the session that lines without `--session` use, `filter` the filter in force.
    `ask` puts a yes-or-no question to the operator, `say` tells him a line; None where nobody is
    there. `progress` shows how a request stands for as long as its context lasts, `seen` is told
    which replies the operator has been shown.
    """

    def __init__(self, face: Face = "cli", path: Path | None = None) -> None:
        self.face = face
        self.variables: Mapping[str, Any] = {}
        self.inputs: Mapping[str, Any] | None = None
        self.stdin: TextIO = sys.stdin
        self.session: str | None = None
        self.filter: Filter | None = None
        self.ask: Callable[[str], bool] | None = None
        self.say: Callable[[str], None] | None = None
        self.progress: Callable[[Client, Replies | None], AbstractContextManager[object]] = _hidden
        self.seen: Callable[[Replies], None] = _unheeded
        self._told: dict[int, int] = {}
        self._path = path
        self._settings: Settings | None = None
        self._library: Library | None = None
        self._clients: dict[str | None, Client] = {}

    @property
    def path(self) -> Path | None:
        """The configuration file that a line, a face or its caller has named."""
        return self._path

    @property
    def settings(self) -> Settings:
        """The settings, loaded once."""
        if self._settings is None:
            self._settings = config.load(self._path)
        return self._settings

    @property
    def library(self) -> Library:
        """The schemas of all agents that are installed here."""
        if self._library is None:
            from mcshell.ddl.library import (  # noqa: PLC0415 - services need none
                Library,
                builtin_dir,
                shipped_dir,
            )

            old = self.settings.mcollective.agent_dirs()
            self._library = Library(
                [*self.settings.node.agents, shipped_dir(), builtin_dir(), *old]
            )
        return self._library

    def client(self, session: str | None = None) -> Client:
        """The client of a session (default: the current one); connects when it has none yet."""
        name = session or self.session
        if name not in self._clients:
            from mcshell.client.client import Client  # noqa: PLC0415 - only those who ask need it

            self._clients[name] = Client(self.settings, session=name)
        return self._clients[name]

    def has_opened(self, session: str | None) -> bool:
        """Whether the client of that session, else of the current one, is there already."""
        return (session or self.session) in self._clients

    def current(self) -> Client | None:
        """The client of the current session, if there is one already; never connects."""
        return self._clients.get(self.session)

    def is_open(self, name: str) -> bool:
        """Whether a line has opened the session of that name."""
        return any(client.session.name == name for client in self._clients.values())

    def attach(self, name: str) -> None:
        """Make a session the one that lines without `--session` use from now on."""
        if name not in self._clients:
            for key, client in list(self._clients.items()):
                if client.session.name == name:
                    self._clients[name] = self._clients.pop(key)
        self.session = name

    def detach(self) -> None:
        """Leave the current session; what it has asked goes on without us."""
        client = self._clients.pop(self.session, None)
        self.session = None
        if client is not None:
            client.close()

    def notices(self) -> list[str]:
        """What the sessions have to tell that was not told yet."""
        fresh: list[str] = []
        for client in list(self._clients.values()):
            told = self._told.get(id(client), 0)
            fresh += client.notices[told:]
            self._told[id(client)] = len(client.notices)
        return fresh

    def remember(self, result: Result) -> None:
        """Let `--nodes _` mean the nodes of a line's rows from now on, as in IPython.

        What shows no nodes leaves it as it is.
        """
        if isinstance(result, Table) and "sender" not in result.columns:
            return
        if result is not None and not isinstance(result, Prose | Feed):
            self.variables = {"_": result}

    def close(self) -> None:
        """Close every connection that lines have opened."""
        clients, self._clients = self._clients, {}
        for client in clients.values():
            client.close()

    def use(self, path: str | Path | None) -> None:
        """Take a configuration file, if there is one."""
        if path is not None:
            self.close()
            self._path = Path(path)
            self._settings = self._library = None

    def names(self, source: str) -> tuple[str, ...]:
        """The node names that `--nodes SOURCE` means: a variable, `-` for stdin, else a file.

        Raises:
            UsageError: nothing of that name holds names of nodes.
        """
        if source in self.variables:
            return _names_of(source, self.variables[source])
        if source == "_" and self.face != "magic":
            raise UsageError("--nodes _: no line has shown nodes yet (./_ is the file)")
        if source == "-":
            return _words(self.stdin.read())
        try:
            return _words(Path(source).expanduser().read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            kinds = "variable or file" if self.face == "magic" else "file"
            raise UsageError(
                f"--nodes {source}: there is no such {kinds} (a node's name goes with -I)"
            ) from error
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"--nodes {source}: {error}") from error

    def ca_dir(self, given: str | None) -> Path:
        """The directory of the CA: the one given, else the one that `pki.ca` lies in."""
        if given is not None:
            return Path(given)
        if self.settings.pki.ca is not None:
            return self.settings.pki.ca.parent
        raise ConfigError("which CA? Say --pki DIR, or set pki.ca", "pki.ca")


def _hidden(_client: Client, _replies: Replies | None) -> AbstractContextManager[object]:
    return nullcontext()


def _unheeded(_replies: Replies) -> None:
    """Keep no account of what was shown: the prompt alone wants one."""


def _words(text: str) -> tuple[str, ...]:
    """Names from a file: any white space or comma between them outside brackets, `#` comments."""
    lines = (line.partition("#")[0] for line in text.splitlines())
    words: list[str] = []
    for line in lines:
        depth, word = 0, ""
        for letter in [*line, " "]:
            depth += (letter == "[") - (letter == "]")
            if letter.isspace() or (letter == "," and depth <= 0):
                words += [word] if word else []
                word = ""
            else:
                word += letter
    return tuple(words)


def _names_of(name: str, value: Any) -> tuple[str, ...]:
    """Names from a Python value: a list, a Series, or a table with a `sender` column."""
    if hasattr(value, "frame") and hasattr(value, "requestid"):
        value = [row.sender for row in value.rows()]
    elif isinstance(value, Table):
        value = [row["sender"] for row in value.records()]
    elif hasattr(value, "columns"):
        if "sender" not in value.columns:
            raise UsageError(f"--nodes {name}: the table has no column 'sender'")
        value = value["sender"].dropna().tolist()
    elif hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, list | tuple | set | frozenset) and all(
        isinstance(word, str) for word in value
    ):
        ordered = sorted(value) if isinstance(value, set | frozenset) else value
        return tuple(dict.fromkeys(ordered))
    raise UsageError(
        f"--nodes {name}: a list of names, a Series or a table with a 'sender' column is meant"
        f" (./{name} is the file)"
    )
