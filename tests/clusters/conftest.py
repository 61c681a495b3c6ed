"""One cluster of three RabbitMQ for the tests of this folder, and a fleet that has all in its `urls`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.peers.cluster import Cluster, Hosts
from tests.peers.fleet import Fleet, Node

if TYPE_CHECKING:
    from collections.abc import Iterator

NODES = ("web1", "web2", "db1")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Three members, as yet without a fleet."""
    if os.geteuid():
        pytest.skip("needs root: a network namespace for each member")
    with Hosts(3) as hosts:
        made = Cluster(hosts, tmp_path_factory.mktemp("cluster"))
        try:
            yield made
        finally:
            made.stop()


@pytest.fixture(scope="module")
def fleet(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """Three nodes and alice, on the running cluster."""
    folder = tmp_path_factory.mktemp("clustered-fleet")
    with Fleet(cluster, folder, dict.fromkeys(NODES, Node())) as fleet:
        cluster.configure(fleet)
        cluster.start()
        fleet.start()
        yield fleet
