"""One flawed_fleet for all causes, and alice in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.explain.flawed_fleet import FlawedFleet

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mcshell.client.client import Client
    from tests.peers.brokers import Broker


@pytest.fixture(scope="module")
def flawed_fleet(
    embedded: Broker, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[FlawedFleet]:
    """The nodes that are up from the start; the others are for the causes to start."""
    with FlawedFleet(embedded, tmp_path_factory.mktemp("flawed_fleet")) as flawed_fleet:
        flawed_fleet.start("web1", "busy", "full", "gone", "moved", "lost")
        flawed_fleet.start_fast(7300.0)
        yield flawed_fleet


@pytest.fixture(scope="module")
def alice(flawed_fleet: FlawedFleet) -> Client:
    """An operator who may nearly everything and knows the nodes."""
    client = flawed_fleet.open("alice")
    flawed_fleet.known(client, *flawed_fleet.nodes)
    return client
