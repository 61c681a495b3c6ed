"""Where a server of ours may listen, and the TLS that it needs there."""

from __future__ import annotations

import ipaddress
import ssl
from typing import TYPE_CHECKING

from mcshell.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["address_of", "is_loopback", "server_context"]

_LAST_PORT = 65535


def address_of(listen: str) -> tuple[str, int]:
    """Read HOST:PORT or [IPV6]:PORT; port 0 means any free one.

    Raises:
        ConfigError: it is something else.
    """
    host, colon, port = listen.rpartition(":")
    bare = host.removeprefix("[").removesuffix("]")
    number = int(port) if port.isascii() and port.isdigit() and len(port) <= len("65535") else -1
    if not colon or not bare or not 0 <= number <= _LAST_PORT or (":" in bare and bare == host):
        raise ConfigError(f"listen {listen!r}: HOST:PORT is meant", key="listen")
    return bare, number


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a listener there."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def server_context(cert: Path, key: Path, ca: Path | None = None) -> ssl.SSLContext:
    """Make a server's TLS context; with a `ca` clients must show a certificate of it.

    Raises:
        ConfigError: one of the files is not what it should be.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    name = str(cert)
    try:
        context.load_cert_chain(cert, key)
        if ca:
            name = str(ca)
            context.load_verify_locations(ca)
            context.verify_mode = ssl.CERT_REQUIRED
    except (OSError, ValueError) as error:
        raise ConfigError(f"TLS cannot use {name}: {error}", origin=name) from None
    return context
