"""A small real fleet for the faces: the embedded broker, three node daemons, one operator."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mcshell.commands.context import Context
from tests.peers.fleet import Fleet, Node

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.peers.brokers import Broker

ROLES = {"web1": "web", "web2": "web", "db1": "db"}
NODES = {
    name: Node({"role": role, "rack": {"row": len(name)}}, (f"{role}server",))
    for name, role in ROLES.items()
}
POOL = '[pools.sms]\nmembers = ["*"]\n'
EXEC = "policy default deny\nallow\tcert=alice\trun\t*\t*\n"


@pytest.fixture(scope="session")
def fleet(embedded: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """Nodes web1, web2 and db1, serving; a collective of their own on the run's broker."""
    folder = tmp_path_factory.mktemp("faces")
    with Fleet(
        embedded,
        folder,
        NODES,
        policies={"exec": EXEC},
        collective="faces",
        more='serve = ["sms"]\n' + POOL,
    ) as fleet:
        with fleet.config.open("a") as file:
            file.write(POOL)
        fleet.start()
        yield fleet


@pytest.fixture(scope="module")
def context(fleet: Fleet) -> Iterator[Context]:
    """The surroundings of one prompt, from line to line."""
    found = Context("prompt", fleet.config)
    yield found
    found.close()
