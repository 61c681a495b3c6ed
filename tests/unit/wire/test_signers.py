"""Whose certificate it is, who it was that is not believed, and what is too long or does not parse."""

from __future__ import annotations

import base64
import time
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtensionOID, NameOID

from mcshell.errors import ConfigError, Reason, Rejected
from mcshell.pki import Authority
from mcshell.wire.documents.signatures import MAX_CERTIFICATE, Signer, Verifier

BODY = b"{}"
NOW = time.time()


@pytest.fixture
def authority(tmp_path) -> Authority:
    """A CA."""
    return Authority.init(tmp_path / "ca")


def test_who_has_signed_is_told_also_of_one_who_is_not_believed(authority) -> None:
    """Revoked, or a login: by its key; of a changed body, signature or length nobody is named."""
    signer = Signer.from_pem(*authority.issue_pem("alice", "operator"))
    authority.revoke("alice")
    verifier = Verifier(authority.ca_pem, crl_pem=authority.crl_pem)
    signature = signer.sign(BODY)
    with pytest.raises(Rejected):
        verifier.verify(BODY, signature, signer.certificate, now=NOW)
    found = verifier.signer_of(BODY, signature, signer.certificate)
    assert found is not None
    assert (found.kind, found.name) == ("operator", "alice")
    for body, signed in ((b"{} ", signature), (BODY, signer.sign(b"x")), (BODY, "A" * 20_000)):
        assert verifier.signer_of(body, signed, signer.certificate) is None
    assert verifier.signer_of(BODY, signature, "AAAA") is None


def test_a_certificate_is_examined_by_its_dates_and_the_list(authority) -> None:
    """Whose it is, without a signature; past its dates, or revoked, it is refused by its reason."""
    signer = Signer.from_pem(*authority.issue_pem("alice", "operator"))
    verifier = Verifier(authority.ca_pem)
    identity = verifier.examine(signer.certificate, now=time.time())
    assert identity.name == "alice"
    with pytest.raises(Rejected) as caught:
        verifier.examine(signer.certificate, now=identity.not_after + 1)
    assert caught.value.reason is Reason.CERT_EXPIRED
    authority.revoke("alice")
    verifier.update_crl(authority.crl_pem)
    with pytest.raises(Rejected) as caught:
        verifier.examine(signer.certificate, now=time.time())
    assert caught.value.reason is Reason.REVOKED


def test_a_broker_s_certificate_is_refused_once_it_is_taken_back(authority, tmp_path) -> None:
    """By its serial number, of a CA of ours; whether another's is trusted is for TLS to say."""
    certificate, _key = authority.issue_pem("mq", "node")
    der = x509.load_pem_x509_certificate(certificate).public_bytes(Encoding.DER)
    verifier = Verifier(authority.ca_pem)
    verifier.refuse_revoked(der)
    verifier.update_crl(authority.crl_pem)
    verifier.refuse_revoked(der)
    authority.revoke("mq")
    verifier.update_crl(authority.crl_pem)
    with pytest.raises(Rejected, match="serial") as caught:
        verifier.refuse_revoked(der)
    assert caught.value.reason is Reason.REVOKED
    stranger = Authority.init(tmp_path / "stranger")
    Verifier(stranger.ca_pem, crl_pem=stranger.crl_pem).refuse_revoked(der)


def test_a_broker_s_certificate_that_only_tls_can_read_is_refused(authority) -> None:
    """Whether it was taken back cannot be told, so it is refused in words as any other."""
    certificate, _key = authority.issue_pem("mq", "node")
    der = x509.load_pem_x509_certificate(certificate).public_bytes(Encoding.DER)
    fourth = der.replace(bytes.fromhex("a003020102"), bytes.fromhex("a003020103"), 1)
    for odd in (fourth, der[:-1]):
        with pytest.raises(Rejected, match="does not parse") as caught:
            Verifier(authority.ca_pem).refuse_revoked(odd)
        assert caught.value.reason is Reason.BAD_CERTIFICATE


def test_a_certificate_that_is_too_long_is_not_read(authority) -> None:
    """It is refused by its length, before anything is decoded."""
    text = base64.b64encode(bytes(MAX_CERTIFICATE)).decode()
    with pytest.raises(Rejected, match=f"it has {len(text)} characters") as caught:
        Verifier(authority.ca_pem).examine(text, now=NOW)
    assert caught.value.reason is Reason.BAD_CERTIFICATE


def test_a_ca_with_an_extension_that_does_not_parse_is_named() -> None:
    """It is a fault of the configuration, in one line with the name of the CA."""
    key = ed25519.Ed25519PrivateKey.generate()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "odd CA")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.UnrecognizedExtension(ExtensionOID.KEY_USAGE, b"\xff"), critical=False)
        .sign(key, None)
    )
    with pytest.raises(ConfigError, match="the CA CN=odd CA does not parse"):
        Verifier(certificate.public_bytes(Encoding.PEM))
