"""A node of ours with external agents: one written with py-mco-agent, two in shell."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.peers.fleet import Fleet, Node
from tests.peers.processes import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mcshell.client.client import Client
    from tests.peers.brokers import Broker

AGENTS = Path(__file__).with_name("agents")


@pytest.fixture(scope="module")
def fleet(embedded: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """One node that has them all."""
    root = tmp_path_factory.mktemp("external")
    agents = root / "agents"
    shutil.copytree(AGENTS, agents)
    parrot = agents / "parrot"
    parrot.write_text(f"#!{sys.executable}\n{(AGENTS / 'parrot.py.in').read_text()}")
    parrot.chmod(0o755)
    more = f'agents = {json.dumps([str(agents)])}\n[agents.parrot]\nprefix = "polly"\n'
    folder = root / "fleet"
    folder.mkdir()
    with Fleet(embedded, folder, {"node01": Node({"dc": "ams"})}, more=more) as fleet:
        text = fleet.config.read_text()
        fleet.config.write_text(f"{text}[node]\nagents = {json.dumps([str(agents)])}\n")
        fleet.start()
        # One in Python takes seconds to come up on a busy machine, and joins later then.
        with fleet.client() as client:

            def all_known() -> bool:
                (row,) = client.rpc("rpcutil", "agent_inventory", nodes=["node01"]).rows()
                return {"parrot", "shelly"} <= {one["name"] for one in row.data["agents"]}

            assert wait_until(all_known, 60)
        yield fleet


@pytest.fixture(scope="module")
def client(fleet: Fleet) -> Iterator[Client]:
    """Its operator."""
    with fleet.client() as client:
        yield client
