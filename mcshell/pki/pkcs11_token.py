"""Keys on a PKCS #11 token: the built-in signer `pkcs11` of `[pki] key = "pkcs11:…"` (RFC 7512).

`module-path` names the driver, `token` and `serial` the token, `object` and `id` the key. The PIN is in
the file that `pin-source` names, which only its owner may read, or is asked for. `pip install
python-pkcs11` brings what speaks to the driver; without a key of this kind it is not loaded.
"""

from __future__ import annotations

import hashlib
import threading
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote_to_bytes

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import load_der_public_key

from mcshell.errors import ConfigError, PluginError
from mcshell.pki.keys import read_private
from mcshell.pki.passphrases import ask_secret
from mcshell.private import check_obeyed
from mcshell.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["TokenURI", "parse_uri", "pkcs11_token"]

_KNOWN: Final = ("module-path", "token", "serial", "object", "id", "type", "pin-source")
_NOT_IN_THE_PIN: Final = "\r\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenURI:
    """What a `pkcs11:` URI names; None: any."""

    module: Path
    token: str | None = None
    serial: bytes | None = None
    object: str | None = None
    id: bytes | None = None
    pin_source: Path | None = None


def parse_uri(text: str) -> TokenURI:
    """Read what stands behind `pkcs11:`.

    Raises:
        ConfigError: it names no driver, has a PIN in it, or something that we do not know.
    """
    path, _, query = text.partition("?")
    said: dict[str, bytes] = {}
    for word in [*filter(None, path.split(";")), *filter(None, query.split("&"))]:
        name, equals, value = word.partition("=")
        if name == "pin-value":
            raise _wrong("pin-value: a PIN is in no configuration; leave it out, or say pin-source")
        if name not in _KNOWN or not equals:
            raise _wrong(f"{name!r} is none of {', '.join(_KNOWN)}")
        if name in said:
            raise _wrong(f"{name} stands twice")
        said[name] = unquote_to_bytes(value)
    if said.pop("type", b"private") != b"private":
        raise _wrong("type: only a private key signs")
    try:
        words = {name: raw.decode() for name, raw in said.items() if name not in ("id", "serial")}
    except UnicodeDecodeError as error:
        raise _wrong(f"no UTF-8: {error}") from error
    if "module-path" not in words:
        raise _wrong("it has no module-path: the token's driver, such as .../libsofthsm2.so")
    source = words.get("pin-source")
    return TokenURI(
        module=_absolute("module-path", words["module-path"]),
        token=words.get("token"),
        serial=said.get("serial"),
        object=words.get("object"),
        id=said.get("id"),
        pin_source=None if source is None else _absolute("pin-source", source),
    )


@cache
def pkcs11_token(reference: str, public: bytes) -> Callable[[bytes], bytes]:
    """Return the function that has a token sign; a token is opened once a process.

    Raises:
        ConfigError: no driver, token or key, several of them, or another PIN.
    """
    uri = parse_uri(reference)
    try:
        import pkcs11  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise _wrong("a token wants more: pip install python-pkcs11") from error
    try:
        check_obeyed(uri.module)  # it is code
        token = _only(f"token in {uri.module}", _tokens(uri))
        key = _only(f"private key on the token {token.label!r}", _keys(uri, token, public))
    except (OSError, pkcs11.PKCS11Error, RuntimeError) as error:
        raise _wrong(_why(error)) from error
    return _signing(key, public)


def _tokens(uri: TokenURI) -> list[Any]:
    import pkcs11  # noqa: PLC0415 - an extra

    found = pkcs11.lib(str(uri.module)).get_tokens(token_label=uri.token, token_serial=uri.serial)
    return list(found)


def _keys(uri: TokenURI, token: Any, public: bytes) -> list[Any]:
    """The keys of the certificate's kind that the URI fits."""
    import pkcs11  # noqa: PLC0415 - an extra

    certified = load_der_public_key(public)
    kind = pkcs11.KeyType.RSA
    if isinstance(certified, Ed25519PublicKey):
        kind = pkcs11.KeyType.EC_EDWARDS
    elif isinstance(certified, EllipticCurvePublicKey):
        kind = pkcs11.KeyType.EC
    wanted = {
        pkcs11.Attribute.CLASS: pkcs11.ObjectClass.PRIVATE_KEY,
        pkcs11.Attribute.KEY_TYPE: kind,
        pkcs11.Attribute.LABEL: uri.object,
        pkcs11.Attribute.ID: uri.id,
    }
    try:
        session = token.open(user_pin=_pin(uri, token.label))
    except pkcs11.UserAlreadyLoggedIn:  # for another key on it: a process logs in once
        session = token.open()
    told = {name: value for name, value in wanted.items() if value is not None}
    return list(session.get_objects(told))


def _pin(uri: TokenURI, label: str) -> str:
    if uri.pin_source is None:
        return ask_secret(f"the PIN of the token {label}")
    return read_private(uri.pin_source).decode().strip(_NOT_IN_THE_PIN)


def _signing(key: Any, public: bytes) -> Callable[[bytes], bytes]:
    """The function that signs; a token's session takes one caller at a time."""
    import pkcs11  # noqa: PLC0415 - an extra

    certified = load_der_public_key(public)
    turn = threading.Lock()

    def sign(body: bytes) -> bytes:
        mechanism = pkcs11.Mechanism.SHA256_RSA_PKCS
        if isinstance(certified, Ed25519PublicKey):
            mechanism = pkcs11.Mechanism.EDDSA
        elif isinstance(certified, EllipticCurvePublicKey):
            mechanism = pkcs11.Mechanism.ECDSA
            large = certified.curve.key_size > 256  # noqa: PLR2004 - as `keys` has it
            body = (hashlib.sha384 if large else hashlib.sha256)(body).digest()
        try:
            with turn:
                signature: bytes = key.sign(body, mechanism=mechanism)
        except pkcs11.PKCS11Error as error:
            why = f"the token did not sign: {_why(error)}"
            raise PluginError(why, "signer", "pkcs11") from error
        if isinstance(certified, EllipticCurvePublicKey):
            half = len(signature) // 2
            r, s = signature[:half], signature[half:]
            return encode_dss_signature(int.from_bytes(r, "big"), int.from_bytes(s, "big"))
        return signature

    return sign


def _only(what: str, found: list[Any]) -> Any:
    if len(found) != 1:
        raise _wrong(f"{len(found) or 'no'} {what} {'fit' if found else 'fits'}: one is meant")
    return found[0]


def _absolute(name: str, text: str) -> Path:
    path = Path(text.removeprefix("file:")).expanduser()
    if not path.is_absolute():
        raise _wrong(f"{name}: {text!r} is no absolute path")
    return path


def _wrong(what: str) -> ConfigError:
    return ConfigError(f"pki.key: pkcs11: {what}", "pki.key")


def _why(error: Exception) -> str:
    name = type(error).__name__
    return f"{name}: {error}" if str(error) else name
