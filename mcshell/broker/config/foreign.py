"""A fleet whose certificates another CA issues: who may log in, and the broker's own certificate.

Such a CA keeps no journal that we could read (Puppet, openssl, step-ca). So the administrator shows
whom he means: certificates, or names. A certificate has rights if the fleet itself would take it now
(`Verifier.examine`: the CA, its dates, the revocation list), whatever the reason is that it would not.

Both brokers know such a certificate by its common name, which has therefore to be the name that
mcshell knows it by: else its holder would log in as somebody else.
"""

from __future__ import annotations

import binascii
from collections import defaultdict
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from mcshell.broker.config.rights import Holder
from mcshell.broker.config.subject import CertificateSubject, subject_of
from mcshell.errors import ConfigError, Rejected, UsageError
from mcshell.pki import check_name
from mcshell.pki.chain import is_root, issuers_of, lacking
from mcshell.pki.keys import dump_private, load_private, same_key
from mcshell.values import dataclass
from mcshell.wire.documents.signatures import Verifier
from mcshell.wire.documents.trust import UNPARSABLE, load_anchors

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from mcshell.config import Pool
    from mcshell.pki import Kind

__all__ = ["ForeignCA", "ForeignFiles", "certificates_in", "foreign_ca", "names_in"]

_TOLD: Final = 8
"""So many names of one reason are said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignFiles:
    """What the administrator has shown: PEM; `names` have a certificate that is not here."""

    ca: bytes
    cert: bytes
    key: bytes
    crl: bytes | None = None
    certificates: tuple[x509.Certificate, ...] = ()
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignCA:
    """What stands in the place of mcshell's own CA when a broker is configured."""

    ca_pem: bytes
    server: tuple[x509.Certificate, ...]
    """The broker's certificate, and what vouches for it."""
    server_key: bytes
    known: Mapping[tuple[Kind, str], tuple[CertificateSubject, ...]]
    notes: tuple[str, ...]

    def holders(self, pools: Mapping[str, Pool]) -> tuple[Holder, ...]:
        """Everybody who was shown and may log in, in the order of their names."""
        return tuple(
            replace(Holder.of(kind, name, pools), subjects=subjects)
            for (kind, name), subjects in sorted(self.known.items())
        )

    def server_files(self, hosts: Sequence[str]) -> dict[str, bytes]:
        """`ca.pem`, `server.pem` and `server.key` of a broker that is reached by these hosts.

        Raises:
            ConfigError: its certificate is for others.
        """
        covered = _hosts(self.server[0])
        for host in hosts:
            if not any(_covers(pattern, host.lower()) for pattern in covered):
                told = ", ".join(sorted(covered)) or "nobody"
                raise ConfigError(f"--cert: it is for {told}, not for the host {host}")
        chain = b"".join(one.public_bytes(Encoding.PEM) for one in self.server)
        return {"ca.pem": self.ca_pem, "server.pem": chain, "server.key": self.server_key}


def certificates_in(content: bytes) -> list[x509.Certificate]:
    """The certificates in a text of PEM, none where it holds none; raises ConfigError."""
    if b"-----BEGIN CERTIFICATE-----" not in content:
        return []
    try:
        return x509.load_pem_x509_certificates(content)
    except UNPARSABLE as error:
        raise ConfigError(f"a certificate that does not parse: {error}") from error


def names_in(text: str) -> list[str]:
    """The names in a list, one a line; what follows `#` is a comment."""
    lines = (line.partition("#")[0].strip() for line in text.splitlines())
    return [line for line in lines if line]


def foreign_ca(files: ForeignFiles, operators: Sequence[str], now: float) -> ForeignCA:
    """Judge what was shown, as of `now` (epoch seconds); `operators` as in `[pki]`.

    Raises:
        ConfigError: the CAs, the list, or the broker's certificate and key cannot be used.
    """
    verifier = Verifier(files.ca, crl_pem=files.crl, operators=operators)
    left: dict[str, list[str]] = defaultdict(list)
    cas = [anchor.certificate for anchor in load_anchors(files.ca)]  # often beside their leaves
    shown = [one for one in files.certificates if one not in cas]
    known = _judged(shown, verifier, now, left)
    for name in files.names:
        kind: Kind = "operator" if _matches(name.lower(), operators) else "node"
        try:
            identity = kind, check_name(name, kind)
        except UsageError as error:
            raise ConfigError(f"--identities: {error}") from error
        known[identity].append(CertificateSubject(name, f"CN={name}"))
    for name in {name for _, name in known if len([one for one in known if one[1] == name]) > 1}:
        left["both an operator and a node"].append(name)
        known = {one: found for one, found in known.items() if one[1] != name}
    notes = [f"left out, {why}: {_some(names)}" for why, names in sorted(left.items())]
    who = [name for kind, name in sorted(known) if kind == "operator"]
    notes.append(
        f"operators: {_some(who)}"
        if who
        else "nobody is an operator: patterns of their names belong into [pki] operators"
    )
    return ForeignCA(
        ca_pem=files.ca,
        server=_server(files, cas, verifier, now),
        server_key=dump_private(load_private(files.key, "--key")),
        known={one: tuple(dict.fromkeys(found)) for one, found in known.items()},
        notes=tuple(notes if files.crl else ("no --crl: nobody is left out as revoked", *notes)),
    )


