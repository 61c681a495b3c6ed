"""The jobs of a node on disk: what each is, when it starts next, what became of it.

A table of the spool's file (mcshell/README.md §10), so that a job and the row of work that it
becomes change in one commit. A job is one row; each of its runs is a row of `work`. Where a row
stands::

    scheduled → queued → (running) → ok | failed | denied | interrupted | missed
        ↑  waiting ↗        ↓ a job that recurs
        └───────────────────┘           any open state → paused, cancelled, expired

`running` is not written down: it is the state of the row of work. The functions with a connection
are for the inside of a transaction.
"""

from __future__ import annotations

import json
from dataclasses import fields
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final

from mcshell.node.store.records import QUEUED
from mcshell.values import dataclass

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from mcshell.node.store.records import Key
    from mcshell.sqlite import Database

__all__ = [
    "ADD_DIGESTS",
    "BRINGERS",
    "CANCELLED_AHEAD",
    "ENDED",
    "GRACE",
    "OPEN",
    "PAUSED",
    "SCHEDULED",
    "TABLES",
    "WAITING",
    "JobRow",
    "JobTable",
    "seen",
]

SCHEDULED: Final = "scheduled"
WAITING: Final = "waiting"
PAUSED: Final = "paused"
OPEN: Final = frozenset({SCHEDULED, WAITING, PAUSED, QUEUED})
ENDED: Final = frozenset(
    {"ok", "failed", "denied", "missed", "cancelled", "interrupted", "expired"}
)
_PURGE_ROWS: Final = 500
_LONGEST: Final = 180 * 86_400.0  # the default of `max_ttl`
GRACE: Final = 3600.0
"""Seconds: a clock that was put forward and back again must not make an old request look new."""

TABLES: Final = """
CREATE TABLE IF NOT EXISTS jobs (
    identity TEXT NOT NULL,
    id TEXT NOT NULL,
    revision INTEGER NOT NULL,
    owner TEXT NOT NULL,
    session TEXT NOT NULL,
    author TEXT NOT NULL,
    collective TEXT NOT NULL,
    name TEXT NOT NULL,
    agent TEXT NOT NULL,
    action TEXT NOT NULL,
    body BLOB,
    signature TEXT,
    certificate TEXT,
    received REAL NOT NULL,
    state TEXT NOT NULL,
    run TEXT NOT NULL,
    planned REAL,
    due REAL,
    ends REAL,
    skips INTEGER NOT NULL,
    runs INTEGER NOT NULL,
    last REAL,
    last_state TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    ended REAL,
    statusmsg TEXT NOT NULL,
    touched TEXT NOT NULL,
    PRIMARY KEY (identity, id)
);
CREATE INDEX IF NOT EXISTS jobs_due ON jobs (due) WHERE state = 'scheduled';
CREATE INDEX IF NOT EXISTS jobs_ends ON jobs (ends) WHERE state = 'waiting';
CREATE INDEX IF NOT EXISTS jobs_ended ON jobs (ended) WHERE ended IS NOT NULL;
CREATE TABLE IF NOT EXISTS awaited (
    identity TEXT NOT NULL,
    awaited TEXT NOT NULL,
    id TEXT NOT NULL,
    need TEXT NOT NULL,
    met INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (identity, awaited, id)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS awaited_by ON awaited (identity, id);
"""


ADD_DIGESTS: Final = """
ALTER TABLE jobs ADD COLUMN signed TEXT NOT NULL DEFAULT '';
UPDATE jobs SET signed = sha256(body) WHERE author = owner AND body IS NOT NULL;
"""

