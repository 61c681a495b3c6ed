"""Encrypted keys: the passphrase is asked for once, by TLS too, and never where nobody sits."""

from __future__ import annotations

import getpass
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
)

from mcshell.errors import ConfigError
from mcshell.pki import Authority, load_private
from mcshell.wire.documents.signatures import Signer
from mcshell.wire.stomp.endpoint import TLSFiles, tls_context

if TYPE_CHECKING:
    from pathlib import Path

    from mcshell.pki import PrivateKey


def encrypt(
    key: PrivateKey, passphrase: str, format_: PrivateFormat = PrivateFormat.PKCS8
) -> bytes:
    """The key as PEM under a passphrase."""
    return key.private_bytes(Encoding.PEM, format_, BestAvailableEncryption(passphrase.encode()))


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """Alice's certificate, and her key, whose passphrase is `open sesame`."""
    authority = Authority.init(tmp_path / "ca")
    cert, key = authority.issue("alice", "operator", tmp_path)
    key.write_bytes(encrypt(load_private(key.read_bytes()), "open sesame"))
    return cert, key


def answer(monkeypatch: pytest.MonkeyPatch, said: str) -> list[str]:
    """Sit there as in a notebook, whose kernel replaces `getpass`; returns what is asked."""
    asked: list[str] = []

    def kernels(prompt: str) -> str:
        asked.append(prompt)
        return said

    monkeypatch.setattr(getpass, "getpass", kernels)
    return asked


def test_a_passphrase_is_asked_for_once(
    files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Messages and TLS use the same encrypted key, and whoever sits there is asked once."""
    asked = answer(monkeypatch, "open sesame")
    cert, key = files
    signer = Signer.load(cert, key)
    assert Signer.load(cert, key).sign(b"x") == signer.sign(b"x")
    tls_context(TLSFiles(cert.parent / "ca" / "ca.pem", cert, key))
    assert asked == [f"the passphrase of {key}: "]


def test_tls_alone_asks_too(files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """A key that only the connection uses is asked for in our words, not by OpenSSL."""
    cert, key = files
    ca = cert.parent / "ca" / "ca.pem"
    answer(monkeypatch, "wrong")
    with pytest.raises(ConfigError, match="that is not its passphrase"):
        tls_context(TLSFiles(ca, cert, key))
    asked = answer(monkeypatch, "open sesame")
    tls_context(TLSFiles(ca, cert, key))
    assert asked == [f"the passphrase of {key}: "]


@pytest.mark.parametrize("said", ["wrong", ""])
def test_another_passphrase_is_one_line(
    files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, said: str
) -> None:
    """A wrong one, or none, names the file; it is asked for again the next time."""
    answer(monkeypatch, said)
    with pytest.raises(ConfigError, match=r"alice.key.*(is not its passphrase|is wanted)"):
        Signer.load(*files)
    asked = answer(monkeypatch, "open sesame")
    Signer.load(*files)
    assert len(asked) == 1


def test_where_nobody_sits_nothing_is_asked(
    files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kernel that takes no input (a report) is one line, as a daemon without a terminal is."""

    def refuses(_prompt: str) -> str:
        raise NotImplementedError

    monkeypatch.setattr(getpass, "getpass", refuses)
    with pytest.raises(ConfigError, match="there is no terminal to ask at"):
        Signer.load(*files)
