"""Queued work while a node's clock is wrong, and is then put right."""

from __future__ import annotations

import pytest

from tests.jobs.job_fleet import JobFleet
from tests.peers.processes import wait_until


@pytest.mark.timeout(240)
def test_what_waits_does_not_wait_for_the_wrong_time(embedded, tmp_path):
    """A request that came while the clock ran ahead starts when its turn comes, not when that time does."""
    with JobFleet(embedded, tmp_path, "n1", node="slots = 1\n") as fleet:
        fleet.clock.write_text("3000")
        fleet.start("n1")
        gate = tmp_path / "gate"
        client = fleet.client()
        asks = {"via": "queue", "nodes": ["n1"], "ttl": "1d", "wait": False}
        held = client.rpc("mark", "hold", file=str(fleet.marks), text=str(gate), **asks)
        assert wait_until(fleet.marks.exists, 60)
        waits = client.rpc("mark", "once", file=str(fleet.marks), text="waited", **asks)
        assert wait_until(lambda: waits.stats["received"] == 1, 60)
        fleet.set_clock(0.0)
        gate.touch()
        assert held.wait(60).stats["ok"] == 1
        assert waits.wait(60).stats["ok"] == 1, waits.rows()
