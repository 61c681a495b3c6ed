"""Fleets of real daemons with the agent `mark`, and operators who hand jobs in to them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.jobs.job_fleet import JobFleet

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.peers.brokers import Broker


@pytest.fixture
def job_fleet(embedded: Broker, tmp_path: Path) -> Iterator[JobFleet]:
    """A fleet without nodes on the embedded broker; `JobFleet.add` starts them."""
    with JobFleet(embedded, tmp_path) as one:
        yield one
