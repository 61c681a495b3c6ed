"""Ten real daemons on each of the three brokers, and an operator who stays connected."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.fleet.machines import TEN
from tests.peers.fleet import Fleet
from tests.peers.processes import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mcshell.client.client import Client
    from tests.peers.brokers import Broker

# exec wants a policy of its own
EXEC = "policy default deny\nallow\tcert=alice\trun\t*\t*\n"


@pytest.fixture(scope="module")
def ten(broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """The ten, serving. Who kills or stops one of them starts it again."""
    folder = tmp_path_factory.mktemp(f"ten-{broker.kind}")
    with Fleet(broker, folder, TEN, policies={"exec": EXEC}) as fleet:
        fleet.start()
        yield fleet


@pytest.fixture(scope="module")
def alice(ten: Fleet) -> Iterator[Client]:
    """An operator's open connection; the ten are known to her."""
    with ten.client() as client:
        assert wait_until(lambda: set(client.discover(fresh=True).sender) == set(TEN), 60)
        yield client
