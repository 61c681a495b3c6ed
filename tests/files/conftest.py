"""Three real daemons whose file agent reads and writes folders of the test's own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.peers.fleet import Fleet, Node

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mcshell.client.client import Client
    from tests.peers.brokers import Broker

NAMES = ("n1", "n2", "n3")
# The nodes share this machine: each test's places are told apart by the node's name.
MORE = """\
tell_files = "all"
[agents.file]
roots = ["{root}"]
write = ["{root}"]
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that nodes read and write below."""
    return tmp_path_factory.mktemp("root")


@pytest.fixture(scope="module")
def fleet(
    embedded: Broker, tmp_path_factory: pytest.TempPathFactory, root: Path
) -> Iterator[Fleet]:
    """Three nodes, serving. Who kills one starts it again."""
    folder = tmp_path_factory.mktemp("files")
    nodes = {name: Node() for name in NAMES}
    rules = "policy default deny\nallow\tcert=alice\t*\t*\t*\n"
    rules += "allow\tcert=bob\tlist get\t*\t*\n"
    with Fleet(
        embedded,
        folder,
        nodes,
        policies={"file": rules},
        operators=("alice", "bob"),
        more=MORE.format(root=root),
    ) as fleet:
        fleet.start()
        yield fleet


@pytest.fixture(scope="module")
def alice(fleet: Fleet) -> Iterator[Client]:
    """An operator's open connection."""
    with fleet.client() as client:
        yield client


@pytest.fixture
def counted(alice: Client, monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The bodies that leave her for the broker from now on."""
    bodies: list[bytes] = []
    transport = alice._transport
    send = transport.send

    def counting(destination: str, body: bytes, *more: Any, **options: Any) -> Any:
        bodies.append(body)
        return send(destination, body, *more, **options)

    monkeypatch.setattr(transport, "send", counting)
    return bodies
