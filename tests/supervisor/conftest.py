"""A village without machines on the embedded broker."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.supervisor.village import Village

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.peers.brokers import Broker


@pytest.fixture
def village(embedded: Broker, tmp_path: Path) -> Iterator[Village]:
    """Nobody lives there yet."""
    with Village(embedded, tmp_path) as one:
        yield one
