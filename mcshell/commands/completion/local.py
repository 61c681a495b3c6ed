"""What is known here, each thing read when it is asked for: for a process that answers once and ends.

The same as `Cache` has, without the work of making all of it. Nothing is written, no file is made
and no key is touched; what cannot be read is not known.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from contextlib import closing, suppress
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, Any, cast

from mcshell.client.session.folder import folder_of
from mcshell.commands.completion import cache
from mcshell.commands.grammar.verbs import begins_verb
from mcshell.errors import MCShellError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from mcshell.commands.completion.cache import KnownFile, KnownRequest
    from mcshell.config import Settings
    from mcshell.ddl import DDL
    from mcshell.ddl.ddl_library import Library

__all__ = ["LocalFiles"]

_SOME = 50
"""Nodes whose values of a fact are looked at for a remark."""
_LONG = 2.0**63
"""What is read as a float above this may be an integer that has lost its last digits."""
_NODES = "FROM nodes WHERE realm=? AND collective=? AND seen>=?"


class LocalFiles:
    """What the files say that a configuration names; `Knowledge`."""

    def __init__(self, config: Path | None = None) -> None:
        self._config = config

    @cached_property
    def _settings(self) -> Settings | None:
        from mcshell import config  # noqa: PLC0415 - a verb or an option needs none

        path = config.named_file(self._config)
        if path is not None and not path.is_file():
            return None  # a pipe would be waited for
        with suppress(MCShellError):
            return config.load(path)
        return None

    @cached_property
    def ddls(self) -> Mapping[str, DDL]:
        """The agents' schemas, each read when it is looked at."""
        settings = self._settings
        return {} if settings is None else _Schemas(cache.ddls_of(settings))

    @cached_property
    def nodes(self) -> Sequence[str]:
        """The names of the nodes that were heard of lately."""
        return sorted({name for (name,) in self._rows("identity")})

    @cached_property
    def _documents(self) -> list[Mapping[str, Any]]:
        """What these said of themselves."""
        return [_read(about) for (about,) in self._rows("about")]

    @cached_property
    def facts(self) -> Mapping[str, Sequence[str]]:
        """The values of each fact, looked for when they are asked for."""
        return _Facts([one.get("facts") or {} for one in self._documents])

    def some_values(self, fact: str) -> Sequence[str]:
        """A few of a fact's values, for a remark: those of the first nodes."""
        return _Facts([one.get("facts") or {} for one in self._documents[:_SOME]])[fact]

    @cached_property
    def classes(self) -> Sequence[str]:
        """The classes of any node."""
        found = {name for one in self._documents for name in one.get("classes") or ()}
        return sorted(filter(cache.typable, found))

    @property
    def collectives(self) -> Sequence[str]:
        """The main collective and the others."""
        settings = self._settings
        if settings is None:
            return ()
        return sorted({settings.collective.main, *settings.collective.member})

    @property
    def sessions(self) -> Sequence[str]:
        """The durable sessions."""
        return sorted(path.stem for path in self._session_files)

    @property
    def pools(self) -> Sequence[str]:
        """The pools of the configuration."""
        return () if self._settings is None else sorted(self._settings.pools)

    @cached_property
    def groups(self) -> Sequence[str]:
        """What may stand behind `@`."""
        return () if self._settings is None else cache.groups_of(self._settings)

    @property
    def aliases(self) -> Mapping[str, str]:
        """`[aliases]`."""
        return {} if self._settings is None else self._settings.aliases

    @property
    def requests(self) -> Sequence[KnownRequest]:
        """What was asked, the newest first."""
        return cache.newest(one.requests for one in self._kept)

    @property
    def jobs(self) -> Sequence[KnownRequest]:
        """The jobs that were handed in, the newest first."""
        return cache.newest(one.jobs for one in self._kept)

    @property
    def plans(self) -> Sequence[KnownRequest]:
        """The plans that were run, the newest first."""
        return cache.newest(one.plans for one in self._kept)

    def alias(self, word: str) -> Sequence[str]:
        """The words for which an alias stands; the configuration is not read for a verb."""
        return () if begins_verb(word) else cache.Cache(aliases=self.aliases).alias(word)

    @cached_property
    def _session_files(self) -> list[Path]:
        if self._settings is None:
            return []
        return cache.session_files(folder_of(self._settings.state_dir))

    @cached_property
    def _kept(self) -> list[KnownFile]:
        found: list[KnownFile] = []
        for path in self._session_files[: cache.FILES]:
            with suppress(sqlite3.Error):
                found.append(cache.kept(path))
        return found

    def _rows(self, column: str) -> list[Any]:
        """One column of the nodes that were heard of lately."""
        settings = self._settings
        if settings is None:
            return []
        from mcshell.client.pki import known_realm  # noqa: PLC0415 - of this alone

        with suppress(OSError, ValueError, sqlite3.Error):
            realm, since = known_realm(settings), cache.seen_since(settings)
            with closing(cache.read_only(settings.state_dir / "nodes.sqlite")) as known:
                return [
                    row
                    for name in settings.collective.member
                    for row in known.execute(f"SELECT {column} {_NODES}", (realm, name, since))
                ]
        return []


class _Schemas(Mapping[str, "DDL"]):
    """A library's DDLs by their agents; one that is none is not there."""

    def __init__(self, library: Library) -> None:
        self._library = library
        self._names = library.agents()

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, name: str) -> DDL:
        try:
            return self._library.merged(name)
        except MCShellError as error:
            raise KeyError(name) from error


class _Facts(Mapping[str, "Sequence[str]"]):
    """The facts of many nodes by their names; values are looked for one name at a time."""

    def __init__(self, documents: Sequence[Mapping[str, Any]]) -> None:
        self._documents = documents

    @cached_property
    def _names(self) -> list[str]:
        found: set[str] = set()
        _add_names(found, "", self._documents)
        return sorted(filter(cache.typable, found))

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, name: str) -> Sequence[str]:
        texts = (
            text
            for document in self._documents
            for value in _named(document, name)
            if not (type(value) is float and abs(value) >= _LONG)
            if (text := cache.fact_text(value)) is not None
        )
        unlike = dict.fromkeys(texts)
        return sorted(islice(unlike, cache.VALUES))


def _read(about: str) -> Mapping[str, Any]:
    """What a node said of itself, as the file of known nodes has it."""
    import orjson  # noqa: PLC0415 - of this alone

    try:
        return cast("Mapping[str, Any]", orjson.loads(about))
    except ValueError:  # half a pair of surrogates, or no number
        return cast("Mapping[str, Any]", json.loads(about))


def _add_names(found: set[str], prefix: str, documents: Sequence[Mapping[str, Any]]) -> None:
    """Add the names in many documents, of which most have the same keys."""
    for keys in {tuple(document) for document in documents}:
        found.update(f"{prefix}{key}" for key in keys)
    inner: dict[str, list[Mapping[str, Any]]] = {}
    for document in documents:
        for key, value in document.items():
            if type(value) is dict:
                inner.setdefault(key, []).append(value)
    for key, some in inner.items():
        _add_names(found, f"{prefix}{key}.", some)


def _named(document: Mapping[str, Any], name: str) -> Iterator[Any]:
    """What one node has under a name, in which dots lead into hashes or belong to a key."""
    if name in document:
        value = document[name]
        yield value.get("name") if isinstance(value, Mapping) else value
    at = name.find(".")
    while at >= 0:
        inner = document.get(name[:at])
        if isinstance(inner, Mapping):
            yield from _named(inner, name[at + 1 :])
        at = name.find(".", at + 1)
