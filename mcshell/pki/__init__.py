"""Who is who: X.509 certificates, the identities in them, private keys, and a small CA.

`identity` reads who a certificate speaks for, `keys` loads keys and knows the three algorithms,
`authority` is the CA behind `mcshell pki`. Nothing here knows of messages or of the wire.
"""

from __future__ import annotations

from mcshell.pki.authority import Authority, IssuedCertificate
from mcshell.pki.identity import Identity, Kind, check_name, identity_of
from mcshell.pki.keys import (
    PrivateKey,
    PublicKey,
    load_private,
    passphrase_of,
    read_private,
    read_public,
)

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
