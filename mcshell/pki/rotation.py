"""Two CAs in one directory, while a fleet goes from one to the next.

`ca.pem` has both, the one that signs first; whoever trusts that file trusts what either has issued. Their
keys are `ca.key` and `ca.second.key`, whichever is whose, so that each step is done by one replacement
of `ca.pem`: a machine that loses power on the way has done it, or has not.

The file's first line names the fleet, which else is known by the fingerprint of its CA: what clients and
supervisors have kept of their machines stays theirs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from mcshell.errors import ConfigError
from mcshell.pki.certificates import key_identifier
from mcshell.pki.keys import load_private, read_private, same_key
from mcshell.pki.realm import names_fleet, realm_line, realm_of
from mcshell.private import replace_file
from mcshell.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from mcshell.pki.keys import PrivateKey

__all__ = [
    "KeyedCA",
    "cas_pem",
    "read_cas",
    "read_retired",
    "retire",
    "tidy_keys",
    "write_cas",
    "write_second_key",
]

_FIRST: Final = "ca.key"
_SECOND: Final = "ca.second.key"
_CAS: Final = "ca.pem"
_RETIRED: Final = "ca.retired.pem"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyedCA:
    """A CA whose key is here. `id` is the beginning of its key's digest, by which the journal names it."""

    certificate: x509.Certificate
    key: PrivateKey
    id: str

    @classmethod
    def of(cls, certificate: x509.Certificate, key: PrivateKey) -> KeyedCA:
        """Name it."""
        identifier = x509.SubjectKeyIdentifier.from_public_key(certificate.public_key())
        return cls(certificate=certificate, key=key, id=identifier.digest.hex()[:16])

    @property
    def identifier(self) -> x509.AuthorityKeyIdentifier:
        """How its leaves say which key signed them."""
        return key_identifier(self.certificate)

    @property
    def pem(self) -> bytes:
        """The certificate."""
        return self.certificate.public_bytes(Encoding.PEM)


def read_cas(home: Path) -> tuple[KeyedCA, ...]:
    """The CAs of a directory, first the one that signs; raises ConfigError where that has no key."""
    if not (home / _FIRST).exists() or not (home / _CAS).exists():
        raise ConfigError(f"{home} holds no CA: mcshell pki init {home} makes one")
    paths = [home / name for name in (_FIRST, _SECOND) if (home / name).exists()]
    keys = [load_private(read_private(path), str(path)) for path in paths]
    try:
        certificates = x509.load_pem_x509_certificates((home / _CAS).read_bytes())
    except (OSError, ValueError) as error:
        raise ConfigError(f"{home / _CAS}: {error}") from error
    found = [
        KeyedCA.of(certificate, key)
        for certificate in certificates
        for key in keys
        if same_key(key, certificate.public_key())
    ]
    if not found or found[0].certificate != certificates[0]:
        raise ConfigError(f"{home}: ca.key is not the key of ca.pem")
    return tuple(found)


def write_cas(home: Path, cas: Sequence[KeyedCA]) -> None:
    """Have these be the CAs, of the fleet that is there."""
    line = realm_line(realm_of(cas_pem(home)))
    replace_file(home / _CAS, line + b"".join(one.pem for one in cas), 0o644)


def cas_pem(home: Path) -> bytes:
    """The file of CAs for whoever is to trust them: what somebody has written between them is left out."""
    pem = (home / _CAS).read_bytes()
    line = realm_line(realm_of(pem)) if names_fleet(pem) else b""
    found = x509.load_pem_x509_certificates(pem)
    return line + b"".join(one.public_bytes(Encoding.PEM) for one in found)


def write_second_key(home: Path, pem: bytes) -> None:
    """Keep the key of a CA that is to come."""
    replace_file(home / _SECOND, pem, 0o600)


def tidy_keys(home: Path, cas: Sequence[KeyedCA]) -> None:
    """Where one CA is left, its key is the first one, and the other's is gone."""
    if len(cas) > 1 or not (home / _SECOND).exists():
        return
    first = load_private(read_private(home / _FIRST), str(home / _FIRST))
    if same_key(first, cas[0].certificate.public_key()):
        (home / _SECOND).unlink()
    else:
        (home / _SECOND).replace(home / _FIRST)


def retire(home: Path, ca: KeyedCA) -> None:
    """Keep the certificate of a CA that is trusted no more: whoever renews is told to forget it."""
    replace_file(home / _RETIRED, read_retired(home) + ca.pem, 0o644)


def read_retired(home: Path) -> bytes:
    """The certificates of the CAs that were (PEM); empty where there was none."""
    try:
        return (home / _RETIRED).read_bytes()
    except FileNotFoundError:
        return b""
