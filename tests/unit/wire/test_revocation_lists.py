"""What a revocation list may cost before its signature, and which texts are lists at all."""

from __future__ import annotations

import base64
import time

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

from mcshell.errors import Reason, Rejected
from mcshell.pki import Authority
from mcshell.pki.certificates import build_crl
from mcshell.wire.documents.crl import open_crl, seal_crl
from mcshell.wire.documents.envelope import BodyLimits
from mcshell.wire.documents.signatures import Signer, Verifier

HEAD, END = "-----BEGIN X509 CRL-----", "-----END X509 CRL-----"
MEBIBYTE = 1 << 20
MOST = 0.2  # seconds; a tenth of it on a quiet machine


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    """One CA for the module."""
    return Authority.init(tmp_path_factory.mktemp("ca") / "ca")


def foreign(authority, *, revoked=0, issuer=None):
    """A list in the CA's name (or another) that somebody else has signed."""
    return build_crl(
        authority.certificate.subject if issuer is None else issuer,
        Ed25519PrivateKey.generate(),
        authority.cas[0].identifier,
        number=9,
        now=time.time(),
        revoked=[((1 << 150) + number, time.time()) for number in range(revoked)],
    ).public_bytes(Encoding.PEM)


def wide_name():
    """A name of thousands of parts: an object each, for whoever builds it."""
    part = x509.RelativeDistinguishedName([x509.NameAttribute(NameOID.COMMON_NAME, "x")])
    return x509.Name([part] * 50_000)


COSTLY = {
    "heads": lambda _: HEAD * 42_000,
    "heads and ends": lambda _: (HEAD + END) * 21_000,
    "one head, many ends": lambda _: HEAD + END * 40_000,
    "a head without an end": lambda _: HEAD + "A" * 1_000_000,
    "a megabyte of noughts": lambda _: f"{HEAD}\n{'A' * 1_000_000}\n{END}\n",
    "dashes": lambda _: "-" * 1_000_000,
    "blanks": lambda _: f"{HEAD}{' ' * 1_000_000}{END}",
    "true lists, too many": lambda ca: ca.crl_pem.decode() * 2_000,
    "18,000 serials, signed by another": lambda ca: foreign(ca, revoked=18_000).decode(),
    "an issuer of 50,000 parts": lambda ca: foreign(ca, issuer=wide_name()).decode(),
    "nested": lambda _: (
        HEAD + base64.b64encode(b"\x30\x84\x00\x0b\x00\x00" * 120_000).decode() + END
    ),
}


@pytest.mark.parametrize("what", COSTLY)
def test_a_list_that_nobody_signed_costs_next_to_nothing(authority, what):
    """A megabyte of what looks like lists is refused within 200 ms of processor, from body to verdict."""
    verifier = Verifier(authority.ca_pem)
    text = COSTLY[what](authority).encode()
    assert len(text) <= MEBIBYTE
    spent = []
    for _ in range(3):
        began = time.process_time()
        with pytest.raises(Rejected) as refusal:
            verifier.update_crl(text)
        spent.append(time.process_time() - began)
        assert refusal.value.reason in {
            Reason.BAD_CERTIFICATE,
            Reason.BAD_SIGNATURE,
            Reason.FOREIGN_CA,
        }
    assert min(spent) < MOST
    assert verifier.crl_number is None


def test_a_text_holds_sixteen_lists_at_most(authority):
    """Sixteen lists are read, one more is refused unread."""
    verifier = Verifier(authority.ca_pem)
    with pytest.raises(Rejected, match="17 PEM revocation lists; 1 to 16 are meant"):
        verifier.update_crl(authority.crl_pem * 17)
    assert verifier.update_crl(authority.crl_pem * 16)


def test_a_list_is_kept_as_it_came(authority):
    """What is handed on is the list that the CA has signed, whatever stood around it."""
    pem = authority.crl_pem
    verifier = Verifier(authority.ca_pem)
    assert verifier.update_crl(
        b"Certificate Revocation List (CRL):\n" + pem.replace(b"\n", b"\r\n")
    )
    assert verifier.crl_pem == pem
    assert not verifier.update_crl(verifier.crl_pem)


def test_a_large_list_of_ours_is_taken(authority):
    """What the CA has signed may be as large as a message."""
    pem = build_crl(
        authority.certificate.subject,
        authority.cas[0].key,
        authority.cas[0].identifier,
        number=50,
        now=time.time(),
        revoked=[((1 << 150) + number, time.time()) for number in range(18_000)],
    ).public_bytes(Encoding.PEM)
    verifier = Verifier(authority.ca_pem)
    carrier = Signer.from_pem(*authority.issue_pem("sup1", "node"))
    message = seal_crl(Verifier(authority.ca_pem, crl_pem=pem).crl_lists, carrier, time.time())
    opened = open_crl(message.body, message.headers, verifier, BodyLimits(), time.time())
    assert verifier.update_lists(opened.lists)
    assert verifier.crl_number == 50


def test_the_bits_that_base64_leaves_over_are_none(authority):
    """A list whose last letter says more than its bytes is another text, and is Rejected."""
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    while "=" not in (pem := authority.crl_pem.decode()):
        authority.issue_pem("gone", "node", renew=True)
        authority.revoke("gone")  # until its length leaves bits over
    place = pem.index("=") - 1
    other = letters[letters.index(pem[place]) ^ 1]
    Verifier(authority.ca_pem).update_crl(pem.encode())
    with pytest.raises(Rejected, match="not canonical"):
        Verifier(authority.ca_pem).update_crl(f"{pem[:place]}{other}{pem[place + 1 :]}".encode())


@settings(deadline=None)
@given(data=st.data())
def test_a_changed_list_is_only_ever_rejected(authority, data):
    """Any changed letter of a list's base64 is Rejected, and nothing else is raised."""
    head, middle, end = authority.crl_pem.decode().partition("\n")
    body, _, tail = end.partition("\n-----END")
    place = data.draw(st.integers(0, len(body) - 1))
    other = data.draw(st.characters(codec="ascii").filter(lambda c: c.strip() and c != body[place]))
    if not body[place].strip():
        return
    changed = f"{head}{middle}{body[:place]}{other}{body[place + 1 :]}\n-----END{tail}"
    with pytest.raises(Rejected):
        Verifier(authority.ca_pem).update_crl(changed.encode())
