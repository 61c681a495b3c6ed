"""Private and public keys: read them safely, sign and check with whichever algorithm they have.

Ed25519 is what `mcshell pki` makes. ECDSA (P-256 with SHA-256, P-384 with SHA-384) and RSA
(2048 bits at least, PKCS#1 v1.5 with SHA-256) serve fleets with a CA of their own.

Signatures of Ed25519 are checked by libsodium: in half of OpenSSL's time, and it refuses what
OpenSSL refuses, and keys of small order besides, under which one signature can be anybody's.
"""

from __future__ import annotations

import base64
import hashlib
import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.ec import (
    ECDSA,
    EllipticCurve,
    EllipticCurvePrivateKey,
    EllipticCurvePublicKey,
)
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey

from mcshell.errors import ConfigError
from mcshell.pki.passphrases import ask_secret
from mcshell.private import read_obeyed
from mcshell.unused import unused

with unused("cryptography.hazmat.primitives.serialization"):  # a megabyte, for what has other keys
    from cryptography.hazmat.primitives import serialization

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes

__all__ = [
    "PrivateKey",
    "PublicKey",
    "certificate_der",
    "checking",
    "checking_der",
    "der_of",
    "dump_private",
    "hash_for",
    "load_private",
    "passphrase_of",
    "read_private",
    "read_public",
    "refuse_weak",
    "same_key",
    "signing",
]

PrivateKey: TypeAlias = Ed25519PrivateKey | EllipticCurvePrivateKey | RSAPrivateKey
PublicKey: TypeAlias = Ed25519PublicKey | EllipticCurvePublicKey | RSAPublicKey

MIN_RSA: Final = 2048
MIN_EXPONENT: Final = 65_537
MIN_CURVE: Final = 256
_ED25519_SIGNATURE: Final = 64
# RFC 8410: how the SubjectPublicKeyInfo of each Ed25519 key begins; its 32 bytes follow.
_ED25519_KEY: Final = bytes.fromhex("302a300506032b6570032100")
# The same of its PKCS#8, and all of such a PEM.
_ED25519_SEED: Final = bytes.fromhex("302e020100300506032b657004220420")
_ED25519_PEM: Final = re.compile(
    rb"-----BEGIN PRIVATE KEY-----\n([A-Za-z0-9+/]{64})\n-----END PRIVATE KEY-----\n"
)
_CERTIFICATE_PEM: Final = re.compile(
    rb"-----BEGIN CERTIFICATE-----\s+([A-Za-z0-9+/=\s]+)-----END CERTIFICATE-----"
)
_passphrases: Final[dict[bytes, bytes]] = {}
"""By the encrypted PEM: a process has several uses for its key, and asks once."""


def read_private(path: str | os.PathLike[str]) -> bytes:
    """Read a file that only its owner may read: a key, a passcode.

    Raises:
        ConfigError: it is not there, others can read it, or could put another in its place; says
            which command to run.
    """
    try:
        return read_obeyed(path, pipes=True, secret=True)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}", origin=str(path)) from error


def load_private(pem: bytes, origin: str = "") -> PrivateKey:
    """Load a PEM private key of one of our three algorithms; asks for an encrypted one's passphrase.

    Raises:
        ConfigError: it is none, the passphrase is another, or there is nobody to ask.
    """
    where = f"{origin}: " if origin else ""
    try:
        key = _plain_ed25519(pem) or serialization.load_pem_private_key(
            pem, passphrase_of(pem, origin)
        )
    except (ValueError, UnsupportedAlgorithm) as error:
        why, _, _page = str(error).partition(". See https://")
        raise ConfigError(f"{where}no PEM private key: {why}", origin=origin) from error
    if not isinstance(key, Ed25519PrivateKey | EllipticCurvePrivateKey | RSAPrivateKey):
        raise ConfigError(f"{where}a key for Ed25519, ECDSA or RSA is wanted", origin=origin)
    try:
        checking(key.public_key())
    except ValueError as error:
        raise ConfigError(f"{where}{error}", origin=origin) from error
    return key


