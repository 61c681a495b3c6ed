"""A node that takes nothing of an operator says why in a registration: `explain` has it at once."""

from __future__ import annotations

import datetime as dt
import json
import time
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID

from mcshell.pki import Authority
from tests.peers.fleet import Fleet, Node, common

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.peers.brokers import Broker

PATIENCE = 60.0


def plain(pki: Path, name: str, folder: Path) -> None:
    """A certificate of the fleet's CA, as a foreign CA makes them: it says nothing of a kind."""
    authority = x509.load_pem_x509_certificate((pki / "ca.pem").read_bytes())
    signs = load_pem_private_key((pki / "ca.key").read_bytes(), None)
    assert isinstance(signs, Ed25519PrivateKey)
    key, now = Ed25519PrivateKey.generate(), dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(authority.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(days=2))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(signs, None)
    )
    (folder / f"{name}.pem").write_bytes(made.public_bytes(Encoding.PEM))
    secret = folder / f"{name}.key"
    secret.touch(mode=0o600)
    secret.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


@pytest.fixture(scope="module")
def fleet(embedded: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """A node; alice, whose certificate it takes, and two operators whose it does not."""
    root = tmp_path_factory.mktemp("turned_away")
    with Fleet(embedded, root, {"web1": Node()}) as fleet:
        foreign = Authority.init(root / "foreign", fleet.collective)
        # One trusts both authorities, so that he knows the node; it does not know his.
        foreign.issue("mallory", "operator", out=root)
        plain(root / "pki", "carol", root)
        for name in ("mallory", "carol"):
            text = common(name, embedded, fleet.collective)
            (root / f"{name}.toml").write_text(text)
        ours = (root / "pki" / "ca.pem").read_text()
        theirs = (root / "foreign" / "ca.pem").read_text()
        (root / "both.pem").write_text(ours + theirs)
        text = (root / "mallory.toml").read_text()
        assert "pki/ca.pem" in text
        (root / "mallory.toml").write_text(text.replace("pki/ca.pem", "both.pem"))
        text = (root / "carol.toml").read_text()
        (root / "carol.toml").write_text(text.replace("[pki]\n", '[pki]\noperators = ["carol"]\n'))
        fleet.start()
        yield fleet


def explained(fleet: Fleet, name: str) -> list[dict[str, str]]:
    """What `explain web1` says to one of them."""
    done = fleet.cli(
        "explain",
        "web1",
        "--json",
        timeout=PATIENCE,
        MCSHELL_CONFIG=str(fleet.folder / f"{name}.toml"),
    )
    found: list[dict[str, str]] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize(
    ("name", "cause"),
    [
        ("mallory", "our certificate is of a CA that the node does not know"),
        ("carol", "the node takes no requests of ours: no operator's certificate"),
    ],
)
def test_explain_says_why_a_node_takes_nothing_of_ours(fleet: Fleet, name: str, cause: str) -> None:
    """The first cause, observed, without a look into the node's files."""
    deadline = time.monotonic() + PATIENCE
    while True:  # a node tells it once in ten seconds
        first = explained(fleet, name)[0]
        if first["cause"] == cause or time.monotonic() > deadline:
            break
    assert (first["cause"], first["kind"]) == (cause, "observed")


def test_explain_says_nothing_of_it_to_others(fleet: Fleet) -> None:
    """To an operator whom the node takes it answers."""
    assert [row["cause"] for row in explained(fleet, "alice")] == ["it answers now"]
