"""The ways in of a revocation list: who may bring one, and what is verified first."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import pytest

from mcshell.errors import Reason, Rejected
from mcshell.pki import Authority
from mcshell.wire.documents.crl import open_crl, seal_crl
from mcshell.wire.documents.envelope import (
    CERTIFICATE,
    CRL,
    SIGNATURE,
    BodyLimits,
    SealedMessage,
    kind_of,
    sealed,
)
from mcshell.wire.documents.signatures import Signer, Verifier

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

LIMITS = BodyLimits()


class Party:
    """A CA with a list, who may carry it, and who may not."""

    def __init__(self, folder: Path) -> None:
        self.authority = Authority.init(folder / "ca")
        self.alice = self.signer("alice", "operator")
        self.sup = self.signer("sup1", "node")
        self.lost = self.signer("lost", "node")
        other = Authority.init(folder / "other")
        self.foreign = Signer.from_pem(*other.issue_pem("sup1", "node"))
        self.authority.revoke("lost")
        self.lists = Verifier(self.authority.ca_pem, crl_pem=self.authority.crl_pem).crl_lists
        self.now = time.time() + 30 * 86_400  # the list is a month old
        self.stale = Verifier(
            self.authority.ca_pem,
            crl_pem=self.authority.crl_pem,
            crl_max_age=3600,
            refuse_expired_crl=True,
        )

    def signer(self, name: str, kind: str) -> Signer:
        """Somebody with a certificate of the CA."""
        return Signer.from_pem(*self.authority.issue_pem(name, kind))

    def document(self, **changes: object) -> SealedMessage:
        """What the supervisor brings, with changes that it signs."""
        document = json.loads(seal_crl(self.lists, self.sup, self.now).body)
        document = {k: v for k, v in {**document, **changes}.items() if v != "left out"}
        return sealed(json.dumps(document).encode(), self.sup)

    def open(self, message: SealedMessage, verifier: Verifier | None = None) -> Reason | None:
        """Why it is refused, or None."""
        try:
            found = open_crl(
                message.body, message.headers, verifier or self.stale, LIMITS, self.now
            )
        except Rejected as refusal:
            return refusal.reason
        assert list(found.lists) == self.lists
        return None


@pytest.fixture(scope="module")
def party(tmp_path_factory: pytest.TempPathFactory) -> Party:
    """One for all."""
    return Party(tmp_path_factory.mktemp("crl"))


def by(party: Party, signer: Signer) -> SealedMessage:
    """The same by another carrier."""
    return seal_crl(party.lists, signer, party.now)


def without(message: SealedMessage, name: str) -> SealedMessage:
    """Without one of its headers."""
    return SealedMessage(message.body, {k: v for k, v in message.headers.items() if k != name})


DER = {"$base64": "MAA="}
WAYS: dict[str, tuple[Callable[[Party], SealedMessage], Reason | None]] = {
    "a supervisor's": (lambda p: by(p, p.sup), None),
    "an operator's": (lambda p: by(p, p.alice), None),
    "without a signature": (lambda p: without(by(p, p.sup), SIGNATURE), Reason.UNSIGNED),
    "without a certificate": (lambda p: without(by(p, p.sup), CERTIFICATE), Reason.UNSIGNED),
    "another's signature": (
        lambda p: SealedMessage(
            by(p, p.sup).body, {**by(p, p.sup).headers, CERTIFICATE: p.alice.certificate}
        ),
        Reason.BAD_SIGNATURE,
    ),
    "a changed byte": (
        lambda p: SealedMessage(by(p, p.sup).body + b" ", by(p, p.sup).headers),
        Reason.BAD_SIGNATURE,
    ),
    "of a foreign CA": (lambda p: by(p, p.foreign), Reason.FOREIGN_CA),
    "of who is revoked": (lambda p: by(p, p.lost), Reason.REVOKED),
    "of version 1": (lambda p: p.document(v=1), Reason.WRONG_VERSION),
    "another kind": (lambda p: p.document(kind="rule"), Reason.WRONG_KIND),
    "PEM, as it was": (lambda p: p.document(lists="left out", crl="-----"), Reason.MALFORMED),
    "no lists": (lambda p: p.document(lists=[]), Reason.MALFORMED),
    "17 lists": (lambda p: p.document(lists=[DER] * 17), Reason.MALFORMED),
    "text for DER": (lambda p: p.document(lists=["MAA="]), Reason.MALFORMED),
    "a hash of lists": (lambda p: p.document(lists={"a": DER}), Reason.MALFORMED),
    "no base64": (lambda p: p.document(lists=[{"$base64": "?"}]), Reason.MALFORMED),
    "without a date": (lambda p: p.document(created="left out"), Reason.MALFORMED),
    "from the future": (lambda p: p.document(created=p.now + 120), Reason.FROM_FUTURE),
    "kept and sent again": (lambda p: p.document(created=p.now - 301), Reason.EXPIRED),
    "huge": (lambda p: p.document(pad="x" * LIMITS.max_body), Reason.TOO_LARGE),
    "huge, and of nobody": (
        lambda p: SealedMessage(p.document(pad="x" * LIMITS.max_body).body, {}),
        Reason.TOO_LARGE,
    ),
    "junk, of nobody": (lambda _: SealedMessage(b'{"kind":"crl"', {}), Reason.UNSIGNED),
    "deep, of nobody": (
        lambda _: SealedMessage(b'{"kind":"crl","lists":' + b"[" * 10_000, {}),
        Reason.UNSIGNED,
    ),
}


@pytest.mark.parametrize("way", WAYS)
def test_each_way_in(party: Party, way: str) -> None:
    """Under a list a month old: who has signed is asked first, and only the list's age set aside."""
    made, reason = WAYS[way]
    assert party.open(made(party)) is reason


def test_only_a_list_may_be_brought_under_a_stale_one(party: Party) -> None:
    """The same signer is not believed about anything else."""
    message = by(party, party.sup)
    signature, certificate = message.headers[SIGNATURE], message.headers[CERTIFICATE]
    assert kind_of(message.body) == CRL
    with pytest.raises(Rejected) as refusal:
        party.stale.verify(message.body, signature, certificate, now=party.now)
    assert refusal.value.reason is Reason.STALE_CRL


def test_the_list_is_believed_from_its_ca_alone(party: Party, tmp_path: Path) -> None:
    """A carrier's signature makes no list true."""
    other = Authority.init(tmp_path / "ca")
    theirs = Verifier(other.ca_pem, crl_pem=other.crl_pem).crl_lists
    message = seal_crl(theirs, party.sup, party.now)
    opened = open_crl(message.body, message.headers, party.stale, LIMITS, party.now)
    assert opened.carrier == "cert=sup1"
    before = party.stale.crl_number
    with pytest.raises(Rejected) as refusal:
        party.stale.update_lists(opened.lists)
    assert refusal.value.reason in (Reason.FOREIGN_CA, Reason.BAD_SIGNATURE)
    assert party.stale.crl_number == before
