"""A seal: one operator's signature over every row of a session file that is handed on as evidence.

What nodes and operators have signed is found changed without it. The client's own notes (when
something was sent, why a node was called silent, from which cell it was asked, in which order replies
came) are signed by nobody; from the seal on they cannot be changed unseen.
"""

from __future__ import annotations

import hashlib
import json
import struct
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any, Final

from mcshell.client.session.raw_rows import as_it_is, strange
from mcshell.client.store.store import SessionStore
from mcshell.errors import Reason, Rejected
from mcshell.values import dataclass
from mcshell.wire.documents import fields, strict_json
from mcshell.wire.documents.authored import as_fields, of_fields, open_authored, seal_authored
from mcshell.wire.documents.envelope import BodyLimits

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator
    from pathlib import Path

    from mcshell.wire.documents.signatures import Signer, Verifier

__all__ = ["SEAL", "Seal", "file_digest", "read_seal", "rows_digest", "seal_file"]

SEAL: Final = "seal"
"""Its key in the file's own table of facts; the one row that it does not cover."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seal:
    """Who has sealed a file (a callerid), when (epoch), and the digest of all its rows."""

    author: str
    created: float
    digest: str


def seal_file(path: Path, signer: Signer) -> Seal:
    """Seal a session file that nobody has open; whatever seal it had is gone."""
    author = signer.identity.callerid
    with as_it_is(path) as rows:
        found = Seal(author=author, created=time.time(), digest=rows_digest(rows))
    document = {"author": author, "created": found.created, "digest": found.digest}
    sealed = seal_authored(SEAL, document, _read, signer, "the seal")
    with closing(SessionStore(path)) as store:
        store.set_meta(SEAL, json.dumps(as_fields(sealed)))
        store.pack()
    return found


def read_seal(path: Path, verifier: Verifier) -> Seal | None:
    """Whose seal a file bears, checked; None where it bears none.

    Raises:
        Rejected: it is nobody's, or not of these rows.
        SessionError: the file cannot be read.
    """
    if why := strange(path):
        raise Rejected(Reason.MALFORMED, why)
    with as_it_is(path) as rows:
        found = rows.execute("SELECT value FROM meta WHERE key=?", (SEAL,)).fetchone()
        if found is None:
            return None
        digest = rows_digest(rows)
    told = strict_json.loads(str(found[0]).encode("utf-8", "surrogateescape"))
    if not isinstance(told, dict) or set(told) != {"document", "signature", "certificate"}:
        raise Rejected(Reason.MALFORMED, "no seal")
    kept = of_fields({key: fields.text(told, key) for key in told})
    said = _read(strict_json.loads(kept.body))
    limits = BodyLimits()
    seal = open_authored(SEAL, _read, kept.body, kept.headers, verifier, limits, said.created)
    if seal.digest != digest:
        raise Rejected(Reason.UNBOUND, f"the rows are not those that {seal.author} has sealed")
    return seal


def file_digest(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def rows_digest(connection: sqlite3.Connection) -> str:
    """The SHA-256 (hex) of a file's tables, all their rows and its version, but for the seal."""
    total = hashlib.sha256()
    for part in _parts(connection):
        total.update(part)
    return total.hexdigest()


def _parts(connection: sqlite3.Connection) -> Iterator[bytes]:
    yield from map(_encoded, connection.execute("PRAGMA user_version").fetchone())
    schema = "SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY type, name"
    made = [tuple(row) for row in connection.execute(schema)]
    for thing in made:
        yield from map(_encoded, thing)
    for table in [name for kind, name, *_ in made if kind == "table"]:
        quoted = '"' + table.replace('"', '""') + '"'
        columns = len(connection.execute(f"PRAGMA table_info({quoted})").fetchall())
        order = ", ".join(str(place) for place in range(1, columns + 1))
        for row in connection.execute(f"SELECT * FROM {quoted} ORDER BY {order}"):  # noqa: S608 - quoted
            if table != "meta" or row[0] != SEAL:
                yield _encoded(table)
                yield from map(_encoded, row)


def _encoded(value: Any) -> bytes:
    """A value with its kind and size, so that no two rows are written alike."""
    match value:
        case None:
            return b"n"
        case int():
            kind, raw = b"i", str(value).encode()
        case float():
            kind, raw = b"f", struct.pack(">d", value)
        case str():
            kind, raw = b"s", value.encode("utf-8", "surrogateescape")
        case _:
            kind, raw = b"b", bytes(value)
    return kind + len(raw).to_bytes(8, "big") + raw


def _read(document: Any) -> Seal:
    return Seal(
        author=fields.name(document, "author"),
        created=fields.moment(document, "created"),
        digest=fields.digest(document, "digest"),
    )
