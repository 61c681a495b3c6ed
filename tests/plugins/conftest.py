"""Fleets whose processes have distributions with plugins on their path."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.peers.fleet import ROOT, Fleet, Node

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.peers.brokers import Broker


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """The folder into which a test installs distributions, as site-packages is one."""
    folder = tmp_path / "site"
    folder.mkdir()
    return folder


@pytest.fixture
def fleet(embedded: Broker, tmp_path: Path, site: Path) -> Iterator[Fleet]:
    """One node, not started yet; alice may have two actions of `rpcutil` and hold conversations."""
    folder = tmp_path / "fleet"
    folder.mkdir()
    policies = {
        "rpcutil": "policy default deny\nallow\tcert=alice\tping get_fact\t*\t*\n",
        "converse": "policy default allow\n",
    }
    more = f'agents = ["{ROOT}/tests/agents_for_tests"]\n'
    with Fleet(embedded, folder, {"web1": Node()}, policies=policies, more=more) as fleet:
        fleet.environ["PYTHONPATH"] = os.pathsep.join((str(site), ROOT))
        yield fleet
