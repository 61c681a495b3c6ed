"""A small real fleet for the faces: the embedded broker, three node daemons, one operator."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mcshell.commands.context import Context
from tests.faces.demo_lab import lab_of, opened_demo
from tests.peers.fleet import ROOT, Fleet, Node

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.faces.demo_lab import Lab
    from tests.peers.brokers import Broker

STRANGE = "z\u00fcrich \u4e2d \U0001f600"
"""A fact with letters that few encodings have."""
ROLES = {"web1": "web", "web2": "web", "db1": "db"}
NODES = {
    name: Node(
        {
            "role": role,
            "rack": {"row": len(name)},
            "mountpoints": {"/": {"capacity": "9%"}},
            "emoji": STRANGE,
        },
        (f"{role}server",),
    )
    for name, role in ROLES.items()
}
AGENTS = f'agents = ["{ROOT}/tests/agents_for_tests"]\n'
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


@pytest.fixture(scope="session")
def echoes(embedded: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """Nodes web1 and web2, which say what they were told."""
    nodes = {"web1": Node({"role": "web"}), "web2": Node({"role": "web"})}
    with Fleet(embedded, tmp_path_factory.mktemp("cells"), nodes, more=AGENTS) as fleet:
        with fleet.config.open("a") as file:
            file.write(f"[node]\n{AGENTS}")
        fleet.start()
        yield fleet


@pytest.fixture(scope="module")
def context(fleet: Fleet) -> Iterator[Context]:
    """The surroundings of one prompt, from line to line."""
    found = Context("prompt", fleet.config)
    yield found
    found.close()


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    """A new demo of 25, which others join, and a folder to stand in."""
    with opened_demo(tmp_path / "lab") as demo:
        yield lab_of(demo, tmp_path / "work")
