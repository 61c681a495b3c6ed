"""Claims: a request id runs at most once on a node within its ttl, over restarts.

A claim is committed before the action starts (mcshell/README.md §5). One SQLite file serves any
number of identities, so the emulator's nodes share one; claims that come together from several
threads cost one commit.

When the disk is full, claims are kept in a reserve that was made before, and come into the file once
there is room again. Only when that is full, too, can nothing be claimed.

`NORMAL` (for interactive requests) survives the death of the process, and may lose the last claims to
a power cut, after which a captured request could run again until its ttl is over. `FULL` survives
both.
"""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from mcshell.errors import ConfigError, StorageError
from mcshell.node.audit.reserve import CLAIMS_ROOM, Reserve
from mcshell.sqlite import Database, FileKind

if TYPE_CHECKING:
    import os
    import sqlite3
    from collections.abc import Iterable

__all__ = ["CLAIMS", "ReplayGuard"]

# A clock that was put forward and back again must not make an old request look new: ours does not
# by itself, as no more is forgotten than the newest signed date allows; a caller's may be off.
_GRACE: Final = 3600.0
_PURGE_EVERY: Final = 10.0
_PURGE_ROWS: Final = 1000

_TABLES: Final = """
CREATE TABLE IF NOT EXISTS claims (
    identity TEXT NOT NULL,
    requestid TEXT NOT NULL,
    expires REAL NOT NULL,
    PRIMARY KEY (identity, requestid)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS claims_expires ON claims (expires);
"""
_INSERT: Final = "INSERT OR IGNORE INTO claims (identity, requestid, expires) VALUES (?, ?, ?)"
_PROLONG: Final = "UPDATE claims SET expires = max(expires, ?) WHERE identity = ? AND requestid = ?"
_PURGE: Final = """
DELETE FROM claims WHERE (identity, requestid) IN
    (SELECT identity, requestid FROM claims WHERE expires < ? LIMIT ?)
"""

_FIND: Final = "SELECT 1 FROM claims WHERE identity = ? AND requestid = ?"

CLAIMS: Final = FileKind(
    name="file for claims",
    versions={1: _TABLES},
    former="claims.sqlite",
    take_over={
        "claims": "INSERT INTO claims (identity, requestid, expires) VALUES (?, ?, ?)"
        " ON CONFLICT DO UPDATE SET expires = max(expires, excluded.expires)"
    },
)


class ReplayGuard:
    """The claims of one file; any thread may claim.

    Raises:
        ConfigError: the file cannot be opened or is no database of ours.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        synchronous: Literal["NORMAL", "FULL"] = "NORMAL",
    ) -> None:
        self._database = Database(path, CLAIMS, patient=True)
        self._durable = synchronous == "FULL"
        self._purge_at = 0.0
        self._lock = threading.Lock()
        """Guards the reserve, and the next two."""
        self.claims = 0
        """How many were made since the start."""
        self.repeated = 0
        """How many ids came that had been claimed before."""
        try:
            self._reserve = Reserve(Path(path).with_name("claims.reserve"), CLAIMS_ROOM)
        except OSError as error:
            message = f"{error.filename}: claims cannot be kept: {error.strerror}"
            raise ConfigError(message, origin=str(path)) from error

    @property
    def hindered(self) -> bool:
        """Whether the disk took nothing when the file was opened (`Database.hindered`)."""
        return self._database.hindered

    def claim(self, identity: str, requestid: str, expires: float, signed: float) -> bool:
        """Claim one request for one identity; False when it was claimed before.

        What expired long before `signed` is forgotten: the date that a caller has signed, unless
        this node's clock is behind it.

        Raises:
            MCShellError: the claim cannot be recorded; the request must not run.
        """
        return self.claim_many([(identity, requestid, expires)], signed)[0]

    def claim_many(self, claims: Iterable[tuple[str, str, float]], signed: float) -> list[bool]:
        """Claim (identity, requestid, expires) triples in one transaction, all of them or none.

        Returns, for each, whether it is the caller's now. Raises MCShellError as `claim`.
        """
        won = self._claim_all(list(claims), signed)
        with self._lock:
            self.claims += sum(won)
            self.repeated += len(won) - sum(won)
        return won

    def _claim_all(self, wanted: list[tuple[str, str, float]], signed: float) -> list[bool]:
        def work(database: sqlite3.Connection) -> list[bool]:
            won = [_claim(database, *claim) for claim in wanted]
            if signed >= self._purge_at:
                gone = database.execute(_PURGE, (signed - _GRACE, _PURGE_ROWS)).rowcount
                if gone < _PURGE_ROWS:
                    self._purge_at = signed + _PURGE_EVERY
            return won

        if not self._reserve.kept:
            try:
                return self._database.write(work, durable=self._durable)
            except StorageError as error:
                return self._claim_in_reserve(wanted, error)
        try:
            self._empty_reserve()
        except StorageError as error:
            return self._claim_in_reserve(wanted, error)
        return self._database.write(work, durable=self._durable)

    def claimed(self, identity: str, requestid: str) -> bool:
        """Whether a request was claimed for an identity."""
        with self._lock:
            return self._found((identity, requestid), self._in_reserve())

    def close(self) -> None:
        """Close the file; the caller sees to it that no thread claims any more."""
        self._database.close()
        self._reserve.close()

    def _empty_reserve(self) -> None:
        """Bring what is in the reserve into the file; StorageError while it has no room."""
        with self._lock:
            kept = [json.loads(line) for line in self._reserve.kept.splitlines()]

            def work(database: sqlite3.Connection) -> None:
                for claim in kept:
                    _claim(database, *claim)

            self._database.write(work)
            self._reserve.empty()

    def _claim_in_reserve(
        self, wanted: list[tuple[str, str, float]], error: StorageError
    ) -> list[bool]:
        """Claim in the reserve; raises `error`, why the file took nothing, when that is full, too."""
        with self._lock:
            kept = self._in_reserve()
            won, lines = [], []
            for identity, requestid, expires in wanted:
                key = identity, requestid
                won.append(not self._found(key, kept))
                if won[-1]:
                    kept.add(key)
                    lines.append(json.dumps([identity, requestid, expires]) + "\n")
            if lines and not self._reserve.put("".join(lines).encode()):
                raise error
            return won

    def _in_reserve(self) -> set[tuple[str, ...]]:
        return {tuple(json.loads(line)[:2]) for line in self._reserve.kept.splitlines()}

    def _found(self, key: tuple[str, str], in_reserve: set[tuple[str, ...]]) -> bool:
        return key in in_reserve or bool(self._database.read(_FIND, key))


def _claim(database: sqlite3.Connection, identity: str, requestid: str, expires: float) -> bool:
    if database.execute(_INSERT, (identity, requestid, expires)).rowcount == 1:
        return True
    database.execute(_PROLONG, (expires, identity, requestid))
    return False
