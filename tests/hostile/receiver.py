"""Who gets hostile messages: a node's admission up to policy, a client's up to its ledger."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from mcshell.errors import Reason, Rejected
from mcshell.message import new_request_id
from mcshell.node.admission.replay import ReplayGuard
from mcshell.pki import Authority
from mcshell.wire.documents.envelope import BodyLimits, open_reply, open_request
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
    known: set[str] = set()

    def outstanding() -> str:
        requestid = new_request_id()
        known.add(requestid)
        return requestid

    cases = Forge(authority, outstanding=outstanding, node=NODE).cases()
    return Receiver(authority, ReplayGuard(folder / "claims.db"), known), cases


class Receiver:
    """Takes what is honest, and raises Rejected for the rest."""

    def __init__(
        self, authority: Authority, replay_guard: ReplayGuard, outstanding: set[str]
    ) -> None:
        self.verifier = Verifier(authority.ca_pem, crl_pem=authority.crl_pem)
        self.replay_guard = replay_guard
        self.outstanding = outstanding

    def take(self, sealed: SealedMessage, case: Case) -> None:
        """Accept a message, or raise Rejected."""
        now = time.time()
        body, headers = sealed.body, sealed.headers
        if case.arrival is None:
            open_reply(body, headers, self.verifier, BodyLimits(), now, self._targets)
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

    def _targets(self, requestid: str) -> set[str] | None:
        return {NODE} if requestid in self.outstanding else None
