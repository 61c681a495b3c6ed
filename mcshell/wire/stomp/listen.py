"""Where a server of ours may listen, and the TLS that it needs there."""

from __future__ import annotations

import asyncio
import ipaddress
import ssl
from typing import TYPE_CHECKING

from mcshell.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["address_of", "is_loopback", "listen_on", "server_context"]

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


async def listen_on(
    factory: Callable[[], asyncio.Protocol], host: str, port: int, tls: ssl.SSLContext | None
) -> asyncio.Server:
    """Take the address; `start_serving` is the caller's, when it is ready for clients.

    Raises:
        ConfigError: it cannot be had, or is off loopback without TLS.
    """
    if tls is None and not is_loopback(host):
        raise ConfigError(f"{host} is off loopback: TLS is needed there", key="listen")
    loop = asyncio.get_running_loop()
    try:
        return await loop.create_server(
            factory, host, port, ssl=tls, backlog=4096, start_serving=False
        )
    except OSError as error:
        reason = error.strerror or str(error)
        raise ConfigError(f"cannot listen on {host}:{port}: {reason}", key="listen") from None


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
