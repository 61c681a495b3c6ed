"""The security plugin aes_security: bodies are encrypted, and that is all the proof there is.

A request's one-time key P is sealed with the caller's *private* key, a reply's with the caller's
public key; the body is AES-CBC under a key derived from P, without a MAC. **Protects** the body of
a reply against readers, and shows that P of a request once came from the caller. **Does not
protect** much else: whoever has the caller's public key reads its requests, and with a captured
P writes any request of his own under it; whoever has the caller's public key can write replies;
filter, agent, collective, request id and senders are in the clear and unsigned; bits of a body
can be flipped.

What our side closes: P is taken once (`Opened.once`), so a captured one is of no use to our nodes
as long as they remember it; ttl and time must be those inside; public keys are never learnt from
the wire.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import replace
from typing import Any, Final, Literal

from cryptography.hazmat.primitives.asymmetric import padding as rsa_padding
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.padding import PKCS7

from mcshell.errors import ConfigError, Reason, Rejected, did_you_mean
from mcshell.wire.mcollective import keys
from mcshell.wire.mcollective.envelope import (
    CALLERID,
    MARSHAL,
    Codec,
    Expected,
    MCollectiveLimits,
    Opened,
    ReplyEnvelope,
    RequestEnvelope,
    check_dates,
    check_expected,
    hash_of_reply,
    hash_of_request,
    inner_bytes,
    read,
    read_answer,
    reply_of,
    request_of,
    text_of,
)
from mcshell.wire.mcollective.ssl import protected, secured
from mcshell.wire.mcollective.values import RubySymbol

__all__ = ["AES", "CIPHERS"]

CIPHERS: Final = {"aes-256-cbc": 32, "aes-192-cbc": 24, "aes-128-cbc": 16}
"""What MCollective's `ssl_cipher` may be here → bytes of its key."""

_ROUNDS: Final = 2048
_IV: Final = 16
_LONGEST_KEY: Final = 256


class AES:
    """aes_security, as a client or a node.

    `private` is our own key as PEM, `callerid` `cert=` and the name of its public half, `callers`
    finds a caller's public key (for a node), `send_pubkey` is sent along when given.
    """

    name: Literal["aes"] = "aes"

    def __init__(
        self,
        private: bytes,
        callerid: str,
        *,
        callers: keys.Keys | None = None,
        codec: Codec = MARSHAL,
        cipher: str = "aes-256-cbc",
        send_pubkey: str | None = None,
    ) -> None:
        if not CALLERID.match(callerid):
            raise ConfigError(f"caller id {callerid!r}: it must look like cert=alice", "callerid")
        if cipher not in CIPHERS:
            raise ConfigError(f"no cipher {cipher!r}{did_you_mean(cipher, CIPHERS)}", "ssl_cipher")
        self._private = keys.private_key(private, "private key of aes_security")
        self._callers = callers
        self._size = CIPHERS[cipher]
        self._send_pubkey = send_pubkey
        self.callerid = callerid
        self.codec = codec

    def seal_request(self, request: RequestEnvelope) -> bytes:
        """Write and encrypt a request; all who have our public key can read it."""
        once = secrets.token_bytes(self._size)
        inner = self._encrypted(once, self.codec.dump(protected(request, self.name)))
        document = hash_of_request(request, inner) | {
            RubySymbol("sslkey"): keys.encode64(keys.private_transform(self._private, once))
        }
        if self._send_pubkey is not None:
            document[RubySymbol("sslpubkey")] = self._send_pubkey
        return self.codec.dump(document)

    def seal_reply(self, reply: ReplyEnvelope, callerid: str) -> bytes:
        """Write and encrypt a reply, for one caller; Rejected when its key is not known."""
        once = secrets.token_bytes(self._size)
        inner = self._encrypted(once, self.codec.dump(reply.body))
        sealed = keys.caller_key(self._callers, callerid).encrypt(once, rsa_padding.PKCS1v15())
        document = hash_of_reply(reply, inner) | {RubySymbol("sslkey"): keys.encode64(sealed)}
        return self.codec.dump(document)

    def open_request(self, body: bytes, limits: MCollectiveLimits, now: float) -> Opened:
        """Check size, form and dates, decrypt, and check that the dates are those inside."""
        document = read(self.codec, body, limits.bounds)
        request = request_of(document, None)
        check_dates(request, limits, now)
        sealed = keys.decode64(text_of(document, "sslkey"))
        once = keys.public_transform(keys.caller_key(self._callers, request.callerid), sealed)
        inner = read(self.codec, self._decrypted(once, document), limits.bounds)
        message = secured(inner, request, self.name)
        return Opened(replace(request, body=message), hashlib.sha256(once).hexdigest())

    def open_reply(
        self, body: bytes, limits: MCollectiveLimits, expected: Expected
    ) -> ReplyEnvelope:
        """Check size, form and whether it is waited for, and decrypt."""
        document = read(self.codec, body, limits.bounds)
        reply = reply_of(document, None)
        check_expected(reply, expected)
        sealed = keys.decode64(text_of(document, "sslkey"))
        try:
            once = self._private.decrypt(sealed, rsa_padding.PKCS1v15())
        except ValueError:
            raise Rejected(Reason.BAD_SIGNATURE, "encrypted for another key") from None
        plain = self._decrypted(once, document)
        if not plain.startswith(self.codec.begins):
            # one in 256 bodies under a wrong key has a padding that is right
            raise Rejected(Reason.BAD_SIGNATURE, "its body does not decrypt")
        return replace(reply, body=read_answer(self.codec, plain, limits.bounds))

    def _cipher(self, once: bytes) -> Cipher[modes.CBC]:
        key, iv = _derived(once, self._size)
        return Cipher(algorithms.AES(key), modes.CBC(iv))

    def _encrypted(self, once: bytes, plain: bytes) -> str:
        padder, encryptor = PKCS7(128).padder(), self._cipher(once).encryptor()
        padded = padder.update(plain) + padder.finalize()
        return keys.encode64(encryptor.update(padded) + encryptor.finalize())

    def _decrypted(self, once: bytes, document: Any) -> bytes:
        if not 0 < len(once) <= _LONGEST_KEY:
            # what is sealed for another opens to a text of any length
            raise Rejected(Reason.BAD_SIGNATURE, f"a one-time key of {len(once)} bytes")
        raw = keys.decode64(inner_bytes(document).decode("latin-1"))
        decryptor, unpadder = self._cipher(once).decryptor(), PKCS7(128).unpadder()
        try:
            padded = decryptor.update(raw) + decryptor.finalize()
            return unpadder.update(padded) + unpadder.finalize()
        except ValueError:
            raise Rejected(Reason.BAD_SIGNATURE, "its body does not decrypt") from None


def _derived(once: bytes, size: int) -> tuple[bytes, bytes]:
    """OpenSSL's EVP_BytesToKey with MD5 and no salt: the key and the iv."""
    made = block = b""
    while len(made) < size + _IV:
        block = block + once
        for _ in range(_ROUNDS):
            block = hashlib.md5(block, usedforsecurity=False).digest()
        made += block
    return made[:size], made[size : size + _IV]