def _judged(
    certificates: Iterable[x509.Certificate],
    verifier: Verifier,
    now: float,
    left: dict[str, list[str]],
) -> dict[tuple[Kind, str], list[CertificateSubject]]:
    """Whom certificates speak for; whoever gets no right stands in `left`, by the reason."""
    known: dict[tuple[Kind, str], list[CertificateSubject]] = defaultdict(list)
    for certificate in certificates:
        try:
            shown = certificate.subject.rfc4514_string() or f"{certificate.serial_number:x}"
            der = certificate.public_bytes(Encoding.DER)
            text = binascii.b2a_base64(der, newline=False).decode()
            identity = verifier.examine(text, now=now)
            subject = subject_of(certificate.subject)
            check_name(identity.name, identity.kind)
        except Rejected as refused:
            left[refused.reason.value].append(shown)
        except UsageError:
            left["a name that no right can hold"].append(shown)
        except UNPARSABLE:
            left["does not parse"].append(f"{certificate.serial_number:x}")
        else:
            if identity.kind == "login":
                left["a login, which is for mcshell's own CA"].append(identity.name)
            elif subject is None or subject.common_name.lower() != identity.name:
                left["brokers know it by its common name, which is another"].append(
                    f"{identity.name} ({shown})"
                )
            else:
                known[identity.kind, identity.name].append(subject)
    return known


def _server(
    files: ForeignFiles, cas: Sequence[x509.Certificate], verifier: Verifier, now: float
) -> tuple[x509.Certificate, ...]:
    """The broker's certificate with those that vouch for it; raises ConfigError for an unfit one."""
    found = certificates_in(files.cert)
    if not found:
        raise ConfigError("--cert: no PEM certificate")
    leaf, *given = found
    if not same_key(load_private(files.key, "--key"), leaf.public_key()):
        raise ConfigError("--key: it is not the key of --cert")
    for ca in lacking(cas):
        above, below = ca.issuer.rfc4514_string(), ca.subject.rfc4514_string()
        raise ConfigError(
            f"--ca: {below!r} was issued by {above!r}, which is missing: TLS wants it too"
        )
    issuers = issuers_of(leaf, cas)
    if not issuers:
        by = leaf.issuer.rfc4514_string()
        where = "in --cert alone" if issuers_of(leaf, given) else "missing"
        raise ConfigError(
            f"--cert: it was issued by {by!r}, which is {where}: --ca needs each CA of the chain, the"
            " intermediate too (as does everybody's pki.ca)"
        )
    if not leaf.not_valid_before_utc.timestamp() <= now <= leaf.not_valid_after_utc.timestamp():
        raise ConfigError(
            f"--cert: good from {leaf.not_valid_before_utc:%F} to {leaf.not_valid_after_utc:%F}"
        )
    try:
        verifier.refuse_revoked(leaf.public_bytes(Encoding.DER))
    except Rejected as refused:
        raise ConfigError(f"--cert: its CA has revoked it ({refused.detail})") from None
    if not _is_server(leaf):
        raise ConfigError("--cert: its extended key usage does not allow a TLS server")
    return leaf, *(one for one in issuers if not is_root(one))


def _is_server(certificate: x509.Certificate) -> bool:
    try:
        usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return True
    allowed = (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE)
    return any(one in usage for one in allowed)


def _hosts(certificate: x509.Certificate) -> set[str]:
    """The names and addresses that a TLS client would find in it."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:  # then a client looks at the common name
        common = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        return {str(one.value).lower() for one in common}
    found = {one.lower() for one in names.get_values_for_type(x509.DNSName)}
    return found | {str(one) for one in names.get_values_for_type(x509.IPAddress)}


def _covers(pattern: str, host: str) -> bool:
    """Whether a name in a certificate is this host's: `*.` stands for one word."""
    if pattern.startswith("*."):
        return host.partition(".")[2] == pattern[2:]
    return pattern == host


def _matches(name: str, operators: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern.lower()) for pattern in operators)


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _TOLD} more" if len(names) > _TOLD else ""
    return ", ".join(names[:_TOLD]) + more
