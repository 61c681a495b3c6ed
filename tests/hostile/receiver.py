"""Who gets hostile messages: a node's admission up to policy, a client's up to its ledger."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from mcshell.errors import Reason, Rejected
from mcshell.message import Reply, new_nonce
from mcshell.node.admission.replay import ReplayGuard
from mcshell.pki import Authority
from mcshell.wire.documents.envelope import BodyLimits, digest_of, open_reply, open_request
from mcshell.wire.documents.signatures import Verifier
from tests.hostile.forge import Forge

if TYPE_CHECKING:
    from pathlib import Path

    from mcshell.wire.documents.envelope import SealedMessage
    from tests.hostile.forge import Case

__all__ = ["Receiver", "arena"]

NODE = "web1.example.com"


def arena(folder: Path) -> tuple[Receiver, list[Case]]:
    """Make all cases, and a receiver that knows the CRL they were made under."""
    authority = Authority.init(folder / "ca")
    known: dict[str, str] = {}

    def outstanding() -> tuple[str, str]:
        requestid, digest = new_nonce(), digest_of(new_nonce().encode())
        known[requestid] = digest
        return requestid, digest

    cases = Forge(authority, outstanding=outstanding, node=NODE).cases()
    return Receiver(authority, ReplayGuard(folder / "claims.db"), known), cases


class Receiver:
    """Takes what is honest, and raises Rejected for the rest."""

    def __init__(
        self, authority: Authority, replay_guard: ReplayGuard, outstanding: dict[str, str]
    ) -> None:
        self.verifier = Verifier(authority.ca_pem, crl_pem=authority.crl_pem)
        self.replay_guard = replay_guard
        self.outstanding = outstanding

    def take(self, sealed: SealedMessage, case: Case) -> None:
        """Accept a message, or raise Rejected."""
        now = time.time()
        body, headers = sealed.body, sealed.headers
        if case.arrival is None:
            args = body, headers, self.verifier, BodyLimits(), now
            open_reply(*args, self._targets, self._bound)
            return
        request = open_request(body, headers, self.verifier, case.arrival, BodyLimits(), now)
        if not self.replay_guard.claim(case.arrival.identity, request.id, request.expires, now):
            raise Rejected(Reason.REPLAYED, request.id)

    def refusal(self, sealed: SealedMessage, case: Case) -> Reason | None:
        """Why a message is refused, or None."""
        try:
            self.take(sealed, case)
        except Rejected as refusal:
            return refusal.reason
        return None

    def _bound(self, reply: Reply) -> bool:
        return reply.digest == self.outstanding[reply.requestid]

    def _targets(self, requestid: str) -> set[str] | None:
        return {NODE} if requestid in self.outstanding else None
