"""What `doctor` finds in the chain of our certificate, as other CAs than mcshell's make them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.x509.oid import NameOID

from mcshell.errors import ConfigError
from mcshell.pki.chain import certificates_in, issuers_of, lacking
from mcshell.wire.documents.trust import load_anchors, load_crls, weakly_signed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mcshell.wire.documents.trust import Anchor, Revocations

__all__ = ["chain_flaws", "chain_of"]


def chain_of(ca: Path, cert: Path, crl: Path | None, now: float) -> str:
    """One line about the chain as of `now` (epoch seconds), "warn: " before what is amiss.

    Raises:
        ConfigError: nobody could believe what the certificate signs.
        OSError: a file cannot be read.
    """
    anchors = load_anchors(ca.read_bytes())
    leaf, *given = certificates_in(cert.read_bytes(), str(cert))
    lists = load_crls(crl.read_bytes(), anchors, points=None) if crl is not None else []
    issuers = issuers_of(leaf, [anchor.certificate for anchor in anchors])
    if (why := weakly_signed(leaf)) is not None:
        raise ConfigError(f"{cert} is {why}, which nobody takes: have it issued anew, with SHA-256")
    if not issuers:
        by = leaf.issuer.rfc4514_string()
        beside = f": it is in {cert} only" if issuers_of(leaf, given) else ", or it is another CA's"
        raise ConfigError(
            f"an intermediate is missing in {ca}{beside}: {by!r}, which issued our certificate; everybody's"
            " pki.ca needs it"
        )
    if _wild(leaf):
        raise ConfigError(f"{cert} is a wildcard certificate, which names nobody")
    flaws = [*chain_flaws(leaf, anchors, lists, now)]
    if flaws:
        return f"warn: {'; '.join(flaws)}"
    return " < ".join(one.subject.rfc4514_string() for one in (leaf, *issuers))


def chain_flaws(
    leaf: x509.Certificate, anchors: tuple[Anchor, ...], lists: list[Revocations], now: float
) -> Iterator[str]:
    """What works badly, or will not for long."""
    for ca in lacking([anchor.certificate for anchor in anchors]):
        yield (
            f"pki.ca has {ca.subject.rfc4514_string()!r}, but not {ca.issuer.rfc4514_string()!r} above it,"
            " which TLS wants too"
        )
    named, common = _names(leaf), _common_name(leaf)
    ours = any(name.lower().startswith("mcshell:") for name in named)
    if not ours:
        yield from _name_flaws(named, common)
    known = {one.key for one in lists}
    above = {key for anchor in anchors for key, _ in anchor.above}
    for anchor in anchors:  # a root that only issues CAs seldom has one
        if anchor.key not in known | above and (lists or not ours):
            yield f"pki.crl has no list of {anchor.name!r}: whom that has revoked is believed"
    for one in lists:
        name = next(anchor.name for anchor in anchors if anchor.key == one.key)
        if one.next_update < now:
            end = datetime.fromtimestamp(one.next_update, UTC)
            yield f"the list of {name!r} in pki.crl ended on {end:%F}: fetch the newest"


def _name_flaws(named: list[str], common: str) -> Iterator[str]:
    """What differs between the name that we know a certificate by and the one that brokers do."""
    name = named[0] if named else common
    if common.lower() != name.lower():
        yield (
            f"it is {name.lower()!r}, its first DNS name, but brokers know it as {common!r}, its common"
            " name: broker config gives it no rights"
        )
    elif common != common.lower():
        yield (
            f"its common name {common!r} has capitals: here it is {common.lower()!r}, but for brokers"
            " case counts (a list for broker config --identities says it as it is)"
        )


def _wild(leaf: x509.Certificate) -> bool:
    return (_names(leaf) or [_common_name(leaf)])[0].startswith("*")


def _common_name(leaf: x509.Certificate) -> str:
    found = leaf.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(found[0].value) if found else ""


def _names(leaf: x509.Certificate) -> list[str]:
    """Our URI, else the DNS names."""
    try:
        san = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    uris = san.get_values_for_type(x509.UniformResourceIdentifier)
    ours = [uri for uri in uris if uri.lower().startswith("mcshell:")]
    return ours or san.get_values_for_type(x509.DNSName)
