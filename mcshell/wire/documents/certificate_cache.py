"""Certificates that were examined, on disk: once in a fleet's life, not once in a process's.

What is kept is what a good certificate says and which CA it is of, under the SHA-256 of its text.
Whether that CA is trusted, the dates and the revocation are asked at each message all the same
(`signatures`). It is a cache: without it, or with a full disk, all is examined anew.
"""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, cast

from mcshell.errors import MCShellError
from mcshell.pki.identity import Identity
from mcshell.private import private_folder
from mcshell.sqlite import Database, FileKind

if TYPE_CHECKING:
    import os

    from mcshell.pki import Kind

__all__ = ["CertificateCache"]

log = logging.getLogger(__name__)

_AT_ONCE: Final = 500
_KIND: Final = FileKind(
    name="file of certificates",
    versions={
        1: "CREATE TABLE certificates (digest BLOB NOT NULL, trust BLOB NOT NULL,"
        " kind TEXT NOT NULL, name TEXT NOT NULL, serial TEXT NOT NULL, not_before REAL NOT NULL,"
        " not_after REAL NOT NULL, key BLOB NOT NULL, PRIMARY KEY (digest, trust)) WITHOUT ROWID"
    },
    shared=True,
    loses="certificates are examined anew",
)


class _CertificateRow(NamedTuple):
    """As it is in the table."""

    digest: bytes
    trust: bytes
    kind: str
    name: str
    serial: str
    not_before: float
    not_after: float
    key: bytes

    def said(self) -> tuple[Identity, bytes]:
        """What the certificate says."""
        identity = Identity(
            kind=cast("Kind", self.kind),
            name=self.name,
            serial=int(self.serial),
            not_before=self.not_before,
            not_after=self.not_after,
        )
        return identity, self.key


class CertificateCache:
    """The file, open until `close`. Called from any thread; several processes may have it open.

    Raises:
        ConfigError: it cannot be opened.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        private_folder(Path(path).parent)
        self._database = Database(path, _KIND, patient=True)
        self._new: list[_CertificateRow] = []
        self._adding = threading.Lock()

    def get(self, digest: bytes) -> dict[bytes, tuple[Identity, bytes]]:
        """Whom a certificate speaks for, and its key, by what that verdict relied on (`trust`).

        Raises:
            ValueError: what is kept is nonsense.
        """
        try:
            found = self._database.read("SELECT * FROM certificates WHERE digest=?", (digest,))
        except MCShellError as error:
            log.debug("certificates are examined anew: %s", error)
            return {}
        return {row.trust: row.said() for row in map(_CertificateRow._make, found)}

    def add(self, digest: bytes, trust: bytes, identity: Identity, key: bytes) -> None:
        """Remember one that is good; it is written with others, at the latest by `close`.

        `key` is its SubjectPublicKeyInfo (DER).
        """
        row = _CertificateRow(
            digest,
            trust,
            identity.kind,
            identity.name,
            str(identity.serial),
            identity.not_before,
            identity.not_after,
            key,
        )
        with self._adding:
            self._new.append(row)
            if len(self._new) >= _AT_ONCE:
                self._write()

    def close(self) -> None:
        """Write what is new, and close the file."""
        with self._adding:
            self._write()
        self._database.close()

    def _write(self) -> None:
        rows, self._new = self._new, []
        try:
            with self._database.transaction(durable=False) as db:
                db.executemany("INSERT OR IGNORE INTO certificates VALUES (?,?,?,?,?,?,?,?)", rows)
        except MCShellError as error:
            log.debug("certificates are not remembered: %s", error)