def passphrase_of(pem: bytes, origin: str = "") -> bytes | None:
    """The passphrase of a private key, asked for once a process; None where it has none.

    Raises:
        ConfigError: it is another, or there is nobody to ask.
        ValueError: no PEM private key, or UnsupportedAlgorithm.
    """
    if pem in _passphrases:
        return _passphrases[pem]
    if _plain_ed25519(pem) is not None:
        return None
    try:
        serialization.load_pem_private_key(pem, password=None)
    except TypeError:  # as `cryptography` says that it is encrypted
        asked = ask_secret(f"the passphrase of {origin or 'the key'}").encode()
    else:
        return None
    try:
        serialization.load_pem_private_key(pem, asked)
    except ValueError as error:
        where = f"{origin}: " if origin else ""
        raise ConfigError(f"{where}that is not its passphrase", origin=origin) from error
    _passphrases[pem] = asked
    return asked


def _plain_ed25519(pem: bytes) -> Ed25519PrivateKey | None:
    """The key in a PEM such as `dump_private` writes; None where it may be any other."""
    if (found := _ED25519_PEM.fullmatch(pem)) is None:
        return None
    der = base64.b64decode(found[1])
    seed = der.removeprefix(_ED25519_SEED)
    return None if seed == der else Ed25519PrivateKey.from_private_bytes(seed)


def read_public(path: str | os.PathLike[str]) -> PublicKey:
    """Read a public key: a line of ssh's (`id_ed25519.pub`) or PEM; raises ConfigError."""
    try:
        text = Path(path).read_bytes()
        if text.lstrip().startswith(b"-----"):
            key = serialization.load_pem_public_key(text)
        else:
            key = serialization.load_ssh_public_key(text)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}", origin=str(path)) from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ConfigError(f"{path}: no public key: {error}", origin=str(path)) from error
    if not isinstance(key, Ed25519PublicKey | EllipticCurvePublicKey | RSAPublicKey):
        raise ConfigError(f"{path}: a key for Ed25519, ECDSA or RSA is wanted", origin=str(path))
    return key


def dump_private(key: PrivateKey) -> bytes:
    """The key as an unencrypted PKCS#8 PEM."""
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def same_key(key: PrivateKey | PublicKey, public: object) -> bool:
    """Whether `public` is the public half of `key`, or is it."""
    if not isinstance(public, Ed25519PublicKey | EllipticCurvePublicKey | RSAPublicKey):
        return False
    if not isinstance(key, Ed25519PublicKey | EllipticCurvePublicKey | RSAPublicKey):
        key = key.public_key()
    return der_of(key) == der_of(public)


def certificate_der(certificate: x509.Certificate, pem: bytes = b"") -> bytes:
    """A certificate's bytes; `pem` may hold it as its first, and saves loading what writes it."""
    if (found := _CERTIFICATE_PEM.search(pem)) is not None:
        der = base64.b64decode(found[1])
        if hashlib.sha256(der).digest() == certificate.fingerprint(hashes.SHA256()):
            return der
    return certificate.public_bytes(serialization.Encoding.DER)


def der_of(public: CertificatePublicKeyTypes) -> bytes:
    """A public key's SubjectPublicKeyInfo."""
    if isinstance(public, Ed25519PublicKey):
        return _ED25519_KEY + public.public_bytes_raw()
    spki = serialization.PublicFormat.SubjectPublicKeyInfo
    return public.public_bytes(serialization.Encoding.DER, spki)


def hash_for(key: PrivateKey) -> hashes.SHA256 | hashes.SHA384 | None:
    """What a certificate or CRL signed with this key is hashed with (None for Ed25519)."""
    if isinstance(key, Ed25519PrivateKey):
        return None
    return _hash(key.curve) if isinstance(key, EllipticCurvePrivateKey) else hashes.SHA256()


def signing(key: PrivateKey) -> Callable[[bytes], bytes]:
    """The function that signs a body with this key."""
    if isinstance(key, Ed25519PrivateKey):
        return _signing_ed25519(key)
    if isinstance(key, EllipticCurvePrivateKey):
        ecdsa = ECDSA(_hash(key.curve))
        return lambda body: key.sign(body, ecdsa)
    return lambda body: key.sign(body, padding.PKCS1v15(), hashes.SHA256())


