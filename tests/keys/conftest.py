"""Fleets in which somebody's key is in no file of ours."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.peers.agents import SSHAgent
from tests.peers.fleet import Fleet, Node
from tests.peers.tokens import Token

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mcshell.pki import Kind, PrivateKey, PublicKey
    from tests.peers.brokers import Broker

__all__ = ["Keyring"]


class Keyring:
    """A fleet of one node, and what puts keys of its identities elsewhere."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet

    def certify(
        self, name: str, reference: str, key: PrivateKey | None = None, kind: Kind = "operator"
    ) -> PrivateKey:
        """Give an identity a key that is in no file of the fleet's."""
        key = key or Ed25519PrivateKey.generate()
        self.certify_for(name, reference, key.public_key(), kind)
        return key

    def certify_for(
        self, name: str, reference: str, public: PublicKey, kind: Kind = "operator"
    ) -> None:
        """Give an identity a certificate for a key, and say in its configuration where that is."""
        folder = self.fleet.folder
        self.fleet.authority.revoke(name)
        self.fleet.authority.issue_for(name, kind, public, folder, renew=True)
        (folder / f"{name}.key").unlink()
        config = folder / f"{name}.toml"
        config.write_text(config.read_text().replace(f'"{name}.key"', f"'{reference}'"))


@pytest.fixture
def keyring(embedded: Broker, tmp_path: Path) -> Iterator[Keyring]:
    """One node that is not started yet, and alice."""
    folder = tmp_path / "fleet"
    folder.mkdir()
    with Fleet(embedded, folder, {"web1": Node()}) as fleet:
        yield Keyring(fleet)


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[SSHAgent]:
    """A real ssh-agent."""
    running = SSHAgent(tmp_path)
    yield running
    running.stop()


@pytest.fixture
def softhsm(tmp_path: Path) -> Token:
    """A token of SoftHSM's with nothing on it."""
    return Token(tmp_path)
