"""Fixtures of MCollective's wire: the real Ruby, and the frames that a real fleet sent."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.mcollective.plugins import Keys
from tests.mcollective.ruby import Ruby

if TYPE_CHECKING:
    from collections.abc import Iterator

SAMPLES = Path(__file__).with_name("samples")


@pytest.fixture(scope="session")
def mcollective() -> str:
    """Mark a test as one that needs the real MCollective (and so the Ruby that it runs on)."""
    return "mcollective"


@pytest.fixture(scope="session")
def ruby(mcollective: str) -> Iterator[Ruby]:
    """One Ruby for the whole run."""
    peer = Ruby()
    yield peer
    peer.close()


@pytest.fixture(scope="session")
def rsa_keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    """RSA keys of one caller, alice, and of all nodes, server."""
    keys = Keys(tmp_path_factory.mktemp("keys"))
    keys.make("alice", "server")
    return keys


def sampled(name: str) -> list[dict[str, Any]]:
    """The frames of a capture, each with its `body` as bytes and its `headers` as a dict."""
    frames = [json.loads(line) for line in (SAMPLES / name).read_text().splitlines()]
    return [
        frame | {"body": base64.b64decode(frame["body"]), "headers": dict(frame["headers"])}
        for frame in frames
    ]
