"""The revocation list that a node works under: taken from anyone, believed from the CA alone.

A newer list is put in force at once, kept in the node's state and audited; at the next start it
is loaded beside the administrator's (`pki.crl`), and the newer of the two counts.
"""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, Any

from mcshell.errors import Rejected
from mcshell.wire.documents import strict_json

if TYPE_CHECKING:
    from pathlib import Path

    from mcshell.node.audit.log import AuditLog
    from mcshell.wire.documents.signatures import Verifier

__all__ = ["Revocation"]

log = logging.getLogger(__name__)


class Revocation:
    """One process's revocation lists, kept in the file `path`."""

    def __init__(self, verifier: Verifier, path: Path, audit: AuditLog) -> None:
        self._verifier = verifier
        self._path = path
        self._audit = audit
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
            newer = self._verifier.update_crl(pem)
        except Rejected as refusal:
            reason = {"reason": refusal.reason.value, "detail": refusal.detail}
            self._audit.write({"event": "refused", **about, **reason})
            raise
        if newer:
            self._keep()
            self._audit.write({"event": "crl", **about, "crl": self.number, "before": before})
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
            return isinstance(pem, str) and self.update(pem.encode(), identity, "")
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
