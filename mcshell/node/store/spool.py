"""The spool: what this node was given to do, on disk, and what it has still to say.

One table gives at-most-once over restarts, the order of work, and the evidence for `explain`; a
second, the outbox, holds final replies as signed bytes until the broker has them. A row's last
state and its reply are one commit. An identity column lets the emulator's nodes share a file.
See mcshell/README.md §9.
"""

from __future__ import annotations

from dataclasses import fields
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final

from mcshell.node.store import job_table as jobs
from mcshell.node.store import rule_table as rules
from mcshell.node.store.records import QUEUED, RUNNING, OutboxMessage, WorkItem
from mcshell.sqlite import Database, FileKind
from mcshell.storage import has_room

if TYPE_CHECKING:
    import os
    import sqlite3
    from collections.abc import Iterable, Sequence

    from mcshell.node.store.job_table import JobRow
    from mcshell.node.store.records import Key, WorkResult
    from mcshell.node.store.rule_table import RuleRow

__all__ = ["EVERYBODY", "Spool"]

EVERYBODY: Final = ("", "\U0010ffff")
"""All identities there can be, as a first and a last one."""

_PURGE_ROWS: Final = 500
_AT_ONCE: Final = 4 << 20

_TABLES: Final = """
CREATE TABLE IF NOT EXISTS work (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    identity TEXT NOT NULL,
    id TEXT NOT NULL,
    kind TEXT NOT NULL,
    via TEXT NOT NULL,
    pool TEXT,
    collective TEXT NOT NULL,
    agent TEXT NOT NULL,
    action TEXT NOT NULL,
    caller TEXT NOT NULL,
    session TEXT NOT NULL,
    body BLOB,
    signature TEXT,
    certificate TEXT,
    created REAL NOT NULL,
    expires REAL NOT NULL,
    due REAL NOT NULL,
    state TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    received REAL NOT NULL,
    started REAL,
    ended REAL,
    statuscode INTEGER,
    statusmsg TEXT NOT NULL,
    job TEXT,
    run TEXT NOT NULL,
    UNIQUE (identity, id)
);
CREATE INDEX IF NOT EXISTS work_open ON work (identity, state, due, number)
    WHERE state IN ('queued', 'running');
CREATE INDEX IF NOT EXISTS work_job ON work (identity, job) WHERE job IS NOT NULL;
CREATE INDEX IF NOT EXISTS work_expires ON work (expires);
CREATE TABLE IF NOT EXISTS outbox (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    identity TEXT NOT NULL,
    request TEXT NOT NULL,
    sequence INTEGER NOT NULL,
    destination TEXT NOT NULL,
    body BLOB NOT NULL,
    signature TEXT NOT NULL,
    certificate TEXT NOT NULL,
    UNIQUE (identity, request, sequence)
);
"""

# So that the callers, and the oldest of each, are found without reading all that waits.
_BY_CALLER: Final = """
CREATE INDEX work_of_caller ON work (identity, caller, due, number) WHERE state = 'queued';
"""

WORK: Final = FileKind(
    name="file for work",
    # The tables of versions 1 and 2 are the same; mcshell 0.1.0 is to leave the file alone.
    versions={
        1: _TABLES + jobs.TABLES + rules.TABLES,
        2: "",
        3: jobs.ADD_DIGESTS + jobs.BRINGERS + _BY_CALLER,
        4: jobs.CANCELLED_AHEAD,
    },
    pragmas=("cache_size=-1024",),
)

_WORK: Final = tuple(field.name for field in fields(WorkItem))
_MESSAGE: Final = tuple(field.name for field in fields(OutboxMessage))


def _insert(table: str, columns: Sequence[str]) -> str:
    names, marks = ", ".join(columns), ", ".join("?" * len(columns))
    return f"INSERT OR IGNORE INTO {table} ({names}) VALUES ({marks})"  # noqa: S608 - our own names