def _signing_ed25519(key: Ed25519PrivateKey) -> Callable[[bytes], bytes]:
    pair = b""

    def sign(body: bytes) -> bytes:
        # libsodium takes 13 µs less, and 0.9 MiB: it is not loaded for this, but where it is there already.
        nonlocal pair
        if not _sodium.cache_info().currsize:
            return key.sign(body)
        pair = pair or key.private_bytes_raw() + key.public_key().public_bytes_raw()
        return _sodium().sign(body, pair)[:_ED25519_SIGNATURE]

    return sign


def checking(public: object) -> Callable[[bytes, bytes], None]:
    """The function `(signature, body)` that raises InvalidSignature unless they belong together.

    Raises:
        ValueError: an algorithm, a curve or a size that we do not take.
    """
    if isinstance(public, Ed25519PublicKey):
        return _checking_ed25519(public.public_bytes_raw())
    if isinstance(public, EllipticCurvePublicKey):
        ecdsa = ECDSA(_hash(public.curve))
        return lambda signature, body: public.verify(signature, body, ecdsa)
    if isinstance(public, RSAPublicKey):
        refuse_weak(public)
        pkcs, sha256 = padding.PKCS1v15(), hashes.SHA256()
        return lambda signature, body: public.verify(signature, body, pkcs, sha256)
    raise ValueError(f"a {type(public).__name__}: Ed25519, ECDSA or RSA is wanted")


def checking_der(der: bytes) -> Callable[[bytes, bytes], None]:
    """As `checking`, of a key's SubjectPublicKeyInfo."""
    if len(der) == len(_ED25519_KEY) + 32 and der.startswith(_ED25519_KEY):
        return _checking_ed25519(der[len(_ED25519_KEY) :])
    return checking(serialization.load_der_public_key(der))


def _checking_ed25519(raw: bytes) -> Callable[[bytes, bytes], None]:
    def check(signature: bytes, body: bytes) -> None:
        sodium = _sodium()
        if len(signature) != _ED25519_SIGNATURE:
            raise InvalidSignature
        try:
            sodium.open(signature + body, raw)
        except sodium.bad:
            raise InvalidSignature from None

    return check


class _Sodium(NamedTuple):
    """What we use of it: a message behind its signature is made, and opened; `bad` is raised of a bad one."""

    sign: Callable[[bytes, bytes], bytes]
    open: Callable[[bytes, bytes], bytes]
    bad: type[Exception]


@cache
def _sodium() -> _Sodium:
    """libsodium, loaded for the first signature that is checked: many commands check none."""
    from nacl.bindings import crypto_sign, crypto_sign_open  # noqa: PLC0415
    from nacl.exceptions import CryptoError  # noqa: PLC0415

    return _Sodium(sign=crypto_sign, open=crypto_sign_open, bad=CryptoError)


def refuse_weak(public: object) -> None:
    """Raise ValueError for a key too weak to be believed, a CA's too.

    A CA may have other strong keys than those that sign messages: larger curves, Ed448.
    """
    if isinstance(public, RSAPublicKey):
        exponent = public.public_numbers().e
        if public.key_size < MIN_RSA:
            raise ValueError(f"an RSA key of {public.key_size} bits; {MIN_RSA} are the least")
        if exponent < MIN_EXPONENT:
            raise ValueError(f"an RSA key of exponent {exponent}; {MIN_EXPONENT} is the least")
        return
    if isinstance(public, EllipticCurvePublicKey) and public.curve.key_size >= MIN_CURVE:
        return
    if isinstance(public, Ed25519PublicKey | Ed448PublicKey):
        return
    curve = getattr(getattr(public, "curve", None), "name", type(public).__name__)
    raise ValueError(f"a key of {curve}: Ed25519, ECDSA from {MIN_CURVE} bits on or RSA is wanted")


def _hash(curve: EllipticCurve) -> hashes.SHA256 | hashes.SHA384:
    if curve.name == "secp256r1":
        return hashes.SHA256()
    if curve.name == "secp384r1":
        return hashes.SHA384()
    raise ValueError(f"the curve {curve.name}; P-256 and P-384 are taken")
