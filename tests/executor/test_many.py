"""The long trials: 10,000 tasks on ten workers, of which two die; a kernel that dies amid as many.

tests/run -m soak tests/executor
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.executor.conftest import workers
from tests.executor.trials import kernel_killed, workers_killed

if TYPE_CHECKING:
    from pathlib import Path

COUNT = 10_000
pytestmark = [pytest.mark.soak, pytest.mark.timeout(1800)]
BROKERS = ["embedded", pytest.param("rabbitmq", marks=pytest.mark.rabbitmq)]


@pytest.mark.parametrize("kind", BROKERS)
def test_ten_thousand_tasks(request, kind, tmp_path: Path, session) -> None:
    """Two workers of ten die, then a kernel does: every future is resolved, every result is there."""
    broker = request.getfixturevalue(kind)
    with workers(broker, tmp_path, 10) as fleet:
        fleet.start()
        print(f"\n{kind}: {workers_killed(fleet, session, COUNT, tmp_path / 'first')}")
        print(f"{kind}: {kernel_killed(fleet, f'{session}k', COUNT, tmp_path / 'second')}")
