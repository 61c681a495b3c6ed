"""A rule_fleet without machines on the embedded broker."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.supervisor.rule_fleet import RuleFleet

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.peers.brokers import Broker


@pytest.fixture
def rule_fleet(embedded: Broker, tmp_path: Path) -> Iterator[RuleFleet]:
    """Nobody lives there yet."""
    with RuleFleet(embedded, tmp_path) as one:
        yield one
