"""MCollective's real security plugins in a Ruby child, as a client or a node, on keys of this run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from mcshell.wire.mcollective.values import RubySymbol
from tests.mcollective.ruby import RubyChild

SCRIPT = Path(__file__).with_name("security.rb")
PROVIDERS = {"psk": "psk", "ssl": "ssl", "aes": "aes_security"}


@dataclass(frozen=True)
class Keys:
    """A folder with NAME-private.pem and clients/NAME.pem for each name."""

    folder: Path

    def private(self, name: str) -> bytes:
        """A private key."""
        return (self.folder / f"{name}-private.pem").read_bytes()

    def public(self, name: str) -> bytes:
        """A public key."""
        return (self.folder / "clients" / f"{name}.pem").read_bytes()

    def make(self, *names: str) -> None:
        """Make RSA key pairs as MCollective has them."""
        (self.folder / "clients").mkdir()
        for name in names:
            key = rsa.generate_private_key(65537, 2048)
            private = key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.TraditionalOpenSSL,
                serialization.NoEncryption(),
            )
            public = key.public_key().public_bytes(
                serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
            )
            (self.folder / f"{name}-private.pem").write_bytes(private)
            (self.folder / "clients" / f"{name}.pem").write_bytes(public)


class Plugin(RubyChild):
    """One real plugin in one role."""

    def __init__(self, keys: Keys, name: str, role: str, serializer: str, more: str = "") -> None:
        config = keys.folder / f"{name}-{role}-{serializer}.cfg"
        prefix = {"psk": "psk", "ssl": "ssl_", "aes": "aes."}[name]
        folder = keys.folder
        config.write_text(
            f"""main_collective = mcollective
collectives = mcollective
libdir = /usr/share/mcollective/plugins
identity = ruby-{role}
logger_type = console
loglevel = fatal
securityprovider = {PROVIDERS[name]}
plugin.psk = s3cret
plugin.ssl_serializer = {serializer}
plugin.aes.serializer = {serializer}
plugin.{prefix}server_private = {folder}/server-private.pem
plugin.{prefix}server_public = {folder}/clients/server.pem
plugin.{prefix}client_private = {folder}/alice-private.pem
plugin.{prefix}client_public = {folder}/clients/alice.pem
plugin.{prefix}client_cert_dir = {folder}/clients
{more}
"""
        )
        super().__init__(SCRIPT, config, role)

    def request(self, body: Any, **fields: Any) -> bytes:
        """Have the plugin seal a request."""
        return bytes.fromhex(self._ask({"do": "request", "body": body} | fields)["payload"])

    def reply(self, body: Any, **fields: Any) -> bytes:
        """Have the plugin seal a reply."""
        return bytes.fromhex(self._ask({"do": "reply", "body": body} | fields)["payload"])

    def open(self, payload: bytes, expected: str | None = None) -> dict[str, Any]:
        """Have the plugin open a message; symbols come as text with a colon."""
        asked = {"do": "open", "payload": payload.hex(), "expected": expected}
        opened: dict[str, Any] = self._ask(asked)["opened"]
        return opened


def colons(value: Any) -> Any:
    """A value with its symbols as text with a colon, as the Ruby side shows it."""
    if isinstance(value, RubySymbol):
        return str(value)
    if isinstance(value, dict):
        return {colons(key): colons(one) for key, one in value.items()}
    return [colons(one) for one in value] if isinstance(value, list) else value
