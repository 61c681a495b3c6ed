"""What a verb may ask for: settings, schemas, a client; each is made when it is first wanted.

So help, `pki` and `broker` never need a broker, and a prompt keeps its connection from line to
line. A face makes one `Context`, says how the operator is told and asked, and closes it.
"""

from __future__ import annotations

import sys
import threading
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO, TypeAlias

from mcshell import config
from mcshell.commands.grammar.parser import alias_words, parse
from mcshell.commands.grammar.verbs import begins_verb, elsewhere
from mcshell.commands.output.result import Feed, Prose, Table
from mcshell.errors import (
    ConfigError,
    MachineError,
    MCShellError,
    SessionError,
    UsageError,
    WireError,
    did_you_mean,
)
from mcshell.filters.nodes import expand
from mcshell.texts import decoded, expanded

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import AbstractContextManager

    from mcshell.client.client import Client
    from mcshell.client.lookback import Lookback
    from mcshell.client.rpc.replies import Replies
    from mcshell.commands.grammar.parser import Invocation
    from mcshell.commands.grammar.verbs import Face
    from mcshell.commands.output.result import Result
    from mcshell.config import Settings
    from mcshell.ddl.ddl_library import Library
    from mcshell.errors import Stopped
    from mcshell.filters.nodes import GroupLookup
    from mcshell.message import Filter

__all__ = ["Context", "CopyProgress", "FindReplies"]

CopyProgress: TypeAlias = "Callable[[int, int], None]"
"""Is told how many bytes of how many are there."""
FindReplies: TypeAlias = "Callable[[], Replies | None]"
"""Gives what is waited for, None until it is there."""


