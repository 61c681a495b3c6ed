"""What completion knows of the fleet, and the thread that keeps it fresh from local files."""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import field
from itertools import chain
from typing import TYPE_CHECKING, Any

from mcshell.client.session.folder import folder_of
from mcshell.commands.grammar.parser import alias_words
from mcshell.commands.output.sanitize import sanitize
from mcshell.errors import ConfigError, MCShellError
from mcshell.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from mcshell.client.discovery.node_cache import CachedNode
    from mcshell.config import Settings
    from mcshell.ddl import DDL
    from mcshell.ddl.ddl_library import Library

__all__ = [
    "FILES",
    "VALUES",
    "Cache",
    "KnownFile",
    "KnownRequest",
    "Refresher",
    "ddls_of",
    "fact_text",
    "gather",
    "groups_of",
    "kept",
    "newest",
    "nodes_cache",
    "read_only",
    "seen_since",
    "session_files",
    "typable",
]

log = logging.getLogger(__name__)

VALUES = 300  # of one fact: more are no choice any more
_LETTERS = 200
_EVERY = 2.0
FILES = 20
#: By table: id, what was asked, when, and the name where there is one.
_KEPT = {
    "requests": "SELECT id, agent || ' ' || action, created FROM requests"
    " ORDER BY created DESC, number DESC LIMIT 100",
    "jobs": "SELECT j.id, r.agent || ' ' || r.action, r.created, j.name FROM jobs j"
    " JOIN requests r ON r.id=j.request ORDER BY r.created DESC, j.number DESC LIMIT 100",
    "plans": "SELECT id, state, created, name FROM plans ORDER BY created DESC, number DESC LIMIT 100",
}


@dataclass(frozen=True, slots=True)
class KnownRequest:
    """A request, job or plan that may be named: its id, what it asked, when (epoch), its name."""

    id: str
    about: str
    created: float
    name: str = ""


