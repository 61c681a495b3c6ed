"""Hostile revocation lists, each with its twin, in documents that a node of the fleet has signed."""

from __future__ import annotations

import datetime as dt
import time
from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from mcshell.errors import Reason, Rejected
from mcshell.wire.documents.crl import open_crl, seal_crl
from mcshell.wire.documents.envelope import BodyLimits, SealedMessage
from mcshell.wire.documents.signatures import Signer, Verifier
from tests.hostile.documents import MIB, Hostile, beside, with_
from tests.hostile.forge import signed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from mcshell.pki import Authority

__all__ = ["carrier", "crl_of", "list_refusal", "lists"]


def list_refusal(authority: Authority, sealed: SealedMessage) -> Reason | None:
    """Why a node that trusts this CA, and has no list yet, refuses a document; None: it takes it."""
    verifier = Verifier(authority.ca_pem)
    try:
        carried = open_crl(sealed.body, sealed.headers, verifier, BodyLimits(), time.time())
        verifier.update_lists(carried.lists)
    except Rejected as refused:
        return refused.reason
    return None


def carrier(authority: Authority) -> Signer:
    """A node that brings lists."""
    return Signer.from_pem(*authority.issue_pem("carrier", "node", renew=True))


def lists(authority: Authority, strangers: Mapping[str, Authority]) -> Iterator[Hostile]:
    """All hostile ones."""
    now, brought_by = time.time(), carrier(authority)
    list_ = _der(authority)
    honest = seal_crl([list_], brought_by, now)
    body = honest.body

    def brought(*ders: bytes) -> SealedMessage:
        return seal_crl(ders, brought_by, now)

    def resigned(changed: bytes) -> SealedMessage:
        return signed(changed, brought_by)

    point = x509.IssuingDistributionPoint(
        full_name=None,
        relative_name=None,
        only_contains_user_certs=True,
        only_contains_ca_certs=False,
        only_some_reasons=None,
        indirect_crl=False,
        only_contains_attribute_certs=False,
    )
    bad = Reason.BAD_CERTIFICATE
    odd: Callable[..., SealedMessage] = lambda **more: brought(crl_of(authority, **more))  # noqa: E731 - short
    messages: dict[str, list[tuple[str, Reason, SealedMessage]]] = {
        "foreign CA": [
            ("another", Reason.FOREIGN_CA, brought(_der(strangers["another"]))),
            ("the same name", Reason.BAD_SIGNATURE, brought(_der(strangers["of the same name"]))),
            (
                "its carrier",
                Reason.FOREIGN_CA,
                seal_crl([list_], carrier(strangers["another"]), now),
            ),
        ],
        "stripped": [("no headers", Reason.UNSIGNED, SealedMessage(body, {}))],
        "scope": [
            ("for part of them", bad, odd(extension=point)),
            ("a delta", bad, odd(extension=x509.DeltaCRLIndicator(1))),
            ("a number without end", bad, odd(number=1 << 80)),
        ],
        "huge": [
            ("a byte too many", Reason.TOO_LARGE, resigned(body + b" " * (MIB + 1 - len(body)))),
            ("17 lists", Reason.MALFORMED, brought(*[list_] * 17)),
        ],
        "no list": [
            ("nothing", Reason.MALFORMED, brought()),
            ("no bytes", bad, brought(b"")),
            ("a certificate", bad, brought(authority.certificate.public_bytes(Encoding.DER))),
            ("no end", bad, brought(list_[:-30])),
            ("PEM", bad, brought(authority.crl_pem)),
            ("no text", Reason.MALFORMED, resigned(with_(body, lists=7))),
            ("texts", Reason.MALFORMED, resigned(with_(body, lists=["x"]))),
        ],
        "changed byte": [
            ("of the list", Reason.BAD_SIGNATURE, brought(list_[:-1] + bytes([list_[-1] ^ 1]))),
            (
                "of the document",
                Reason.BAD_SIGNATURE,
                SealedMessage(with_(body, created=now - 1), honest.headers),
            ),
        ],
        "future": [
            ("in two minutes", Reason.FROM_FUTURE, seal_crl([list_], brought_by, now + 120))
        ],
        "expired": [("six minutes old", Reason.EXPIRED, seal_crl([list_], brought_by, now - 360))],
        "wrong version": [
            (repr(version), Reason.WRONG_VERSION, resigned(with_(body, v=version)))
            for version in (0, 1, 3, True, 2.0, None)
        ],
        "wrong kind": [("a rule", Reason.WRONG_KIND, resigned(with_(body, kind="rule")))],
        "not JSON": [("cut short", Reason.NOT_JSON, resigned(body[:-1]))],
        "deep": [("lists", Reason.TOO_DEEP, resigned(beside(body, b"[" * 100 + b"]" * 100)))],
        "ambiguous": [("a key twice", Reason.MALFORMED, resigned(body[:-1] + b',"v":2}'))],
    }
    for by, some in messages.items():
        for name, reason, hostile in some:
            yield Hostile(
                kind="list", by=by, name=name, reason=reason, hostile=hostile, twin=honest
            )


def _der(authority: Authority) -> bytes:
    return x509.load_pem_x509_crl(authority.crl_pem).public_bytes(Encoding.DER)


def crl_of(
    authority: Authority,
    *,
    number: int = 2,
    entries: int = 0,
    extension: x509.ExtensionType | None = None,
) -> bytes:
    """A list (DER) that this CA has signed, as ours never would be."""
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
    return crl.sign(key, None).public_bytes(Encoding.DER)
