"""Raw chunks: what one file is to many nodes, sent to all, that only its targets can read.

A chunk's body is no document. It begins with a zero byte, and has the transfer's id, its number and the
content under AES-256-GCM; nothing is believed of it but its SHA-256, where a signed manifest has named that.
The key is of one transfer. Each target gets it under a key of X25519 between a share that the operator has
signed and one that the node has.
"""

from __future__ import annotations

import hashlib
import os
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from mcshell.values import dataclass

__all__ = ["DIGEST", "KeyShare", "TransferKey", "is_chunk", "manifest_entry", "parse_chunk"]

DIGEST: Final = 32
"""Bytes of a manifest's entry."""
_MARK: Final = b"\0"
_ID, _NUMBER, _KEY, _TAG = 16, 4, 32, 16
_HEAD: Final = len(_MARK) + _ID + _NUMBER
_INFO: Final = b"mcshell-2 file "
_ONCE: Final = bytes(12)
"""The nonce of a key that seals one message."""


def is_chunk(body: bytes) -> bool:
    """Whether a body is a raw chunk, which no document is."""
    return body[:1] == _MARK


def parse_chunk(body: bytes) -> tuple[bytes, int] | None:
    """The transfer's id and the number that a body claims; None where it is too short for one."""
    if not is_chunk(body) or len(body) < _HEAD + _TAG:
        return None
    return body[1 : 1 + _ID], int.from_bytes(body[1 + _ID : _HEAD])


def manifest_entry(body: bytes) -> bytes:
    """What a manifest has of a chunk: the SHA-256 of its whole body."""
    return hashlib.sha256(body).digest()


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferKey:
    """The key of one transfer, and the id by which its chunks are told."""

    id: bytes
    key: bytes

    @classmethod
    def new(cls) -> TransferKey:
        """One that nobody has seen."""
        return cls(id=os.urandom(_ID), key=os.urandom(_KEY))

    def seal(self, number: int, content: bytes) -> bytes:
        """The body of a chunk. Of one number there is one content: its nonce is the number."""
        head = _MARK + self.id + number.to_bytes(_NUMBER)
        return head + AESGCM(self.key).encrypt(_nonce(number), content, head)

    def open(self, body: bytes) -> bytes:
        """The content of a chunk of this transfer; ValueError where it is none."""
        parsed = parse_chunk(body)
        if parsed is None or parsed[0] != self.id:
            raise ValueError("no chunk of this transfer")
        try:
            return AESGCM(self.key).decrypt(_nonce(parsed[1]), body[_HEAD:], body[:_HEAD])
        except InvalidTag:
            raise ValueError("not under this transfer's key") from None


class KeyShare:
    """One side's half of a key agreement; the private part is in memory alone."""

    def __init__(self) -> None:
        self._private = X25519PrivateKey.generate()
        self.public = self._private.public_key().public_bytes_raw()

    def seal(self, key: TransferKey, share: bytes, node: str) -> bytes:
        """A transfer's key for the node whose share that is. ValueError where it is none.

        A share of the sender's is for one transfer: it seals one key for each node.
        """
        with_ = self._agreed(share, self.public + share, key.id, node)
        return with_.encrypt(_ONCE, key.key, key.id)

    def open(self, sealed: bytes, share: bytes, transfer: bytes, node: str) -> TransferKey:
        """The key that was sealed for this node by who has that share; ValueError where it was not."""
        with_ = self._agreed(share, share + self.public, transfer, node)
        try:
            key = with_.decrypt(_ONCE, sealed, transfer)
        except InvalidTag:
            raise ValueError("the key is sealed for another") from None
        if len(key) != _KEY or len(transfer) != _ID:
            raise ValueError("no key of a transfer")
        return TransferKey(id=transfer, key=key)

    def _agreed(self, share: bytes, both: bytes, transfer: bytes, node: str) -> AESGCM:
        secret = self._private.exchange(X25519PublicKey.from_public_bytes(share))
        info = _INFO + both + node.encode()
        derived = HKDF(algorithm=SHA256(), length=_KEY, salt=transfer, info=info)
        return AESGCM(derived.derive(secret))


def _nonce(number: int) -> bytes:
    return number.to_bytes(12)
