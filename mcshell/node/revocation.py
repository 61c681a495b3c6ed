"""The revocation list that a node works under: taken from anyone of the fleet, believed from the CA.

A newer list is put in force at once, kept in the node's state and audited; at the next start it
is loaded beside the administrator's (`pki.crl`), and the newer of the two counts.

What carriers cost is bounded: they have signed before anything is read, the same text is read once while
the same CAs are trusted, and of each carrier one text a second at most.
"""

from __future__ import annotations

import hashlib
import logging
import os
import time
from typing import TYPE_CHECKING, Final

from mcshell.errors import Reason, Rejected

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from mcshell.message import Request
    from mcshell.node.audit.log import AuditLog
    from mcshell.wire.documents.signatures import Verifier

__all__ = ["Revocation"]

log = logging.getLogger(__name__)

_PAUSE: Final = 1.0
_CARRIERS: Final = 10_000


class Revocation:
    """One process's revocation lists, kept in the file `path`."""

    def __init__(self, verifier: Verifier, path: Path, audit: AuditLog) -> None:
        self._verifier = verifier
        self._path = path
        self._audit = audit
        self._next: dict[str, float] = {}
        """When (monotonic) a carrier may bring another."""
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
        return self._put(
            self._digest(pem), lambda: self._verifier.update_crl(pem), identity, caller
        )

    def update_carried(self, lists: Sequence[bytes], identity: str, caller: str) -> bool:
        """Do as `update` with lists in DER that somebody brought: of each one text a second at most.

        Raises:
            Rejected: TOO_OFTEN when he brought another one within the second; as `update`.
        """
        digest = self._digest(b"".join(lists))
        self._refuse_often(digest, caller)
        return self._put(digest, lambda: self._verifier.update_lists(lists), identity, caller)

    def carried(self, request: Request, identity: str) -> bool:
        """Take the list in a request that cannot be believed under the stale one in force.

        Without this a node that refuses all work under a stale list could never get a newer one.
        All else about the request was found right.
        """
        pem = request.data.get("crl")
        if (request.agent, request.action) != ("discovery", "crl") or not isinstance(pem, str):
            return False
        text = pem.encode()
        try:
            self._refuse_often(self._digest(text), request.caller)
            return self.update(text, identity, request.caller)
        except Rejected as refusal:
            log.info("a revocation list that is not taken: %s", refusal)
            return False

    def _refuse_often(self, digest: bytes, caller: str) -> None:
        clock = time.monotonic()
        if digest == self._last[0]:
            return
        if clock < self._next.get(caller, clock):
            raise Rejected(Reason.TOO_OFTEN, f"another revocation list of {caller} within a second")
        if len(self._next) >= _CARRIERS:
            self._next.clear()
        self._next[caller] = clock + _PAUSE

    def _put(self, digest: bytes, take: Callable[[], bool], identity: str, caller: str) -> bool:
        before = self.number
        about = {"identity": identity, "caller": caller}
        try:
            newer = self._read(digest, take)
        except Rejected as refusal:
            reason = {"reason": refusal.reason.value, "detail": refusal.detail}
            self._audit.count({"event": "refused", **about, **reason})
            raise
        if newer:
            self._keep()
            self._audit.write({"event": "crl", **about, "crl": self.number, "before": before})
        return newer

    def _read(self, digest: bytes, take: Callable[[], bool]) -> bool:
        """Read a text, unless it is the one that was read last: then its verdict is known."""
        last, refusal = self._last
        if digest == last:
            if refusal is not None:
                raise Rejected(*refusal)
            return False
        try:
            newer = take()
        except Rejected as error:
            self._last = digest, (error.reason, error.detail)
            raise
        self._last = digest, None
        return newer

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

    def _digest(self, text: bytes) -> bytes:
        """The name of a text and of whom it was judged by: of a CA that comes later its list counts."""
        return hashlib.sha256(hashlib.sha256(text).digest() + self._verifier.ca_pem).digest()