_ADD_WORK: Final = _insert("work", _WORK)
_ADD_MESSAGE: Final = _insert("outbox", _MESSAGE)
_work_values: Final = attrgetter(*_WORK)
_message_values: Final = attrgetter(*_MESSAGE)
_START: Final = (
    "UPDATE work SET state = 'running', attempt = attempt + 1, started = ?"
    " WHERE identity = ? AND id = ? AND state = 'queued'"
)
_CALLERS: Final = """
WITH RECURSIVE each(caller) AS (
    SELECT min(caller) FROM work WHERE state = 'queued' AND identity = ?
    UNION ALL SELECT (SELECT min(caller) FROM work
        WHERE state = 'queued' AND identity = ? AND caller > each.caller)
    FROM each WHERE caller IS NOT NULL
) SELECT caller FROM each WHERE caller IS NOT NULL
"""
_DUE: Final = (
    "state = 'queued' AND identity = ? AND caller = ? AND due <= ? AND agent NOT IN (AGENTS)"
    " ORDER BY due, number LIMIT ?"
)
_END: Final = (
    "UPDATE work SET state = ?, statuscode = ?, statusmsg = ?, ended = ?, body = NULL,"
    " signature = NULL, certificate = NULL WHERE identity = ? AND id = ?"
    " AND state IN ('queued', 'running')"
)
_REQUEUE: Final = (
    "UPDATE work SET state = 'queued', due = ?, expires = max(expires, ?), statuscode = ?,"
    " statusmsg = ? WHERE identity = ? AND id = ? AND state = 'running'"
)


_CLAIM: Final = _ADD_WORK.replace("OR IGNORE ", "") + (
    " ON CONFLICT (identity, id) DO UPDATE SET state = excluded.state, attempt = excluded.attempt,"
    " started = excluded.started, ended = NULL, statusmsg = '', body = excluded.body,"
    " signature = excluded.signature, certificate = excluded.certificate"
    " WHERE work.state = 'interrupted' AND work.statuscode IS NULL"
)
_ABANDON: Final = (
    "UPDATE work SET state = 'interrupted', statusmsg = 'the worker died', ended = ?, body = NULL,"
    " signature = NULL, certificate = NULL"
    " WHERE state = 'running' AND identity = ? AND via = 'pool'"
)
_PURGE: Final = (
    "DELETE FROM work WHERE number IN (SELECT number FROM work WHERE expires < ?"
    " AND ended < ? AND state NOT IN ('queued', 'running') LIMIT ?)"
)


def _end(database: sqlite3.Connection, end: WorkResult) -> bool:
    values = (end.state, end.statuscode, end.statusmsg, end.ended, *end.key)
    mine = database.execute(_END, values).rowcount == 1
    if mine and end.message is not None:
        _add_messages(database, [end.message])
    return mine


def _add_messages(database: sqlite3.Connection, messages: Iterable[OutboxMessage]) -> None:
    # One without a destination is for nobody: about a job which a rule has brought.
    values = [_message_values(message) for message in messages if message.destination]
    database.executemany(_ADD_MESSAGE, values)


