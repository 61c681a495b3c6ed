"""The jobs of a session file: their documents, and which requests are runs of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcshell.client import rows
from mcshell.message import State

if TYPE_CHECKING:
    from mcshell.client.sessionfile import SessionFile
    from mcshell.message import Reply

__all__ = ["JobStore"]

_RUN_FOR = 7 * 86_400.0
"""Seconds after a run's first word in which its other targets may still speak."""


class JobStore:
    """What a session knows of its jobs. Safe to call from any thread."""

    def __init__(self, store: SessionFile) -> None:
        self._store = store

    def add(self, job: str, name: str, body: bytes) -> None:
        """Keep a job's document, or its newest revision."""
        with self._store.transaction() as db:
            db.execute(
                "INSERT INTO jobs (id, name, body) VALUES (?,?,?)"
                " ON CONFLICT (id) DO UPDATE SET name=excluded.name, body=excluded.body",
                (job, name, body),
            )

    def all(self) -> list[tuple[str, str, bytes]]:
        """Each job: id, name, document; the oldest first."""
        found = self._store.query("SELECT id, name, body FROM jobs ORDER BY number")
        return [(job, name, bytes(body)) for job, name, body in found]

    def runs(self, job: str) -> list[str]:
        """The request ids of the runs of a job, in the order of their names."""
        found = self._store.query("SELECT request FROM runs WHERE job=? ORDER BY run", job)
        return [request for (request,) in found]

    def adopt(self, reply: Reply, now: float) -> None:
        """Make a request of a run of which this is the first word.

        Its targets are those of the job that are not at their end; the words come from them alone.
        """
        job = reply.job or ""
        if self._store.find_request(reply.requestid) is not None:
            return
        record = self._store.find_request(job)
        assert record is not None, "words about jobs of others are refused"
        with self._store.transaction() as db:
            db.execute(
                "INSERT OR IGNORE INTO runs (request, job, run) VALUES (?,?,?)",
                (reply.requestid, job, reply.run),
            )
            db.execute(
                "INSERT INTO requests (id, agent, action, via, collective, created, expires,"
                " filter, data, pool) VALUES (?,?,?,?,?,?,?,?,?,?)",
                rows.of_record(rows.run_record(record, reply, now, now + _RUN_FOR)),
            )
            count = db.execute(
                "INSERT INTO targets (request, sender, place, state, sent)"
                " SELECT ?, sender, place, ?, ? FROM targets WHERE request=? AND unexpected=0"
                " AND (sender=? OR state IN ('pending', 'received', 'running'))",
                (reply.requestid, State.PENDING, now, job, reply.sender),
            ).rowcount
            db.execute("INSERT INTO counts VALUES (?,?,?)", (reply.requestid, State.PENDING, count))
