"""The registrations that a supervisor has heard, signed as they came, in a file of its own, and all
heads of audit logs that were in them.

What it hands out are the nodes' own registrations: whoever asks verifies each of them again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from mcshell.sqlite import Database, FileKind
from mcshell.values import dataclass
from mcshell.wire.documents.envelope import CERTIFICATE, SIGNATURE, BodyLimits
from mcshell.wire.documents.registration import read_registration

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from mcshell.wire.documents.registration import Registration

__all__ = ["INVENTORY", "HeardRegistration", "Inventory"]

_TABLES: Final = """
CREATE TABLE IF NOT EXISTS nodes (
    realm TEXT NOT NULL, collective TEXT NOT NULL, identity TEXT NOT NULL, created REAL NOT NULL,
    heard REAL NOT NULL, body BLOB NOT NULL, signature TEXT NOT NULL, certificate TEXT NOT NULL,
    PRIMARY KEY (realm, collective, identity)
) WITHOUT ROWID;
"""
_PUT: Final = (
    "INSERT INTO nodes VALUES (?,?,?,?,?,?,?,?) ON CONFLICT DO UPDATE SET created=excluded.created,"
    " heard=excluded.heard, body=excluded.body, signature=excluded.signature,"
    " certificate=excluded.certificate"
    # As of when a registration counts (`Registration.seen`): a clock may have been ahead.
    " WHERE min(excluded.created, excluded.heard) >= min(created, heard)"
)
_NEXT: Final = (
    "SELECT * FROM nodes WHERE realm=? AND (collective, identity) > (?, ?)"
    " ORDER BY collective, identity LIMIT 200"
)

_HEADS: Final = """
CREATE TABLE heads (
    realm TEXT NOT NULL, identity TEXT NOT NULL, count INTEGER NOT NULL, hash TEXT NOT NULL,
    created REAL NOT NULL, heard REAL NOT NULL,
    PRIMARY KEY (realm, identity, count, hash)
) WITHOUT ROWID;
"""
_PUT_HEAD: Final = "INSERT OR IGNORE INTO heads VALUES (?,?,?,?,?,?)"
_NEXT_HEADS: Final = (
    "SELECT count, hash FROM heads WHERE realm=? AND identity=? AND count > ?"
    " ORDER BY count, hash LIMIT ?"
)

INVENTORY: Final = FileKind(
    name="file of registrations",
    versions={1: _TABLES, 2: _HEADS},
    former="inventory.sqlite",
    take_over={"nodes": _PUT},
    shared=True,
)


@dataclass(frozen=True, slots=True, kw_only=True)
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
        self._database = Database(path, INVENTORY)

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def keep(self, some: Iterable[HeardRegistration]) -> None:
        """Keep registrations, in one commit; an older one never replaces a newer.

        The heads of audit logs are kept for ever: nobody but a supervisor has them.
        """
        some = list(some)
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
        with self._database.transaction(durable=False) as db:
            db.executemany(_PUT, rows)
            db.executemany(
                _PUT_HEAD,
                [
                    (self._realm, said.identity, *said.audit, said.created, one.heard)
                    for one in some
                    if (said := one.registration).audit is not None
                ],
            )

    def heads(self, identity: str, after: int, most: int) -> list[tuple[int, str]]:
        """Heads of a node's audit log, by line from the one after `after` on, so many at most."""
        rows = self._database.read(_NEXT_HEADS, (self._realm, identity, after, most))
        return [(row["count"], row["hash"]) for row in rows]

    def forget(self, before: float) -> None:
        """Drop the nodes that have said nothing since then (epoch)."""
        with self._database.transaction(durable=False) as db:
            db.execute("DELETE FROM nodes WHERE realm=? AND heard<?", (self._realm, before))

    def all(self) -> Iterator[HeardRegistration]:
        """Every node of every collective."""
        return map(_heard, self._from("", ""))

    def page(self, collective: str, after: str, most: int) -> tuple[list[HeardRegistration], bool]:
        """Nodes by name from the one after `after`, `most` bytes of them, and whether that is all.

        A registration that is larger than that is left out: nobody could be told of it.
        """
        found: list[HeardRegistration] = []
        size = 0
        for row in self._from(collective, after):
            if row["collective"] != collective:
                break
            own = len(row["body"]) + len(row["signature"]) + len(row["certificate"])
            if own > most:
                continue
            if size + own > most:
                return found, False
            size += own
            found.append(_heard(row))
        return found, True

    def _from(self, collective: str, after: str) -> Iterator[Any]:
        """The rows from the one after a node on, by collective and name; some are read at once."""
        while rows := self._database.read(_NEXT, (self._realm, collective, after)):
            yield from rows
            collective, after = rows[-1]["collective"], rows[-1]["identity"]


def _heard(row: Any) -> HeardRegistration:
    return HeardRegistration(
        collective=row["collective"],
        registration=read_registration(row["body"], BodyLimits(), stored=True),
        heard=row["heard"],
        body=row["body"],
        signature=row["signature"],
        certificate=row["certificate"],
    )
