"""Which fleet it is: the fingerprint of its CA."""

from __future__ import annotations

import hashlib

__all__ = ["realm_of"]


def realm_of(ca_pem: bytes) -> str:
    """The name of the fleet whose certificates this CA issues."""
    return hashlib.sha256(ca_pem).hexdigest()[:16]
