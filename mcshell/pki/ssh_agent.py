"""Keys in an ssh-agent: the built-in signer `ssh-agent` of `[pki] key = "ssh-agent:"`.

Behind the colon may stand the path of the agent's socket; without one it is that of SSH_AUTH_SOCK. The
key is found by the certificate's public key, whatever its comment. Two messages of the agent's protocol
(draft-miller-ssh-agent) are all that is spoken: which keys there are, and sign this. Each has a
connection of its own, so that an agent that was restarted is found again and any thread may sign.
"""

from __future__ import annotations

import base64
import hashlib
import os
import socket
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_public_key,
)

from mcshell.errors import ConfigError, PluginError

if TYPE_CHECKING:
    from collections.abc import Callable

    from mcshell.pki.keys import PublicKey

__all__ = ["key_blob", "read_keys", "read_signature", "sign_request", "ssh_agent"]

_REQUEST_IDENTITIES: Final = 11
_IDENTITIES_ANSWER: Final = 12
_SIGN_REQUEST: Final = 13
_SIGN_RESPONSE: Final = 14
_RSA_SHA2_256: Final = 2
_LARGEST: Final = 256 * 1024  # bytes of a message, as OpenSSH has it
_ANSWERS: Final = 10.0
"""Seconds in which an agent says what keys it has."""
_CONFIRMS: Final = 120.0
"""Seconds in which it signs: a person may have to say yes first (`ssh-add -c`)."""


def ssh_agent(reference: str, public: bytes) -> Callable[[bytes], bytes]:
    """Return the function that has an agent sign with the key whose public half is given (DER).

    Raises:
        ConfigError: there is no agent, or it has not the key. The function raises PluginError.
    """
    path = _socket_of(reference)
    key = load_der_public_key(public)
    if not isinstance(key, Ed25519PublicKey | EllipticCurvePublicKey | RSAPublicKey):
        raise ConfigError("pki.cert: a key for Ed25519, ECDSA or RSA is wanted", "pki.cert")
    blob = key_blob(key)
    try:
        held = read_keys(_ask(path, bytes([_REQUEST_IDENTITIES]), _ANSWERS))
    except (OSError, ValueError) as error:
        raise ConfigError(f"pki.key: no ssh-agent at {path}: {_why(error)}", "pki.key") from error
    if blob not in held:
        raise ConfigError(
            f"pki.key: the ssh-agent at {path} has {len(held)} keys, the certificate's"
            f" ({_fingerprint(blob)}) is not among them; run: ssh-add -c FILE",
            "pki.key",
        )

    def sign(body: bytes) -> bytes:
        try:
            answer = _ask(path, sign_request(blob, body, key), _CONFIRMS)
            return read_signature(answer, key)
        except (OSError, ValueError) as error:
            why = f"the ssh-agent at {path} did not sign: {_why(error)}"
            raise PluginError(why, "signer", "ssh-agent") from error

    return sign


def key_blob(key: PublicKey) -> bytes:
    """A public key as ssh writes it (RFC 4253)."""
    return base64.b64decode(key.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).split()[1])


def sign_request(blob: bytes, body: bytes, key: PublicKey) -> bytes:
    """The message that asks for a signature; RSA is asked for with SHA-256, not with SHA-1."""
    flags = _RSA_SHA2_256 if isinstance(key, RSAPublicKey) else 0
    return bytes([_SIGN_REQUEST]) + _string(blob) + _string(body) + struct.pack(">I", flags)


def read_keys(answer: bytes) -> list[bytes]:
    """The public keys in an agent's answer; ValueError when it is none."""
    if answer[:1] != bytes([_IDENTITIES_ANSWER]):
        raise ValueError("it does not say which keys it has")
    fields = _Fields(answer[1:])
    keys = []
    for _ in range(fields.number()):
        keys.append(fields.string())
        fields.string()  # its comment
    fields.end()
    return keys