class Spool:
    """The work and the outbox of one file. Any thread may call; each call that writes commits.

    Raises (all methods): MCShellError when the file cannot be read or written, StorageError when it
    is for the disk.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._database = Database(path, WORK, patient=True)
        self.jobs = jobs.JobTable(self._database)
        self.rules = rules.RuleTable(self._database)

    @property
    def hindered(self) -> bool:
        """Whether the disk took nothing when the file was opened (`Database.hindered`)."""
        return self._database.hindered

    def has_room(self) -> bool:
        """Whether its disk takes anything now (`StorageError`)."""
        return has_room(self._database.path.parent)

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    # --- what changes it -----------------------------------------------------------------------

    def add(
        self,
        rows: Sequence[WorkItem],
        messages: Iterable[OutboxMessage] = (),
        *,
        durable: bool = True,
    ) -> list[bool]:
        """Take rows in, in any state; returns, for each, whether its id is new.

        `messages` go into the outbox only with the row that they belong to.
        """
        added = {(message.identity, message.request): message for message in messages}

        def work(database: sqlite3.Connection) -> list[bool]:
            taken = []
            for row in rows:
                new = database.execute(_ADD_WORK, _work_values(row)).rowcount == 1
                if new and row.key in added:
                    _add_messages(database, [added[row.key]])
                taken.append(new)
            return taken

        return self._database.write(work, durable=durable)

    def start(self, keys: Sequence[Key], now: float) -> list[bool]:
        """Claim queued rows for running; False for one that is no longer queued."""
        return self._database.write(
            lambda database: [database.execute(_START, (now, *key)).rowcount == 1 for key in keys]
        )

    def finish(
        self,
        ends: Sequence[WorkResult],
        jobs_after: Sequence[JobRow] = (),
        more: Sequence[OutboxMessage] = (),
    ) -> list[bool]:
        """End open rows and put their replies into the outbox; False for one that had ended.

        `jobs_after` is how their jobs stand then, `more` replies about them.
        """

        def work(database: sqlite3.Connection) -> list[bool]:
            for row in jobs_after:
                jobs.put(database, row)
            _add_messages(database, more)
            return [_end(database, end) for end in ends]

        return self._database.write(work)

    def put_jobs(
        self,
        rows: Sequence[JobRow],
        *,
        runs: Sequence[WorkItem] = (),
        messages: Sequence[OutboxMessage] = (),
        awaits: Sequence[tuple[Key, Sequence[tuple[str, str]]]] = (),
        rule: RuleRow | None = None,
        expires: float | None = None,
    ) -> None:
        """Write jobs down with the runs that they become, replies about them, what they wait for.

        `rule` is the one that has brought them; `expires` is when the request has (epoch).
        """

        def work(database: sqlite3.Connection) -> None:
            for row in rows:
                jobs.put(database, row)
                if expires is not None:
                    jobs.note_bringer(database, row.key, expires)
            database.executemany(_ADD_WORK, [_work_values(run) for run in runs])
            _add_messages(database, messages)
            for key, conditions in awaits:
                jobs.await_(database, key, conditions)
            if rule is not None:
                rules.put(database, rule)

        self._database.write(work)

    def claim(self, claims: Sequence[WorkItem], ends: Sequence[WorkResult]) -> list[bool]:
        """Claim rows of a pool and end others, in one commit; returns which claims were won.

        A row that `abandon` left without a reply may be claimed again. What is only claimed need
        not survive a power cut: the broker has the message, and marks it when it comes again.
        """

        def work(database: sqlite3.Connection) -> list[bool]:
            won = [database.execute(_CLAIM, _work_values(row)).rowcount == 1 for row in claims]
            for end in ends:
                _end(database, end)
            return won

        return self._database.write(work, durable=bool(ends))

    def abandon(self, identity: str, now: float) -> None:
        """Mark what an earlier process was doing for pools: interrupted, and nobody was told.

        The broker hands the messages out again, to whoever is there.
        """
        self._database.write(
            lambda database: database.execute(_ABANDON, (now, identity)), durable=False
        )

    def requeue(
        self,
        keys: Sequence[Key],
        due: float,
        expires: float = 0.0,
        statuscode: int | None = None,
        statusmsg: str = "",
    ) -> None:
        """Have running rows wait for a further attempt from `due` on, at least until `expires`.

        `statuscode` and `statusmsg` are how the last one failed; without a code it died.
        """
        rows = [(due, expires, statuscode, statusmsg, *key) for key in keys]
        self._database.write(lambda database: database.executemany(_REQUEUE, rows))

    def add_messages(self, messages: Sequence[OutboxMessage]) -> None:
        """Put replies into the outbox whose rows ended before."""
        self._database.write(lambda database: _add_messages(database, messages))

    def replace_message(self, message: OutboxMessage) -> None:
        """Put another reply in the place of one that cannot be sent."""
        query = "UPDATE outbox SET body=?, signature=?, certificate=? WHERE number=?"
        values = (message.body, message.signature, message.certificate, message.number)
        self._database.write(lambda database: database.execute(query, values))

    def confirmed(self, numbers: Iterable[int]) -> None:
        """Drop replies from the outbox: the broker has them."""
        query, gone = "DELETE FROM outbox WHERE number = ?", [(number,) for number in numbers]
        # Lost in a power cut it is only sent again, the same bytes.
        self._database.write(lambda database: database.executemany(query, gone), durable=False)

    def wipe(self) -> None:
        """Have nothing left on the disk of what has ended: the WAL holds it until then."""
        self._database.checkpoint()

    def purge(self, now: float, retention: float) -> int:
        """Forget some rows that ended `retention` seconds ago and whose ttl is over."""
        old = (now - jobs.GRACE, now - retention, _PURGE_ROWS)
        return self._database.write(
            lambda database: database.execute(_PURGE, old).rowcount, durable=False
        )

    # --- what asks it --------------------------------------------------------------------------

    def get(self, key: Key) -> WorkItem | None:
        """One row by its key; None when it is not here."""
        rows = self._select("identity = ? AND id = ?", key)
        return rows[0] if rows else None

    def runs_of(self, key: Key, limit: int = 50) -> list[WorkItem]:
        """The runs of a job, the newest first."""
        return self._select("identity = ? AND job = ? ORDER BY number DESC LIMIT ?", (*key, limit))

    def last_run(self, key: Key) -> WorkItem | None:
        """The newest run of a job that has started."""
        where = "identity = ? AND job = ? AND started IS NOT NULL ORDER BY number DESC LIMIT 1"
        return next(iter(self._select(where, key)), None)

    def withdraw(self, key: Key, end: WorkResult | None = None) -> bool:
        """Take a row back that is queued, for good with its `end`; whether there was one."""
        queued = "FROM work WHERE identity = ? AND id = ? AND state = 'queued'"

        def work(database: sqlite3.Connection) -> bool:
            if end is None:
                return database.execute(f"DELETE {queued}", key).rowcount == 1
            here = database.execute(f"SELECT 1 {queued}", key).fetchone() is not None
            return here and _end(database, end)

        return self._database.write(work)

    def states(self, keys: Iterable[Key]) -> dict[Key, str]:
        """The states of those rows that are there."""
        query = "SELECT state FROM work WHERE identity = ? AND id = ?"
        found = {key: self._database.read(query, key) for key in keys}
        return {key: rows[0]["state"] for key, rows in found.items() if rows}

    def due(
        self, identity: str, now: float, limit: int, without: Iterable[str] = ()
    ) -> list[WorkItem]:
        """Queued rows whose time has come, the oldest first, up to `limit` of each caller.

        `without` those of some agents.
        """
        agents = tuple(without)
        where = _DUE.replace("AGENTS", ", ".join("?" * len(agents)))
        found: list[WorkItem] = []
        for (caller,) in self._database.read(_CALLERS, (identity, identity)):
            found += self._select(where, (identity, caller, now, *agents, limit))
        return sorted(found, key=attrgetter("due", "number"))

    def overdue(self, now: float, limit: int = 100) -> list[WorkItem]:
        """Queued rows, of all identities, whose ttl ended before they could start."""
        return self._select("state = 'queued' AND expires < ? LIMIT ?", (now, limit))

    def running(self) -> list[WorkItem]:
        """The rows that run, or ran when the process died, of all identities."""
        return self._select("state = 'running'", ())

    def waiters(self, now: float) -> list[str]:
        """The identities that have queued rows whose time has come."""
        rows = self._database.read(
            "SELECT DISTINCT identity FROM work WHERE state = 'queued' AND due <= ?", (now,)
        )
        return [row["identity"] for row in rows]

    def counts(self, identity: str) -> dict[str, int]:
        """How many rows of an identity wait (`spooled`), run, and how many replies are not confirmed."""
        rows = self._database.read(
            "SELECT state, count(*) AS n FROM work WHERE state IN ('queued', 'running')"
            " AND identity = ? GROUP BY state",
            (identity,),
        )
        states = {row["state"]: row["n"] for row in rows}
        (outbox,) = self._database.read(
            "SELECT count(*) AS n FROM outbox WHERE identity = ?", (identity,)
        )
        return {
            "spooled": states.get(QUEUED, 0),
            "running": states.get(RUNNING, 0),
            "outbox": outbox["n"],
        }

    def idle(self) -> bool:
        """Whether nothing here waits or runs, of no identity: no row, and no job for another."""
        (row,) = self._database.read(
            "SELECT NOT EXISTS (SELECT 1 FROM work WHERE state IN ('queued', 'running'))"
            " AND NOT EXISTS (SELECT 1 FROM jobs WHERE state = 'waiting') AS idle"
        )
        return bool(row["idle"])

    def waiting(self, identity: str) -> int:
        """How many rows of an identity are queued."""
        (row,) = self._database.read(
            "SELECT count(*) AS n FROM work WHERE state = 'queued' AND identity = ?", (identity,)
        )
        return int(row["n"])

    def waiting_of(self, identity: str) -> dict[str, int]:
        """How many rows of an identity are queued, by caller."""
        query = (
            "SELECT caller, count(*) AS n FROM work WHERE state = 'queued' AND identity = ?"
            " GROUP BY caller"
        )
        return {row["caller"]: row["n"] for row in self._database.read(query, (identity,))}

    def seen(self, identity: str, requestid: str) -> dict[str, Any] | None:
        """What is known of a request, under the keys that `explain` reads; None when nothing is."""
        row = self.get((identity, requestid))
        if row is None:
            job = self.jobs.get((identity, requestid))
            return None if job is None else jobs.seen(job, self.jobs.waits(job.key))
        known = row.evidence()
        if row.state == QUEUED:
            known["place"] = before = self._before(row)
            known["reason"] = f"waits in the spool behind {before} others"
        return known

    def _before(self, row: WorkItem) -> int:
        """How many queued rows of its identity go before this one, at most: callers go round."""
        found = self._database.read(
            "SELECT caller, count(*) AS n, total((due, number) < (?, ?)) AS older FROM work"
            " WHERE state = 'queued' AND identity = ? GROUP BY caller",
            (row.due, row.number, row.identity),
        )
        mine = next((int(one["older"]) for one in found if one["caller"] == row.caller), 0)
        others = (int(one["n"]) for one in found if one["caller"] != row.caller)
        return mine + sum(min(count, mine + 1) for count in others)

    def unconfirmed(
        self, after: int = 0, limit: int = 200, names: tuple[str, str] = EVERYBODY
    ) -> list[OutboxMessage]:
        """Replies of the outbox whose number is above `after`, in their order; 4 MiB at once.

        `names`: only those of identities from the first to the last of these two.
        """
        query = "FROM outbox WHERE number > ? AND identity BETWEEN ? AND ? ORDER BY number LIMIT ?"
        values = (after, *names, limit)
        sizes = self._database.read(f"SELECT length(body) AS size {query}", values)
        count = total = 0
        for row in sizes:
            total += row["size"]
            if count and total > _AT_ONCE:
                break
            count += 1
        rows = self._database.read(f"SELECT * {query}", (*values[:-1], count))
        return [OutboxMessage(**{name: row[name] for name in _MESSAGE}) for row in rows]

    def _select(self, where: str, values: tuple[Any, ...]) -> list[WorkItem]:
        rows = self._database.read(f"SELECT * FROM work WHERE {where}", values)  # noqa: S608 - our own text
        return [WorkItem(**{name: row[name] for name in _WORK}) for row in rows]