# Until when a request would be believed that brings a job: so long its row stays, lest a replay
# bring it back. Of those of earlier versions nobody wrote that down.
BRINGERS: Final = """
CREATE TABLE bringers (
    identity TEXT NOT NULL,
    id TEXT NOT NULL,
    expires REAL NOT NULL,
    PRIMARY KEY (identity, id)
) WITHOUT ROWID;
"""
# So that what one caller has cancelled before it came is counted without reading all jobs.
CANCELLED_AHEAD: Final = """
CREATE INDEX jobs_cancelled_ahead ON jobs (identity, owner) WHERE revision = 0;
"""
_BRINGER: Final = (
    "INSERT INTO bringers VALUES (?, ?, ?)"
    " ON CONFLICT DO UPDATE SET expires = max(expires, excluded.expires)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRow:
    """One job. Times are seconds since the epoch.

    `owner` submitted it, with results to `session`; `author` signed the revision that is in
    force, whose document is `body`. `run`, `planned` and `due` are its next start, or the one
    that is under way: name, instant, and instant with splay. `ends`: no start is waited for any
    longer. `skips`: so many starts are left out. `runs` counts starts, `last` is the latest one's
    time. `touched` is the request that changed it last. `signed` is the digest of the newest
    revision that the owner has signed (`message.Reply`).
    """

    identity: str
    id: str
    revision: int
    owner: str
    session: str
    author: str
    collective: str
    name: str
    agent: str
    action: str
    body: bytes | None
    signature: str | None
    certificate: str | None
    received: float
    state: str
    run: str = ""
    planned: float | None = None
    due: float | None = None
    ends: float | None = None
    skips: int = 0
    runs: int = 0
    last: float | None = None
    last_state: str = ""
    attempt: int = 0
    ended: float | None = None
    statusmsg: str = ""
    touched: str = ""
    signed: str = ""

    @property
    def key(self) -> Key:
        """Its key in the file: identity and id."""
        return self.identity, self.id

    @property
    def open(self) -> bool:
        """Whether it may still start, or runs."""
        return self.state in OPEN


_COLUMNS: Final = tuple(field.name for field in fields(JobRow))
_HEAVY: Final = ("body", "signature", "certificate")
_LIGHT: Final = ", ".join(f"NULL AS {name}" if name in _HEAVY else name for name in _COLUMNS)
_PAGE: Final = 200
_HERE: Final = "CREATE TEMP TABLE IF NOT EXISTS here (identity TEXT PRIMARY KEY) WITHOUT ROWID"
_MINE: Final = "+identity IN (SELECT identity FROM here)"  # + keeps SQLite to the index on time
_values: Final = attrgetter(*_COLUMNS)
_PUT: Final = (
    f"INSERT OR REPLACE INTO jobs ({', '.join(_COLUMNS)})"  # noqa: S608 - our own names
    f" VALUES ({', '.join('?' * len(_COLUMNS))})"
)


def seen(row: JobRow, waits: str) -> dict[str, Any]:
    """What is known of a job that has not run yet, under the keys that `explain` reads.

    `waits` says what it waits for (`JobTable.waits`).
    """
    known = {
        "requestid": row.id,
        "state": "received" if row.open else row.state,
        "received": row.received,
        "ended": row.ended,
        "reason": row.statusmsg or f"a job: {row.state}",
    }
    if row.state == SCHEDULED and row.due is not None:
        known["reason"] = f"a job: it starts at {row.run}, by its zone"
    if row.state == WAITING:
        known["reason"] = f"a job: it starts {waits}"
    return known


def put(database: sqlite3.Connection, row: JobRow) -> None:
    """Write a job as it stands now."""
    database.execute(_PUT, _values(row))


def note_bringer(database: sqlite3.Connection, key: Key, expires: float) -> None:
    """Keep a job's row until then (epoch) at least."""
    database.execute(_BRINGER, (*key, expires))


def await_(database: sqlite3.Connection, key: Key, conditions: Iterable[tuple[str, str]]) -> None:
    """Write down what a job waits for, in place of what it waited for before."""
    identity, job = key
    database.execute("DELETE FROM awaited WHERE identity = ? AND id = ?", key)
    database.executemany(
        "INSERT OR REPLACE INTO awaited (identity, awaited, id, need) VALUES (?, ?, ?, ?)",
        [(identity, awaited, job, need) for awaited, need in conditions],
    )


class JobTable:
    """The table, for reading; its owner writes with `put` inside its transactions."""

    def __init__(self, database: Database) -> None:
        self._database = database
        database.write(lambda one: one.execute(_HERE), durable=False)

    def serve(self, identities: Iterable[str]) -> None:
        """Say whose jobs this process starts: an emulator may have had more nodes last time."""
        mine = [(identity,) for identity in identities]
        self._database.write(
            lambda one: one.executemany("INSERT OR IGNORE INTO here VALUES (?)", mine),
            durable=False,
        )

    def get(self, key: Key) -> JobRow | None:
        """One job by its key; None when it is not here."""
        rows = self._select("identity = ? AND id = ?", key)
        return rows[0] if rows else None

    def entombed(self, keys: Collection[Key]) -> dict[Key, tuple[str, str]]:
        """Those of these that are not to be taken: by whom, and why."""
        rows = self._database.read(
            "SELECT identity, id, author, statusmsg FROM jobs WHERE revision = 0 AND (identity, id) IN"
            " (SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]') FROM json_each(?))",
            (json.dumps([*keys]),),
        )
        return {(row["identity"], row["id"]): (row["author"], row["statusmsg"]) for row in rows}

    def of(
        self, identity: str, ids: Sequence[str] = (), name: str | None = None, limit: int = -1
    ) -> list[JobRow]:
        """The jobs of a node without their documents: the next to start first, then the ended.

        Not those of which it only knows that it is not to take them.

        `ids` are ids or first letters of ids, `name` is that of a job.
        """
        where, values = ["identity = ?", "revision > 0"], [identity]
        if ids:
            where.append(f"({' OR '.join(['(id >= ? AND id < ?)'] * len(ids))})")
            values += [bound for one in ids for bound in (one, f"{one}g")]
        if name is not None:
            where.append("name = ?")
            values.append(name)
        order = " ORDER BY ended IS NOT NULL, ended DESC, due IS NULL, due LIMIT ?"
        return self._select(" AND ".join(where) + order, (*values, limit), _LIGHT)

    def coming(self, identity: str, end: float) -> Iterator[JobRow]:
        """The jobs of a node that may start before `end`, by and by."""
        after = ""
        where = (
            "identity = ? AND id > ? AND ended IS NULL AND body IS NOT NULL AND state != 'paused'"
            " AND (state != 'scheduled' OR due < ?) ORDER BY id LIMIT ?"
        )
        while rows := self._select(where, (identity, after, end, _PAGE)):
            yield from rows
            after = rows[-1].id

    def due(self, now: float, limit: int) -> list[JobRow]:
        """Scheduled jobs that this process serves whose time has come, the oldest first."""
        where = f"state = 'scheduled' AND due <= ? AND {_MINE} ORDER BY due LIMIT ?"
        return self._select(where, (now, limit))

    def next_due(self) -> float | None:
        """When the next job that this process serves is due."""
        query = f"SELECT due FROM jobs WHERE state = 'scheduled' AND {_MINE} ORDER BY due LIMIT 1"  # noqa: S608 - our own text
        rows = self._database.read(query)
        return rows[0]["due"] if rows else None

    def over(self, now: float, limit: int = 100) -> list[JobRow]:
        """Jobs that have waited for others for too long."""
        return self._select(f"state = 'waiting' AND ends < ? AND {_MINE} LIMIT ?", (now, limit))

    def all(self, state: str) -> list[JobRow]:
        """Jobs that this process serves which are in this state."""
        return self._select(f"state = ? AND {_MINE}", (state,))

    def waiting_for(self, key: Key) -> list[JobRow]:
        """The jobs that wait for this one, or are paused while they do."""
        ids = self._database.read("SELECT id FROM awaited WHERE identity = ? AND awaited = ?", key)
        rows = [self.get((key[0], one["id"])) for one in ids]
        return [row for row in rows if row is not None and row.state in (WAITING, PAUSED)]

    def awaits(self, key: Key) -> list[tuple[str, str, bool]]:
        """What a job waits for: job, how it has to end, whether it has."""
        rows = self._database.read(
            "SELECT awaited, need, met FROM awaited WHERE identity = ? AND id = ?", key
        )
        return [(row["awaited"], row["need"], bool(row["met"])) for row in rows]

    def waits(self, key: Key) -> str:
        """What a job still waits for, in words."""
        unmet = []
        for awaited, need, met in self.awaits(key):
            if not met:
                row = self.get((key[0], awaited))
                here = row is not None and row.revision
                unmet.append(f"{awaited[:8]}:{need}{'' if here else ' (not on this node)'}")
        return f"after {' and '.join(unmet)}"

    def met(self, key: Key, awaited: str) -> None:
        """Note that what a job waits for has come; after a power cut it is found again."""
        query = "UPDATE awaited SET met = 1 WHERE identity = ? AND id = ? AND awaited = ?"
        self._database.write(
            lambda database: database.execute(query, (*key, awaited)), durable=False
        )

    def count(self, identity: str) -> int:
        """How many jobs of a node may still start."""
        query = "SELECT count(*) AS n FROM jobs WHERE identity = ? AND ended IS NULL"
        return int(self._database.read(query, (identity,))[0]["n"])

    def cancelled_ahead(self, identity: str, caller: str) -> int:
        """How many jobs and requests a caller was the last to cancel that have not come to a node."""
        query = "SELECT count(*) AS n FROM jobs WHERE revision = 0 AND identity = ? AND owner = ?"
        return int(self._database.read(query, (identity, caller))[0]["n"])

    def ended_actions(self) -> list[tuple[str, str, str]]:
        """The identities, agents and actions of ended jobs whose documents are still there."""
        rows = self._database.read(
            "SELECT DISTINCT identity, agent, action FROM jobs"
            " WHERE ended IS NOT NULL AND body IS NOT NULL"
        )
        return [(row["identity"], row["agent"], row["action"]) for row in rows]

    def drop_documents(self, identity: str, agent: str, action: str) -> None:
        """Drop the documents of ended jobs, in which their inputs are."""
        query = (
            "UPDATE jobs SET body = NULL, signature = NULL, certificate = NULL"
            " WHERE ended IS NOT NULL AND identity = ? AND agent = ? AND action = ?"
        )
        self._database.write(
            lambda database: database.execute(query, (identity, agent, action)), durable=False
        )

    def purge(self, now: float, retention: float) -> int:
        """Forget some jobs that ended `retention` seconds ago and that no request can bring again."""

        def work(database: sqlite3.Connection) -> int:
            old = database.execute(
                "SELECT identity, id FROM jobs LEFT JOIN bringers USING (identity, id)"
                " WHERE ended < ? AND coalesce(expires, received + ?) < ? LIMIT ?",
                (now - retention, _LONGEST, now - GRACE, _PURGE_ROWS),
            ).fetchall()
            keys = [tuple(row) for row in old]
            database.executemany("DELETE FROM jobs WHERE identity = ? AND id = ?", keys)
            database.executemany("DELETE FROM awaited WHERE identity = ? AND id = ?", keys)
            database.executemany("DELETE FROM bringers WHERE identity = ? AND id = ?", keys)
            return len(keys)

        return self._database.write(work, durable=False)

    def _select(
        self, where: str, values: Sequence[Any], columns: str = ", ".join(_COLUMNS)
    ) -> list[JobRow]:
        found = self._database.read(f"SELECT {columns} FROM jobs WHERE {where}", tuple(values))  # noqa: S608 - our own text
        return [JobRow(**{name: row[name] for name in _COLUMNS}) for row in found]
