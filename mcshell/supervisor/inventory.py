"""The registrations that a supervisor has heard, signed as they came, in a file of its own.

What it hands out are the nodes' own registrations: whoever asks verifies each of them again.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from mcshell.errors import ConfigError
from mcshell.private import private_file
from mcshell.wire.documents.envelope import CERTIFICATE, SIGNATURE, BodyLimits
from mcshell.wire.documents.registration import read_registration

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from mcshell.wire.documents.registration import Registration

__all__ = ["HeardRegistration", "Inventory"]

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS nodes (
    realm TEXT NOT NULL, collective TEXT NOT NULL, identity TEXT NOT NULL, created REAL NOT NULL,
    heard REAL NOT NULL, body BLOB NOT NULL, signature TEXT NOT NULL, certificate TEXT NOT NULL,
    PRIMARY KEY (realm, collective, identity)
) WITHOUT ROWID;
"""
_PUT: Final = (
    "INSERT INTO nodes VALUES (?,?,?,?,?,?,?,?) ON CONFLICT DO UPDATE SET created=excluded.created,"
    " heard=excluded.heard, body=excluded.body, signature=excluded.signature,"
    " certificate=excluded.certificate WHERE excluded.created >= created"
)


@dataclass(frozen=True, slots=True)
class HeardRegistration:
    """A verified registration as it came, and when (`heard`, epoch)."""

    collective: str
    registration: Registration
    heard: float
    body: bytes
    signature: str
    certificate: str

    @property
    def portable(self) -> dict[str, str]:
        """As it is handed on."""
        return {
            "body": self.body.decode(),
            SIGNATURE: self.signature,
            CERTIFICATE: self.certificate,
        }


class Inventory:
    """One file, for one thread. `realm` names the fleet.

    Raises:
        ConfigError: the file cannot be opened.
    """

    def __init__(self, path: Path, realm: str) -> None:
        self._realm = realm
        try:
            self._db = sqlite3.connect(private_file(path), isolation_level=None)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=NORMAL")
            self._db.executescript(_SCHEMA)
        except (sqlite3.Error, OSError) as error:
            raise ConfigError(f"{path}: no inventory: {error}", origin=str(path)) from error

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def keep(self, some: Iterable[HeardRegistration]) -> None:
        """Keep registrations, in one commit; an older one never replaces a newer."""
        rows = [
            (
                self._realm,
                one.collective,
                one.registration.identity,
                one.registration.created,
                one.heard,
                one.body,
                one.signature,
                one.certificate,
            )
            for one in some
        ]
        with self._db:
            self._db.execute("BEGIN IMMEDIATE")
            self._db.executemany(_PUT, rows)

    def forget(self, before: float) -> None:
        """Drop the nodes that have said nothing since then (epoch)."""
        self._db.execute("DELETE FROM nodes WHERE realm=? AND heard<?", (self._realm, before))

    def all(self) -> Iterator[HeardRegistration]:
        """Every node of every collective."""
        query = (
            "SELECT collective, heard, body, signature, certificate FROM nodes WHERE realm=?"
            " ORDER BY collective, identity"
        )
        with closing(self._db.execute(query, (self._realm,))) as rows:
            for row in rows:
                yield _heard(*row)

    def page(self, collective: str, after: str, most: int) -> tuple[list[HeardRegistration], bool]:
        """Nodes by name from the one after `after`, `most` bytes of them, and whether that is all.

        A registration that is larger than that is left out: nobody could be told of it.
        """
        query = (
            "SELECT collective, heard, body, signature, certificate FROM nodes WHERE realm=?"
            " AND collective=? AND identity>? ORDER BY identity"
        )
        found: list[HeardRegistration] = []
        size = 0
        with closing(self._db.execute(query, (self._realm, collective, after))) as rows:
            for row in rows:
                own = sum(map(len, row[2:]))
                if own > most:
                    continue
                if size + own > most:
                    return found, False
                size += own
                found.append(_heard(*row))
        return found, True


def _heard(
    collective: str, heard: float, body: bytes, signature: str, certificate: str
) -> HeardRegistration:
    registration = read_registration(body, BodyLimits())
    return HeardRegistration(collective, registration, heard, body, signature, certificate)