@dataclass(frozen=True, slots=True)
class KnownFile:
    """What one session file has of them, the newest of each first."""

    requests: tuple[KnownRequest, ...] = ()
    jobs: tuple[KnownRequest, ...] = ()
    plans: tuple[KnownRequest, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Cache:
    """Everything that can be named on a line; the tuples are sorted, what was asked newest first."""

    ddls: Mapping[str, DDL] = field(default_factory=dict)
    nodes: tuple[str, ...] = ()
    facts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    classes: tuple[str, ...] = ()
    collectives: tuple[str, ...] = ()
    sessions: tuple[str, ...] = ()
    pools: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    aliases: Mapping[str, str] = field(default_factory=dict)
    requests: tuple[KnownRequest, ...] = ()
    jobs: tuple[KnownRequest, ...] = ()
    plans: tuple[KnownRequest, ...] = ()

    def some_values(self, fact: str) -> Sequence[str]:
        """A few of a fact's values, for a remark."""
        return self.facts[fact]

    def alias(self, word: str) -> Sequence[str]:
        """The words for which an alias stands; none where it is none."""
        try:
            return alias_words(self.aliases, word)
        except ConfigError:
            return ()  # said when the prompt begins


@dataclass(frozen=True, slots=True)
class _Nodes:
    """The part of the cache that is costly with many nodes."""

    names: tuple[str, ...] = ()
    facts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    classes: tuple[str, ...] = ()


def nodes_cache(nodes: Iterable[CachedNode]) -> _Nodes:
    """Index what the nodes said of themselves: names, classes, fact names and values."""
    names: list[str] = []
    classes: set[str] = set()
    facts: dict[str, set[str]] = {}
    for node in nodes:
        names.append(node.identity)
        classes.update(filter(typable, node.classes))
        _add_facts(facts, "", node.facts)
    values = {name: tuple(sorted(found)) for name, found in sorted(facts.items()) if typable(name)}
    return _Nodes(tuple(sorted(names)), values, tuple(sorted(classes)))


def _add_facts(facts: dict[str, set[str]], prefix: str, document: Mapping[str, Any]) -> None:
    for key, value in document.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            _add_facts(facts, f"{name}.", value)
            value = value.get("name")  # noqa: PLW2901 - a hash with a name stands for it
        values = facts.setdefault(name, set())
        if len(values) < VALUES and (text := fact_text(value)) is not None:
            values.add(text)


def fact_text(value: Any) -> str | None:
    """A fact's value as it is typed; None where it cannot be."""
    if not isinstance(value, str | int | float):
        return None
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return text if typable(text) else None


def typable(text: str) -> bool:
    """Whether an operator could have typed it: what nodes say is foreign text."""
    return len(text) <= _LETTERS and text.isprintable() and sanitize(text) == text


def gather(settings: Settings, nodes: _Nodes, files: Sequence[KnownFile]) -> Cache:
    """Put a cache together from local files."""
    library = ddls_of(settings)
    ddls: dict[str, DDL] = {}
    for name in library.agents():
        try:
            ddls[name] = library.merged(name)
        except MCShellError as error:
            log.debug("no completion for the agent %s: %s", name, error)
    sessions = (path.stem for path in folder_of(settings.state_dir).glob("*.sqlite"))
    return Cache(
        ddls=ddls,
        nodes=nodes.names,
        facts=nodes.facts,
        classes=nodes.classes,
        collectives=tuple(sorted({settings.collective.main, *settings.collective.member})),
        sessions=tuple(sorted(sessions)),
        pools=tuple(sorted(settings.pools)),
        groups=groups_of(settings),
        aliases=settings.aliases,
        requests=newest(one.requests for one in files),
        jobs=newest(one.jobs for one in files),
        plans=newest(one.plans for one in files),
    )


def ddls_of(settings: Settings) -> Library:
    """The DDLs that are to hand."""
    from mcshell.ddl.ddl_library import Library, shipped_dir  # noqa: PLC0415 - in the background only

    return Library([*settings.node.agents, shipped_dir()], settings.mcollective.agent_dirs())


def groups_of(settings: Settings) -> tuple[str, ...]:
    """What may stand behind `@`; nothing while a file of groups cannot be read."""
    from mcshell.client.discovery.groups import load_groups  # noqa: PLC0415 - in the background only

    try:
        return tuple(filter(typable, load_groups(settings).names()))
    except MCShellError as error:
        log.debug("no completion of groups: %s", error)
        return ()


def newest(some: Iterable[Iterable[KnownRequest]]) -> tuple[KnownRequest, ...]:
    """All of them, the newest first."""
    return tuple(sorted(chain.from_iterable(some), key=lambda one: -one.created))


class Refresher:
    """Keeps a cache fresh in a thread of its own; `cache` is the newest, swapped as a whole.

    `load` gives the settings, when the thread needs them first.
    """

    def __init__(self, load: Callable[[], Settings]) -> None:
        self.cache = Cache()
        self._load = load
        self._realm = ""
        self._nodes = _Nodes()
        self._kept: dict[Path, KnownFile] = {}
        self._stamps: dict[Path, tuple[int, ...]] = {}
        self._bell = threading.Event()
        self._ready = threading.Event()
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="mcshell-completion", daemon=True)

    def start(self) -> None:
        """Begin, unless it has begun already."""
        if not self._thread.is_alive() and not self._stopped:
            self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stopped = True
        self._bell.set()
        if self._thread.is_alive():
            self._thread.join(timeout=5)

    def hurry(self) -> None:
        """Look for news now: a line has just been run."""
        self._bell.set()

    def wait(self, timeout: float) -> bool:
        """Wait (seconds) until the first cache is there."""
        return self._ready.wait(timeout)

    def _run(self) -> None:
        settings: Settings | None = None
        while not self._stopped:
            try:
                settings = settings or self._load()
                self._refresh(settings)
            except (MCShellError, OSError, sqlite3.Error) as error:
                log.debug("no fresh completion: %s", error)
            self._ready.set()
            self._bell.wait(_EVERY)
            self._bell.clear()

    def _refresh(self, settings: Settings) -> None:

        known = settings.state_dir / "nodes.sqlite"
        changed = self._changed(known)
        if changed and known.exists():
            self._nodes = nodes_cache(self._known(settings, known))
        files = session_files(folder_of(settings.state_dir))
        for path in files[:FILES]:
            if self._changed(path):
                self._kept[path] = kept(path)
                changed = True
        gone = self._kept.keys() - set(files)
        for path in gone:
            del self._kept[path]
        if changed or gone or not self.cache.ddls:
            self.cache = gather(settings, self._nodes, list(self._kept.values()))

    def _changed(self, path: Path) -> bool:
        """Whether a database was written to since the last look."""
        wal = path.with_name(f"{path.name}-wal")
        stamp = tuple(
            number
            for one in (path, wal)
            if one.exists()
            for number in (one.stat().st_mtime_ns, one.stat().st_size)
        )
        before, self._stamps[path] = self._stamps.get(path), stamp
        return stamp != before

    def _known(self, settings: Settings, path: Path) -> list[CachedNode]:
        from mcshell.client.discovery.node_cache import NodeCache  # noqa: PLC0415 - in the background only
        from mcshell.client.pki import pki_of  # noqa: PLC0415 - as above
        from mcshell.wire.credentials import load_realm  # noqa: PLC0415 - as above

        self._realm = self._realm or load_realm(pki_of(settings))
        known = NodeCache(path, self._realm)
        try:
            since = seen_since(settings)
            return [
                node
                for collective in settings.collective.member
                for node in known.nodes(collective, since)
            ]
        finally:
            known.close()


def seen_since(settings: Settings) -> float:
    """When a node that is offered must have been heard of last (epoch)."""
    return time.time() - 30 * settings.client.known_for


def session_files(folder: Path) -> list[Path]:
    """The session files there are, the newest first."""
    files = [path for path in folder.glob("*.sqlite") if path.exists()]
    return sorted(files, key=lambda path: -path.stat().st_mtime)


def read_only(path: Path) -> sqlite3.Connection:
    """Open a database to read what is committed, and make no file beside it.

    A reader makes the files of a WAL (-wal, -shm) where they are not there; but then nobody has the
    database open, and it can be read as one that does not change.
    """
    there = all(path.with_name(path.name + end).exists() for end in ("-wal", "-shm"))
    place = f"{path.absolute().as_uri()}?{'mode=ro' if there else 'immutable=1'}"
    return sqlite3.connect(place, uri=True, timeout=1.0)


def kept(path: Path) -> KnownFile:
    """The newest requests, jobs and plans of a session file, read without touching it."""
    connection = read_only(path)
    try:
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
        found = [
            tuple(KnownRequest(*row) for row in connection.execute(query)) if name in tables else ()
            for name, query in _KEPT.items()
        ]
    finally:
        connection.close()
    return KnownFile(*found)
