"""From the settings to what speaks for us on the wire: the key, the trust, the connection."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidSignature

from mcshell import plugins
from mcshell.errors import ConfigError, MCShellError, PluginError, Rejected
from mcshell.pki.chain import certificates_in
from mcshell.pki.keys import checking, der_of, read_private
from mcshell.pki.realm import realm_of
from mcshell.private import read_obeyed
from mcshell.values import dataclass
from mcshell.wire.documents.signatures import Signer, Verifier
from mcshell.wire.stomp.connector import Connector
from mcshell.wire.stomp.endpoint import TLSFiles
from mcshell.wire.stomp.reconnect import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from cryptography import x509

    from mcshell.config import KeyReference, PKISettings, Settings
    from mcshell.plugins import KeySource
    from mcshell.wire.documents.certificate_cache import CertificateCache
    from mcshell.wire.stomp.reconnect import ConnectionState

__all__ = [
    "Credentials",
    "connector",
    "load_cas",
    "load_credentials",
    "load_realm",
    "load_verifier",
    "tls_files",
]


@dataclass(frozen=True, slots=True)
class Credentials:
    """Who we are and whom we believe. `realm` names the fleet: its CA's fingerprint."""

    signer: Signer
    verifier: Verifier
    realm: str


def load_credentials(pki: PKISettings, cache: CertificateCache | None = None) -> Credentials:
    """Read CA, certificate, key and CRL; `cache` has the certificates that were examined before.

    Raises:
        ConfigError: names the file that cannot be used.
        PluginError: the signer that has the key is not there or cannot open it.
    """
    _, cert, key = pki.complete()
    signer = _load_signer(cert, key, pki.operators)
    if signer.identity.kind == "login":
        raise ConfigError(
            f"{cert} is the certificate of a login, which signs nothing: it goes into broker.cert",
            "pki.cert",
        )
    return Credentials(signer, load_verifier(pki, cache), load_realm(pki))


def load_realm(pki: PKISettings) -> str:
    """Read which fleet it is, without touching a key."""
    return realm_of(load_cas(pki))


def load_cas(pki: PKISettings) -> bytes:
    """Read the CAs that are trusted (PEM); raises ConfigError."""
    path = _ca(pki)
    with _named("pki.ca"):
        pem = _read(path)
        certificates_in(pem, str(path))
    return pem


def load_verifier(pki: PKISettings, cache: CertificateCache | None = None) -> Verifier:
    """Read CA and CRL only, for those whose keys come from elsewhere."""
    files = _TrustFiles(pki)
    cas, lists = load_cas(pki), _lists(pki.crl)
    try:
        return Verifier(
            cas,
            crl_pem=lists,
            operators=pki.operators,
            crl_max_age=pki.crl_max_age,
            refuse_expired_crl=pki.refuse_expired_crl,
            cache=cache,
            newer_cas=files.newer,
            newer_lists=lambda: _lists(pki.crl),
        )
    except ConfigError as error:
        name, path = ("pki.crl", pki.crl) if error.key == "pki.crl" else ("pki.ca", pki.ca)
        raise ConfigError(f"{name}: {path}: {error}", name, str(path)) from error


def tls_files(settings: Settings) -> TLSFiles:
    """The files for TLS to the broker: `[broker]`'s certificate and key, else `[pki]`'s.

    Raises:
        ConfigError: one is not set, others can read the key, or it is in no file.
    """
    cert, key = settings.broker.cert, settings.broker.key
    if cert is None and key is None:
        ca, cert, key = settings.pki.files()
        return TLSFiles(ca, cert, key)
    if cert is None or key is None:
        missing = "broker.cert" if cert is None else "broker.key"
        raise ConfigError(f"{missing} is not set: it goes with the other of the two", missing)
    read_private(key)  # one that others can read is refused
    return TLSFiles(_ca(settings.pki), cert, key)


