"""Chains of certificates as other CAs make them: a leaf, an intermediate, a root; pure functions.

Messages carry the leaf alone, so each CA of the chain has to stand in `pki.ca`: the one that issued
the leaf, by which messages are judged, and those above it, which TLS wants up to the root.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

from mcshell.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["certificates_in", "is_root", "issuers_of", "lacking"]


def certificates_in(pem: bytes, origin: str = "") -> list[x509.Certificate]:
    """Read all the certificates of a file; `origin` names it.

    Raises:
        ConfigError: there is none, or one of them is cut off: to pass over that would be to trust
            fewer than are named.
    """
    where = f"{origin}: " if origin else ""
    begun = pem.count(b"-----BEGIN CERTIFICATE-----")
    try:
        found = x509.load_pem_x509_certificates(pem)
    except (ValueError, x509.InvalidVersion):  # its words speak of a library, and a page about it
        found = []
    if not found and not begun:
        raise ConfigError(f"{where}no PEM certificate in it", origin=origin)
    if not found or len(found) < begun:
        raise ConfigError(f"{where}a certificate in it is cut off or damaged", origin=origin)
    return found


def is_root(certificate: x509.Certificate) -> bool:
    """Whether nobody stands above it: a CA that goes on under a new key may bear its issuer's name."""
    return certificate.issuer == certificate.subject and _issued(certificate, certificate)


def issuers_of(
    certificate: x509.Certificate, cas: Sequence[x509.Certificate]
) -> list[x509.Certificate]:
    """The CAs that vouch for a certificate: who issued it first, up to the root as far as there."""
    for place, ca in enumerate(cas):
        if not _issued(certificate, ca):
            continue
        others = [*cas[:place], *cas[place + 1 :]]
        return [ca, *([] if is_root(ca) else issuers_of(ca, others))]
    return []


def lacking(cas: Sequence[x509.Certificate]) -> list[x509.Certificate]:
    """The intermediates among these CAs whose own issuer is not among them."""
    return [ca for ca in cas if not is_root(ca) and not issuers_of(ca, cas)]


def _issued(certificate: x509.Certificate, ca: x509.Certificate) -> bool:
    """Whether a CA has signed a certificate."""
    try:
        certificate.verify_directly_issued_by(ca)
    except (ValueError, TypeError, UnsupportedAlgorithm, InvalidSignature):
        return False
    return True
