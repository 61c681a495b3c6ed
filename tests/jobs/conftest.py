"""Fleets of real daemons with the agent `mark`, and operators who hand jobs in to them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.jobs.town import Town

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.peers.brokers import Broker


@pytest.fixture
def town(embedded: Broker, tmp_path: Path) -> Iterator[Town]:
    """A fleet without nodes on the embedded broker; `Town.add` starts them."""
    with Town(embedded, tmp_path) as one:
        yield one
