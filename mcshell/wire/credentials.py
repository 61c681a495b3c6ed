"""From the settings to what speaks for us on the wire: the key, the trust, the connection."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mcshell.errors import ConfigError
from mcshell.wire.documents.signatures import Signer, Verifier
from mcshell.wire.stomp.connector import Connector
from mcshell.wire.stomp.endpoint import TLSFiles

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mcshell.config import PKISettings, Settings
    from mcshell.wire.stomp.reconnect import ConnectionState

__all__ = ["Credentials", "connector", "load_credentials", "load_verifier", "tls_files"]


@dataclass(frozen=True, slots=True)
class Credentials:
    """Who we are and whom we believe. `realm` names the fleet: its CA's fingerprint."""

    signer: Signer
    verifier: Verifier
    realm: str


def load_credentials(pki: PKISettings) -> Credentials:
    """Read CA, certificate, key and CRL; ConfigError names the file that cannot be used."""
    ca, cert, key = pki.files()
    realm = hashlib.sha256(_read(ca)).hexdigest()[:16]
    return Credentials(Signer.load(cert, key, pki.operators), load_verifier(pki), realm)


def load_verifier(pki: PKISettings) -> Verifier:
    """Read CA and CRL only, for those whose keys come from elsewhere."""
    if pki.ca is None:
        raise ConfigError("pki.ca is not set, and nothing is believed without it", "pki.ca")
    return Verifier(
        _read(pki.ca),
        crl_pem=_read(pki.crl) if pki.crl is not None else None,
        operators=pki.operators,
        crl_max_age=pki.crl_max_age,
    )


def tls_files(settings: Settings) -> TLSFiles | None:
    """The files for TLS to the broker, where any URL asks for it."""
    if not any(url.startswith("stomp+ssl://") for url in settings.broker.urls):
        return None
    ca, cert, key = settings.pki.files()
    return TLSFiles(str(ca), str(cert), str(key))


def connector(
    settings: Settings, on_state: Callable[[ConnectionState], None] | None = None
) -> Connector:
    """Make the supervised connection that the settings describe; it is not started yet."""
    broker = settings.broker
    return Connector(
        broker.urls,
        user=broker.user,
        passcode=broker.passcode(),
        tls=tls_files(settings),
        on_state=on_state,
    )


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}", origin=str(path)) from error
