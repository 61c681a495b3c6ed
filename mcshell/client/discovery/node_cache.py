"""The nodes this operator has seen: identity, when last heard of, last known facts.

Fed by every discovery and registration; it is why a dead node is a row and not an absence.
One SQLite file for all of the operator's processes, apart by realm (the fleet's CA) and collective.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Set as AbstractSet
from contextlib import suppress
from dataclasses import field, fields
from typing import TYPE_CHECKING, Any, Final, cast

import orjson

from mcshell.client.discovery.known_matches import KnownMatches
from mcshell.errors import ClientClosed
from mcshell.filters.data import answer
from mcshell.message import Filter
from mcshell.private import private_folder
from mcshell.sqlite import Database, FileKind
from mcshell.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from mcshell.client.discovery.known_matches import NodeTimes
    from mcshell.wire.documents.registration import Registration

__all__ = ["KNOWN", "CachedNode", "NodeCache", "description", "registered"]

_TABLES: Final = """
CREATE TABLE IF NOT EXISTS nodes (
    realm TEXT NOT NULL, collective TEXT NOT NULL, identity TEXT NOT NULL, seen REAL NOT NULL,
    about TEXT NOT NULL, PRIMARY KEY (realm, collective, identity)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS surveys (
    realm TEXT NOT NULL, collective TEXT NOT NULL, filter TEXT NOT NULL, at REAL NOT NULL,
    PRIMARY KEY (realm, collective, filter)
) WITHOUT ROWID;
"""
_SIGNED: Final = "coalesce(json_extract(excluded.about, '$.trust'), 'mcs')='mcs'"
_WAS_SIGNED: Final = "coalesce(json_extract(about, '$.trust'), 'mcs')='mcs'"
_LEARN: Final = (
    "INSERT INTO nodes VALUES (?,?,?,?,?) ON CONFLICT DO UPDATE"  # noqa: S608 - constants
    " SET seen=excluded.seen, about=json_set(excluded.about, '$.interval', coalesce("
    "json_extract(excluded.about, '$.interval'), json_extract(about, '$.interval')))"
    f" WHERE CASE WHEN {_SIGNED} THEN excluded.seen>=seen OR NOT {_WAS_SIGNED}"
    f" ELSE excluded.seen>=seen AND NOT {_WAS_SIGNED} END"
)
_SOME: Final = 1000
_AHEAD: Final = 60.0
"""Seconds by which a time in the file may be ahead: more was written under a wrong clock."""
_WHILE: Final = 3600.0
_LONG: Final = re.compile(r"[0-9]{19}")
_SURVEY: Final = "INSERT OR REPLACE INTO surveys VALUES (?,?,?,?)"

KNOWN: Final = FileKind(
    name="file of known nodes",
    versions={1: _TABLES},
    former="known.sqlite",
    # A row that is taken over twice stays what it is to the byte.
    take_over={"nodes": _LEARN.replace(">=", ">"), "surveys": _SURVEY},
    shared=True,
    loses="nodes that are down are not known until they are heard of",
    closed=ClientClosed,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CachedNode:
    """What a node last said of itself, and when (seconds since the epoch).

    `started` is when its daemon did, `crl` the number of the revocation list it works under,
    `interval` how often it registers (seconds), `skew` how far its clock was ahead of ours when
    it last did, `flaws` what cannot be used there, `agent_versions` those of its agents' schemas; None where it has not said so. `trust` names the wire over which it said all this
    (see `Reply.trust`), `described` when it did, where a sign of life does not say it.
    """

    identity: str
    seen: float
    facts: Mapping[str, Any] = field(default_factory=dict)
    classes: frozenset[str] = frozenset()
    agents: frozenset[str] = frozenset()
    collectives: tuple[str, ...] = ()
    version: str = ""
    pools: tuple[str, ...] = ()
    started: float | None = None
    crl: int | None = None
    interval: float | None = None
    skew: float | None = None
    trust: str = "mcs"
    described: float | None = None
    flaws: tuple[str, ...] | None = None
    agent_versions: Mapping[str, str] = field(default_factory=dict)
    refused: tuple[tuple[str, str], ...] = ()
    """Of a registration that has just come: see there."""

    def inventory(self) -> list[dict[str, Any]]:
        """Its agents, of which only the names are known from afar."""
        return [{"name": name} for name in sorted(self.agents)]

    @property
    def system(self) -> None:
        """Its machine cannot be looked at from here."""

    @property
    def tells_all_files(self) -> bool:
        """Of no file: they can only be asked of the node itself."""
        return False

    def protects(self, path: str) -> bool:
        """Every path: a file can only be asked of the node itself."""
        return bool(path)

    def query(self, plugin: str, params: str | None) -> Mapping[str, Any]:
        """Answer a data plugin of a compound filter from what is known.

        Raises:
            PluginError: only the node itself can answer; the filter then does not match.
        """
        return answer(plugin, params, self)


def description(document: Mapping[str, Any], identity: str, seen: float) -> CachedNode:
    """Read what a node says of itself in an answer to discovery or a registration."""
    return CachedNode(
        identity=identity,
        seen=seen,
        facts=dict(document.get("facts") or {}),
        classes=frozenset(document.get("classes") or ()),
        agents=frozenset(document.get("agents") or ()),
        collectives=tuple(document.get("collectives") or ()),
        version=str(document.get("version") or ""),
        pools=tuple(document.get("pools") or ()),
        started=document.get("started"),
        crl=document.get("crl"),
        interval=document.get("interval"),
        skew=document.get("skew"),
        trust=str(document.get("trust") or "mcs"),
        described=document.get("described"),
        flaws=None if document.get("flaws") is None else tuple(document["flaws"]),
        agent_versions=dict(document.get("agent_versions") or {}),
    )


def registered(registration: Registration, now: float) -> CachedNode:
    """What a registration that came in at `now` (epoch) makes known."""
    return CachedNode(
        identity=registration.identity,
        seen=registration.seen(now),
        facts=registration.facts,
        classes=frozenset(registration.classes),
        agents=frozenset(registration.agents),
        collectives=registration.collectives,
        version=registration.version,
        pools=registration.pools,
        started=registration.started,
        crl=registration.crl,
        flaws=registration.flaws,
        agent_versions=registration.agent_versions,
        refused=registration.refused,
        interval=registration.interval,
        skew=registration.created - now,
    )


_ABOUT: Final = [one.name for one in fields(CachedNode) if one.name not in ("identity", "seen")]


class NodeCache:
    """The cache of known nodes of one realm; safe to call from any thread.

    What matches which filter is kept in memory (`matching`), up to date with other processes.
    """

    def __init__(self, path: Path, realm: str) -> None:
        private_folder(path.parent)
        self._realm = realm
        self._database = Database(path, KNOWN)
        self._remembering = threading.Lock()
        self._remembered: dict[str, KnownMatches] = {}
        self._version: dict[str, int] = {}
        """Of the file, as it was when a collective was last compared with it."""

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def learn(self, collective: str, nodes: Iterable[CachedNode]) -> None:
        """Keep what nodes said of themselves; an older registration never replaces a newer one.

        What is not signed never replaces what is, until the node is forgotten: else whoever is on
        the old wire could speak for it.
        How often a node registers is kept over answers that do not say it.
        """
        nodes = list(nodes)
        rows = [(self._realm, collective, node.identity, node.seen, _dump(node)) for node in nodes]
        with self._database.transaction(durable=False) as db:
            db.executemany(_LEARN, rows)
        with self._remembering:
            remembered = self._remembered.get(collective)
            if remembered is not None and self._alone(collective):
                for node in nodes:
                    remembered.learn(node)
            elif remembered is not None:
                remembered.doubt(node.identity for node in nodes)

    def survey(self, collective: str, filter_: Filter, at: float, since: float = 0.0) -> None:
        """Note that all who match a filter were asked, and waited for until it was silent.

        Where all were asked, who was not heard of since then is forgotten, and so are surveys.
        """
        row = (self._realm, collective, _text(filter_), at)
        old = (self._realm, collective, since)
        gone: list[Any] = []
        with self._database.transaction(durable=False) as db:
            db.execute(_SURVEY, row)
            if filter_ == Filter() and since > 0:
                where = "realm=? AND collective=?"
                query = f"SELECT identity FROM nodes WHERE {where} AND seen<?"  # noqa: S608 - ours
                gone = db.execute(query, old).fetchall()
                db.execute(f"DELETE FROM surveys WHERE {where} AND at<?", old)  # noqa: S608 - ours
                drop = f"DELETE FROM nodes WHERE {where} AND identity=? AND seen<?"  # noqa: S608 - ours
                db.executemany(drop, [(*old[:2], name, since) for (name,) in gone])
        with self._remembering:
            if (remembered := self._remembered.get(collective)) is not None:
                for (name,) in gone:
                    remembered.drop(name)

    def surveyed(self, collective: str, filter_: Filter, since: float) -> bool:
        """Whether the known are all that match, as of a survey since then of these or of all."""
        query = "SELECT max(at) FROM surveys WHERE realm=? AND collective=? AND filter IN (?,?) AND at<?"
        latest = time.time() + _AHEAD
        ((at,),) = self._read(query, collective, _text(filter_), _text(Filter()), latest)
        return at is not None and at >= since

    def touch(self, collective: str, identities: Iterable[str], seen: float) -> None:
        """Note that known nodes gave a signed reply just now, whatever it was about."""
        identities = list(identities)
        with self._database.transaction(durable=False) as db:
            db.execute(
                "UPDATE nodes SET seen=? WHERE realm=? AND collective=? AND seen<?"
                " AND identity IN (SELECT value FROM json_each(?))",
                (seen, self._realm, collective, seen, json.dumps(identities)),
            )
        with self._remembering:
            remembered = self._remembered.get(collective)
            if remembered is not None and self._alone(collective):
                remembered.touch(identities, seen)
            elif remembered is not None:
                remembered.doubt(identities)

    def nodes(self, collective: str, since: float = 0.0) -> list[CachedNode]:
        """The nodes seen since then, by name."""
        return list(self._each(collective, since))

    def some(self, collective: str, identities: Sequence[str]) -> Iterator[CachedNode]:
        """Those of `identities` that are known."""
        if len(identities) > _SOME:
            wanted = set(identities)
            yield from (node for node in self._each(collective) if node.identity in wanted)
            return
        for name in identities:
            if (node := self.node(collective, name)) is not None:
                yield node

    def _each(self, collective: str, since: float = 0.0) -> Iterator[CachedNode]:
        """The nodes seen since then, by name; only some of them are in memory at once."""
        query = (
            "SELECT identity, seen, about FROM nodes"
            " WHERE realm=? AND collective=? AND identity>? AND seen>=? ORDER BY identity LIMIT ?"
        )
        after = ""
        while rows := self._read(query, collective, after, since, _SOME):
            for after, seen, about in rows:
                yield description(_load(about), after, seen)

    def matching(self, collective: str, filter_: Filter, since: float) -> dict[str, NodeTimes]:
        """The nodes that match by what they last said of themselves, and were seen since then, by name.

        The first time a filter is asked of, all nodes are read; then only those that have changed.
        """
        with self._remembering:
            remembered = self._up_to_date(collective, filter_)
            nodes = remembered.nodes
            names = sorted(remembered.matching(filter_))
            return {name: nodes[name] for name in names if nodes[name].seen >= since}

    def misdated(self, collective: str, filter_: Filter, since: float) -> list[str]:
        """The nodes that match and were heard of since then, but say that it was before, by their clock."""
        with self._remembering:
            remembered = self._up_to_date(collective, filter_)
            nodes, heard = remembered.nodes, remembered.heard
            late = [name for name in remembered.matching(filter_) if heard.get(name, 0.0) >= since]
            return sorted(name for name in late if nodes[name].seen < since)

    def _up_to_date(self, collective: str, filter_: Filter) -> KnownMatches:
        remembered = self._remembered.setdefault(collective, KnownMatches())
        if remembered.begin(filter_):
            self._version.pop(collective, None)
        self._catch_up(collective, remembered)
        return remembered

    def _catch_up(self, collective: str, remembered: KnownMatches) -> None:
        """Have what other processes have written since in memory too."""
        if self._alone(collective):
            return
        version = self._data_version()
        query = "SELECT identity, seen FROM nodes WHERE realm=? AND collective=?"
        seen = self._put_back(collective, dict(self._read(query, collective)))
        for node in self.some(collective, remembered.changed(list(seen.items()))):
            remembered.put(node)
        self._version[collective] = version

    def _put_back(self, collective: str, seen: dict[str, float]) -> dict[str, float]:
        """Have what was heard while this machine's clock was ahead count as heard a while ago.

        Else nothing newer would count until then, and who is dead would be known as long. Gives what
        was `seen` as it is now.
        """
        now = time.time()
        if all(at <= now + _AHEAD for at in seen.values()):
            return seen
        query = "UPDATE nodes SET seen=? WHERE realm=? AND collective=? AND seen>?"
        with self._database.transaction(durable=False) as db:
            db.execute(query, (now - _WHILE, self._realm, collective, now + _AHEAD))
        self._version.pop(collective, None)
        return {name: at if at <= now + _AHEAD else now - _WHILE for name, at in seen.items()}

    def trusts(self, collective: str) -> dict[str, str]:
        """The wire over which each known node is known (see `Reply.trust`)."""
        query = (
            "SELECT identity, coalesce(json_extract(about, '$.trust'), 'mcs') FROM nodes"
            " WHERE realm=? AND collective=?"
        )
        return dict(self._read(query, collective))

    def _alone(self, collective: str) -> bool:
        """Whether no other process has written since a collective was compared with the file."""
        return self._version.get(collective) == self._data_version()

    def _data_version(self) -> int:
        return int(self._database.read("PRAGMA data_version")[0][0])

    def schemas(self, collective: str, agent: str) -> dict[str, tuple[str, str]]:
        """Over which wire each known node is known, and which version of an agent it says it has."""
        query = (
            "SELECT identity, coalesce(json_extract(about, '$.trust'), 'mcs'),"
            " coalesce(json_extract(about, '$.agent_versions'), '{}') FROM nodes"
            " WHERE realm=? AND collective=?"
        )
        return {
            name: (trust, str(json.loads(versions).get(agent, "")))
            for name, trust, versions in self._read(query, collective)
        }

    def undescribed(self, collective: str, since: float) -> bool:
        """Whether there are nodes, seen since then, of which nothing but that is known."""
        query = (
            "SELECT 1 FROM nodes WHERE realm=? AND collective=? AND seen>=?"
            " AND coalesce(json_extract(about, '$.trust'), 'mcs')<>'mcs'"
            " AND json_extract(about, '$.described') IS NULL LIMIT 1"
        )
        return bool(self._read(query, collective, since))

    def identities(self, collective: str, since: float = 0.0) -> set[str]:
        """The names of the nodes seen since then, without what is known of them."""
        query = "SELECT identity FROM nodes WHERE realm=? AND collective=? AND seen>=?"
        return {name for (name,) in self._read(query, collective, since)}

    def seen(self, collective: str, identities: Iterable[str]) -> dict[str, float]:
        """When those of `identities` that are known gave their last signed reply (epoch)."""
        query = "SELECT seen FROM nodes WHERE realm=? AND collective=? AND identity=?"
        found = {name: self._read(query, collective, name) for name in identities}
        return self._put_back(
            collective, {name: rows[0][0] for name, rows in found.items() if rows}
        )

    def node(self, collective: str, identity: str) -> CachedNode | None:
        """One known node; None when it is not."""
        query = "SELECT seen, about FROM nodes WHERE realm=? AND collective=? AND identity=?"
        for seen, about in self._read(query, collective, identity):
            return description(_load(about), identity, seen)
        return None

    def forget(self, identity: str) -> bool:
        """Drop a node from what is known; False when it was not."""
        query = "DELETE FROM nodes WHERE realm=? AND identity=?"
        with self._database.transaction(durable=False) as db:
            found = db.execute(query, (self._realm, identity)).rowcount > 0
        with self._remembering:
            for remembered in self._remembered.values():
                remembered.drop(identity)
        return found

    def _read(self, query: str, *values: Any) -> list[Any]:
        """Run a query whose first value is the realm."""
        return self._database.read(query, (self._realm, *values))


def _text(filter_: Filter) -> str:
    return json.dumps(filter_.as_dict(), sort_keys=True)


def _load(about: str) -> dict[str, Any]:
    """What `_dump` has written; read fast, where that loses no digit."""
    with suppress(ValueError):  # half a pair of surrogates
        if _LONG.search(about) is None:
            return cast("dict[str, Any]", orjson.loads(about))
    return cast("dict[str, Any]", json.loads(about))


def _dump(node: CachedNode) -> str:
    about = {name: getattr(node, name) for name in _ABOUT}
    try:
        return orjson.dumps(about, default=_plain).decode()
    except TypeError:  # such as integers of more than 64 bits
        return json.dumps(about, default=_plain)


def _plain(value: Any) -> Any:
    return sorted(value) if isinstance(value, AbstractSet) else str(value)
