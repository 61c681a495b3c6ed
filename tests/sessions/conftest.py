"""A small fleet that the tests of sessions share: three real nodes on the run's embedded broker."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import pytest

from tests.peers.fleet import Fleet, Node

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.peers.brokers import Broker

NAMES = ("n1", "n2", "n3")


@pytest.fixture(scope="module")
def fleet(embedded: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """Nodes n1, n2 and n3, serving."""
    nodes = {name: Node() for name in NAMES}
    with Fleet(embedded, tmp_path_factory.mktemp("sessions"), nodes) as running:
        running.start()
        yield running


@pytest.fixture
def state() -> str:
    """The name of a state directory that no other test uses."""
    return f"state-{uuid.uuid4().hex[:8]}"