def read_signature(answer: bytes, key: PublicKey) -> bytes:
    """The signature in an agent's answer, in the form that X.509 has for this kind of key.

    Raises:
        ValueError: the agent has refused, or the answer is none.
    """
    if answer[:1] != bytes([_SIGN_RESPONSE]):
        raise ValueError("it refused (locked, not confirmed, or the key is gone)")
    outer = _Fields(answer[1:])
    fields = _Fields(outer.string())
    outer.end()
    algorithm, signature = fields.string(), fields.string()
    fields.end()
    wanted = _algorithm(key)
    if algorithm != wanted:
        raise ValueError(f"it signed with {algorithm[:40]!r} where {wanted.decode()} was asked")
    if isinstance(key, EllipticCurvePublicKey):
        numbers = _Fields(signature)
        r, s = numbers.positive(), numbers.positive()
        numbers.end()
        return encode_dss_signature(r, s)
    if isinstance(key, RSAPublicKey):
        return signature.rjust(key.key_size // 8, b"\0")  # who leaves leading zeros out
    return signature


class _Fields:
    """Reads an SSH message (RFC 4251) from its front; ValueError when there is not enough."""

    def __init__(self, rest: bytes) -> None:
        self._rest = rest

    def number(self) -> int:
        """A uint32."""
        number: int = struct.unpack(">I", self._take(4))[0]
        return number

    def string(self) -> bytes:
        """Bytes behind their length."""
        return self._take(self.number())

    def positive(self) -> int:
        """An mpint that is not negative."""
        raw = self.string()
        if raw[:1] > b"\x7f":
            raise ValueError("a negative number in it")
        return int.from_bytes(raw, "big")

    def end(self) -> None:
        """Nothing may follow."""
        if self._rest:
            raise ValueError(f"{len(self._rest)} bytes too many in it")

    def _take(self, size: int) -> bytes:
        if size > len(self._rest):
            raise ValueError(f"it ends {size - len(self._rest)} bytes too early")
        taken, self._rest = self._rest[:size], self._rest[size:]
        return taken


def _string(raw: bytes) -> bytes:
    return struct.pack(">I", len(raw)) + raw


def _algorithm(key: PublicKey) -> bytes:
    if isinstance(key, RSAPublicKey):
        return b"rsa-sha2-256"
    return _Fields(key_blob(key)).string()


def _fingerprint(blob: bytes) -> str:
    """As `ssh-add -l` shows it."""
    return f"SHA256:{base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip('=')}"


def _socket_of(reference: str) -> Path:
    if not reference:
        reference = os.environ.get("SSH_AUTH_SOCK", "")
        if not reference:
            raise ConfigError(
                "pki.key is ssh-agent:, but SSH_AUTH_SOCK is not set:"
                " start an agent, or say where its socket is (ssh-agent:/PATH)",
                "pki.key",
            )
    path = Path(reference).expanduser()
    if not path.is_absolute():
        raise ConfigError(
            f"pki.key is ssh-agent:{reference}: behind the colon goes nothing, or the absolute path"
            " of the agent's socket; the key is found by the certificate",
            "pki.key",
        )
    return path


def _ask(path: Path, message: bytes, patience: float) -> bytes:
    """Send one message and return the answer; `patience` is seconds. Raises OSError, ValueError."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(patience)
        connection.connect(str(path))
        connection.sendall(_string(message))
        (size,) = struct.unpack(">I", _receive(connection, 4))
        if not 0 < size <= _LARGEST:
            raise ValueError(f"it answers with {size} bytes")
        return _receive(connection, size)


def _receive(connection: socket.socket, size: int) -> bytes:
    found = b""
    while len(found) < size:
        chunk = connection.recv(size - len(found))
        if not chunk:
            raise ValueError("it closed the connection")
        found += chunk
    return found


def _why(error: OSError | ValueError) -> str:
    if isinstance(error, TimeoutError):
        return "it did not answer"
    return getattr(error, "strerror", None) or str(error)
