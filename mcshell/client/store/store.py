"""The session file: one SQLite database (WAL) with everything a session asked and heard.

Requests are kept as the signed bytes that went out, replies as the bytes that came in, so that
another process, or another machine, can verify them again. The key of a reply is
(request, sender, sequence): a redelivery changes nothing. Large bodies are beside it (`bodies`).

All methods may be called from any thread, and several processes may have the file open. What
belongs to a durable request is committed with fsync, the rest without.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from mcshell.client.store import bodies
from mcshell.client.store import records as rows
from mcshell.client.store.earlier import EarlierVersions
from mcshell.client.store.incoming import (
    FIELDS,
    add_counts,
    enter,
    read_entries,
    write_entries,
)
from mcshell.client.store.jobs import JobStore, KeptJob, put_job
from mcshell.client.store.ledger import LedgerEntry, judge
from mcshell.client.store.plans import PlanStore
from mcshell.client.store.pool_tasks import PoolTaskStore
from mcshell.client.store.records import (
    LARGE,
    NewRequest,
    OutgoingMessage,
    ReplyRecord,
    RequestRecord,
    StoredData,
)
from mcshell.client.store.schema import SESSION
from mcshell.client.store.secret_bytes import forget
from mcshell.client.store.strays import StrayStore
from mcshell.client.store.unheard import HeardTargets, abandoned, lapsed, passed_over, unanswered
from mcshell.client.store.unverified import UnverifiedStore
from mcshell.errors import ConfigError, SessionError
from mcshell.message import State
from mcshell.sqlite import Database
from mcshell.wire.documents.rule import read_job

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from mcshell.client.store.records import SignedDigest

__all__ = ["SessionStore"]

_REMEMBERED = 50_000
_WHOLE = 1 << 40
_SENT = (
    "SELECT t.sent FROM targets t JOIN outgoing o ON o.request=t.request AND o.sender=t.sender"
    " WHERE t.request=? AND t.sender=? AND length(o.body)>0"
)
_BEGIN = "UPDATE targets SET sent=? WHERE request=? AND sender=?"
_NOT_BEGUN = "UPDATE targets SET sent=NULL WHERE request=? AND sender=? AND sent=?"


class SessionStore:
    """One session file, open for what goes out and what comes in.

    Raises:
        SessionError: it is no session file, or of a version not known here.
    """

    def __init__(self, path: Path, *, patient: bool = False) -> None:
        self._certificates: dict[str, int] = {}
        try:
            self._database = Database(path, SESSION, patient=patient)
        except ConfigError as error:
            raise SessionError(str(error), path.stem) from error
        self._secrets = {str(row[0]) for row in self._all("SELECT request FROM secrets")}

    @property
    def path(self) -> Path:
        """Where the file is."""
        return self._database.path

    def move(self, path: Path) -> None:
        """Give the file another name, while threads may be at work in it (`Database.move`)."""
        self._database.move(path, bodies.BESIDE)

    def close(self) -> None:
        """Close the file; every commit so far is in it."""
        self._database.close()

    def copy(self, path: Path) -> None:
        """Write a consistent copy of the file, as it stands now, with all bodies in it."""
        self._all("VACUUM INTO ?", str(path))
        copy = Database(path, SESSION)
        try:
            with copy.transaction(durable=False) as db:
                bodies.bring_in(db, self.path)
        finally:
            copy.close()

    def pack(self) -> None:
        """Bring everything into the one file, so that it can be handed on alone."""
        self._all("PRAGMA journal_mode=DELETE")

    @contextmanager
    def _commit(self, *, durable: bool = False) -> Iterator[sqlite3.Connection]:
        """One transaction; on disk when it ends if it is a durable one."""
        try:
            with self._database.transaction(durable=durable) as db:
                yield db
        except BaseException:
            self._certificates.clear()  # those that were not committed have no number any more
            raise

    def _all(self, query: str, *values: Any) -> list[Any]:
        return self._database.read(query, values)

    def meta(self, key: str) -> str | None:
        """Read one of the session's own facts: its caller, collective or address."""
        found = self._all("SELECT value FROM meta WHERE key=?", key)
        return str(found[0][0]) if found else None

    def set_meta(self, key: str, value: str) -> None:
        """Write one of the session's own facts."""
        with self._commit() as db:
            db.execute("INSERT OR REPLACE INTO meta VALUES (?,?)", (key, value))

    def found(self, about: Mapping[str, str]) -> None:
        """Write whose a new file is, all of it or nothing; what another process wrote first stands."""
        with self._commit() as db:
            db.executemany("INSERT OR IGNORE INTO meta VALUES (?,?)", about.items())

    @property
    def jobs(self) -> JobStore:
        """The jobs of the session."""
        return JobStore(self._database)

    @property
    def earlier(self) -> EarlierVersions:
        """What the session has asked under an earlier version of the wire."""
        return EarlierVersions(self._database)

    @property
    def unverified(self) -> UnverifiedStore:
        """What an imported file could not prove of the session's requests."""
        return UnverifiedStore(self._database)

    @property
    def strays(self) -> StrayStore:
        """Replies that came here, and were asked for by another session of this address."""
        return StrayStore(self._database)

    @property
    def heard(self) -> HeardTargets:
        """What has become of targets that were pending."""
        return HeardTargets(self._database, self)

    @property
    def pool_tasks(self) -> PoolTaskStore:
        """What the session has asked of pools."""
        return PoolTaskStore(self._database, self)

    @property
    def plans(self) -> PlanStore:
        """The plans of the session."""
        return PlanStore(self._database)

    def add(
        self,
        record: RequestRecord,
        targets: Sequence[str],
        outgoing: Sequence[OutgoingMessage] = (),
    ) -> None:
        """Keep a request and its targets, and the bytes that are to go out, in one commit."""
        self.add_all([NewRequest(record, targets, outgoing)])

    def add_all(self, requests: Sequence[NewRequest]) -> list[SignedDigest]:
        """Keep several requests, each with what belongs to it, all in one commit.

        Returns what replies may say that they answer.
        """
        durable = any(one.record.via.durable for one in requests)
        digests = [digest for one in requests for digest in one.digests()]
        with self._commit(durable=durable) as db:
            for one in requests:
                self._add(db, one)
            rows.add_digests(db, digests)
        return digests

    def _add(self, db: sqlite3.Connection, new: NewRequest) -> None:
        record, targets = new.record, new.targets
        db.execute(rows.INSERT, rows.of_record(record))
        db.execute(
            "INSERT INTO targets (request, sender, place, state)"
            " SELECT ?, value, key, ? FROM json_each(?)",
            (record.id, State.PENDING, json.dumps(list(targets))),
        )
        db.execute("INSERT INTO counts VALUES (?,?,?)", (record.id, State.PENDING, len(targets)))
        self._add_outgoing(db, new.outgoing)
        names = {record.id}
        for document in new.jobs:
            job = read_job(document.body)
            names.add(job.id)
            put_job(db, KeptJob(job.id, job.name, document.body, record.id))
        if any(one.secret for one in new.jobs) if new.jobs else new.secret:
            db.executemany("INSERT OR IGNORE INTO secrets VALUES (?)", [(name,) for name in names])
            self._secrets |= names

    def _add_outgoing(self, db: sqlite3.Connection, outgoing: Sequence[OutgoingMessage]) -> None:
        db.executemany(
            "INSERT INTO outgoing VALUES (?,?,?,?,?,?,NULL)",
            [
                (
                    one.request,
                    one.sender,
                    one.destination,
                    one.body,
                    one.signature,
                    self._certificate(db, one.certificate),
                )
                for one in outgoing
            ],
        )

    def unconfirmed(self, limit: int, now: float) -> list[OutgoingMessage]:
        """Bytes of durable requests that the broker has not confirmed, oldest requests first."""
        found = self._all(
            f"{rows.OUTGOING} WHERE o.confirmed IS NULL AND r.via IN ('queue', 'pool') AND r.expires>?"
            " AND length(o.body)>0 ORDER BY r.number, o.sender LIMIT ?",
            now,
            limit,
        )
        return [rows.outgoing_of(row) for row in found]

    def mark_sent(
        self,
        request: str,
        names: Iterable[str],
        at: float,
        outgoing: Sequence[OutgoingMessage] = (),
        digests: Iterable[SignedDigest] = (),
    ) -> None:
        """Note when the request went out to these targets; the first time counts.

        `outgoing` are the signed bytes, where they are only kept now, and `digests` what replies may
        say that they answer.
        """
        with self._commit() as db:
            self._add_outgoing(db, outgoing)
            rows.add_digests(db, digests)
            db.execute(
                "UPDATE targets SET sent=coalesce(sent,?) WHERE request=?"
                " AND sender IN (SELECT value FROM json_each(?))",
                (at, request, json.dumps(list(names))),
            )

    def begin(
        self, messages: Iterable[OutgoingMessage], at: float, since: float
    ) -> dict[OutgoingMessage, bool]:
        """Write down, for good, that these are about to be sent: each, with whether it was before.

        What another process has begun after `since` (epoch) is left to it, and not in the result;
        nor is what was withdrawn.
        """
        begun: dict[OutgoingMessage, bool] = {}
        with self._commit(durable=True) as db:
            for one in messages:
                where = (one.request, one.sender)
                found = db.execute(_SENT, where).fetchone()
                if found is None:
                    continue  # withdrawn in this moment
                (before,) = found
                if before is None or not since < before <= at:
                    begun[one] = before is not None
                    db.execute(_BEGIN, (at, *where))
        return begun

    def not_begun(self, messages: Iterable[OutgoingMessage], at: float) -> None:
        """Take that back, as of then, of what was not sent at all, and by nobody else."""
        with self._commit() as db:
            db.executemany(_NOT_BEGUN, [(one.request, one.sender, at) for one in messages])

    def add_digests(self, digests: Iterable[SignedDigest]) -> None:
        """Keep what replies may say that they answer, before it is sent."""
        with self._commit() as db:
            rows.add_digests(db, digests)

    def mark_confirmed(self, sent: Iterable[OutgoingMessage], at: float) -> None:
        """Note that the broker has these."""
        with self._commit() as db:
            db.executemany(
                "UPDATE outgoing SET confirmed=? WHERE request=? AND sender=?",
                [(at, one.request, one.sender) for one in sent],
            )

    def doubt(self, now: float, since: float) -> None:
        """Have queued requests sent again of which no node has said that it has them.

        Those confirmed since then (epoch), by a broker that may not have them any more: a node drops
        the second.
        """
        with self._commit() as db:
            db.execute(
                "UPDATE outgoing SET confirmed=NULL WHERE confirmed>=? AND"
                " (request, sender) IN (SELECT t.request, t.sender FROM counts c"
                " JOIN requests r ON r.id=c.request JOIN targets t ON t.request=c.request"
                " WHERE c.state='pending' AND c.number>0 AND r.via='queue' AND r.expires>?"
                " AND t.state='pending')",
                (since, now),
            )

    def outgoing(self, request: str) -> list[tuple[OutgoingMessage, float | None]]:
        """The signed bytes of a request, each with when the broker confirmed it."""
        found = self._all(f"{rows.OUTGOING} WHERE o.request=?", request)
        return [(rows.outgoing_of(row), row["confirmed"]) for row in found]

    def open_outgoing(self, request: str) -> int:
        """How many messages of a request the broker has not confirmed."""
        query = "SELECT count(*) FROM outgoing WHERE request=? AND confirmed IS NULL"
        return int(self._all(query, request)[0][0])

    def confirmed(self, request: str, sender: str) -> float | None:
        """When the broker confirmed a request's message to a target (epoch); None if not yet."""
        query = "SELECT confirmed FROM outgoing WHERE request=? AND sender=?"
        found = self._all(query, request, sender)
        return found[0][0] if found else None

    def forget_secrets(self, now: float, *, all_of_them: bool = False) -> None:
        """Drop the bytes that hold secret inputs, once they are needed no more (`secret_bytes`)."""
        if not self._secrets:
            return
        with self._commit() as db:
            forget(db, now, all_of_them=all_of_them)
        self._database.checkpoint()

    # -- in

    def enter(
        self, replies: Iterable[ReplyRecord], *, durable: bool
    ) -> list[tuple[str, LedgerEntry]]:
        """Keep replies of nodes and what they make of the ledger, in one commit.

        Returns for each that says something new (a redelivery does not) its request's id and the
        entry that it made, and so what it says of earlier runs of its job.
        """
        replies = list(replies)
        with self._commit(durable=durable) as db:
            # what need not be on the disk at once is quicker in the WAL
            aside = partial(bodies.put_aside, db, self.path) if durable else list
            news = enter(db, replies, partial(self._certificate, db), self, aside)
            for request, verdicts in passed_over(db, (one.reply for one in replies)).items():
                judged = self._judge(db, request, verdicts, State.EXPIRED)
                news += [(request, entry) for entry in judged]
        if not self._secrets.isdisjoint(requestid for requestid, _entry in news):
            self.forget_secrets(time.time())
        return news

    def judge(
        self, request: str, verdicts: Iterable[tuple[str, str]], verdict: State
    ) -> list[LedgerEntry]:
        """Judge targets, each with its reason (`ledger.judge`); returns those that are."""
        with self._commit() as db:
            return self._judge(db, request, verdicts, verdict)

    def _judge(
        self,
        db: sqlite3.Connection,
        request: str,
        verdicts: Iterable[tuple[str, str]],
        verdict: State,
    ) -> list[LedgerEntry]:
        judged: list[LedgerEntry] = []
        changes: Counter[tuple[str, str]] = Counter()
        reasons = dict(verdicts)
        entries = {one.sender: one for one in read_entries(db, request, list(reasons))}
        for sender, reason in reasons.items():
            before = entries.get(sender)
            after = before and judge(before, verdict, reason)
            if before is None or after is None or after is before:
                continue
            judged.append(after)
            changes[request, before.state] -= 1
            changes[request, after.state] += 1
        write_entries(db, ((request, entry) for entry in judged))
        add_counts(db, changes)
        return judged

    def lapse(self, now: float) -> None:
        """Judge the pending targets of requests whose time is over, and for which nobody waits."""
        for request, verdicts in unanswered(self._database, now).items():
            self.judge(request, verdicts, State.SILENT)
        over = lapsed(self._database, now)
        for request, verdicts in over.items():
            self.judge(request, verdicts, State.EXPIRED)
        if over:
            self.forget_secrets(now)

    def abandon(self, now: float) -> None:
        """Judge what an earlier process left pending of interactive requests: nobody waits for it."""
        for request, verdicts in abandoned(self._database, now).items():
            self.judge(request, verdicts, State.SILENT)

    # -- looked back into

    def requests(self) -> list[tuple[RequestRecord, dict[str, int]]]:
        """The history, oldest first, each with its counts by state."""
        counts: dict[str, dict[str, int]] = {}
        for request, state, number in self._all("SELECT request, state, number FROM counts"):
            counts.setdefault(request, {})[state] = number
        records = map(rows.record_of, self._all(f"{rows.RECORDS} ORDER BY created, number"))
        return [(record, counts.get(record.id, {})) for record in records]

    def find_request(self, prefix: str | None = None) -> RequestRecord | None:
        """A request by id or its first letters, or the newest.

        Raises:
            SessionError: several ids begin so.
        """
        if prefix is None:
            found = self._all(f"{rows.RECORDS} ORDER BY created DESC, number DESC LIMIT 1")
        else:
            end = prefix + "\uffff"
            found = self._all(f"{rows.RECORDS} WHERE id>=? AND id<? LIMIT 3", prefix, end)
        if not found and prefix is not None:
            query = "SELECT request FROM reissued WHERE former>=? AND former<?"
            again = [row[0] for row in self._all(query, prefix, end)]
            return self.find_request(again[0]) if len(again) == 1 else None
        if len(found) > 1:
            ids = ", ".join(str(row[0])[:12] for row in found)
            raise SessionError(f"request {prefix!r} is ambiguous: {ids}", self.path.stem)
        return rows.record_of(found[0]) if found else None

    def signed(self, request: str, sender: str, digest: str) -> bool:
        """Whether bytes of this digest were signed about a request, for this target or for any."""
        query = "SELECT 1 FROM digests WHERE request=? AND sender IN (?, '*') AND digest=?"
        return bool(self._all(query, request, sender, digest))

    def digests(self, request: str) -> Iterator[tuple[str, str]]:
        """What was signed about a request: for which target (`*`: any), and its digest."""
        query = "SELECT sender, digest FROM digests WHERE request=?"
        return map(tuple, self._all(query, request))

    def reissue(self, former: str, new: NewRequest) -> None:
        """Put a request in the place of one that has not gone out to these targets.

        What is asked for by its former id is found. Targets that it did go out to stay with that.
        """
        record, names = new.record, new.targets
        with self._commit(durable=True) as db:
            db.executemany(
                "DELETE FROM outgoing WHERE request=? AND sender=?", [(former, n) for n in names]
            )
            self._add(db, replace(new, jobs=()))
            rows.add_digests(db, new.digests())
            places = "SELECT place FROM targets WHERE request=? AND sender=?"
            db.executemany(
                f"UPDATE targets SET place=({places}) WHERE request=? AND sender=?",  # noqa: S608 - our own text
                [(former, name, record.id, name) for name in names],
            )
            db.executemany(
                "DELETE FROM targets WHERE request=? AND sender=?", [(former, n) for n in names]
            )
            changes = Counter({(former, str(State.PENDING)): -len(names)})
            add_counts(db, changes)
            db.execute("INSERT OR REPLACE INTO reissued VALUES (?,?)", (former, record.id))
            for document in new.jobs[:1]:
                db.execute(
                    "UPDATE jobs SET id=?, request=?, body=? WHERE id=?",
                    (record.id, record.id, document.body, former),
                )
            left = db.execute("SELECT 1 FROM targets WHERE request=? LIMIT 1", (former,)).fetchone()
            if left is None:
                db.execute("DELETE FROM requests WHERE id=?", (former,))

    def is_target(self, request: str, sender: str) -> bool:
        """Whether a request was for this node."""
        query = "SELECT 1 FROM targets WHERE request=? AND sender=? AND unexpected=0"
        return bool(self._all(query, request, sender))

    def concerns(self, request: str, node: str) -> bool:
        """Whether a node (or `pool:NAME`) was a target, or took what a pool was asked."""
        query = "SELECT 1 FROM targets WHERE request=? AND ? IN (sender, worker) AND unexpected=0"
        return bool(self._all(query, request, node))

    def entries(self, request: str, *, whole: bool = False) -> list[LedgerEntry]:
        """The ledger of a request, in the order of its targets.

        The data of small replies is there, that of large ones (not `whole`) is read when it is
        looked at.
        """
        query = f"SELECT {FIELDS} FROM targets WHERE request=? ORDER BY place"  # noqa: S608
        found = self._all(query, request)
        data = self._data(request, whole=whole)
        return [rows.entry_of(request, row, data) for row in found]

    def entered(self, after: int, limit: int = 1000) -> list[tuple[int, str, LedgerEntry]]:
        """What replies made of the ledgers, from the one after `after` on, in order.

        Each is the reply's number, its request and the entry that it is about, as that is now.
        """
        fields = ", ".join(f"t.{name}" for name in FIELDS.split(", "))
        found = self._all(
            f"SELECT r.number, r.request, {fields} FROM replies r"  # noqa: S608 - our own names
            " JOIN requests q ON q.id=r.request JOIN targets t ON t.request=r.request"
            " AND t.sender IN (r.sender, 'pool:' || q.pool)"
            " WHERE r.number>? ORDER BY r.number LIMIT ?",
            after,
            limit,
        )
        # What a pool's row says is its worker's, whoever's reply this one is.
        return [
            (number, request, rows.entry_of(request, row, self._data(request, worker or sender)))
            for number, request, *row in found
            for sender, *_, worker in [row]
        ]

    def _data(
        self, request: str, sender: str | None = None, *, whole: bool = False
    ) -> dict[tuple[str, int], Mapping[str, Any]]:
        found = self._all(
            "SELECT sender, sequence, CASE WHEN length(body)<=? THEN body END FROM replies"
            " WHERE request=? AND sender=coalesce(?, sender) AND sequence%3=2",
            _WHOLE if whole else LARGE,
            request,
            sender,
        )
        return {
            (sender, sequence): (
                StoredData(self, request, sender, sequence)
                if body is None or (bodies.is_beside(body) and not whole)
                else rows.data_of(self.whole(body))
            )
            for sender, sequence, body in found
        }

    def body(self, request: str, sender: str, sequence: int) -> bytes:
        """One reply's bytes."""
        query = "SELECT body FROM replies WHERE request=? AND sender=? AND sequence=?"
        return self.whole(self._all(query, request, sender, sequence)[0][0])

    def whole(self, kept: bytes) -> bytes:
        """A reply's bytes, of what its row has; MachineError where they are lost."""
        return bodies.whole(lambda: self.path, kept)

    def replies(self, after: int = 0, limit: int = 1000) -> list[tuple[Any, ...]]:
        """The kept replies from the one after `after`, in order.

        Each is (number, request, body as the row has it, kept, signature, certificate, trust).
        """
        return self._all(
            "SELECT r.number, r.request, r.body, r.kept, r.signature, c.text, r.trust"
            " FROM replies r JOIN certificates c ON c.id=r.certificate"
            " WHERE r.number>? ORDER BY r.number LIMIT ?",
            after,
            limit,
        )

    def reply_count(self) -> int:
        """How many replies are kept."""
        return int(self._all("SELECT count(*) FROM replies")[0][0])

    def open_requests(self) -> int:
        """Of how many requests a reply is still waited for."""
        query = (
            "SELECT count(DISTINCT request) FROM counts WHERE number>0"
            " AND state IN ('pending', 'received', 'running')"
        )
        return int(self._all(query)[0][0])

    def unconfirmed_count(self, now: float) -> int:
        """How many messages `unconfirmed` would find."""
        query = (
            "SELECT count(*) FROM outgoing o JOIN requests r ON r.id=o.request WHERE o.confirmed IS NULL"
            " AND r.via IN ('queue', 'pool') AND r.expires>? AND length(o.body)>0"
        )
        return int(self._all(query, now)[0][0])

    def latest(self) -> int:
        """The number of the newest reply."""
        return int(self._all("SELECT coalesce(max(number),0) FROM replies")[0][0])

    def _certificate(self, db: sqlite3.Connection, text: str) -> int:
        number = self._certificates.get(text)
        if number is None:
            db.execute("INSERT OR IGNORE INTO certificates (text) VALUES (?)", (text,))
            query = "SELECT id FROM certificates WHERE text=?"
            (number,) = db.execute(query, (text,)).fetchone()
            if len(self._certificates) < _REMEMBERED:
                self._certificates[text] = number
        return int(number)
