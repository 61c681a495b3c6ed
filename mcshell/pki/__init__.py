"""Who is who: X.509 certificates, the identities in them, private keys, and a small CA.

`identity` reads who a certificate speaks for, `keys` loads keys and knows the three algorithms,
`authority` is the CA behind `mcshell pki`. Nothing here knows of messages or of the wire.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mcshell.pki.identity import Identity, Kind, check_name, identity_of
from mcshell.pki.keys import (
    PrivateKey,
    PublicKey,
    load_private,
    passphrase_of,
    read_private,
    read_public,
)

if TYPE_CHECKING:
    from mcshell.pki.authority import Authority
    from mcshell.pki.journal import IssuedCertificate

__all__ = [
    "Authority",
    "Identity",
    "IssuedCertificate",
    "Kind",
    "PrivateKey",
    "PublicKey",
    "check_name",
    "identity_of",
    "load_private",
    "passphrase_of",
    "read_private",
    "read_public",
]


def __getattr__(name: str) -> Any:
    """Load the CA at its first use (PEP 562): who only signs and checks has none."""
    if name not in {"Authority", "IssuedCertificate"}:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from mcshell.pki import authority  # noqa: PLC0415 - as above

    return getattr(authority, name)
