"""One SQLite file, many threads, few commits: what comes together is committed together.

Whoever writes queues its piece of work and takes its turn; the one whose turn it is commits the
pieces of all that wait, in one transaction. WAL; `FULL` when any of the pieces asks for it, so
that what was promised to others survives a power cut.
"""

from __future__ import annotations

import sqlite3
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from mcshell.errors import ConfigError, MCShellError

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

__all__ = ["Database"]

T = TypeVar("T")


VERSION = 1
"""The version of the tables; a file of another one is not touched."""


@dataclass(slots=True, eq=False)
class _WriteTicket:
    """One writer's piece of work, and what became of it."""

    work: Callable[[sqlite3.Connection], Any]
    durable: bool
    done: bool = False
    result: Any = None
    error: Exception | None = None


class Database:
    """A connection that any thread may use.

    Raises:
        ConfigError: the file cannot be opened or is no database of ours.
    """

    def __init__(self, path: str | os.PathLike[str], schema: str) -> None:
        self.path = path
        self._queue: list[_WriteTicket] = []
        self._waiting = threading.Lock()
        """Guards the queue."""
        self._turn = threading.Lock()
        """Held by whoever uses the connection."""
        self._durable = True
        try:
            self._connection = sqlite3.connect(
                path, isolation_level=None, check_same_thread=False, timeout=5.0
            )
            self._connection.row_factory = sqlite3.Row
            self._connection.execute("PRAGMA journal_mode=WAL")
            self._connection.execute("PRAGMA synchronous=FULL")
            self._connection.execute("PRAGMA cache_size=-1024")
            self._check_version()
            self._connection.executescript(schema)
            self._connection.execute(f"PRAGMA user_version={VERSION}")
        except sqlite3.Error as error:
            raise ConfigError(f"{path}: no file for work: {error}", origin=str(path)) from error

    def _check_version(self) -> None:
        (found,) = self._connection.execute("PRAGMA user_version").fetchone()
        if found not in (0, VERSION):
            raise ConfigError(
                f"{self.path} is of version {found}, this mcshell works with version {VERSION}: "
                "run the mcshell that made it, or move the file away (what it holds is then lost)",
                origin=str(self.path),
            )

    def close(self) -> None:
        """Close the file; nobody may be at work in it any more."""
        with self._turn:
            self._connection.close()

    def read(self, query: str, values: tuple[Any, ...] = ()) -> list[sqlite3.Row]:
        """Run a query over what is committed."""
        with self._turn:
            try:
                return self._connection.execute(query, values).fetchall()
            except sqlite3.Error as error:
                raise MCShellError(f"{self.path}: cannot be read: {error}") from error

    def write(self, work: Callable[[sqlite3.Connection], T], *, durable: bool = True) -> T:
        """Have `work` done in a transaction, and return its result once that is committed.

        `work` only touches the database: when the transaction of another fails, it is done again.
        With `durable=False` a power cut may undo it; the death of this process never does.

        Raises:
            MCShellError: it could not be committed.
        """
        ticket = _WriteTicket(work, durable)
        with self._waiting:
            self._queue.append(ticket)
        with self._turn:
            if not ticket.done:
                with self._waiting:
                    tickets, self._queue = self._queue, []
                self._commit(tickets)
        if ticket.error is not None:
            raise MCShellError(f"{self.path}: cannot be written: {ticket.error}") from ticket.error
        result: T = ticket.result
        return result

    def _commit(self, tickets: list[_WriteTicket]) -> None:
        """One transaction for all; when it fails, one for each, so that each has its own fault."""
        try:
            self._transact(tickets)
        except Exception as error:  # noqa: BLE001 - the callers', each of whom raises its own
            if len(tickets) > 1:
                for ticket in tickets:
                    self._commit([ticket])
                return
            tickets[0].error = error
        for ticket in tickets:
            ticket.done = True

    def _transact(self, tickets: list[_WriteTicket]) -> None:
        durable = any(ticket.durable for ticket in tickets)
        if durable is not self._durable:
            self._connection.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
            self._durable = durable
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            for ticket in tickets:
                ticket.result = ticket.work(self._connection)
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise
