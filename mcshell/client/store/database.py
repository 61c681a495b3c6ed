"""A session file as it is opened, locked, copied and looked back into; `store` writes it."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from mcshell.client.store import records as rows
from mcshell.client.store.records import LARGE, StoredData
from mcshell.client.store.schema import SCHEMA, VERSION
from mcshell.errors import SessionError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from contextlib import AbstractContextManager
    from pathlib import Path

    from mcshell.client.store.ledger import LedgerEntry
    from mcshell.client.store.records import RequestRecord

__all__ = ["FIELDS", "SessionFile"]

_WHOLE = 1 << 40
FIELDS = (
    "sender, state, late, duplicate, unexpected, sent, received, running, done, attempt, reason,"
    " sequence, statuscode, statusmsg, trust, worker"
)


class SessionFile:
    """One session file, open: what it is, and what it remembers."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.RLock()
        self._db: sqlite3.Connection
        self.reopen(path)

    def reopen(self, path: Path) -> None:
        """Open the file, or open it again where it is now."""
        with self._lock:
            self._open(path)

    def _open(self, path: Path) -> None:
        self.path = path
        self._certificates: dict[str, int] = {}
        self._full = False
        try:
            self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        except sqlite3.Error as error:
            raise SessionError(f"{path} cannot be opened: {error}", path.stem) from error
        try:
            self._prepare()
        except SessionError:
            self._db.close()
            raise
        except sqlite3.DatabaseError as error:
            self._db.close()
            raise SessionError(f"{path} is no session file: {error}", path.stem) from error

    def _prepare(self) -> None:
        self._db.execute("PRAGMA busy_timeout=10000")
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=NORMAL")
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        if version == 0:
            self._db.executescript(
                f"BEGIN IMMEDIATE; {SCHEMA} PRAGMA user_version={VERSION}; COMMIT;"
            )
        elif version != VERSION:
            raise SessionError(
                f"{self.path} is a session file of version {version}; this mcshell reads "
                f"version {VERSION}",
                self.path.stem,
            )

    def close(self) -> None:
        """Close the file; every commit so far is in it."""
        with self._lock:
            self._db.close()

    def copy(self, path: Path) -> None:
        """Write a consistent copy of the file, as it stands now."""
        with self._lock:
            self._db.execute("VACUUM INTO ?", (str(path),))

    def settle(self) -> None:
        """Bring everything into the one file, so that it can be handed on alone."""
        with self._lock:
            self._db.execute("PRAGMA journal_mode=DELETE")

    @contextmanager
    def _commit(self, *, durable: bool = False) -> Iterator[sqlite3.Connection]:
        """One transaction; on disk when it ends if it is a durable one."""
        with self._lock:
            if durable != self._full:
                self._db.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
                self._full = durable
            with self._db:
                self._db.execute("BEGIN IMMEDIATE")
                yield self._db

    def transaction(self) -> AbstractContextManager[sqlite3.Connection]:
        """One commit, on disk when it ends, for `jobstore`."""
        return self._commit(durable=True)

    def query(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        """What is committed, for `jobstore`."""
        return self._all(query, *values)

    def _all(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        with self._lock:
            return self._db.execute(query, values).fetchall()

    def meta(self, key: str) -> str | None:
        """Read one of the session's own facts: its caller, collective or address."""
        found = self._all("SELECT value FROM meta WHERE key=?", key)
        return str(found[0][0]) if found else None

    def set_meta(self, key: str, value: str) -> None:
        """Write one of the session's own facts."""
        with self._commit() as db:
            db.execute("INSERT OR REPLACE INTO meta VALUES (?,?)", (key, value))

    def requests(self) -> list[tuple[RequestRecord, dict[str, int]]]:
        """The history, oldest first, each with its counts by state."""
        counts: dict[str, dict[str, int]] = {}
        for request, state, number in self._all("SELECT request, state, number FROM counts"):
            counts.setdefault(request, {})[state] = number
        records = map(rows.record_of, self._all(f"{rows.RECORDS} ORDER BY number"))
        return [(record, counts.get(record.id, {})) for record in records]

    def find_request(self, prefix: str | None = None) -> RequestRecord | None:
        """A request by id or its first letters, or the newest.

        Raises:
            SessionError: several ids begin so.
        """
        if prefix is None:
            found = self._all(f"{rows.RECORDS} ORDER BY number DESC LIMIT 1")
        else:
            end = prefix + "\uffff"
            found = self._all(f"{rows.RECORDS} WHERE id>=? AND id<? LIMIT 3", prefix, end)
        if len(found) > 1:
            ids = ", ".join(str(row[0])[:12] for row in found)
            raise SessionError(f"request {prefix!r} is ambiguous: {ids}", self.path.stem)
        return rows.record_of(found[0]) if found else None

    def is_target(self, request: str, sender: str) -> bool:
        """Whether a request was for this node."""
        query = "SELECT 1 FROM targets WHERE request=? AND sender=? AND unexpected=0"
        return bool(self._all(query, request, sender))

    def entries(self, request: str, *, whole: bool = False) -> list[LedgerEntry]:
        """The ledger of a request, in the order of its targets.

        The data of small replies is there, that of large ones (not `whole`) is read when it is
        looked at.
        """
        found = self._all(
            f"SELECT {FIELDS} FROM targets WHERE request=? ORDER BY place",  # noqa: S608
            request,
        )
        data = self._data(request, _WHOLE if whole else LARGE)
        return [rows.entry_of(request, row, data) for row in found]

    def _data(self, request: str, most: int) -> dict[tuple[str, int], Mapping[str, Any]]:
        found = self._all(
            "SELECT sender, sequence, CASE WHEN length(body)<=? THEN body END FROM replies"
            " WHERE request=? AND sequence%3=2",
            most,
            request,
        )
        return {
            (sender, sequence): (
                StoredData(self, request, sender, sequence) if body is None else rows.data_of(body)
            )
            for sender, sequence, body in found
        }

    def body(self, request: str, sender: str, sequence: int) -> bytes:
        """One reply's bytes."""
        query = "SELECT body FROM replies WHERE request=? AND sender=? AND sequence=?"
        return bytes(self._all(query, request, sender, sequence)[0][0])

    def replies(self, after: int = 0, limit: int = 1000) -> list[tuple[Any, ...]]:
        """The kept replies from the one after `after`, in order.

        Each is (number, request, body, kept, signature, certificate, trust).
        """
        return self._all(
            "SELECT r.number, r.request, r.body, r.kept, r.signature, c.text, r.trust"
            " FROM replies r JOIN certificates c ON c.id=r.certificate"
            " WHERE r.number>? ORDER BY r.number LIMIT ?",
            after,
            limit,
        )

    def reply_count(self) -> int:
        """How many replies are kept."""
        return int(self._all("SELECT count(*) FROM replies")[0][0])

    def latest(self) -> int:
        """The number of the newest reply."""
        return int(self._all("SELECT coalesce(max(number),0) FROM replies")[0][0])
