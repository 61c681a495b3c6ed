"""Benches of real daemons: on the embedded broker, or on each of the three."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.peers.workbench import Bench

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.peers.brokers import Broker


@pytest.fixture
def bench(embedded: Broker, tmp_path: Path) -> Iterator[Bench]:
    """A bench without nodes on the embedded broker."""
    with Bench(embedded, tmp_path) as one:
        yield one


@pytest.fixture
def each_bench(broker: Broker, tmp_path: Path) -> Iterator[Bench]:
    """A bench without nodes on each of the three brokers."""
    with Bench(broker, tmp_path) as one:
        yield one
