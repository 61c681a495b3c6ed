"""TLS material for the brokers under test: two small Ed25519 CAs and their leaves.

`write(dir)` leaves `ca.pem`, `server.pem|key` (127.0.0.1, localhost), `alice.pem|key` (operator),
`node1.pem|key` (node), and of a CA that nobody trusts `other-ca.pem`, `mallory.pem|key`.
It doesn't use `mcshell.pki`: brokers must take certificates that are not of our making.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
from inspect import signature
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Authority", "write"]


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


class Authority:
    """A CA that lives as long as the test session."""

    def __init__(self, name: str) -> None:
        self.key = Ed25519PrivateKey.generate()
        self.name = _name(name)
        usage = dict.fromkeys(signature(x509.KeyUsage).parameters, False)
        usage |= {"key_cert_sign": True, "crl_sign": True}
        self.certificate = self._build(
            self.name,
            self.key,
            [
                (x509.BasicConstraints(ca=True, path_length=0), True),
                # Contexts of Python 3.13 are strict by themselves.
                (x509.KeyUsage(**usage), True),
            ],
        )

    def _build(
        self,
        subject: x509.Name,
        key: Ed25519PrivateKey,
        extensions: list[tuple[x509.ExtensionType, bool]],
    ) -> x509.Certificate:
        now = dt.datetime.now(dt.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(hours=1))
            .not_valid_after(now + dt.timedelta(days=2))
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), False
            )
        )
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical)
        return builder.sign(self.key, None)

    def issue(self, directory: Path, name: str, *alternatives: x509.GeneralName) -> None:
        """Write `name.pem` and `name.key`, the key for the owner's eyes only."""
        key = Ed25519PrivateKey.generate()
        certificate = self._build(
            _name(name),
            key,
            [
                (x509.BasicConstraints(ca=False, path_length=None), True),
                (x509.SubjectAlternativeName(alternatives), False),
            ],
        )
        (directory / f"{name}.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
        secret = directory / f"{name}.key"
        secret.touch(mode=0o600)
        secret.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


def write(directory: Path) -> Path:
    """Write all the files named at the top into the directory; return it."""
    directory.mkdir(parents=True, exist_ok=True)
    ours, other = Authority("mcshell test CA"), Authority("another CA")
    for file, authority in (("ca.pem", ours), ("other-ca.pem", other)):
        (directory / file).write_bytes(authority.certificate.public_bytes(Encoding.PEM))
    ours.issue(
        directory,
        "server",
        x509.DNSName("localhost"),
        x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
    )
    ours.issue(directory, "alice", x509.UniformResourceIdentifier("mcshell:operator:alice"))
    ours.issue(directory, "node1", x509.UniformResourceIdentifier("mcshell:node:node1"))
    other.issue(directory, "mallory", x509.UniformResourceIdentifier("mcshell:operator:alice"))
    return directory


def rsa_leaf(directory: Path, authority: x509.Certificate, name: str) -> tuple[bytes, bytes]:
    """A node's certificate with an RSA-2048 key, by the CA whose `ca.key` is in the directory."""
    issuer = load_pem_private_key((directory / "ca.key").read_bytes(), None)
    assert isinstance(issuer, Ed25519PrivateKey)
    key = rsa.generate_private_key(65537, 2048)
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(_name(name))
        .issuer_name(authority.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(days=2))
        .add_extension(
            x509.SubjectAlternativeName([x509.UniformResourceIdentifier(f"mcshell:node:{name}")]),
            False,
        )
        .sign(issuer, None)
    )
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return certificate.public_bytes(Encoding.PEM), secret
