"""The jobs of a session file: their documents, and which requests are runs of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mcshell.client.store import records as rows
from mcshell.client.store.records import RequestRecord
from mcshell.message import Filter, State, Via
from mcshell.wire.documents.rule import read_job

if TYPE_CHECKING:
    import sqlite3

    from mcshell.message import Job, Reply
    from mcshell.sqlite import Database

__all__ = ["JobStore", "KeptJob", "put_job"]

_RUN_FOR = 7 * 86_400.0
"""Seconds after a run's first reply in which its other targets may still speak."""


@dataclass(frozen=True, slots=True)
class KeptJob:
    """One job: its newest revision, and the request whose targets have it.

    That is the one that submitted it, which has its id, or the edit that took it over. `body` is
    empty once it has ended and held secrets.
    """

    id: str
    name: str
    body: bytes
    request: str

    @property
    def job(self) -> Job:
        """The job that its document holds."""
        return read_job(self.body)


def put_job(db: sqlite3.Connection, job: KeptJob) -> None:
    """Write a job, or its newest revision; one that is there stays with the request it came by."""
    db.execute(
        "INSERT INTO jobs (id, name, body, request) VALUES (?,?,?,?)"
        " ON CONFLICT (id) DO UPDATE SET name=excluded.name, body=excluded.body",
        (job.id, job.name, job.body, job.request),
    )


class JobStore:
    """What a session knows of its jobs. Safe to call from any thread."""

    def __init__(self, store: Database) -> None:
        self._store = store

    def add(self, job: KeptJob) -> None:
        """Keep a job, or its newest revision."""
        with self._store.transaction() as db:
            put_job(db, job)

    def all(self) -> list[KeptJob]:
        """The jobs of the session, the oldest first."""
        found = self._store.read("SELECT id, name, body, request FROM jobs ORDER BY number")
        return [KeptJob(job, name, bytes(body), request) for job, name, body, request in found]

    def get(self, job: str) -> KeptJob | None:
        """One job, by its whole id."""
        found = self._store.read("SELECT id, name, body, request FROM jobs WHERE id=?", (job,))
        return KeptJob(found[0][0], found[0][1], bytes(found[0][2]), found[0][3]) if found else None

    def runs(self, job: str) -> list[tuple[str, str]]:
        """The runs of a job as (request id, name), in the order of their names."""
        query = "SELECT request, run FROM runs WHERE job=? ORDER BY run"
        return [(request, run) for request, run in self._store.read(query, (job,))]

    def run_ids(self) -> set[str]:
        """The requests that are runs of the session's jobs."""
        return {row[0] for row in self._store.read("SELECT request FROM runs")}

    def adopt(self, reply: Reply, now: float) -> None:
        """Make a request of a run of which this is the first reply.

        Its targets are those of the job that are not at their end; replies come from them alone.
        """
        kept = self.get(reply.job or "")
        if kept is None or self._request(reply.requestid) is not None:
            return
        record = self._record(kept, reply.requestid, now)
        with self._store.transaction() as db:
            db.execute(
                "INSERT OR IGNORE INTO runs (request, job, run) VALUES (?,?,?)",
                (reply.requestid, kept.id, reply.run),
            )
            db.execute(
                "INSERT INTO requests (id, agent, action, via, collective, created, expires,"
                " filter, data, pool) VALUES (?,?,?,?,?,?,?,?,?,?)",
                rows.of_record(record),
            )
            count = db.execute(
                "INSERT INTO targets (request, sender, place, state, sent)"
                " SELECT ?, sender, place, ?, ? FROM targets WHERE request=? AND unexpected=0"
                " AND (sender=? OR ? OR state IN ('pending', 'received', 'running'))",
                (
                    reply.requestid,
                    State.PENDING,
                    now,
                    kept.request,
                    reply.sender,
                    kept.request != kept.id,
                ),
            ).rowcount
            db.execute("INSERT INTO counts VALUES (?,?,?)", (reply.requestid, State.PENDING, count))

    def _request(self, request: str) -> RequestRecord | None:
        found = self._store.read(f"{rows.RECORDS} WHERE id=?", (request,))
        return rows.record_of(found[0]) if found else None

    def _record(self, kept: KeptJob, requestid: str, now: float) -> RequestRecord:
        """The request that a run is."""
        made = self._request(kept.id)
        job = made or kept.job
        return RequestRecord(
            id=requestid,
            agent=job.agent,
            action=job.action,
            via=Via.QUEUE,
            collective=job.collective,
            created=now,
            expires=now + _RUN_FOR,
            filter=Filter() if made is None else made.filter,
            data={} if made is None else made.data,
        )
