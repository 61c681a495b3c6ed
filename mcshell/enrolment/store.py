"""The CA's file of tokens and requests, beside its key: `enrolments.sqlite`, for its owner alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from mcshell.sqlite import Database, FileKind
from mcshell.values import dataclass
from mcshell.wire.documents.enrolment import EnrolmentToken

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence
    from pathlib import Path
    from typing import Self

    from mcshell.pki import Kind

__all__ = ["EnrolmentStore", "StoredRequest", "StoredToken"]

_KIND: Final = FileKind(
    name="file of enrolments",
    versions={
        1: "CREATE TABLE tokens (id TEXT PRIMARY KEY, secret BLOB NOT NULL, ca TEXT NOT NULL,"
        " matching TEXT NOT NULL, kind TEXT NOT NULL, ends REAL NOT NULL, count INTEGER NOT NULL,"
        " used INTEGER NOT NULL) WITHOUT ROWID;"
        "CREATE TABLE requests (number INTEGER PRIMARY KEY, digest TEXT NOT NULL UNIQUE,"
        " name TEXT NOT NULL, kind TEXT NOT NULL, body BLOB NOT NULL, token TEXT,"
        " received REAL NOT NULL, state TEXT NOT NULL, reason TEXT NOT NULL,"
        " certificate BLOB NOT NULL)"
    },
    shared=True,
)
_TOKEN: Final = "id, secret, ca, matching, kind, ends, count, used"  # noqa: S105 - columns
_REQUEST: Final = "digest, name, kind, body, token, received, state, reason, certificate"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredToken:
    """A token and what it is good for: names, a kind, until when (epoch), how often."""

    token: EnrolmentToken
    matching: str
    kind: Kind
    ends: float
    count: int
    used: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredRequest:
    """A request as it came in, and where it stands: `waiting`, `signing` (decided), `signed`."""

    digest: str
    name: str
    kind: Kind
    body: bytes
    token: str | None
    received: float
    state: str
    reason: str = ""
    certificate: bytes = b""


class EnrolmentStore:
    """Tokens and requests. Several processes may have it open.

    Raises:
        ConfigError: it cannot be opened.
    """

    def __init__(self, folder: Path) -> None:
        self._database = Database(folder / "enrolments.sqlite", _KIND)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._database.close()

    def add_token(self, one: StoredToken) -> None:
        """Keep a new token."""
        token = one.token
        identity = token.id, token.secret, token.ca
        values = (*identity, one.matching, one.kind, one.ends, one.count, one.used)
        query = f"INSERT INTO tokens ({_TOKEN}) VALUES (?,?,?,?,?,?,?,?)"  # noqa: S608 - our own names
        self._database.write(lambda db: db.execute(query, values))

    def token(self, name: str) -> StoredToken | None:
        """The token of this id."""
        found = self._database.read(f"SELECT {_TOKEN} FROM tokens WHERE id=?", (name,))  # noqa: S608 - our own names
        if not found:
            return None
        id_, secret, ca, matching, kind, ends, count, used = found[0]
        token = EnrolmentToken(id=id_, secret=secret, ca=ca)
        return StoredToken(
            token=token, matching=matching, kind=kind, ends=ends, count=count, used=used
        )

    def request(self, digest: str) -> StoredRequest | None:
        """What is kept of a request."""
        found = self._requests("digest=?", (digest,))
        return found[0] if found else None

    def waiting(self) -> list[StoredRequest]:
        """The requests that wait for a hand, the oldest first."""
        return self._requests("state='waiting'", ())

    def _requests(self, where: str, values: Sequence[Any]) -> list[StoredRequest]:
        query = f"SELECT {_REQUEST} FROM requests WHERE {where} ORDER BY number"  # noqa: S608 - our own names
        names = _REQUEST.split(", ")
        rows = self._database.read(query, values)
        return [StoredRequest(**dict(zip(names, row, strict=True))) for row in rows]

    def enter(self, one: StoredRequest, now: float, most_unvouched: int | None) -> str:
        """Keep a new request, and count it to its token, in one commit; else says why it cannot be.

        Of those without a token `most_unvouched` wait at once (None: it is none of them).
        """

        def work(db: sqlite3.Connection) -> str:
            if most_unvouched is None:
                pass
            elif one.token is None:
                query = "SELECT count(*) FROM requests WHERE token IS NULL AND state='waiting'"
                if db.execute(query).fetchone()[0] >= most_unvouched:
                    return f"{most_unvouched} requests without a token wait already"
            else:
                query = "UPDATE tokens SET used=used+1 WHERE id=? AND used<count AND ends>?"
                if not db.execute(query, (one.token, now)).rowcount:
                    return "the token is used up"
            values = tuple(getattr(one, name) for name in _REQUEST.split(", "))
            query = f"INSERT INTO requests ({_REQUEST}) VALUES (?,?,?,?,?,?,?,?,?)"  # noqa: S608 - our own names
            db.execute(query, values)
            return ""

        return self._database.write(work)

    def note(self, digest: str, state: str, *, reason: str = "", certificate: bytes = b"") -> None:
        """Say where a request stands now."""
        query = "UPDATE requests SET state=?, reason=?, certificate=? WHERE digest=?"
        self._database.write(lambda db: db.execute(query, (state, reason, certificate, digest)))

    def forget_renewals(self, before: float) -> None:
        """Drop the renewals that were asked for before then (epoch)."""
        query = "DELETE FROM requests WHERE digest LIKE 'renewal of %' AND received<?"
        self._database.write(lambda db: db.execute(query, (before,)))

    def forget(self, before: float) -> None:
        """Drop the requests without a token that have waited since before then (epoch)."""
        query = "DELETE FROM requests WHERE token IS NULL AND state='waiting' AND received<?"
        self._database.write(lambda db: db.execute(query, (before,)))
