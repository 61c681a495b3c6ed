"""RSA keys of MCollective's ssl and aes_security, and the old ways in which they are used.

Keys are PEM: a public key as such or in a certificate. Callers' public keys come from a `Keys`,
which takes the name in `cert=NAME`; `KeyDirectory` is MCollective's folder of `NAME.pem`.
"""

from __future__ import annotations

import base64
import binascii
import re
import secrets
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from mcshell.errors import ConfigError, Reason, Rejected
from mcshell.private import read_obeyed

if TYPE_CHECKING:
    from pathlib import Path

__all__ = [
    "KeyDirectory",
    "Keys",
    "caller_key",
    "caller_name",
    "decode64",
    "encode64",
    "private_key",
    "private_transform",
    "public_key",
    "public_transform",
    "sign",
    "verify",
]

Keys = Callable[[str], bytes | None]
"""Takes a caller's name, returns the PEM of its public key, None when it is not known."""

_LINE: Final = 60
_MOST_KEY: Final = 65536  # bytes
_BASE64 = re.compile(r"[A-Za-z0-9+/=\s]+\Z")
_NAME = re.compile(r"cert=([A-Za-z0-9_.-]+)\Z")
_LEAST_PADDING: Final = 8


class KeyDirectory:
    """MCollective's `ssl_client_cert_dir`: NAME.pem holds the public key of `cert=NAME`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __call__(self, name: str) -> bytes | None:
        """Read a key; names are checked before they get here, and hold no slash."""
        try:
            return read_obeyed(self._folder / f"{name}.pem", _MOST_KEY)
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise Rejected(
                Reason.BAD_CERTIFICATE, f"its public key cannot be used: {error}"
            ) from error


def caller_name(callerid: str) -> str:
    """The name in `cert=NAME`; Rejected for a caller id of another form."""
    found = _NAME.match(callerid)
    if found is None:
        raise Rejected(Reason.CALLER_MISMATCH, f"{callerid[:80]!r} is not of the form cert=NAME")
    return found[1]


def caller_key(callers: Keys | None, callerid: str) -> rsa.RSAPublicKey:
    """A caller's public key; Rejected when there is none, or none that can be used."""
    pem = callers(caller_name(callerid)) if callers else None
    if pem is None:
        raise Rejected(Reason.BAD_CERTIFICATE, f"no public key of {callerid} here")
    try:
        return public_key(pem, f"public key of {callerid}")
    except ConfigError as error:
        raise Rejected(Reason.BAD_CERTIFICATE, str(error)) from error


def private_key(pem: bytes, what: str = "private key") -> rsa.RSAPrivateKey:
    """Read an RSA private key without a passphrase; ConfigError otherwise."""
    try:
        key = serialization.load_pem_private_key(pem, None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ConfigError(f"the {what} is no PEM of an RSA key: {error}", what) from error
    if not isinstance(key, rsa.RSAPrivateKey):
        raise ConfigError(f"the {what} is not RSA, the only kind that MCollective knows", what)
    return key


@lru_cache(maxsize=256)
def public_key(pem: bytes, what: str = "public key") -> rsa.RSAPublicKey:
    """Read an RSA public key, or that of a certificate; ConfigError otherwise."""
    try:
        if b"BEGIN CERTIFICATE" in pem:
            key = x509.load_pem_x509_certificate(pem).public_key()
        else:
            key = serialization.load_pem_public_key(pem)  # type: ignore[assignment]  # both are checked below
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ConfigError(f"the {what} is no PEM of an RSA key: {error}", what) from error
    if not isinstance(key, rsa.RSAPublicKey):
        raise ConfigError(f"the {what} is not RSA, the only kind that MCollective knows", what)
    return key


def sign(key: rsa.RSAPrivateKey, body: bytes) -> str:
    """Sign as MCollective does: PKCS#1 v1.5 over SHA-1, in Ruby's base64."""
    return encode64(key.sign(body, padding.PKCS1v15(), hashes.SHA1()))  # noqa: S303 - what the wire has


def verify(key: rsa.RSAPublicKey, body: bytes, signature: str, who: str) -> None:
    """Check such a signature; Rejected BAD_SIGNATURE."""
    try:
        key.verify(decode64(signature), body, padding.PKCS1v15(), hashes.SHA1())  # noqa: S303 - as above
    except InvalidSignature:
        raise Rejected(Reason.BAD_SIGNATURE, f"not signed by {who}") from None


def private_transform(key: rsa.RSAPrivateKey, data: bytes) -> bytes:
    """RSA "encryption" with the private key (PKCS#1 v1.5, block type 1), as Ruby's private_encrypt.

    cryptography has no such call before its version 47. Blinded, so that the time that Python's
    pow takes tells nothing about the key.
    """
    numbers = key.private_numbers()
    n, e = numbers.public_numbers.n, numbers.public_numbers.e
    size = (n.bit_length() + 7) // 8
    if len(data) > size - 3 - _LEAST_PADDING:
        raise ConfigError(f"a key of {size * 8} bits is too short for {len(data)} bytes", "key")
    block = b"\0\1" + b"\xff" * (size - 3 - len(data)) + b"\0" + data
    blind = secrets.randbelow(n - 2) + 2
    blinded = int.from_bytes(block, "big") * pow(blind, e, n) % n
    at_p = pow(blinded, numbers.dmp1, numbers.p)
    at_q = pow(blinded, numbers.dmq1, numbers.q)
    whole = at_q + (at_p - at_q) * numbers.iqmp % numbers.p * numbers.q
    result = whole * pow(blind, -1, n) % n
    if pow(result, e, n) != int.from_bytes(block, "big"):
        raise ConfigError("the private key does not fit its public half", "key")
    return result.to_bytes(size, "big")


def public_transform(key: rsa.RSAPublicKey, sealed: bytes) -> bytes:
    """Undo `private_transform` with the public key; Rejected BAD_SIGNATURE."""
    numbers = key.public_numbers()
    size = (numbers.n.bit_length() + 7) // 8
    number = int.from_bytes(sealed, "big")
    if len(sealed) == size and number < numbers.n:
        block = pow(number, numbers.e, numbers.n).to_bytes(size, "big")
        filler, zero, data = block[2:].partition(b"\0")
        if (
            block[:2] == b"\0\1"
            and zero
            and len(filler) >= _LEAST_PADDING
            and filler.count(255) == len(filler)
        ):
            return data
    raise Rejected(Reason.BAD_SIGNATURE, "its key was sealed by another")


def encode64(raw: bytes) -> str:
    """Base64 as Ruby's encode64 has it: lines of 60, each with its end."""
    text = base64.b64encode(raw).decode()
    return "".join(f"{text[at : at + _LINE]}\n" for at in range(0, len(text), _LINE))


def decode64(text: str) -> bytes:
    """Read base64 with any spaces in it; Rejected MALFORMED otherwise."""
    if not _BASE64.match(text):
        raise Rejected(Reason.MALFORMED, "not base64: other characters in it")
    try:
        return base64.b64decode(re.sub(r"\s", "", text), validate=True)
    except (binascii.Error, ValueError) as error:
        raise Rejected(Reason.MALFORMED, f"not base64: {error}") from error
