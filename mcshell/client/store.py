"""The session file: one SQLite database (WAL) with everything a session asked and heard.

Requests are kept as the signed bytes that went out, replies as the bytes that came in, so that
another process, or another machine, can verify them again. The key of a reply is
(request, sender, sequence): a redelivery changes nothing.

All methods may be called from any thread; a lock keeps them apart.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mcshell.errors import SessionError
from mcshell.message import Filter, Via

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from mcshell.wire.envelope import Sealed

__all__ = ["Record", "Store", "StoredReply"]

_VERSION = 1
_SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE requests (
    id TEXT PRIMARY KEY, agent TEXT NOT NULL, action TEXT NOT NULL, via TEXT NOT NULL,
    collective TEXT NOT NULL, created REAL NOT NULL, expires REAL NOT NULL,
    filter TEXT NOT NULL, data TEXT NOT NULL, number INTEGER NOT NULL UNIQUE
) WITHOUT ROWID;
CREATE TABLE targets (
    request TEXT NOT NULL, sender TEXT NOT NULL, place INTEGER NOT NULL, sent REAL,
    judged REAL, reason TEXT NOT NULL DEFAULT '', PRIMARY KEY (request, sender)
) WITHOUT ROWID;
CREATE TABLE outgoing (
    request TEXT NOT NULL, sender TEXT NOT NULL, body BLOB NOT NULL, signature TEXT NOT NULL,
    confirmed REAL, PRIMARY KEY (request, sender)
) WITHOUT ROWID;
CREATE TABLE certificates (id INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE);
CREATE TABLE replies (
    request TEXT NOT NULL, sender TEXT NOT NULL, sequence INTEGER NOT NULL, kept REAL NOT NULL,
    body BLOB NOT NULL, signature TEXT NOT NULL, certificate INTEGER NOT NULL, trust TEXT NOT NULL,
    PRIMARY KEY (request, sender, sequence)
) WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True)
class Record:
    """One request of the session's history. `data` is redacted where the DDL says so."""

    id: str
    agent: str
    action: str
    via: Via
    collective: str
    created: float
    expires: float
    filter: Filter
    data: dict[str, Any]


@dataclass(frozen=True, slots=True)
class StoredReply:
    """A word of a node as it came in; `kept` is when it was committed (seconds since epoch)."""

    request: str
    sender: str
    sequence: int
    kept: float
    body: bytes
    signature: str
    certificate: str
    trust: str = "mcs"


