"""Hostile revocation lists, each with its twin: the documents that carry them need no headers."""

from __future__ import annotations

import datetime as dt
from base64 import encodebytes
from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from mcshell.errors import Reason, Rejected
from mcshell.wire.documents.envelope import BodyLimits, SealedMessage
from mcshell.wire.documents.rule import read_crl, seal_crl
from mcshell.wire.documents.signatures import Verifier
from tests.hostile.documents import MIB, Hostile, beside, with_

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from mcshell.pki import Authority

__all__ = ["crl_of", "list_refusal", "lists"]


def list_refusal(authority: Authority, sealed: SealedMessage) -> Reason | None:
    """Why a node that trusts this CA, and has no list yet, refuses a document; None: it takes it."""
    try:
        Verifier(authority.ca_pem).update_crl(read_crl(sealed.body, BodyLimits()))
    except Rejected as refused:
        return refused.reason
    return None


def lists(authority: Authority, strangers: Mapping[str, Authority]) -> Iterator[Hostile]:
    """All hostile ones."""
    honest = seal_crl(authority.crl_pem)
    odd: Callable[..., bytes] = lambda **more: seal_crl(crl_of(authority, **more))  # noqa: E731 - short
    point = x509.IssuingDistributionPoint(
        full_name=None,
        relative_name=None,
        only_contains_user_certs=True,
        only_contains_ca_certs=False,
        only_some_reasons=None,
        indirect_crl=False,
        only_contains_attribute_certs=False,
    )
    damaged = x509.load_pem_x509_crl(authority.crl_pem).public_bytes(Encoding.DER)
    bodies: dict[str, list[tuple[str, Reason, bytes]]] = {
        "foreign CA": [
            ("another", Reason.FOREIGN_CA, seal_crl(strangers["another"].crl_pem)),
            (
                "the same name",
                Reason.BAD_SIGNATURE,
                seal_crl(strangers["of the same name"].crl_pem),
            ),
        ],
        "scope": [
            ("for part of them", Reason.BAD_CERTIFICATE, odd(extension=point)),
            ("a delta", Reason.BAD_CERTIFICATE, odd(extension=x509.DeltaCRLIndicator(1))),
            ("a number without end", Reason.BAD_CERTIFICATE, odd(number=1 << 80)),
        ],
        "huge": [
            ("a byte too many", Reason.TOO_LARGE, honest + b" " * (MIB + 1 - len(honest))),
            ("17 lists", Reason.BAD_CERTIFICATE, seal_crl(authority.crl_pem * 17)),
        ],
        "no list": [
            ("nothing", Reason.BAD_CERTIFICATE, seal_crl(b"")),
            ("a certificate", Reason.BAD_CERTIFICATE, seal_crl(authority.ca_pem)),
            ("no end", Reason.BAD_CERTIFICATE, seal_crl(authority.crl_pem[:-30])),
            ("a head alone", Reason.BAD_CERTIFICATE, seal_crl(b"-----BEGIN X509 CRL-----")),
            ("no text", Reason.MALFORMED, with_(honest, crl=7)),
        ],
        "changed byte": [
            (
                "the last",
                Reason.BAD_SIGNATURE,
                seal_crl(_pem(damaged[:-1] + bytes([damaged[-1] ^ 1]))),
            ),
        ],
        "wrong version": [
            (repr(version), Reason.WRONG_VERSION, with_(honest, v=version))
            for version in (0, 1, 3, True, 2.0, None)
        ],
        "wrong kind": [("a rule", Reason.WRONG_KIND, with_(honest, kind="rule"))],
        "not JSON": [("cut short", Reason.NOT_JSON, honest[:-1])],
        "deep": [("lists", Reason.TOO_DEEP, beside(honest, b"[" * 100 + b"]" * 100))],
        "ambiguous": [("a key twice", Reason.MALFORMED, honest[:-1] + b',"v":2}')],
    }
    for by, some in bodies.items():
        for name, reason, body in some:
            yield Hostile(
                kind="list",
                by=by,
                name=name,
                reason=reason,
                hostile=SealedMessage(body, {}),
                twin=SealedMessage(honest, {}),
            )


def crl_of(
    authority: Authority,
    *,
    number: int = 2,
    entries: int = 0,
    extension: x509.ExtensionType | None = None,
) -> bytes:
    """A list (PEM) that this CA has signed, as ours never would be."""
    key: Any = load_pem_private_key((authority.directory / "ca.key").read_bytes(), None)
    now = dt.datetime.now(dt.UTC)
    crl = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(authority.certificate.subject)
        .last_update(now)
        .next_update(now + dt.timedelta(days=1))
        .add_extension(x509.CRLNumber(number), critical=False)
    )
    if extension is not None:
        crl = crl.add_extension(extension, critical=True)
    for serial in range(1, entries + 1):
        one = x509.RevokedCertificateBuilder().serial_number((1 << 158) + serial)
        crl = crl.add_revoked_certificate(one.revocation_date(now).build())
    return crl.sign(key, None).public_bytes(Encoding.PEM)


def _pem(der: bytes) -> bytes:
    return b"-----BEGIN X509 CRL-----\n" + encodebytes(der) + b"-----END X509 CRL-----\n"
