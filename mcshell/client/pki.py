"""Whose key a client signs with: that of `[pki]`, or one of its own where only MCollective's wire is spoken."""

from __future__ import annotations

import errno
import getpass
import hashlib
import re
import time
from typing import TYPE_CHECKING, Final

from mcshell import interrupts
from mcshell.config import PKISettings
from mcshell.errors import ConfigError
from mcshell.pki.realm import realm_of
from mcshell.private import lock_file, private_folder, read_obeyed

if TYPE_CHECKING:
    from pathlib import Path

    from mcshell.config import Settings

__all__ = ["known_realm", "pki_of"]

_WAIT: Final = 10.0


def pki_of(settings: Settings) -> PKISettings:
    """`[pki]`; without it a CA of this client alone, for a network that knows none.

    What it signs stays in its session files: nothing of it goes out. There is one for each network,
    so that what is known of one is not asked on another.

    Raises:
        ConfigError: it cannot be made in the state directory.
    """
    if not settings.only_mcollective:
        return settings.pki
    folder = _own_folder(settings)
    try:
        return _own(folder)
    except OSError as error:
        raise ConfigError(f"{folder}: {error.strerror}", "state") from error


def known_realm(settings: Settings) -> str:
    """The realm under which nodes are known here, as `load_realm` of `pki_of`; makes nothing.

    Raises:
        OSError: there is no CA that can be read.
        ValueError: others could change it.
    """
    alone = settings.only_mcollective
    ca = _own_folder(settings) / "ca.pem" if alone else settings.pki.ca
    if ca is None:
        raise FileNotFoundError(errno.ENOENT, "pki.ca is not set")
    return realm_of(read_obeyed(ca))


def _own_folder(settings: Settings) -> Path:
    own = settings.mcollective
    network = "\n".join([*(own.urls or settings.broker.urls), own.vhost, *own.collectives])
    return settings.state_dir / "mcollective" / hashlib.sha256(network.encode()).hexdigest()[:16]


def _own(folder: Path) -> PKISettings:
    from mcshell.pki.authority import Authority  # noqa: PLC0415 - only where there is no [pki]

    name = re.sub(r"[^a-z0-9]", "", getpass.getuser().lower()) or "operator"
    private_folder(folder)
    ends = time.monotonic() + _WAIT
    while (lock := lock_file(folder / "lock")) is None:
        if time.monotonic() > ends:
            raise ConfigError(f"{folder}: another process holds it", "state")
        interrupts.sleep(0.05)
    with lock:
        made = (folder / "ca.pem").exists()
        authority = Authority.open(folder) if made else Authority.init(folder, "own")
        cert, key = folder / f"{name}.pem", folder / f"{name}.key"
        if not _lasts(cert):
            authority.issue(name, "operator", renew=True)
    return PKISettings(ca=folder / "ca.pem", cert=cert, key=key)


def _lasts(cert: Path) -> bool:
    """Whether the certificate is there, and not about to end."""
    from cryptography import x509  # noqa: PLC0415 - as above

    from mcshell.pki.authority import RENEWAL  # noqa: PLC0415 - as above

    if not cert.exists():
        return False
    certificate = x509.load_pem_x509_certificate(cert.read_bytes())
    return certificate.not_valid_after_utc.timestamp() > time.time() + RENEWAL
