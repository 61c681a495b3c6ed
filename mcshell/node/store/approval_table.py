"""Proposals that came to this machine, the approvals of each, and what each was used for.

One file for all nodes of a process, which is bounded: what has ended goes, and of what has not an author
may have so much. What glass was broken is kept for a week.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mcshell.errors import UsageError
from mcshell.sqlite import Database, FileKind
from mcshell.values import dataclass
from mcshell.wire.documents.envelope import CERTIFICATE, SIGNATURE, SealedMessage

if TYPE_CHECKING:
    import sqlite3
    from pathlib import Path

    from mcshell.message import Proposal

__all__ = ["ApprovalTable", "Emergency", "KeptDocument", "KeptProposal"]

_KIND: Final = FileKind(
    name="file of approvals",
    versions={
        1: "CREATE TABLE proposals (digest TEXT PRIMARY KEY, author TEXT NOT NULL, agent TEXT NOT NULL,"
        " action TEXT NOT NULL, expires REAL NOT NULL, received REAL NOT NULL, body BLOB NOT NULL,"
        " signature TEXT NOT NULL, certificate TEXT NOT NULL) WITHOUT ROWID;"
        "CREATE INDEX proposals_use ON proposals (author, agent, action);"
        "CREATE TABLE approvals (proposal TEXT NOT NULL, author TEXT NOT NULL, received REAL NOT NULL,"
        " body BLOB NOT NULL, signature TEXT NOT NULL, certificate TEXT NOT NULL,"
        " PRIMARY KEY (proposal, author)) WITHOUT ROWID;"
        "CREATE TABLE uses (proposal TEXT NOT NULL, identity TEXT NOT NULL, request TEXT NOT NULL,"
        " PRIMARY KEY (proposal, identity)) WITHOUT ROWID;"
        "CREATE TABLE emergencies (number INTEGER PRIMARY KEY, identity TEXT NOT NULL, at REAL NOT NULL,"
        " request TEXT NOT NULL, text TEXT NOT NULL)"
    },
)
MOST_BYTES: Final = 16 << 20
"""Of all proposals together."""
MOST_OF_AUTHOR: Final = 64
MOST_BYTES_OF_AUTHOR: Final = 4 << 20
"""Of one author's, so that nobody keeps others from proposing."""
MOST_APPROVALS: Final = 50
"""Of one proposal."""
_EMERGENCIES_FOR: Final = 7 * 86_400.0
_MOST_EMERGENCIES: Final = 100
_KEPT: Final = "body, signature, certificate, received"
_HERE: Final = "length(body) > 0"
_GRACE: Final = 3600.0
"""Seconds for which a used proposal that has ended is known: a clock put forward and back uses none again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptDocument:
    """A signed document as it came in at `received` (epoch)."""

    message: SealedMessage
    received: float


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptProposal:
    """A proposal with its approvals; `used` is the request or job that it was used for here."""

    digest: str
    document: KeptDocument
    approvals: tuple[KeptDocument, ...]
    used: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Emergency:
    """Glass that was broken: on which node, when (epoch), by which request; `text` says who and why."""

    identity: str
    at: float
    request: str
    text: str


class ApprovalTable:
    """The file; any thread may call."""

    def __init__(self, path: Path) -> None:
        self._database = Database(path, _KIND, patient=True)

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def add_proposal(self, digest: str, proposal: Proposal, kept: KeptDocument) -> bool:
        """Keep a proposal; whether it is new.

        Raises:
            UsageError: its author has too many, or there are too many bytes.
            StorageError: the disk takes nothing.
        """
        row = (digest, proposal.author, proposal.agent, proposal.action, proposal.expires)
        values = (*row, kept.received, *_columns(kept))

        def work(db: sqlite3.Connection) -> bool:
            self._forget(db, kept.received)
            if db.execute("SELECT 1 FROM proposals WHERE digest=?", (digest,)).fetchone():
                return False
            _refuse_more(db, proposal.author, len(kept.message.body))
            db.execute("INSERT INTO proposals VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", values)
            return True

        return self._database.write(work)

    def add_approval(self, proposal: str, author: str, kept: KeptDocument) -> bool:
        """Keep an approval of a proposal that is here; whether its author had given none.

        Raises:
            UsageError: there is no such proposal, or it has too many.
            StorageError: the disk takes nothing.
        """
        values = (proposal, author, kept.received, *_columns(kept))

        def work(db: sqlite3.Connection) -> bool:
            if not db.execute("SELECT 1 FROM proposals WHERE digest=?", (proposal,)).fetchone():
                raise UsageError(f"there is no proposal {proposal[:12]} here, or it has ended")
            found = {
                row[0]
                for row in db.execute("SELECT author FROM approvals WHERE proposal=?", (proposal,))
            }
            if author not in found and len(found) >= MOST_APPROVALS:
                raise UsageError(f"{MOST_APPROVALS} approvals are there already")
            db.execute("INSERT OR REPLACE INTO approvals VALUES (?, ?, ?, ?, ?, ?)", values)
            return author not in found

        return self._database.write(work)

    def proposals(
        self, identity: str, now: float, of: tuple[str, str, str] | None = None
    ) -> list[KeptProposal]:
        """Those that have not ended, the oldest first; `of`: of an author, an agent and an action."""
        where = " AND author=? AND agent=? AND action=?" if of else ""
        rows = self._database.read(
            f"SELECT digest, {_KEPT} FROM proposals WHERE expires>=? AND {_HERE}{where}"  # noqa: S608 - columns
            " ORDER BY received, digest",
            (now, *(of or ())),
        )
        return [self._with_approvals(row, identity) for row in rows]

    def find(self, beginning: str, identity: str) -> list[KeptProposal]:
        """The proposals whose digest begins so."""
        rows = self._database.read(
            f"SELECT digest, {_KEPT} FROM proposals WHERE substr(digest, 1, ?)=? AND {_HERE} LIMIT 2",  # noqa: S608 - columns
            (len(beginning), beginning),
        )
        return [self._with_approvals(row, identity) for row in rows]

    def _with_approvals(self, row: sqlite3.Row, identity: str) -> KeptProposal:
        digest = row["digest"]
        approvals = self._database.read(
            f"SELECT {_KEPT} FROM approvals WHERE proposal=? ORDER BY received, author",  # noqa: S608 - columns
            (digest,),
        )
        used = self._database.read(
            "SELECT request FROM uses WHERE proposal=? AND identity=?", (digest, identity)
        )
        return KeptProposal(
            digest=digest,
            document=_kept(row),
            approvals=tuple(map(_kept, approvals)),
            used=used[0]["request"] if used else "",
        )

    def use(self, proposal: str, identity: str, request: str) -> str:
        """Use a proposal on a node for a request or a job; returns what it was used for first.

        Raises:
            StorageError: the disk takes nothing.
        """

        def work(db: sqlite3.Connection) -> str:
            db.execute("INSERT OR IGNORE INTO uses VALUES (?, ?, ?)", (proposal, identity, request))
            (used,) = db.execute(
                "SELECT request FROM uses WHERE proposal=? AND identity=?", (proposal, identity)
            ).fetchone()
            return str(used)

        return self._database.write(work)

    def note_emergency(self, one: Emergency) -> None:
        """Keep that glass was broken; raises StorageError."""

        def work(db: sqlite3.Connection) -> None:
            db.execute(
                "INSERT INTO emergencies (identity, at, request, text) VALUES (?, ?, ?, ?)",
                (one.identity, one.at, one.request, one.text),
            )
            db.execute(
                "DELETE FROM emergencies WHERE at<? OR number<="
                " (SELECT max(number) FROM emergencies) - ?",
                (one.at - _EMERGENCIES_FOR, _MOST_EMERGENCIES),
            )

        self._database.write(work)

    def emergencies(self, since: float) -> list[Emergency]:
        """What glass was broken, the newest first."""
        rows = self._database.read(
            "SELECT identity, at, request, text FROM emergencies WHERE at>=? ORDER BY number DESC",
            (max(since, 0.0),),
        )
        return [
            Emergency(
                identity=row["identity"], at=row["at"], request=row["request"], text=row["text"]
            )
            for row in rows
        ]

    def _forget(self, db: sqlite3.Connection, now: float) -> None:
        """Drop what has ended, with what belongs to it; of what was used its digest stays for a while."""
        db.execute(
            "UPDATE proposals SET body=x'' WHERE expires<? AND digest IN (SELECT proposal FROM uses)",
            (now,),
        )
        ended = [
            row[0]
            for row in db.execute(
                f"SELECT digest FROM proposals WHERE expires<? AND ({_HERE} OR expires<?)",  # noqa: S608 - ours
                (now, now - _GRACE),
            )
        ]
        for table, column in (
            ("proposals", "digest"),
            ("approvals", "proposal"),
            ("uses", "proposal"),
        ):
            db.executemany(
                f"DELETE FROM {table} WHERE {column}=?",  # noqa: S608 - names of ours
                [(digest,) for digest in ended],
            )


def _refuse_more(db: sqlite3.Connection, author: str, more: int) -> None:
    """UsageError where no more bytes of an author's proposals are kept."""
    counts = f"SELECT count(*), coalesce(sum(length(body)), 0) FROM proposals WHERE {_HERE}"  # noqa: S608 - ours
    own, size = db.execute(f"{counts} AND author=?", (author,)).fetchone()
    every, whole = db.execute(counts).fetchone()
    if own >= MOST_OF_AUTHOR or size + more > MOST_BYTES_OF_AUTHOR:
        whose, of = f"of {author}", (own, size)
    elif whole + more > MOST_BYTES:
        whose, of = "of all authors", (every, whole)
    else:
        return
    raise UsageError(f"too many proposals that have not ended: {of[0]} {whose}, {of[1]:,} bytes")


def _columns(kept: KeptDocument) -> tuple[bytes, str, str]:
    headers = kept.message.headers
    return kept.message.body, headers[SIGNATURE], headers[CERTIFICATE]


def _kept(row: sqlite3.Row) -> KeptDocument:
    headers = {SIGNATURE: row["signature"], CERTIFICATE: row["certificate"]}
    return KeptDocument(message=SealedMessage(row["body"], headers), received=row["received"])
