"""A node that dies while an interactive request runs: the row does not say `running` for ever."""

from __future__ import annotations

import pytest

from mcshell.message import State
from tests.jobs.job_fleet import JobFleet
from tests.peers.processes import wait_until


@pytest.mark.timeout(240)
def test_who_died_says_so_when_it_is_asked(embedded, tmp_path):
    """Once its time is over the node is asked, and what it began and never ended is interrupted."""
    with JobFleet(embedded, tmp_path, "n1") as fleet:
        fleet.start("n1")
        client = fleet.client()
        gate = tmp_path / "gate"
        asked = client.rpc(
            "mark",
            "hold",
            file=str(fleet.marks),
            text=str(gate),
            via="direct",
            nodes=["n1"],
            ttl=12,
            wait=False,
        )
        assert wait_until(lambda: asked.stats["running"] == 1, 60), asked.rows()
        fleet.kill("n1")
        fleet.start("n1")

        def ended() -> bool:
            client.find_lost()
            return asked.rows()[0].state is not State.RUNNING

        assert wait_until(ended, 60, 1.0)
        (row,) = asked.rows()
        assert (row.state, row.statusmsg[:27]) == (State.INTERRUPTED, "the node died in the middle")
        cause = client.explain("n1", asked.requestid)["cause"][0]
        assert cause == "the daemon was restarted in the middle"
