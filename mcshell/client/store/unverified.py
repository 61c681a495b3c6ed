"""What an imported session file could not prove: requests, and targets of requests.

The bytes that its caller signed prove what was asked, and of whom; a reply proves that its node was
asked. What nothing proves is shown as such, and can be neither retried, edited, resumed nor handed on
(mcshell/README.md §8).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mcshell.sqlite import Database

__all__ = ["UNVERIFIED", "UnverifiedStore"]

UNVERIFIED: Final = "(unverified)"
"""What stands in place of the agent and the action of a request that nothing proves."""
_WHOLE: Final = "IN (SELECT request FROM unverified WHERE sender='*')"


class UnverifiedStore:
    """The marks in one session file: a request as a whole, or single targets of it."""

    def __init__(self, store: Database) -> None:
        self._store = store

    def mark(self, request: str, senders: Iterable[str] = ("*",)) -> None:
        """Note that nothing proves a request, or that these were targets of it."""
        rows = [(request, sender) for sender in senders]
        with self._store.transaction() as db:
            db.executemany("INSERT OR IGNORE INTO unverified VALUES (?,?)", rows)

    def answered(self) -> None:
        """Drop the marks of targets of which there is a reply now: it answers what was signed."""
        with self._store.transaction() as db:
            db.execute(
                "DELETE FROM unverified WHERE EXISTS (SELECT 1 FROM replies r"
                " WHERE r.request=unverified.request AND r.sender=unverified.sender)"
            )

    def targets(self, request: str) -> set[str]:
        """The targets of a request that nothing proves."""
        query = "SELECT sender FROM unverified WHERE request=? AND sender<>'*'"
        return {row[0] for row in self._store.read(query, (request,))}

    def drop(self) -> None:
        """Leave out what nothing proves, as from a copy that is handed on."""
        single = "(SELECT 1 FROM unverified u WHERE u.request=targets.request AND u.sender=targets.sender)"
        with self._store.transaction() as db:
            db.execute(f"DELETE FROM targets WHERE EXISTS {single}")  # noqa: S608 - our own text
            for table in ("targets", "counts", "replies", "runs"):
                db.execute(f"DELETE FROM {table} WHERE request {_WHOLE}")  # noqa: S608 - our own names
            db.execute(f"DELETE FROM requests WHERE id {_WHOLE}")  # noqa: S608 - our own text
            db.execute("DELETE FROM unverified")
