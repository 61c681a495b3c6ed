"""The thirteen machines, once for both faces."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.tasks.machines import Machines, wanted

pytest.register_assert_rewrite("tests.tasks.checks")

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.peers.brokers import Broker


@pytest.fixture(scope="session")
def machines(embedded: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machines]:
    """A week of their life is over; it is Monday."""
    wanted()
    with Machines(embedded, tmp_path_factory.mktemp("tasks")) as found:
        found.live()
        yield found
