"""What our CA's certificates and revocation lists hold: pure functions around the builders.

A leaf serves three ends: it signs messages, and it is a TLS client's and a TLS server's
certificate (so a node's, or the demo broker's, works for the connection too).
"""

from __future__ import annotations

from datetime import UTC, datetime
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from mcshell.errors import UsageError
from mcshell.pki.identity import uri_of
from mcshell.pki.keys import hash_for
from mcshell.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mcshell.pki.identity import Identity, Kind
    from mcshell.pki.keys import PrivateKey, PublicKey

__all__ = [
    "MAX_CN",
    "Leaf",
    "build_ca",
    "build_crl",
    "build_leaf",
    "common_name",
    "crl_number",
    "key_identifier",
    "lists_in",
    "revoked_in",
    "signed_by",
]

YEAR: Final = 365 * 86_400.0
CA_LIFE: Final = 10 * YEAR
# A TLS stack that checks CRLs refuses all once this has passed; our own measure is crl_max_age.
CRL_LIFE: Final = YEAR
# A node whose clock is a little behind must take a certificate that was issued just now.
BACKDATE: Final = 300.0
MAX_CN: Final = 64
_CRL: Final = b"-----BEGIN X509 CRL-----"


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaf:
    """What a certificate is to say; times are seconds since the epoch."""

    name: str
    kind: Kind
    serial: int
    start: float
    end: float
    dns: tuple[str, ...] = ()
    ip: tuple[str, ...] = ()


def issued_at(identity: Identity) -> float:
    """When a certificate of ours was issued (epoch): it is good from a while before."""
    return identity.not_before + BACKDATE


def build_ca(key: PrivateKey, name: str, now: float) -> x509.Certificate:
    """Make a self-signed CA certificate, good for ten years, for leaves only."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    public = key.public_key()
    identifier = x509.SubjectKeyIdentifier.from_public_key(public)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(_utc(now - BACKDATE))
        .not_valid_after(_utc(now + CA_LIFE))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(identifier, critical=False)
    )
    return builder.sign(key, hash_for(key))


_EKU: Final = x509.ExtendedKeyUsage(
    [ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]
)


def build_leaf(
    leaf: Leaf,
    public: PublicKey,
    issuer: x509.Name,
    ca_key: PrivateKey,
    authority: x509.AuthorityKeyIdentifier,
) -> x509.Certificate:
    """Make the certificate of an operator, a node or a service."""
    common = x509.NameAttribute(NameOID.COMMON_NAME, common_name(leaf.kind, leaf.name))
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([common]))
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(leaf.serial)
        .not_valid_before(_utc(leaf.start - BACKDATE))
        .not_valid_after(_utc(leaf.end))
        .add_extension(_LEAF_CONSTRAINTS, critical=True)
        .add_extension(_LEAF_USAGE, critical=True)
        .add_extension(_EKU, critical=False)
        .add_extension(x509.SubjectAlternativeName(_names(leaf)), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(authority, critical=False)
    )
    return builder.sign(ca_key, hash_for(ca_key))


def common_name(kind: Kind, name: str) -> str:
    """What ActiveMQ knows an identity by; a login is told apart, so that it can be revoked alone."""
    return (f"login:{name}" if kind == "login" else name)[:MAX_CN]


def build_crl(
    issuer: x509.Name,
    ca_key: PrivateKey,
    authority: x509.AuthorityKeyIdentifier,
    *,
    number: int,
    now: float,
    revoked: Iterable[tuple[int, float]],
) -> x509.CertificateRevocationList:
    """Make a revocation list of (serial, when) pairs."""
    entries = [
        x509.RevokedCertificateBuilder(serial, _utc(when)).build() for serial, when in revoked
    ]
    builder = (
        # one by one they would all be copied for each
        x509.CertificateRevocationListBuilder(revoked_certificates=entries)
        .issuer_name(issuer)
        .last_update(_utc(now))
        .next_update(_utc(now + CRL_LIFE))
        .add_extension(x509.CRLNumber(number), critical=False)
        .add_extension(authority, critical=False)
    )
    return builder.sign(ca_key, hash_for(ca_key))


def crl_number(crl: x509.CertificateRevocationList) -> int | None:
    """The number of a revocation list, when it has one."""
    try:
        return crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
    except x509.ExtensionNotFound:
        return None


def lists_in(pem: bytes) -> list[x509.CertificateRevocationList]:
    """The revocation lists of a text; raises ValueError for one that is none."""
    parts = pem.split(_CRL)[1:]
    if not parts:
        raise ValueError("none is in it")
    return [x509.load_pem_x509_crl(_CRL + part) for part in parts]


def revoked_in(crl: x509.CertificateRevocationList) -> dict[int, float]:
    """The serials that a revocation list names, each with when it was revoked (epoch)."""
    return {one.serial_number: one.revocation_date_utc.timestamp() for one in crl}


def signed_by(crl: x509.CertificateRevocationList, ca: x509.Certificate) -> bool:
    """Whether this CA has signed a revocation list."""
    try:
        return crl.is_signature_valid(ca.public_key())  # type: ignore[arg-type]  # another kind of key raises TypeError
    except (TypeError, InvalidSignature):
        return False


def key_identifier(ca: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    """How the CA's leaves say which key signed them."""
    try:
        subject = ca.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    except x509.ExtensionNotFound:
        subject = x509.SubjectKeyIdentifier.from_public_key(ca.public_key())
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(subject)


def _names(leaf: Leaf) -> list[x509.GeneralName]:
    hosts = (leaf.name, *leaf.dns) if leaf.kind == "node" else leaf.dns
    names: list[x509.GeneralName] = [
        x509.UniformResourceIdentifier(uri_of(leaf.kind, leaf.name)),
        *(x509.DNSName(host) for host in dict.fromkeys(hosts)),
    ]
    for text in leaf.ip:
        try:
            names.append(x509.IPAddress(ip_address(text)))
        except ValueError as error:
            raise UsageError(f"{text!r} is no IP address") from error
    return names


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


_LEAF_CONSTRAINTS: Final = x509.BasicConstraints(ca=False, path_length=None)
_LEAF_USAGE: Final = _usage(signs_certificates=False)


def _utc(seconds: float) -> datetime:
    return datetime.fromtimestamp(int(seconds), UTC)
