"""One world for all causes, and alice in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.explain.world import World

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mcshell.client.client import Client
    from tests.peers.brokers import Broker


@pytest.fixture(scope="module")
def world(embedded: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """The nodes that are up from the start; the others are for the causes to start."""
    with World(embedded, tmp_path_factory.mktemp("world")) as world:
        world.start("web1", "busy", "full", "gone", "moved", "lost")
        world.start_fast(7300.0)
        yield world


@pytest.fixture(scope="module")
def alice(world: World) -> Client:
    """An operator who may nearly everything and knows the nodes."""
    client = world.open("alice")
    world.known(client, *world.nodes)
    return client
