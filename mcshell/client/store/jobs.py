"""The jobs of a session file: their documents, and which requests are runs of them."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from mcshell.client.store import records as rows
from mcshell.client.store.records import RequestRecord
from mcshell.client.store.unheard import queued
from mcshell.message import Filter, State, Via
from mcshell.values import dataclass
from mcshell.wire.documents.envelope import read_request
from mcshell.wire.documents.rule import read_job

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from mcshell.message import Job, Reply
    from mcshell.sqlite import Database

__all__ = ["JobStore", "KeptJob", "KeptRevision", "put_job"]

_RUN_FOR = 7 * 86_400.0
"""Seconds after a run's first reply in which its other targets may still speak."""
_EDITS: Final = "r.agent='job' AND r.action='edit'"
_OF_JOB: Final = "json_extract(r.data, '$.job')"


@dataclass(frozen=True, slots=True)
class KeptJob:
    """One job: the newest revision that a node has accepted, and the request whose targets have it.

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


@dataclass(frozen=True, slots=True)
class KeptRevision:
    """A revision of a job as it was handed in to one node, which has taken it (`accepted`) or may yet."""

    sender: str
    job: Job
    body: bytes
    accepted: bool


def put_job(db: sqlite3.Connection, job: KeptJob) -> None:
    """Write a job that is new here. An edit changes nothing until a node has accepted it."""
    db.execute(
        "INSERT OR IGNORE INTO jobs (id, name, body, request) VALUES (?,?,?,?)",
        (job.id, job.name, job.body, job.request),
    )


def _document(body: bytes) -> bytes:
    """The job that the bytes of a request bring."""
    return str(read_request(bytes(body)).data["document"]).encode()


class JobStore:
    """What a session knows of its jobs. Safe to call from any thread."""

    def __init__(self, store: Database) -> None:
        self._store = store

    def add(self, job: KeptJob) -> None:
        """Keep a job that is new here."""
        with self._store.transaction() as db:
            put_job(db, job)

    def all(self) -> list[KeptJob]:
        """The jobs of the session, the oldest first."""
        return self._kept("ORDER BY number")

    def get(self, job: str) -> KeptJob | None:
        """One job, by its whole id."""
        return next(iter(self._kept("WHERE id=?", (job,))), None)

    def _kept(self, which: str, values: Sequence[str] = ()) -> list[KeptJob]:
        found = self._store.read(f"SELECT id, name, body, request FROM jobs {which}", values)  # noqa: S608 - our own text
        edited = {job.id: (job, body) for job, body in self._accepted_edits()} if found else {}
        kept = []
        for number, name, body, request in found:
            one = KeptJob(number, name, bytes(body), request)
            if one.body and number in edited:
                job, document = edited[number]
                one = replace(one, name=job.name, body=document)
            kept.append(one)
        return kept

    def _accepted_edits(self) -> list[tuple[Job, bytes]]:
        """What was edited, the newest last, where a node has taken it and its bytes are still here."""
        found = self._store.read(
            "SELECT (SELECT o.body FROM targets t JOIN outgoing o ON o.request=t.request"  # noqa: S608 - our own text
            " AND o.sender=t.sender AND length(o.body)>0 WHERE t.request=r.id AND t.state='ok'"
            f" LIMIT 1) FROM requests r WHERE {_EDITS} ORDER BY r.number"
        )
        documents = [_document(body) for (body,) in found if body is not None]
        return [(read_job(one), one) for one in documents]

    def revisions(self, job: str) -> list[KeptRevision]:
        """What was handed in of a job, to each node, the oldest first; not what a node has refused.

        A job that was handed in counts, whatever has become of it since.
        """
        found = self._store.read(
            "SELECT o.sender, o.body, t.state, r.id FROM requests r"  # noqa: S608 - our own text
            " JOIN outgoing o ON o.request=r.id AND length(o.body)>0"
            " JOIN targets t ON t.request=o.request AND t.sender=o.sender"
            f" WHERE r.id=? OR ({_EDITS} AND {_OF_JOB}=?) ORDER BY r.number",
            (job, job),
        )
        read: dict[bytes, Job] = {}
        kept = []
        for sender, body, state, request in found:
            document = _document(body)
            if document not in read:
                read[document] = read_job(document)
            accepted = request == job or state == "ok"
            if accepted or state == "pending":
                kept.append(KeptRevision(sender, read[document], document, accepted))
        return kept

    def meant(self, word: str | None) -> str | None:
        """The request that an operator means: of a job of this name, or its newest run; else the word."""
        named = [one for one in self.all() if one.name == word] if word else []
        if not named:
            return word
        runs = [request for request, _run in self.runs(named[-1].id)]
        return runs[-1] if runs else named[-1].request

    def runs(self, job: str) -> list[tuple[str, str]]:
        """The runs of a job as (request id, name), in the order of their names."""
        query = "SELECT request, run FROM runs WHERE job=? ORDER BY run"
        return [(request, run) for request, run in self._store.read(query, (job,))]

    def queued(self) -> int:
        """As `unheard.queued`, now."""
        return queued(self._store, time.time())

    def run_ids(self) -> set[str]:
        """The requests that are runs of the session's jobs."""
        return {row[0] for row in self._store.read("SELECT request FROM runs")}

    def adopt(self, reply: Reply, now: float) -> None:
        """Make a request of a run of which this is the first reply.

        Its targets are those of the job that are not at their end; replies come from them alone. It is
        synced with that reply: a backlog has thousands of runs.
        """
        kept = self.get(reply.job or "")
        if kept is None or self._request(reply.requestid) is not None:
            return
        record = self._record(kept, reply.requestid, now)
        with self._store.transaction(durable=False) as db:
            db.execute(
                "INSERT OR IGNORE INTO runs (request, job, run) VALUES (?,?,?)",
                (reply.requestid, kept.id, reply.run),
            )
            db.execute(rows.INSERT, rows.of_record(record))
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
