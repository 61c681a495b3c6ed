"""A node daemon as a service: on a broker that may be killed, under what stands for systemd."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.peers.brokers import Embedded
from tests.peers.fleet import Fleet, Node
from tests.peers.manager import Manager

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.peers.brokers import Broker


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    """It listens, and has heard nothing."""
    with Manager(tmp_path) as one:
        yield one


@pytest.fixture
def fleet(embedded: Broker, tmp_path: Path) -> Iterator[Fleet]:
    """One node, not started."""
    with Fleet(embedded, tmp_path, {"web1": Node({"role": "web"})}) as one:
        yield one


@pytest.fixture
def doomed(pki_dir: Path, tmp_path: Path) -> Iterator[Embedded]:
    """A broker of this test's own."""
    broker = Embedded(tmp_path / "broker", pki_dir)
    yield broker
    broker.stop()
