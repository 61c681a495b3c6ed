"""Jobs on emulated nodes: the same rules, a hundred nodes in one process."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.jobs.job_fleet import JobFleet

if TYPE_CHECKING:
    from pathlib import Path

    from tests.peers.brokers import Broker


def test_hundred_emulated_nodes(embedded: Broker, tmp_path: Path) -> None:
    """Each of a hundred emulated nodes starts a job at its time, and a second one after it."""
    with JobFleet(embedded, tmp_path) as job_fleet:
        job_fleet.fleet.emulate(100)
        client = job_fleet.client()
        first = client.jobs.submit("rpcutil", "ping", at="+8s", splay="2s", name="first")
        second = client.jobs.submit("rpcutil", "inventory", after=first, name="second")
        assert second.wait_accepted(30)
        starts = client.jobs.forecast_rows(within="1h")
        planned = {one["sender"]: one["start"] for one in starts if one["name"] == "first"}
        assert len(planned) == 100
        waiting = [one for one in starts if one["name"] == "second"]
        assert len(waiting) == 100
        assert {(one["sure"], one["why"]) for one in waiting} == {
            (False, f"after {first.job[:8]}:ok")
        }
        second.wait(60)
        assert first.stats["ok"] == second.stats["ok"] == 100
        rows = {one["sender"]: one for one in client.jobs.rows(first.job)}
        assert all(0 <= rows[name]["last"] - planned[name] < 10 for name in planned)
        assert max(planned.values()) - min(planned.values()) > 1
