"""Strays: verified replies of nodes that no request of this session file asked for.

They came because two sessions have one address. Whoever asked is given them when his session is
attached, or imported (`session.strays`); until then they are kept, the newest of them. Those of
interactive requests, among which are late answers to discovery, never push out the others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mcshell.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mcshell.sqlite import Database

__all__ = ["MOST", "PASSING", "SIZE", "Stray", "StrayStore"]

MOST: Final = 10_000
"""How many are kept."""
PASSING: Final = 1000
"""How many of interactive requests are."""
SIZE: Final = 64 << 20
"""Bytes of bodies that are kept."""
_COLUMNS: Final = "request, job, sender, sequence, durable, kept, body, signature, certificate"
_TOO_MANY: Final = (
    "SELECT number FROM (SELECT number, durable, row_number() OVER newest AS place,"
    " row_number() OVER (PARTITION BY durable ORDER BY number DESC) AS among,"
    " sum(length(body)) OVER newest AS size FROM strays"
    " WINDOW newest AS (ORDER BY durable DESC, number DESC))"
    " WHERE place>? OR size>? OR (among>? AND NOT durable)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stray:
    """One of them: the bytes it came in as, and when it was verified (`kept`, epoch).

    `durable`: it answers a queued request, or a job.
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
            db.execute(f"DELETE FROM strays WHERE number IN ({_TOO_MANY})", (MOST, SIZE, PASSING))  # noqa: S608 - our own text

    def all(self) -> list[Stray]:
        """All of them, in the order they came."""
        found = self._store.read(f"SELECT {_COLUMNS} FROM strays ORDER BY number")  # noqa: S608 - our own names
        return [Stray(**dict(row)) for row in found]

    def about(self) -> list[tuple[str, str | None]]:
        """The requests, each with the job that it is a run of, that they answer."""
        found = self._store.read("SELECT DISTINCT request, job FROM strays")
        return [tuple(row) for row in found]

    def count(self) -> int:
        """How many there are of queued requests and jobs."""
        return int(self._store.read("SELECT count(*) FROM strays WHERE durable")[0][0])

    def drop(self, strays: Iterable[Stray]) -> None:
        """Drop those that whoever asked has been given, or that are no good."""
        keys = [(one.request, one.sender, one.sequence) for one in strays]
        with self._store.transaction() as db:
            db.executemany("DELETE FROM strays WHERE request=? AND sender=? AND sequence=?", keys)