class Store:
    """One session file, open. Interactive use commits without fsync, durable requests with."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.RLock()
        self._certificates: dict[str, int] = {}
        try:
            self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
            self._prepare()
        except sqlite3.DatabaseError as error:
            raise SessionError(f"{path} is no session file: {error}", path.stem) from error

    def _prepare(self) -> None:
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=NORMAL")
        self._db.execute("PRAGMA busy_timeout=5000")
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        if version == 0:
            self._db.executescript(
                f"BEGIN IMMEDIATE; {_SCHEMA} PRAGMA user_version={_VERSION}; COMMIT;"
            )
        elif version != _VERSION:
            raise SessionError(
                f"{self.path} is a session file of version {version}; this mcshell reads "
                f"version {_VERSION}",
                self.path.stem,
            )

    def close(self) -> None:
        """Close the file; every commit so far is in it."""
        with self._lock:
            self._db.close()

    def meta(self, key: str) -> str | None:
        """Read one of the session's own facts: its caller, collective or queue."""
        with self._lock:
            row = self._db.execute("SELECT value FROM meta WHERE key=?", (key,)).fetchone()
        return None if row is None else str(row[0])

    def set_meta(self, key: str, value: str) -> None:
        """Write one of the session's own facts."""
        with self._lock:
            self._db.execute("INSERT OR REPLACE INTO meta VALUES (?,?)", (key, value))

    def add_request(self, record: Record, targets: Sequence[str]) -> None:
        """Keep a request and its targets, before anything is sent."""
        with self._lock, self._db:
            self._db.execute("BEGIN IMMEDIATE")
            self._db.execute(
                "INSERT INTO requests SELECT ?,?,?,?,?,?,?,?,?, coalesce(max(number),0)+1"
                " FROM requests",
                (
                    record.id,
                    record.agent,
                    record.action,
                    record.via.value,
                    record.collective,
                    record.created,
                    record.expires,
                    json.dumps(record.filter.as_dict()),
                    json.dumps(record.data),
                ),
            )
            self._db.executemany(
                "INSERT INTO targets (request, sender, place) VALUES (?,?,?)",
                [(record.id, name, place) for place, name in enumerate(targets)],
            )

    def add_outgoing(self, request: str, sealed: Iterable[tuple[str, Sealed]]) -> None:
        """Keep the signed bytes of a request, one a target ("*" for a broadcast)."""
        from mcshell.wire.envelope import SIGNATURE  # noqa: PLC0415 - cryptography is slow to load

        rows = [(request, name, one.body, one.headers[SIGNATURE]) for name, one in sealed]
        with self._lock, self._db:
            self._db.execute("BEGIN IMMEDIATE")
            self._db.executemany(
                "INSERT INTO outgoing (request, sender, body, signature) VALUES (?,?,?,?)", rows
            )

    def mark_sent(self, request: str, names: Iterable[str], at: float) -> None:
        """Note when the request went out to these targets."""
        with self._lock, self._db:
            self._db.execute("BEGIN IMMEDIATE")
            self._db.executemany(
                "UPDATE targets SET sent=? WHERE request=? AND sender=?",
                [(at, request, name) for name in names],
            )

    def mark_judged(self, request: str, verdicts: Iterable[tuple[str, str]], at: float) -> None:
        """Note that the wait for these targets is over, and why."""
        with self._lock, self._db:
            self._db.execute("BEGIN IMMEDIATE")
            self._db.executemany(
                "UPDATE targets SET judged=?, reason=? WHERE request=? AND sender=?",
                [(at, reason, request, name) for name, reason in verdicts],
            )

    def add_replies(self, replies: Iterable[StoredReply]) -> None:
        """Keep words of nodes in one transaction; those already kept are left as they are."""
        with self._lock, self._db:
            self._db.execute("BEGIN IMMEDIATE")
            self._db.executemany(
                "INSERT OR IGNORE INTO replies VALUES (?,?,?,?,?,?,?,?)",
                [
                    (
                        one.request,
                        one.sender,
                        one.sequence,
                        one.kept,
                        one.body,
                        one.signature,
                        self._certificate(one.certificate),
                        one.trust,
                    )
                    for one in replies
                ],
            )

    def requests(self) -> list[Record]:
        """The history, oldest first."""
        with self._lock:
            rows = self._db.execute(
                "SELECT id, agent, action, via, collective, created, expires, filter, data"
                " FROM requests ORDER BY number"
            ).fetchall()
        return [_record(row) for row in rows]

    def find_request(self, prefix: str | None = None) -> Record | None:
        """A request by id or its first letters, or the newest.

        Raises:
            SessionError: several ids begin so.
        """
        query = (
            "SELECT id, agent, action, via, collective, created, expires, filter, data"
            " FROM requests"
        )
        with self._lock:
            if prefix is None:
                rows = self._db.execute(query + " ORDER BY number DESC LIMIT 1").fetchall()
            else:
                rows = self._db.execute(
                    query + " WHERE substr(id, 1, ?) = ? LIMIT 3", (len(prefix), prefix)
                ).fetchall()
        if len(rows) > 1:
            ids = ", ".join(row[0][:12] for row in rows)
            raise SessionError(f"request {prefix!r} is ambiguous: {ids}", self.path.stem)
        return _record(rows[0]) if rows else None

    def targets(self, request: str) -> list[tuple[str, float | None, float | None, str]]:
        """The targets of a request in their order: sender, sent, judged, reason."""
        with self._lock:
            return self._db.execute(
                "SELECT sender, sent, judged, reason FROM targets WHERE request=? ORDER BY place",
                (request,),
            ).fetchall()

    def replies(self, request: str) -> list[StoredReply]:
        """The words of all nodes about a request, in the order they were kept."""
        with self._lock:
            rows = self._db.execute(
                "SELECT request, sender, sequence, kept, body, signature, c.text, trust"
                " FROM replies JOIN certificates c ON c.id = certificate"
                " WHERE request=? ORDER BY kept, sequence",
                (request,),
            ).fetchall()
        return [StoredReply(*row) for row in rows]

    def _certificate(self, text: str) -> int:
        number = self._certificates.get(text)
        if number is None:
            self._db.execute("INSERT OR IGNORE INTO certificates (text) VALUES (?)", (text,))
            (number,) = self._db.execute(
                "SELECT id FROM certificates WHERE text=?", (text,)
            ).fetchone()
            self._certificates[text] = number
        return int(number)


def _record(row: Sequence[Any]) -> Record:
    *plain, created, expires, filter_, data = row
    id_, agent, action, via, collective = plain
    return Record(
        id_,
        agent,
        action,
        Via(via),
        collective,
        created,
        expires,
        Filter.from_dict(json.loads(filter_)),
        json.loads(data),
    )
