"""Real MCollective and our own nodes on one broker; each network is started once for its module."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from mcshell.ddl import ruby
from tests.mcollective.interop.network import PLUGINS, Network, Pair, classes_of, facts_of
from tests.peers.fleet import Fleet, Node

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.peers.brokers import Broker

HERE = Path(__file__).parent


def our_agents(folder: Path) -> Path:
    """The agent `rig` for our nodes, its DDL made from MCollective's."""
    shutil.copytree(HERE / "agents", folder, ignore=shutil.ignore_patterns("__pycache__"))
    source = PLUGINS / "mcollective" / "agent" / "rig.ddl"
    document = ruby.read(source.read_text(), str(source), "rig")
    for action in document["actions"]:
        for one in action["input"].values():
            if one["optional"]:
                one.pop("default", None)
    (folder / "rig.json").write_text(json.dumps(document))
    return folder


def caller_of(network: Network) -> str:
    """How our policies name the real client."""
    security = network.pair.security
    return f"mco-{security}:{'uid=0' if security == 'psk' else 'cert=alice'}"


def fleet_beside(broker: Broker, folder: Path, network: Network, count: int) -> Fleet:
    """So many nodes of ours, ours0001 and on, that are on the old wire, too."""
    names = {f"ours{number:04d}": number for number in range(1, count + 1)}
    nodes = {name: Node(facts_of(n, name), classes_of(n)) for name, n in names.items()}
    rule = "policy default deny\nallow\tcert=alice\t*\t*\t*\nallow\t{}\t*\t*\t*\n"
    agents = our_agents(folder / "agents")
    fleet = Fleet(
        broker,
        folder,
        nodes,
        policies={"default": rule.format(caller_of(network))},
        more=f"agents = {json.dumps([str(agents)])}\n{network.section('node')}",
    )
    with fleet.config.open("a") as file:
        file.write(network.section("client"))
    return fleet


@pytest.fixture(scope="module")
def networks(
    request: pytest.FixtureRequest, mcollective: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., Network]]:
    """A factory of networks, `networks("activemq", Pair("ssl", "yaml"), 3)`, that end with the module."""
    running: list[Network] = []

    def factory(kind: str, pair: Pair, count: int, **more: Any) -> Network:
        broker = request.getfixturevalue(kind)
        network = Network(broker, tmp_path_factory.mktemp(f"mco-{kind}-{pair}"), pair, **more)
        running.append(network)
        network.start(count)
        return network

    try:
        yield factory
    finally:
        for one in running:
            one.stop()
