"""From `[mcollective]` to what speaks there: the security plugin, the layout, the connection."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Literal

from mcshell.errors import ConfigError
from mcshell.pki.keys import read_private
from mcshell.private import read_obeyed
from mcshell.texts import decoded
from mcshell.values import dataclass
from mcshell.wire.credentials import load_verifier, tls_files
from mcshell.wire.mcollective import layouts
from mcshell.wire.mcollective.aes import AES
from mcshell.wire.mcollective.envelope import MARSHAL, YAML, MCollectiveLimits
from mcshell.wire.mcollective.keys import KeyDirectory
from mcshell.wire.mcollective.psk import PSK
from mcshell.wire.mcollective.ssl import SSL
from mcshell.wire.stomp.connector import Connector
from mcshell.wire.stomp.endpoint import TLSFiles

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mcshell.config import MCollective, Settings
    from mcshell.wire.mcollective.envelope import Security
    from mcshell.wire.mcollective.layouts import Layout
    from mcshell.wire.stomp.dialects import Dialect
    from mcshell.wire.stomp.reconnect import ConnectionState

__all__ = ["Role", "Wire", "connector", "layout_for", "open_wire"]

Role = Literal["client", "node"]


@dataclass(frozen=True, slots=True)
class Wire:
    """What is the same for every message of ours. `sender` is our identity there."""

    settings: MCollective
    security: Security
    limits: MCollectiveLimits
    sender: str

    def wrapped(self, body: bytes) -> bytes:
        """A body as it goes out: in base64 where `base64` says so."""
        return layouts.wrap(body) if self.settings.base64 else body

    def unwrapped(self, body: bytes) -> bytes:
        """A body as it came in, without its base64; Rejected when it has none."""
        return layouts.unwrap(body) if self.settings.base64 else body


def open_wire(settings: MCollective, role: Role, *, sender: str | None = None) -> Wire:
    """Read the keys; ConfigError names the setting that is missing or cannot be used."""
    identity = settings.identity or sender or socket.gethostname()
    return Wire(settings, _security(settings, role), MCollectiveLimits(), identity)


def layout_for(settings: MCollective, dialect: Dialect) -> Layout:
    """The layout of the broker that we are connected to; ours has ActiveMQ's.

    Raises:
        ConfigError: our own broker knows no selectors, which direct addressing wants.
    """
    if dialect.name == "rabbitmq":
        return layouts.RabbitMQ(settings.agents_multiplex, settings.reply_exchange)
    if dialect.name == "mcshell" and settings.direct_addressing:
        raise ConfigError(
            "the old wire wants ActiveMQ or RabbitMQ; on mcshell's own broker it works with "
            "mcollective.direct_addressing = false only",
            "mcollective.direct_addressing",
        )
    return layouts.ActiveMQ(settings.agents_multiplex, settings.priority)


def connector(
    settings: Settings, on_state: Callable[[ConnectionState], None] | None = None
) -> Connector:
    """Make the connection to the old wire's broker; it is not started yet."""
    own, broker = settings.mcollective, settings.broker
    urls = own.urls or broker.urls
    passcode = broker.passcode()
    if own.passcode_file is not None:
        passcode = _first_line(own.passcode_file, "passcode_file")
    tls = _tls(settings, urls)
    ours = tls is not None and own.tls_ca is None
    return Connector(
        urls,
        user=own.user or broker.user,
        passcode=passcode,
        tls=tls,
        refuse=load_verifier(settings.pki).refuse_revoked if ours else None,
        vhost=own.vhost,
        on_state=on_state,
    )


def _tls(settings: Settings, urls: tuple[str, ...]) -> TLSFiles | None:
    if not any(url.startswith("stomp+ssl://") for url in urls):
        return None
    own = settings.mcollective
    if own.tls_ca is not None:
        return TLSFiles(own.tls_ca, own.tls_cert, own.tls_key)
    if settings.only_mcollective:
        raise ConfigError(
            "mcollective.tls_ca is not set, and no broker is believed without it",
            "mcollective.tls_ca",
        )
    return tls_files(settings)


def _security(settings: MCollective, role: Role) -> Security:
    if settings.security == "psk":
        secret = _first_line(_needed(settings.psk_file, "psk_file"), "psk_file")
        return PSK(secret, settings.callerid)
    codec = YAML if settings.serializer == "yaml" else MARSHAL
    private = read_private(_needed(settings.private, "private"))
    name = _needed(settings.public, "public").stem
    callers = None
    if role == "node":
        callers = KeyDirectory(_needed(settings.callers, "callers"))
    if settings.security == "aes":
        sent = None
        if settings.send_pubkey:
            sent = _read(_needed(settings.public, "public"), "public").decode("ascii", "replace")
        return AES(
            private,
            f"cert={name}",
            callers=callers,
            codec=codec,
            cipher=settings.cipher,
            send_pubkey=sent,
        )
    nodes = _read(_needed(settings.nodes, "nodes"), "nodes") if role == "client" else None
    return SSL(private, f"cert={name}", nodes=nodes, callers=callers, codec=codec)


def _needed(path: Path | None, key: str) -> Path:
    if path is None:
        raise ConfigError(f"mcollective.{key} is not set", f"mcollective.{key}")
    return path


def _read(path: Path, key: str) -> bytes:
    try:
        return read_obeyed(path)
    except OSError as error:
        message = f"mcollective.{key}: {path}: {error.strerror}"
        raise ConfigError(message, f"mcollective.{key}") from error


def _first_line(path: Path, key: str) -> str:
    try:
        text = decoded(read_private(path)).partition("\n")[0].strip("\r")
    except ValueError as error:
        raise ConfigError(f"mcollective.{key}: {path}: {error}", f"mcollective.{key}") from error
    if not text:
        raise ConfigError(f"mcollective.{key}: {path} is empty", f"mcollective.{key}")
    return text
