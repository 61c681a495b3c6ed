"""What a trusted CA and its revocation lists are, and which leaf certificates may sign at all.

The rules of RFC 5280 that matter for a chain of one: constraints, key usage, unknown critical
extensions. What we do not process (name constraints, lists for part of the certificates) is refused,
not ignored, whether it is marked critical or not.
"""

from __future__ import annotations

import binascii
import math
from itertools import pairwise
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, TypeAlias, TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.utils import CryptographyDeprecationWarning
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID

from mcshell.errors import ConfigError, Reason, Rejected
from mcshell.pki.chain import certificates_in, is_root, issuers_of
from mcshell.pki.keys import der_of, refuse_weak
from mcshell.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from mcshell.pki import Kind

__all__ = [
    "MAX_LISTS",
    "MAX_NUMBER",
    "UNPARSABLE",
    "Anchor",
    "Revocations",
    "anchor_of",
    "load_anchors",
    "load_crls",
    "load_lists",
    "refuse_unfit",
    "weakly_signed",
]

_PROCESSED: Final = frozenset(
    {
        ExtensionOID.BASIC_CONSTRAINTS,
        ExtensionOID.KEY_USAGE,
        ExtensionOID.EXTENDED_KEY_USAGE,
        ExtensionOID.SUBJECT_ALTERNATIVE_NAME,
        ExtensionOID.SUBJECT_KEY_IDENTIFIER,
        ExtensionOID.AUTHORITY_KEY_IDENTIFIER,
    }
)
_ENDS: Final = frozenset(
    {
        ExtendedKeyUsageOID.CLIENT_AUTH,
        ExtendedKeyUsageOID.SERVER_AUTH,
        ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,
    }
)
# What cryptography raises over a certificate that is none; four of these are no ValueError.
UNPARSABLE: Final = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
    CryptographyDeprecationWarning,  # a serial below 1, where warnings are errors
)
T = TypeVar("T")