def connector(
    settings: Settings,
    on_state: Callable[[ConnectionState], None] | None = None,
    *,
    verifier: Verifier | None = None,
    many: bool = False,
) -> Connector:
    """Make the supervised connection that the settings describe; it is not started yet.

    `verifier` knows which brokers' certificates are revoked (default: what the files say).
    `many`: thousands speak over it, so that they do not wait for it, and write in batches.
    """
    broker = settings.broker
    encrypted = any(url.startswith("stomp+ssl://") for url in broker.urls)
    if encrypted and verifier is None:
        verifier = load_verifier(settings.pki)
    return Connector(
        broker.urls,
        user=broker.user,
        passcode=broker.passcode(),
        tls=tls_files(settings) if encrypted else None,
        refuse=verifier.refuse_revoked if verifier is not None else None,
        patience=0.0 if many else PATIENCE,
        batches=many,
        on_state=on_state,
    )


class _TrustFiles:
    """The files of the trusted CAs and their lists, which the administrator may change while we work."""

    def __init__(self, pki: PKISettings) -> None:
        self._pki = pki
        self._stamp = self._look()

    def newer(self) -> bytes | None:
        """The CAs, if one of the files is another than it was; raises ConfigError where they cannot be used."""
        stamp = self._look()
        if stamp == self._stamp:
            return None
        self._stamp = stamp
        return load_cas(self._pki)

    def _look(self) -> object:
        return [_stamp(path) for path in (_ca(self._pki), self._pki.crl)]


def _stamp(path: Path | None) -> object:
    try:
        status = None if path is None else path.stat()
    except OSError:
        return None
    return status and (status.st_mtime_ns, status.st_size, status.st_ino)


class _PluggedKey:
    """A certificate's key in the hands of a `signer` plugin; each signature is verified.

    Raises:
        ConfigError: the certificate cannot be used.
        PluginError: there is no such plugin, or it cannot open the key.
    """

    def __init__(self, certificate: x509.Certificate, key: KeyReference) -> None:
        source: KeySource = plugins.find("signer", key.scheme)
        public = certificate.public_key()
        self._key = key
        self._check = checking(public)
        try:
            self._sign = source(key.rest, der_of(public))
        except MCShellError:
            raise
        except Exception as error:
            raise self._failed(f"{type(error).__name__}: {error}") from error

    def __call__(self, body: bytes) -> bytes:
        """Sign; PluginError when it cannot, or not with the certificate's key."""
        try:
            signature = self._sign(body)
            self._check(signature, body)
        except MCShellError:
            raise
        except InvalidSignature:
            raise self._failed("it does not sign with the certificate's key") from None
        except Exception as error:
            raise self._failed(f"{type(error).__name__}: {error}") from error
        return signature

    def _failed(self, why: str) -> PluginError:
        return PluginError(f"signer {self._key}: {why}", "signer", self._key.scheme)


@contextmanager
def _named(name: str, other: str = "", path: Path | None = None) -> Iterator[None]:
    """Whatever cannot be used is told with the setting that names it: with `other` what is of `path`."""
    try:
        yield
    except ConfigError as error:
        if path is not None and error.origin == str(path):
            name = other
        raise ConfigError(f"{name}: {error}", name, error.origin) from error


def _lists(path: Path | None) -> bytes | None:
    """The revocation lists. A file without any is one that was cut off: nobody would be revoked."""
    if path is None:
        return None
    with _named("pki.crl"):
        if not (found := _read(path)).strip():
            raise ConfigError(f"{path}: it is empty: a revocation list is meant", origin=str(path))
    return found


def _load_signer(cert: Path, key: Path | KeyReference, operators: Sequence[str]) -> Signer:
    if isinstance(key, Path):
        with _named("pki.key", "pki.cert", cert):
            return Signer.load(cert, key, operators)
    try:
        certificate = certificates_in(_read(cert), str(cert))[0]
        return Signer(certificate, _PluggedKey(certificate, key), operators)
    except ValueError as error:
        raise ConfigError(f"{cert}: {error}", origin=str(cert)) from error
    except Rejected as error:
        raise ConfigError(f"{cert}: it speaks for nobody: {error.detail}") from error


def _ca(pki: PKISettings) -> Path:
    if pki.ca is None:
        raise ConfigError("pki.ca is not set, and nothing is believed without it", "pki.ca")
    return pki.ca


def _read(path: Path) -> bytes:
    try:
        return read_obeyed(path)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}", origin=str(path)) from error
    except ValueError as error:
        raise ConfigError(f"{path}: {error}", origin=str(path)) from error
