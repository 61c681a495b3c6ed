"""Which fleet it is: the fingerprint of its first CA."""

from __future__ import annotations

import hashlib
import re
from typing import Final

__all__ = ["names_fleet", "realm_line", "realm_of"]

_LINE = re.compile(rb"mcshell fleet ([0-9a-f]{16})\r?\n")
_DIGITS: Final = 16


def realm_of(ca_pem: bytes) -> str:
    """The name of the fleet whose certificates these CAs issue.

    Where a CA takes another's place the file begins with a line that says it, so that what was kept
    of the fleet's machines stays theirs.
    """
    said = _LINE.match(ca_pem)
    return hashlib.sha256(ca_pem).hexdigest()[:_DIGITS] if said is None else said[1].decode()


def names_fleet(ca_pem: bytes) -> bool:
    """Whether a file of CAs says whose they are: the first of them is the one that signs."""
    return _LINE.match(ca_pem) is not None


def realm_line(realm: str) -> bytes:
    """What a file of CAs begins with that are not a fleet's first."""
    return f"mcshell fleet {realm}\n".encode()
