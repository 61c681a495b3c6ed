"""Strays: verified replies of nodes that no request of this session file asked for.

They came because two sessions have one address. Whoever asked is given them when his session is
attached, or imported (`session.strays`); until then they are kept, the newest of them. Those of
interactive requests, among which are late answers to discovery, never push out the others.

Held in the same table, in room of its own, is what was asked here and has outlived its sender's
certificate, until one of the same key is known that is good (`messaging.held`).
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from mcshell.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from mcshell.sqlite import Database

__all__ = ["MOST", "OF_ONE", "PASSING", "SIZE", "Stray", "StrayStore"]

MOST: Final = 10_000
"""How many are kept."""
PASSING: Final = 1000
"""How many of interactive requests are."""
SIZE: Final = 64 << 20
"""Bytes of bodies that are kept."""
OF_ONE: Final = 1000
"""How many are held of one sender."""
_COLUMNS: Final = "request, job, sender, sequence, durable, kept, body, signature, certificate"
_ASKED: Final = "(request IN (SELECT id FROM requests) OR job IN (SELECT id FROM jobs))"
_ALL: Final = (
    "SELECT number, sender, durable, length(body) AS size,"  # noqa: S608 - our own text
    f" coalesce({_ASKED}, 0) AS asked FROM strays"
)
_TOO_MANY: Final = (
    "SELECT number FROM (SELECT number, durable, asked, row_number() OVER newest AS place,"  # noqa: S608 - our own text
    " row_number() OVER (PARTITION BY asked, durable ORDER BY number DESC) AS among,"
    f" sum(size) OVER newest AS size FROM ({_ALL})"
    " WINDOW newest AS (PARTITION BY asked ORDER BY durable DESC, number DESC))"
    " WHERE place>? OR size>? OR (among>? AND NOT durable)"
)
_OF_ONE: Final = (
    "SELECT number FROM (SELECT number, row_number() OVER"  # noqa: S608 - our own text
    f" (PARTITION BY sender ORDER BY number DESC) AS place FROM strays WHERE {_ASKED})"
    " WHERE place>?"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stray:
    """One of them: the bytes it came in as, and when it was verified (`kept`, epoch).

    `durable`: it answers a queued request, or a job. `asked`: it is held, as what was asked here.
    """

    request: str
    job: str | None = None
    sender: str = ""
    sequence: int = 0
    durable: bool = True
    kept: float
    body: bytes
    signature: str
    certificate: str
    asked: bool = False


class StrayStore:
    """The strays of one session file. Safe to call from any thread."""

    def __init__(self, store: Database) -> None:
        self._store = store

    def keep(self, strays: Iterable[Stray]) -> None:
        """Keep them in one commit, on the disk when it ends; beyond the bounds the oldest go."""
        rows = [tuple(getattr(one, name) for name in _COLUMNS.split(", ")) for one in strays]
        with self._store.transaction() as db:
            query = f"INSERT OR IGNORE INTO strays ({_COLUMNS}) VALUES (?,?,?,?,?,?,?,?,?)"  # noqa: S608 - our own names
            db.executemany(query, rows)
            bounds = ((_OF_ONE, (OF_ONE,)), (_TOO_MANY, (MOST, SIZE, PASSING)))
            for too_many, most in bounds:
                db.execute(f"DELETE FROM strays WHERE number IN ({too_many})", most)  # noqa: S608 - our own text

    def all(self) -> list[Stray]:
        """All of them, in the order they came."""
        found = self._store.read(f"SELECT {_COLUMNS} FROM strays ORDER BY number")  # noqa: S608 - our own names
        return [Stray(**dict(row)) for row in found]

    def about(self) -> list[tuple[str, str | None]]:
        """The requests, each with the job that it is a run of, that they answer."""
        found = self._store.read("SELECT DISTINCT request, job FROM strays")
        return [tuple(row) for row in found]

    def count(self) -> int:
        """How many there are of queued requests and jobs that were asked for elsewhere."""
        query = f"SELECT count(*) FROM strays WHERE durable AND NOT coalesce({_ASKED}, 0)"  # noqa: S608 - our own text
        return int(self._store.read(query)[0][0])

    def held(self) -> list[tuple[str, float, str, str | None]]:
        """Of whom something is held, since when (epoch), and a request of it with its collective."""
        query = (
            "SELECT sender, min(kept), request, (SELECT collective FROM requests WHERE id=request)"  # noqa: S608 - our own text
            f" FROM strays WHERE {_ASKED} GROUP BY sender ORDER BY sender"
        )
        return [tuple(row) for row in self._store.read(query)]

    def held_of(self, senders: Collection[str]) -> list[Stray]:
        """What is held of these, in the order in which they wrote it."""
        query = (
            f"SELECT {_COLUMNS} FROM strays WHERE sender IN (SELECT value FROM json_each(?))"  # noqa: S608 - our own text
            f" AND {_ASKED} ORDER BY sender, request, sequence"
        )
        found = self._store.read(query, (json.dumps(list(senders)),))
        return [Stray(**dict(row), asked=True) for row in found]

    def drop(self, strays: Iterable[Stray]) -> None:
        """Drop those that whoever asked has been given, or that are no good."""
        keys = [(one.request, one.sender, one.sequence) for one in strays]
        with self._store.transaction() as db:
            db.executemany("DELETE FROM strays WHERE request=? AND sender=? AND sequence=?", keys)