# An operator is never a server: a web server's certificate orders nothing.
_OPERATOR_ENDS: Final = _ENDS - {ExtendedKeyUsageOID.SERVER_AUTH}
_WEAK: Final = frozenset({"md5", "sha1"})
# A text has so many lists at most; how long it may be is for whoever takes it in to say (max_body).
MAX_LISTS: Final = 16
# What a registration can carry as the number of a list.
MAX_NUMBER: Final = 1 << 62
_SCOPED: Final = (x509.IssuingDistributionPoint, x509.DeltaCRLIndicator)
Points: TypeAlias = "Mapping[bytes, bytes] | None"
NO_POINTS: Final[Points] = MappingProxyType({})
_BEGIN: Final = b"-----BEGIN X509 CRL-----"
_END: Final = b"-----END X509 CRL-----"
_COLUMNS: Final = 64
# Where a list's issuer begins and ends, at the latest, when it is one of the CAs.
_ISSUER_BY: Final = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Anchor:
    """One trusted CA; times are seconds since the epoch, `subject` and `key` are DER.

    `key` (the SubjectPublicKeyInfo) is what tells CAs apart: a fleet that changes its CA may well
    have two of one name. `above` are the CAs over an intermediate: the key of each, and the serial
    that it gave to the one below.
    """

    certificate: x509.Certificate
    name: str
    subject: bytes
    key: bytes
    not_before: float
    not_after: float
    above: tuple[tuple[bytes, int], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Revocations:
    """One CA's revocation list: `key` is that of the CA which signed it.

    `issued` is its date, `next_update` when the next one is due at the latest (epoch). `point` is the
    distribution point that it is for, as DER; empty where it names none.
    """

    key: bytes
    number: int
    issued: float
    next_update: float
    serials: frozenset[int]
    der: bytes
    point: bytes = b""

    @property
    def pem(self) -> bytes:
        """The list as it is carried and kept."""
        text = binascii.b2a_base64(self.der, newline=False)
        lines = [text[at : at + _COLUMNS] for at in range(0, len(text), _COLUMNS)]
        return b"\n".join((_BEGIN, *lines, _END, b""))

    def newer_than(self, other: Revocations | None) -> bool:
        """Whether it may replace `other`: by number, then by date."""
        return other is None or (self.number, self.issued) > (other.number, other.issued)


def load_anchors(pem: bytes) -> tuple[Anchor, ...]:
    """Read the trusted CAs; ConfigError when there is none or one of them is no CA."""
    try:
        certificates = certificates_in(pem)
    except ConfigError as error:
        raise ConfigError(f"the CA's file: {error}", key="pki.ca") from error
    return tuple(_anchor(certificate, certificates) for certificate in certificates)


def _anchor(certificate: x509.Certificate, all_of_them: Sequence[x509.Certificate]) -> Anchor:
    name = certificate.subject.rfc4514_string()
    try:
        why = _no_anchor(certificate)
    except UNPARSABLE as error:
        raise ConfigError(f"the CA {name} does not parse: {error}", key="pki.ca") from error
    if why is not None:
        raise ConfigError(f"{name} {why}", key="pki.ca")
    return Anchor(
        certificate=certificate,
        name=name,
        subject=certificate.subject.public_bytes(),
        key=der_of(certificate.public_key()),
        not_before=certificate.not_valid_before_utc.timestamp(),
        not_after=certificate.not_valid_after_utc.timestamp(),
        above=_above(certificate, all_of_them),
    )


def _above(
    certificate: x509.Certificate, cas: Sequence[x509.Certificate]
) -> tuple[tuple[bytes, int], ...]:
    issuers = [] if is_root(certificate) else issuers_of(certificate, cas)
    chain = pairwise((certificate, *issuers))
    return tuple((der_of(ca.public_key()), one.serial_number) for one, ca in chain)


def _no_anchor(certificate: x509.Certificate) -> str | None:
    """Why a certificate is no CA that we trust, None when it is; raises as UNPARSABLE."""
    found = {extension.oid: extension for extension in certificate.extensions}
    for extension in found.values():
        known = extension.oid in _PROCESSED
        if extension.oid == ExtensionOID.NAME_CONSTRAINTS or (extension.critical and not known):
            oid = extension.oid.dotted_string
            return f"has the extension {oid}, which we do not process"
    constraints = _value(found, x509.BasicConstraints)
    usage = _value(found, x509.KeyUsage)
    if constraints is None or not constraints.ca or (usage and not usage.key_cert_sign):
        return "is no CA: it may not issue certificates"
    ends = _value(found, x509.ExtendedKeyUsage)
    if ends is not None and _ENDS.isdisjoint(ends):
        return "is no CA for us: its extended key usage is for something else"
    if (why := weakly_signed(certificate)) is not None:
        return f"is a CA {why}"
    try:
        refuse_weak(certificate.public_key())
    except ValueError as error:
        return f"is a CA with {error}"
    return None


def anchor_of(certificate: x509.Certificate, anchors: Iterable[Anchor]) -> Anchor:
    """The CA that has issued a certificate; raises Rejected where it is none of them."""
    for anchor in anchors:
        try:
            certificate.verify_directly_issued_by(anchor.certificate)
        except (*UNPARSABLE, InvalidSignature):
            continue
        return anchor
    if (
        why := weakly_signed(certificate)
    ) is not None:  # which `cryptography` does not check at all
        raise Rejected(Reason.BAD_CERTIFICATE, why)
    raise Rejected(Reason.FOREIGN_CA, f"issued by {certificate.issuer.rfc4514_string()[:120]!r}")


def refuse_unfit(certificate: x509.Certificate, kind: Kind) -> None:
    """Refuse a certificate that may not sign messages as an operator or a node, whoever issued it.

    Raises:
        Rejected: BAD_CERTIFICATE.
        ValueError: an extension that does not parse.
    """
    found = {extension.oid: extension for extension in certificate.extensions}
    for extension in found.values():
        if extension.critical and extension.oid not in _PROCESSED:
            oid = extension.oid.dotted_string
            raise Rejected(Reason.BAD_CERTIFICATE, f"unknown critical extension {oid}")
    constraints = _value(found, x509.BasicConstraints)
    if constraints is not None and constraints.ca:
        raise Rejected(Reason.BAD_CERTIFICATE, "a CA signs no messages")
    usage = _value(found, x509.KeyUsage)
    if usage is not None and not usage.digital_signature:
        raise Rejected(Reason.BAD_CERTIFICATE, "its key usage does not allow signatures")
    ends = _value(found, x509.ExtendedKeyUsage)
    meant = _OPERATOR_ENDS if kind == "operator" else _ENDS
    if ends is not None and meant.isdisjoint(ends):
        raise Rejected(Reason.BAD_CERTIFICATE, "its extended key usage is for something else")
    if (why := weakly_signed(certificate)) is not None:
        raise Rejected(Reason.BAD_CERTIFICATE, why)


def weakly_signed(certificate: x509.Certificate) -> str | None:
    """By which hash a certificate is signed that is broken; None where it is not; raises as UNPARSABLE."""
    algorithm = certificate.signature_hash_algorithm
    return f"signed with {algorithm.name}" if algorithm and algorithm.name in _WEAK else None


def load_crls(
    pem: bytes, anchors: Sequence[Anchor], points: Points = NO_POINTS
) -> list[Revocations]:
    """Read a text of PEM as `load_lists` reads DER; also Rejected for a text that is none."""
    try:
        lists = _read_pem(pem)
    except ValueError as error:
        raise Rejected(Reason.BAD_CERTIFICATE, f"a CRL that does not parse: {error}") from error
    return load_lists(lists, anchors, points)


def load_lists(
    lists: Sequence[bytes], anchors: Sequence[Anchor], points: Points = NO_POINTS
) -> list[Revocations]:
    """Read the revocation lists (DER) that one of the CAs has signed; others are passed over.

    While a fleet changes its CA, both CAs' lists travel together, also to nodes that do not trust
    both yet. A list for one distribution point (step-ca's name one) is taken where the administrator
    has installed one for the same: `points` are those by the CA's key, None for his own file.

    Raises:
        Rejected: BAD_CERTIFICATE (none, or one that we do not process); FOREIGN_CA or
            BAD_SIGNATURE when none of them is signed by one of the CAs.
    """
    found: list[Revocations] = []
    foreign: list[Rejected] = []
    try:
        for der in lists:
            crl = x509.load_der_x509_crl(der)
            signer = next((anchor for anchor in anchors if _signed(crl, anchor)), None)
            if signer is None:
                foreign.append(_foreign(der, anchors))
            else:
                found.append(_revocations(crl, signer, der, points))
    except UNPARSABLE as error:
        raise Rejected(Reason.BAD_CERTIFICATE, f"a CRL that does not parse: {error}") from error
    if foreign and not found:
        raise foreign[0]
    return found


def _read_pem(text: bytes) -> list[bytes]:
    """The lists in a text as DER: linear, and nothing is decoded before the bound holds."""
    count = text.count(_BEGIN)
    if not 0 < count <= MAX_LISTS:
        raise Rejected(
            Reason.BAD_CERTIFICATE, f"{count} PEM revocation lists; 1 to {MAX_LISTS} are meant"
        )
    parts = [part.partition(_END) for part in text.split(_BEGIN)[1:]]
    if not all(end for _, end, _ in parts):
        raise Rejected(Reason.BAD_CERTIFICATE, "a PEM revocation list without its end")
    return [_decode(b"".join(lines.split())) for lines, _, _ in parts]


def _decode(text: bytes) -> bytes:
    """Read base64 that has one form only: Python leaves the last bits before `=` unread."""
    der = binascii.a2b_base64(text, strict_mode=True)
    if binascii.b2a_base64(der, newline=False) != text:
        raise ValueError("base64 that is not canonical")
    return der


def _foreign(der: bytes, anchors: Sequence[Anchor]) -> Rejected:
    # Nothing is built from what nobody has signed, not even its issuer's name, which may be huge.
    start = der[:_ISSUER_BY]
    named = next((anchor.name for anchor in anchors if anchor.subject in start), None)
    if named is None:
        return Rejected(Reason.FOREIGN_CA, "a CRL that none of the CAs has signed")
    return Rejected(Reason.BAD_SIGNATURE, f"a CRL in the name of {named[:120]!r}")


def _point_of(value: x509.ExtensionType, signer: Anchor, points: Points) -> bytes | None:
    """The one place of all users' certificates that a list is for; None for any other part.

    A carrier could put the list of one part in the place of another's, so that he may only bring
    what is for the same.
    """
    if not isinstance(value, x509.IssuingDistributionPoint):
        return None
    parts = (value.only_contains_ca_certs, value.only_contains_attribute_certs, value.indirect_crl)
    named = len(value.full_name or ()) == 1 and value.only_contains_user_certs
    if not named or any(parts) or value.only_some_reasons or value.relative_name:
        return None
    point = value.public_bytes()
    return point if points is None or points.get(signer.key) == point else None


def _revocations(
    crl: x509.CertificateRevocationList, signer: Anchor, der: bytes, points: Points
) -> Revocations:
    number, point = 0, b""
    for extension in crl.extensions:
        value = extension.value
        if isinstance(value, x509.CRLNumber):
            number = value.crl_number
        elif (found := _point_of(value, signer, points)) is not None:
            point = found
        elif extension.critical or isinstance(value, _SCOPED):
            oid = extension.oid.dotted_string
            raise Rejected(
                Reason.BAD_CERTIFICATE, f"a CRL with the extension {oid}: we want one for all"
            )
    if number > MAX_NUMBER:
        raise Rejected(Reason.BAD_CERTIFICATE, "a CRL whose number is beyond 2^62")
    algorithm = crl.signature_hash_algorithm
    if algorithm is not None and algorithm.name in _WEAK:
        raise Rejected(Reason.BAD_CERTIFICATE, f"a CRL signed with {algorithm.name}")
    end = crl.next_update_utc
    return Revocations(
        key=signer.key,
        number=number,
        issued=crl.last_update_utc.timestamp(),
        next_update=math.inf if end is None else end.timestamp(),
        serials=frozenset(entry.serial_number for entry in crl),
        der=der,
        point=point,
    )


def _signed(crl: x509.CertificateRevocationList, anchor: Anchor) -> bool:
    try:
        return crl.is_signature_valid(anchor.certificate.public_key())  # type: ignore[arg-type]  # another kind of key raises TypeError
    except (*UNPARSABLE, InvalidSignature):
        return False


def _value(
    found: Mapping[x509.ObjectIdentifier, x509.Extension[x509.ExtensionType]], kind: type[T]
) -> T | None:
    return next((e.value for e in found.values() if isinstance(e.value, kind)), None)
