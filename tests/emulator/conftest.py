"""Benches of emulated nodes, with agents that leave marks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.peers.workbench import EmulatedBench

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.peers.brokers import Broker


@pytest.fixture
def emulated(embedded: Broker, tmp_path: Path) -> Iterator[EmulatedBench]:
    """A bench without nodes on the embedded broker."""
    with EmulatedBench(embedded, tmp_path) as bench:
        yield bench


@pytest.fixture
def pool(broker: Broker, tmp_path: Path) -> Iterator[EmulatedBench]:
    """A bench whose emulated nodes serve the pool `sms`, on each of the three brokers."""
    more = '[pools.sms]\nmembers = ["emu*"]\n'
    with EmulatedBench(broker, tmp_path, node='serve = ["sms"]\nslots = 2\n', more=more) as bench:
        yield bench
