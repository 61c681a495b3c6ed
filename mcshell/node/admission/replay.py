"""Claims: a request id runs at most once on a node within its ttl, over restarts.

A claim is committed before the action starts (mcshell/README.md §5). One SQLite file (WAL) serves
any number of identities, so the emulator's nodes share one.

**Threads.** Any thread may claim. One of those that wait leads: it commits what all of them have
queued, in one transaction, wakes them, and hands the lead to the first that came meanwhile. So
claims that come together cost one commit together, and nobody works for the others for long.

**Durability.** `NORMAL` (the interactive lane) survives the death of the process, and may lose
the last claims to a power cut, after which a captured request could run again until its ttl is
over. `FULL` (the work lane) survives both.
"""

from __future__ import annotations

import sqlite3
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

from mcshell.errors import ConfigError, MCShellError

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable

__all__ = ["ReplayGuard"]

# A clock that was put forward and back again must not make an old request look new.
_GRACE: Final = 3600.0
_PURGE_EVERY: Final = 10.0
_PURGE_ROWS: Final = 1000

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS claims (
    identity TEXT NOT NULL,
    requestid TEXT NOT NULL,
    expires REAL NOT NULL,
    PRIMARY KEY (identity, requestid)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS claims_expires ON claims (expires);
"""
_INSERT: Final = "INSERT OR IGNORE INTO claims (identity, requestid, expires) VALUES (?, ?, ?)"
_PROLONG: Final = (
    "UPDATE claims SET expires = max(expires, ?3) WHERE identity = ?1 AND requestid = ?2"
)
_PURGE: Final = """
DELETE FROM claims WHERE (identity, requestid) IN
    (SELECT identity, requestid FROM claims WHERE expires < ? LIMIT ?)
"""


@dataclass(slots=True, eq=False)
class _ClaimTicket:
    """What one caller wants, and what became of it."""

    replay_guard: list[tuple[str, str, float]]
    now: float
    won: list[bool] = field(default_factory=list)
    done: bool = False
    error: BaseException | None = None
    wake: threading.Event = field(default_factory=threading.Event)


class ReplayGuard:
    """The claims of one file.

    Raises:
        ConfigError: the file cannot be opened or is no database of ours.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        synchronous: Literal["NORMAL", "FULL"] = "NORMAL",
    ) -> None:
        self.path = path
        # The lock guards the queue and `_led`; the database is the leader's alone.
        self._lock = threading.Lock()
        self._queue: list[_ClaimTicket] = []
        self._led = False
        self._purge_at = 0.0
        try:
            self._database = sqlite3.connect(
                path, isolation_level=None, check_same_thread=False, timeout=5.0
            )
            self._database.execute("PRAGMA journal_mode=WAL")
            self._database.execute(
                "PRAGMA synchronous=FULL" if synchronous == "FULL" else "PRAGMA synchronous=NORMAL"
            )
            self._database.executescript(_SCHEMA)
        except sqlite3.Error as error:
            raise ConfigError(f"{path}: no file for claims: {error}", origin=str(path)) from error

    def claim(self, identity: str, requestid: str, expires: float, now: float) -> bool:
        """Claim one request for one identity; False when it was claimed before.

        Raises:
            MCShellError: the claim cannot be recorded; the request must not run.
        """
        return self.claim_many([(identity, requestid, expires)], now)[0]

    def claim_many(self, replay_guard: Iterable[tuple[str, str, float]], now: float) -> list[bool]:
        """Claim (identity, requestid, expires) triples in one transaction, all of them or none.

        Returns, for each, whether it is the caller's now. Raises MCShellError as `claim`.
        """
        ticket = _ClaimTicket(list(replay_guard), now)
        with self._lock:
            self._queue.append(ticket)
            follows, self._led = self._led, True
        if follows:
            try:
                ticket.wake.wait()
            except BaseException:
                self._leave(ticket)
                raise
        if not ticket.done:
            self._lead()
        if ticket.error is not None:
            raise MCShellError(
                f"{self.path}: the claim cannot be recorded: {ticket.error}"
            ) from ticket.error
        return ticket.won

    def close(self) -> None:
        """Close the file; the caller sees to it that no thread claims any more."""
        self._database.close()

    def _leave(self, ticket: _ClaimTicket) -> None:
        """Stop waiting (Ctrl-C in the main thread), without taking the lead along."""
        with self._lock:
            leads = ticket.wake.is_set() and not ticket.done
            if not leads and ticket in self._queue:
                self._queue.remove(ticket)
        if leads:
            self._lead()

    def _lead(self) -> None:
        with self._lock:
            tickets, self._queue = self._queue, []
        try:
            self._commit(tickets)
        finally:
            with self._lock:
                heirs = self._queue[:1]
                self._led = bool(heirs)
                for ticket in (*heirs, *tickets):
                    ticket.wake.set()

    def _commit(self, tickets: list[_ClaimTicket]) -> None:
        """One transaction for all; what goes wrong is everybody's error, and nobody's claim."""
        failure: BaseException | None = None
        try:
            self._database.execute("BEGIN IMMEDIATE")
            for ticket in tickets:
                ticket.won = [self._insert(*claim) for claim in ticket.replay_guard]
            self._purge(tickets[-1].now)
            self._database.execute("COMMIT")
        except BaseException as error:
            failure = error
            self._roll_back()
            if not isinstance(error, Exception):
                raise
        finally:
            for ticket in tickets:
                ticket.error = failure
                ticket.done = True

    def _insert(self, identity: str, requestid: str, expires: float) -> bool:
        claim = (identity, requestid, expires)
        if self._database.execute(_INSERT, claim).rowcount == 1:
            return True
        self._database.execute(_PROLONG, claim)
        return False

    def _purge(self, now: float) -> None:
        if now < self._purge_at:
            return
        gone = self._database.execute(_PURGE, (now - _GRACE, _PURGE_ROWS)).rowcount
        if gone < _PURGE_ROWS:
            self._purge_at = now + _PURGE_EVERY

    def _roll_back(self) -> None:
        try:
            if self._database.in_transaction:
                self._database.execute("ROLLBACK")
        except sqlite3.Error:
            # The transaction is dead either way: nothing of it was committed, and all who wait
            # are told of the first error.
            return
