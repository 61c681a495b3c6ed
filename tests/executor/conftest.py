"""A pool of real daemons, and an operator whose session has an executor over it."""

from __future__ import annotations

import uuid
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.peers.fleet import Fleet, Node

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.peers.brokers import Broker

AGENTS = Path(__file__).parents[1] / "agents_for_tests"
MEMBERS = '[pools.marks]\nmembers = ["w*"]\n'


@contextmanager
def workers(broker: Broker, folder: Path, count: int, slots: int = 2) -> Iterator[Fleet]:
    """So many daemons w0, w1, … that serve the pool `marks`, not yet started."""
    agents = f'agents = ["{AGENTS}"]\n'
    more = f'serve = ["marks"]\nslots = {slots}\n{agents}{MEMBERS}'
    nodes = {f"w{number}": Node() for number in range(count)}
    with Fleet(broker, folder, nodes, more=more) as fleet:
        with fleet.config.open("a") as file:
            file.write(f"[node]\n{agents}{MEMBERS}")
        yield fleet


@pytest.fixture(scope="module")
def fleet(embedded: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """Two workers that nobody kills."""
    with workers(embedded, tmp_path_factory.mktemp("executor"), 2) as running:
        running.start()
        yield running


@pytest.fixture
def idle(embedded: Broker, tmp_path: Path) -> Iterator[Fleet]:
    """A pool that nobody serves, until it is started."""
    with workers(embedded, tmp_path, 1) as running:
        yield running


@pytest.fixture
def session() -> str:
    """A session that no other test uses."""
    return f"s{uuid.uuid4().hex[:8]}"
