"""Three real nodes that are slow when told so, hold conversations and run plans; and alice."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.peers.fleet import Fleet, Node

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.peers.brokers import Broker

AGENTS = Path(__file__).resolve().parents[1] / "agents_for_tests"
CONVERSE = "policy default deny\nallow\tcert=alice\t*\t*\t*\n"
NODES = {name: Node({"role": "web"}) for name in ("web1", "web2", "web3")}


@pytest.fixture(scope="session")
def fleet(embedded: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """The three, serving; `MCSHELL_CONFIG` of its environment is alice's."""
    with made(embedded, tmp_path_factory.mktemp("stopping")) as running:
        running.start()
        yield running


def made(broker: Broker, folder: Path) -> Fleet:
    """The three on a broker, to be started."""
    more = f'agents = ["{AGENTS}"]\n'
    fleet = Fleet(broker, folder, NODES, policies={"converse": CONVERSE}, more=more)
    with fleet.config.open("a") as file:
        file.write(f"[node]\n{more}")
    return fleet
