"""Where a broker is, how it is trusted, and what its refusals mean: what both connections share."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from mcshell.errors import ConfigError, UsageError, did_you_mean, printable
from mcshell.private import read_obeyed
from mcshell.values import dataclass

if TYPE_CHECKING:
    from pathlib import Path

    from mcshell.wire.stomp.frame import Frame

__all__ = [
    "Endpoint",
    "TLSFiles",
    "check_login",
    "parse_url",
    "reason_of",
    "server_context",
    "tls_context",
    "words_of",
    "words_of_files",
]

_PORTS = {"stomp": 61613, "stomp+ssl": 61614}
_LOGIN_LINE = 200
_MESSAGE = 1000


@dataclass(frozen=True, slots=True)
class TLSFiles:
    """The CA that vouches for the broker, and the certificate that we show it (PEM files).

    Without a CA the broker may be anybody, and only what vouches for itself is to be said and heard there:
    so a machine asks for its first certificate (mcshell/enrolment).
    """

    ca: str | Path | None
    cert: str | Path | None = None
    key: str | Path | None = None


_CUT_OFF = "no PEM in it, or it is cut off"
_FILES = {
    "[SSL] PEM lib": _CUT_OFF,
    "[X509] PEM lib": _CUT_OFF,
    "NO_CERTIFICATE_OR_CRL_FOUND": "no PEM certificate in it",
    "KEY_VALUES_MISMATCH": "the key is not the certificate's",
}
"""What OpenSSL says of a file, and what it means."""
_NO_TLS = ("wrong version number", "record layer failure", "packet length too long")
_PLAIN = " (does it speak TLS here? without it, stomp:// is meant)"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One broker's address; `tls` says whether anything but TLS may be spoken there."""

    url: str
    host: str
    port: int
    tls: bool


def parse_url(url: str) -> Endpoint:
    """Read `stomp://host[:port]` or `stomp+ssl://host[:port]` (ports 61613 and 61614).

    Raises:
        UsageError: it is something else, or holds a login.
    """
    meant = "stomp://HOST:PORT or stomp+ssl://HOST:PORT is meant"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as wrong:
        raise UsageError(f"broker {url!r}: {wrong}; {meant}") from None
    if parts.scheme not in _PORTS:
        hint = did_you_mean(parts.scheme, _PORTS)
        raise UsageError(f"broker {url!r}: unknown scheme {parts.scheme!r}{hint}; {meant}")
    if parts.username or parts.password:
        raise UsageError("a broker's URL holds no login: user and passcode_file are for that")
    if not parts.hostname or port == 0 or parts.path.strip("/") or parts.query or parts.fragment:
        raise UsageError(f"broker {url!r}: {meant}")
    return Endpoint(url, parts.hostname, port or _PORTS[parts.scheme], parts.scheme == "stomp+ssl")


def check_login(user: str, passcode: str) -> None:
    """Refuse what CONNECT, which knows no escapes, cannot carry; raises ConfigError."""
    for key, value in (("broker.user", user), ("broker.passcode_file", passcode)):
        if any(character in value for character in "\n\r\0"):
            raise ConfigError(f"{key}: it holds a line break or a NUL", key=key)


def tls_context(files: TLSFiles | None) -> ssl.SSLContext:
    """Trust the given CA only (without one: anybody), and show the given certificate.

    Raises:
        ConfigError: no CA, or a file that cannot be read.
    """
    if files is None:
        raise ConfigError("stomp+ssl:// needs a CA to trust", key="pki.ca")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    key, origin = "pki.ca", str(files.ca)
    try:
        if files.ca is None:
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        else:
            context.load_verify_locations(cafile=origin)
        if files.cert is not None:
            key, origin = "pki.cert", f"{files.cert} with {files.key or files.cert}"
            private = files.key or files.cert
            context.load_cert_chain(files.cert, private, lambda: _passphrase(private))
    except (OSError, ValueError) as wrong:
        why = words_of_files(wrong)
        raise ConfigError(f"{key}: cannot use {origin}: {why}", key=key, origin=origin) from None
    return context


def server_context(cert: Path | None, key: Path | None, ca: Path | None) -> ssl.SSLContext | None:
    """Make a server's TLS context; with a `ca` clients must show a certificate of it.

    Raises:
        ConfigError: one of the files is not what it should be, or is missing beside the others.
    """
    if cert is None or key is None:
        if cert or key or ca:
            raise ConfigError("TLS needs a certificate and its key (tls_cert, tls_key)")
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    name = str(key)
    try:
        read_obeyed(key, pipes=True, secret=True)
        name = f"{cert} with {key}"
        context.load_cert_chain(cert, key, lambda: _passphrase(key))
        if ca:
            name = str(ca)
            context.load_verify_locations(ca)
            context.verify_mode = ssl.CERT_REQUIRED
    except (OSError, ValueError) as error:
        raise ConfigError(f"TLS cannot use {name}: {words_of_files(error)}", origin=name) from None
    return context


def _passphrase(path: str | Path) -> bytes:
    """Asked for by OpenSSL where the key is encrypted; else it would ask at the terminal itself."""
    from mcshell.pki import passphrase_of, read_private  # noqa: PLC0415 - few keys are

    return passphrase_of(read_private(path), str(path)) or b""


def reason_of(error: Frame) -> str:
    """The words of a broker's ERROR frame, in a line: its message and, when it says more, its body's first line.

    ActiveMQ puts a stack trace into the body, RabbitMQ the particulars.
    """
    message = error.headers.get("message", "").strip()[:_MESSAGE]
    body = error.body.decode(errors="replace").strip()
    first = body.partition("\n")[0].strip()[:_LOGIN_LINE]
    if message and (not first or first in message or "\n\tat " in body or message in first):
        return printable(message)
    said = f"{message}: {first}" if message and first else first or "ERROR without a reason"
    return printable(said)


def words_of_files(wrong: OSError | ValueError) -> str:
    """Say in a few words why TLS does not take a file of certificates or keys."""
    said = getattr(wrong, "reason", None) or getattr(wrong, "strerror", None) or str(wrong)
    return _FILES.get(said.partition(" (_ssl")[0], said)


def words_of(failure: OSError) -> str:
    """Say in a few words what went wrong with a socket or a handshake."""
    if isinstance(failure, ssl.SSLCertVerificationError):
        return f"TLS: the broker's certificate is not trusted: {failure.verify_message}"
    if isinstance(failure, ssl.SSLError):
        said = (failure.reason or str(failure)).replace("_", " ").lower()
        return f"TLS: {said}{_PLAIN if said in _NO_TLS else ''}"
    return failure.strerror.lower() if failure.strerror else str(failure) or type(failure).__name__