class _Shared:
    """What all lines of one face have in common."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.session: str | None = None
        self.filter: Filter | None = None
        self.settings: Settings | None = None
        self.ddls: Library | None = None
        self.clients: dict[str | None, Client] = {}
        self.told: dict[int, int] = {}
        self.said: list[str] = []
        self.lock = threading.RLock()
        """Held by whoever makes or closes one of them; `%mco` may come from several threads."""


class Context:
    """The surroundings of one line, or of one line after the other: each thread has its own.

    `variables` are the names that `--nodes X` may mean before a file (IPython's; at the prompt `_`,
    the last rows shown), `inputs` the action's inputs that came beside the line (a cell's YAML), as
    `Action.convert` takes them, `bound` the values of the parameters in a query.

    `session` is the session that lines without `--session` use, `filter` the filter in force; both
    are those of all lines of the face. `ask` puts a yes-or-no question to the operator, `say` tells
    him a line; None where nobody is there. `progress` shows how a request stands, once it is found, for as long as its
    context lasts, `copying` how many bytes of how many are copied, `seen` is told which replies the operator has been shown. `stopped` says that
    Ctrl-C has cut short what a line gives, `left` that a line was to be the last.
    """

    def __init__(
        self, face: Face = "cli", path: Path | None = None, shared: _Shared | None = None
    ) -> None:
        self.face = face
        self.variables: Mapping[str, Any] = {}
        self.inputs: Mapping[str, Any] | None = None
        self.bound: Mapping[str, Any] = {}
        self.stdin: TextIO = sys.stdin
        self.left = False
        self.ask: Callable[[str], bool] | None = None
        self.say: Callable[[str], None] | None = None
        self.progress: Callable[[FindReplies], AbstractContextManager[object]] = _hidden
        self.copying: Callable[[str], AbstractContextManager[CopyProgress]] = _untold
        self.seen: Callable[[Replies], None] = _unheeded
        self.stopped: Stopped | None = None
        self._shared = _Shared(path) if shared is None else shared

    def for_line(self) -> Context:
        """The surroundings of one more line, beside whatever other lines run."""
        return Context(self.face, shared=self._shared)

    @property
    def session(self) -> str | None:
        """The session that lines without `--session` use."""
        return self._shared.session

    @session.setter
    def session(self, name: str | None) -> None:
        self._shared.session = name

    @property
    def filter(self) -> Filter | None:
        """The filter in force."""
        return self._shared.filter

    @filter.setter  # noqa: A003 - a line's own word for it
    def filter(self, filter_: Filter | None) -> None:
        self._shared.filter = filter_

    @property
    def path(self) -> Path | None:
        """The configuration file that a line, a face or its caller has named."""
        return self._shared.path

    @property
    def settings(self) -> Settings:
        """The settings, loaded once."""
        shared = self._shared
        with shared.lock:
            if shared.settings is None:
                shared.settings = config.load(shared.path)
            return shared.settings

    def alias(self, word: str) -> Sequence[str]:
        """The words for which an alias of `[aliases]` stands; none where it stands for itself.

        Raises:
            ConfigError: it is written in a way that is none.
        """
        if begins_verb(word) or not word.isprintable():
            return ()
        try:
            aliases = self.settings.aliases
        except (ConfigError, OSError):
            return ()  # said by the first line that wants a setting
        return alias_words(aliases, word)

    def check_aliases(self) -> None:
        """Look at every alias of the configuration.

        Raises:
            ConfigError: one is written in a way that is none, or would never be meant.
        """
        for name in self.settings.aliases:
            if begins_verb(name):
                raise ConfigError(
                    f"aliases.{name}: there is a verb of that name", f"aliases.{name}"
                )
            alias_words(self.settings.aliases, name)

    def understand(self, words: Sequence[str]) -> Invocation:
        """Understand one line, already split into words; aliases stand for what they say.

        Raises:
            UsageError: an unknown verb, option or value; the message says what was meant.
        """
        if words and not begins_verb(words[0]):
            words = [*(self.alias(words[0]) or words[:1]), *words[1:]]
            self._refuse_agent(words)
        return parse(words, face=self.face)

    def _refuse_agent(self, words: Sequence[str]) -> None:
        """Say of a line that begins with an agent how one is asked."""
        try:
            said = None if begins_verb(words[0]) else elsewhere()
            asked = said and said.as_asked(self.ddls, words)
        except (MCShellError, OSError):
            return  # then it is an unknown verb
        if asked:
            raise UsageError(f"unknown verb {words[0]!r}: it is an agent, asked so: {asked}")

    @property
    def ddls(self) -> Library:
        """The schemas of all agents that are installed here."""
        shared = self._shared
        with shared.lock:
            if shared.ddls is None:
                from mcshell.ddl.ddl_library import (  # noqa: PLC0415 - services need none
                    Library,
                    builtin_dir,
                    shipped_dir,
                )

                old = self.settings.mcollective.agent_dirs()
                own = self.settings.node.agents
                shared.ddls = Library([*own, shipped_dir(), builtin_dir()], old)
            return shared.ddls

    def client(self, session: str | None = None) -> Client:
        """The client of a session (default: the current one); connects when it has none yet."""
        name, clients = session or self.session, self._shared.clients
        with self._shared.lock:
            if name not in clients:
                from mcshell.client.client import (  # noqa: PLC0415 - only those who ask need it
                    Client,
                )
                from mcshell.client.origin import use_face  # noqa: PLC0415 - as above
                from mcshell.wire.log_lines import log_in_lines  # noqa: PLC0415 - as above

                log_in_lines()
                use_face(self.face)
                clients[name] = Client(self.settings, session=name)
            return clients[name]

    def has_opened(self, session: str | None) -> bool:
        """Whether the client of that session, else of the current one, is there already."""
        return (session or self.session) in self._shared.clients

    def current(self) -> Client | None:
        """The client of the current session, if there is one already; never connects."""
        return self._shared.clients.get(self.session)

    def stored(self, session: str | None) -> Client:
        """The client of a session that is there: what looks back makes none of a mistyped name.

        Raises:
            SessionError: there is no session of that name here; it says which was meant.
        """
        from mcshell.client.session.folder import folder_of  # noqa: PLC0415 - services look back at none

        folder = folder_of(self.settings.state_dir)
        if session and not self.is_open(session) and not (folder / f"{session}.sqlite").exists():
            near = did_you_mean(session, sorted(path.stem for path in folder.glob("*.sqlite")))
            raise SessionError(f"there is no session {session!r} here{near}", session)
        return self.client(session)

    def looking_back(
        self, session: str | None, *, any_: bool = True, waits: bool = True
    ) -> Client | Lookback:
        """The client of a session that is there; where none can be had, what its file has.

        So too where it would be waited for who had the session last, unless it `waits`. `any_` as
        `Lookback` has it.
        """
        from mcshell.client.lookback import Lookback  # noqa: PLC0415 - services look back at none
        from mcshell.client.session.takeover import awaited_holder  # noqa: PLC0415 - as above

        name = session or self.session
        former = ""
        if not waits and name is not None and not self.is_open(name):
            former = awaited_holder(self.settings.state_dir, name)
        why = f"{former} had it last"
        try:
            if not former:
                return self.stored(session)
        except (WireError, MachineError) as error:
            why = str(error)
        return Lookback(self.settings, self.ddls, name, why, self._shared.said, any_=any_)

    def is_open(self, name: str) -> bool:
        """Whether a line has opened the session of that name."""
        return any(client.session.name == name for client in list(self._shared.clients.values()))

    def attach(self, name: str) -> None:
        """Make a session the one that lines without `--session` use from now on."""
        with self._shared.lock:
            clients = self._shared.clients
            if name not in clients:
                for key, client in list(clients.items()):
                    if client.session.name == name:
                        clients[name] = clients.pop(key)
            self.session = name

    def detach(self) -> None:
        """Leave the current session; what it has asked goes on without us."""
        with self._shared.lock:
            client = self._shared.clients.pop(self.session, None)
            self.session = None
        if client is not None:
            client.close()

    def notices(self) -> list[str]:
        """What the sessions have to tell that was not told yet."""
        shared = self._shared
        with shared.lock:
            fresh, shared.said = shared.said, []
            for client in shared.clients.values():
                notices = client.notices[shared.told.get(id(client), 0) :]
                shared.told[id(client)] = shared.told.get(id(client), 0) + len(notices)
                fresh += notices
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
        with self._shared.lock:
            clients, self._shared.clients = self._shared.clients, {}
        for client in clients.values():
            client.close()

    def use(self, path: str | Path | None) -> None:
        """Take a configuration file, if there is one."""
        if path is not None:
            self.close()
            shared = self._shared
            with shared.lock:
                shared.path = Path(path)
                shared.settings = shared.ddls = None

    @property
    def groups(self) -> GroupLookup:
        """Gives the nodes of an `@GROUP`; files are read when a line first says one."""
        from mcshell.client.discovery.groups import group_lookup  # noqa: PLC0415 - services need none

        return group_lookup(lambda: self.settings)

    def names(self, source: str) -> tuple[str, ...]:
        """The node names that `--nodes SOURCE` means, each once, in their one form.

        SOURCE is a variable, `-` for standard input, `@GROUP`, else a file (`./@GROUP` too).

        Raises:
            UsageError: nothing of that name holds names of nodes, or there is none beside them.
            FilterError: what a variable holds is no name, or there is no such group.
        """
        from mcshell.client.discovery.node_lists import read_file, read_node_list  # noqa: PLC0415 - as above

        if source in self.variables:
            return tuple(expand(_names_of(source, self.variables[source]), self.groups))
        if source == "_" and self.face != "magic":
            raise UsageError("--nodes _: no line has shown nodes yet (./_ is the file)")
        if source == "-":
            return read_node_list(self._standard_input(), self.groups, place="standard input")
        if source.startswith("@"):
            return tuple(expand([source], self.groups))
        if not expanded(source).exists():
            kinds = "variable or file" if self.face == "magic" else "file"
            raise UsageError(
                f"--nodes {source}: there is no such {kinds} (a node's name goes with -I)"
            )
        return read_file(Path(source), self.groups, "--nodes")

    def standard_text(self) -> str:
        """A script on standard input; UsageError when it is no text."""
        try:
            return decoded(self._standard_input())
        except ValueError as error:
            raise UsageError(f"standard input: {error}") from error

    def _standard_input(self) -> bytes:
        """What comes on standard input, or is the body of a cell."""
        stream = getattr(self.stdin, "buffer", None)
        return self.stdin.read().encode() if stream is None else stream.read()

    def ca_dir(self, given: str | None) -> Path:
        """The directory of the CA: the one given, else the one that `pki.ca` lies in."""
        if given is not None:
            return Path(given)
        if self.settings.pki.ca is not None:
            return self.settings.pki.ca.parent
        raise ConfigError("which CA? Say --pki DIR, or set pki.ca", "pki.ca")


def _hidden(_find: FindReplies) -> AbstractContextManager[object]:
    return nullcontext()


def _untold(_text: str) -> AbstractContextManager[CopyProgress]:
    """Show nothing of a copy."""
    return nullcontext(lambda _done, _total: None)


def _unheeded(_replies: Replies) -> None:
    """Keep no account of what was shown: the prompt alone wants one."""


def _names_of(name: str, value: Any) -> tuple[str, ...]:
    """Names from a Python value: a list, a Series, or a table with a `sender` column."""
    if hasattr(value, "frame") and hasattr(value, "requestid"):
        value = [row.sender for row in value.rows()]
    elif isinstance(value, Table):
        value = [row["sender"] for row in value.records()]
    elif hasattr(value, "columns") or hasattr(value, "tolist"):
        from mcshell.client.discovery.targeting import names_of  # noqa: PLC0415 - services need none

        try:
            value = list(names_of(value))
        except UsageError as error:
            raise UsageError(f"--nodes {name}: {str(error).removeprefix('nodes: ')}") from error
    if isinstance(value, list | tuple | set | frozenset) and all(
        isinstance(word, str) for word in value
    ):
        ordered = sorted(value) if isinstance(value, set | frozenset) else value
        return tuple(dict.fromkeys(ordered))
    raise UsageError(
        f"--nodes {name}: a list of names, a Series or a table with a 'sender' column is meant"
        f" (./{name} is the file)"
    )
