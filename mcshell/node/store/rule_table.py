"""Which rules a machine has taken, on disk (mcshell/README.md §10): each revision once.

A table of the spool's file. It is never purged: a rule that was taken and forgotten would be done
again. A row is of one machine: another one of the same name, re-built, has taken nothing yet.
"""

from __future__ import annotations

from dataclasses import astuple
from typing import TYPE_CHECKING, Final

from mcshell.values import dataclass

if TYPE_CHECKING:
    import sqlite3

    from mcshell.sqlite import Database

__all__ = ["NOT_MINE", "TABLES", "RuleRow", "RuleTable"]

TABLES: Final = """
CREATE TABLE IF NOT EXISTS rules (
    identity TEXT NOT NULL,
    machine TEXT NOT NULL,
    author TEXT NOT NULL,
    name TEXT NOT NULL,
    revision INTEGER NOT NULL,
    digest TEXT NOT NULL,
    jobs TEXT NOT NULL,
    taken REAL NOT NULL,
    PRIMARY KEY (identity, machine, author, name)
) WITHOUT ROWID;
"""


NOT_MINE: Final = "-"


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleRow:
    """A rule that a machine has, in its newest revision; `jobs` are their ids, with spaces.

    Or `NOT_MINE`: it had an older revision, and this one was not for it when it came.
    """

    identity: str
    machine: str
    author: str
    name: str
    revision: int
    digest: str
    jobs: str
    taken: float


def put(database: sqlite3.Connection, row: RuleRow) -> None:
    """Write down that a machine has a rule; for the inside of a transaction."""
    query = "INSERT OR REPLACE INTO rules VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
    database.execute(query, astuple(row))


class RuleTable:
    """The table, for reading; `put` writes it, inside the transaction of the jobs."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, identity: str, machine: str, author: str, name: str) -> RuleRow | None:
        """One rule, as this machine has it."""
        rows = self._database.read(
            "SELECT * FROM rules WHERE identity = ? AND machine = ? AND author = ? AND name = ?",
            (identity, machine, author, name),
        )
        return RuleRow(**{key: rows[0][key] for key in RuleRow.__slots__}) if rows else None

    def held(self, identity: str, machine: str) -> dict[str, int]:
        """The revision of each rule that a machine has, by AUTHOR/NAME.

        What is not for it is not among them: it may be one day, and is brought again then.
        """
        rows = self._database.read(
            "SELECT author, name, revision FROM rules"
            " WHERE identity = ? AND machine = ? AND jobs != ?",
            (identity, machine, NOT_MINE),
        )
        return {f"{row['author']}/{row['name']}": row["revision"] for row in rows}
