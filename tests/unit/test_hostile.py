"""Every hostile message of `tests/hostile/forge.py` against the envelope, without a broker."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from mcshell.errors import Reason, Rejected
from mcshell.message import new_request_id
from mcshell.node.claims import Claims
from mcshell.pki import Authority
from mcshell.wire.envelope import Limits, open_reply, open_request
from mcshell.wire.security import Verifier
from tests.hostile.forge import CLASSES, Forge

if TYPE_CHECKING:
    from mcshell.wire.envelope import Sealed
    from tests.hostile.forge import Case


class Receiver:
    """A node's gate up to policy, and a client's up to its ledger."""

    def __init__(self, authority: Authority, claims: Claims, outstanding: set[str]) -> None:
        self.verifier = Verifier(authority.ca_pem, crl_pem=authority.crl_pem)
        self.claims = claims
        self.outstanding = outstanding

    def take(self, sealed: Sealed, case: Case) -> None:
        """Accept a message, or raise Rejected."""
        now = time.time()
        if case.arrival is None:
            open_reply(sealed.body, sealed.headers, self.verifier, Limits(), now, self._targets)
            return
        request = open_request(
            sealed.body, sealed.headers, self.verifier, case.arrival, Limits(), now
        )
        if not self.claims.claim(case.arrival.identity, request.id, request.expires, now):
            raise Rejected(Reason.REPLAYED, request.id)

    def _targets(self, requestid: str) -> set[str] | None:
        return {"web1.example.com"} if requestid in self.outstanding else None


@pytest.fixture(scope="module")
def arena(tmp_path_factory):
    """All cases, and a receiver that knows the CRL they were made under."""
    folder = tmp_path_factory.mktemp("hostile")
    authority = Authority.init(folder / "ca")
    known: set[str] = set()

    def outstanding() -> str:
        requestid = new_request_id()
        known.add(requestid)
        return requestid

    cases = Forge(authority, outstanding=outstanding).cases()
    claims = Claims(folder / "claims.db")
    yield Receiver(authority, claims, known), cases
    claims.close()


@pytest.mark.parametrize("kind", CLASSES)
def test_a_class_of_hostile_messages_is_refused(arena, kind):
    """Each is refused with its own reason, and its untampered twin is accepted."""
    receiver, cases = arena
    chosen = [case for case in cases if case.kind == kind]
    assert len(chosen) >= 4
    for case in chosen:
        if case.reason is Reason.REPLAYED:
            receiver.take(case.twin, case)
        with pytest.raises(Rejected) as refusal:
            receiver.take(case.hostile, case)
        assert (case.name, refusal.value.reason) == (case.name, case.reason)
        if case.reason is not Reason.REPLAYED:
            receiver.take(case.twin, case)


def test_the_forge_is_thorough(arena):
    """There are at least 60 hostile messages, each under a name of its own."""
    _, cases = arena
    assert len(cases) >= 60
    names = Counter((case.kind, case.name) for case in cases)
    assert [name for name, count in names.items() if count > 1] == []
    assert {case.kind for case in cases} == set(CLASSES)
