"""Six real daemons with the agent `mark`, and alice, whose plans run on them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.peers.fleet import Fleet, Node

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.peers.brokers import Broker

AGENTS = Path(__file__).resolve().parents[1] / "agents_for_tests"
NODES = {
    "db1": Node({"role": "db", "bad": "no"}),
    "db2": Node({"role": "db", "bad": "no"}),
    "web1": Node({"role": "web", "bad": "no"}),
    "web2": Node({"role": "web", "bad": "yes"}),
    "web3": Node({"role": "web", "bad": "no"}),
    "web4": Node({"role": "web", "bad": "no"}),
}
# What is marked with `again` is denied on the one that is bad.
MARK = "policy default deny\ndeny\tcert=alice\tagain\tbad=yes\t*\nallow\tcert=alice\t*\t*\t*\n"


@pytest.fixture(scope="module")
def fleet(embedded: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """The six, serving. Who kills one of them starts it again."""
    folder = tmp_path_factory.mktemp("plans")
    more = f'agents = ["{AGENTS}"]\n'
    with Fleet(embedded, folder, NODES, policies={"mark": MARK}, more=more) as fleet:
        with fleet.config.open("a") as file:
            file.write(f"[node]\n{more}")
        fleet.start()
        yield fleet
