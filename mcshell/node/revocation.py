"""The revocation list that a node works under: taken from anyone, believed from the CA alone.

A newer list is put in force at once, kept in the node's state and audited; at the next start it
is loaded beside the administrator's (`pki.crl`), and the newer of the two counts.

What carriers cost is bounded: the same text is read once, and of those who have signed nothing one
text a second at most.
"""

from __future__ import annotations

import hashlib
import logging
import os
import time
from typing import TYPE_CHECKING, Any, Final

from mcshell.errors import Reason, Rejected
from mcshell.wire.documents import strict_json

if TYPE_CHECKING:
    from pathlib import Path

    from mcshell.node.audit.log import AuditLog
    from mcshell.wire.documents.signatures import Verifier

__all__ = ["Revocation"]

log = logging.getLogger(__name__)

_PAUSE: Final = 1.0


class Revocation:
    """One process's revocation lists, kept in the file `path`."""

    def __init__(self, verifier: Verifier, path: Path, audit: AuditLog) -> None:
        self._verifier = verifier
        self._path = path
        self._audit = audit
        self._next_unsigned = 0.0
        self._last: tuple[bytes, tuple[Reason, str] | None] = b"", None
        if path.exists():
            try:
                verifier.update_crl(path.read_bytes())
            except (Rejected, OSError) as error:
                log.warning("%s is not used: %s", path, error)

    @property
    def number(self) -> int | None:
        """The number of the list in force; None without one."""
        return self._verifier.crl_number

    def update(self, pem: bytes, identity: str, caller: str) -> bool:
        """Put a list in force if it is newer; returns whether it was. Raises Rejected if foreign.

        `identity` is the node that was asked, `caller` who carried it, for the audit.
        """
        before = self.number
        about = {"identity": identity, "caller": caller}
        try:
            newer = self._read(pem)
        except Rejected as refusal:
            reason = {"reason": refusal.reason.value, "detail": refusal.detail}
            self._audit.count({"event": "refused", **about, **reason})
            raise
        if newer:
            self._keep()
            self._audit.write({"event": "crl", **about, "crl": self.number, "before": before})
        return newer

    def update_unsigned(self, pem: bytes, identity: str) -> bool:
        """Do as `update` for a carrier who has signed nothing: one text a second at most.

        Raises:
            Rejected: UNSIGNED when there was another one within the second; as `update`.
        """
        clock = time.monotonic()
        if _digest(pem) != self._last[0]:
            if clock < self._next_unsigned:
                raise Rejected(
                    Reason.UNSIGNED, "another revocation list within a second, signed by no carrier"
                )
            self._next_unsigned = clock + _PAUSE
        return self.update(pem, identity, "")

    def _read(self, pem: bytes) -> bool:
        """Read a text, unless it is the one that was read last: then its verdict is known."""
        digest = _digest(pem)
        last, refusal = self._last
        if digest == last:
            if refusal is not None:
                raise Rejected(*refusal)
            return False
        try:
            newer = self._verifier.update_crl(pem)
        except Rejected as error:
            self._last = digest, (error.reason, error.detail)
            raise
        self._last = digest, None
        return newer

    def carried(self, body: bytes, identity: str) -> bool:
        """Take the list in a request that itself cannot be believed under the stale one in force.

        Without this a node that refuses all work under a stale list could never get a newer one.
        """
        try:
            document: Any = strict_json.loads(body)
        except Rejected:
            return False
        if not isinstance(document, dict) or document.get("agent") != "discovery":
            return False
        data = document.get("data")
        pem = data.get("crl") if isinstance(data, dict) else None
        try:
            return isinstance(pem, str) and self.update_unsigned(pem.encode(), identity)
        except Rejected as refusal:
            log.info("a revocation list that is not taken: %s", refusal)
            return False

    def _keep(self) -> None:
        """Write the lists in force; a disk that is full costs only what the next start knows."""
        fresh = self._path.with_suffix(".new")
        try:
            with fresh.open("wb") as file:
                file.write(self._verifier.crl_pem)
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(self._path)
        except OSError as error:
            log.error("%s: %s", self._path, error.strerror)  # noqa: TRY400  the cause is in the line


def _digest(pem: bytes) -> bytes:
    return hashlib.sha256(pem).digest()
