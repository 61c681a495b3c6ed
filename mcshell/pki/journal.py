"""The CA's journal, `issued.jsonl`: a line for each certificate issued or revoked, written under a lock.

A line is whole on the disk before anybody has what it tells of. So one that was cut off tells of nothing.
"""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, Literal

from mcshell.errors import ConfigError
from mcshell.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

    from mcshell.pki.identity import Kind

__all__ = [
    "SERVER",
    "CertificateStatus",
    "IssuedCertificate",
    "append",
    "held",
    "issued",
    "mended",
    "read_issued",
]

log = logging.getLogger(__name__)

SERVER: Final = "mcshell-broker."
"""How the name in a broker's own certificate begins, before its host; nobody of that name has any right."""

CertificateStatus = Literal["valid", "revoked", "expired", "retired"]


@dataclass(slots=True, kw_only=True)
class IssuedCertificate:
    """One certificate in the journal; `revoked` is when it was revoked (epoch), or None.

    `ca` is the `id` of the CA that has signed it; "" for the directory's first one. `dns` are the hosts
    that it serves beside its own name.
    """

    name: str
    kind: Kind
    serial: int
    issued: float
    expires: float
    revoked: float | None = None
    ca: str = ""
    dns: tuple[str, ...] = ()

    def status(self, now: float, cas: Collection[str]) -> CertificateStatus:
        """What it is worth at `now`; retired: its CA is none of `cas`, which are trusted."""
        if self.revoked is not None:
            return "revoked"
        if self.expires < now:
            return "expired"
        return "retired" if self.ca and self.ca not in cas else "valid"


def issued(entry: IssuedCertificate) -> dict[str, Any]:
    """The line that tells of a certificate."""
    record = {
        "event": "issued",
        "name": entry.name,
        "kind": entry.kind,
        "serial": f"{entry.serial:x}",
        "issued": entry.issued,
        "expires": entry.expires,
        "ca": entry.ca,
    }
    return {**record, "dns": list(entry.dns)} if entry.dns else record


def read_issued(record: dict[str, Any]) -> IssuedCertificate:
    """What such a line tells; raises KeyError, TypeError or ValueError for none."""
    name = record["name"]
    before = name.removeprefix(SERVER)  # lines of old tell of no other host
    return IssuedCertificate(
        name=name,
        kind=record["kind"],
        serial=int(record["serial"], 16),
        issued=record["issued"],
        expires=record["expires"],
        ca=record.get("ca", ""),
        dns=tuple(record.get("dns", () if before == name else (before,))),
    )


@contextmanager
def held(path: Path) -> Iterator[int]:
    """Hold the journal's lock; it is made where it is not there. Raises ConfigError.

    On a disk that is read-only what is there can be looked at.
    """
    try:
        journal = _opened(path)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}", origin=str(path)) from error
    try:
        # where nothing is written nobody is kept out, and over NFS the other one wants to write
        fcntl.flock(journal, fcntl.LOCK_EX if _writable(journal) else fcntl.LOCK_SH)
        yield journal
    finally:
        os.close(journal)


def _opened(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        if error.errno != errno.EROFS or not path.exists():
            raise
    return os.open(path, os.O_RDONLY | os.O_CLOEXEC)


def _writable(journal: int) -> bool:
    return fcntl.fcntl(journal, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDWR


def append(journal: int, record: dict[str, Any], path: Path) -> int:
    """Write a line, whole or not at all, and return how long it is; raises ConfigError."""
    line = json.dumps(record, separators=(",", ":")).encode() + b"\n"
    size = os.fstat(journal).st_size
    if not _writable(journal):
        raise ConfigError(f"{path}: {os.strerror(errno.EROFS)}; nothing was issued")
    try:
        written = os.write(journal, line)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}; nothing was issued") from error
    if written < len(line):
        os.ftruncate(journal, size)
        raise ConfigError(f"{path}: {os.strerror(errno.ENOSPC)}; nothing was issued")
    return len(line)


def mended(journal: int, text: bytes, path: Path) -> bytes:
    """The end of the journal, in whole lines: what a power cut has left of one is taken away."""
    whole, _, rest = text.rpartition(b"\n")
    if not rest:
        return text
    try:
        json.loads(rest)
    except ValueError:
        if _writable(journal):
            log.warning("%s: the last line is cut off, and taken away: %r", path, rest[:200])
            os.ftruncate(journal, os.fstat(journal).st_size - len(rest))
        return whole + b"\n" if whole else b""
    if _writable(journal):
        os.write(journal, b"\n")  # somebody has edited it
    return text + b"\n"
