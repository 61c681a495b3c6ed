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
        first = client.jobs.submit("rpcutil", "ping", at="+25s", splay="2s", name="first")
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
        second.wait(120)
        assert first.stats["ok"] == second.stats["ok"] == 100
        rows = {one["sender"]: one for one in client.jobs.rows(first.job)}
        assert all(0 <= rows[name]["last"] - planned[name] < 30 for name in planned)
        assert max(planned.values()) - min(planned.values()) > 1


def test_an_emulated_run_ends_in_time_and_leaves_its_log(embedded: Broker, tmp_path: Path) -> None:
    """A program is stopped when its time is over; what runs of one job write is kept for each node."""
    policies = {"exec": "policy default deny\nallow\tcert=alice\trun\t*\t*\n"}
    with JobFleet(embedded, tmp_path, policies=policies) as job_fleet:
        job_fleet.fleet.emulate(2)
        client = job_fleet.client()
        replies = client.jobs.submit(
            "exec", "run", argv=["sleep", "60"], max_runtime="4s", nodes=["emu0001"]
        )
        (row,) = replies.wait(60).rows()
        assert (row.state.value, row.data["elapsed"] > 3.95) == ("failed", True), row.statusmsg
        assert list(client.jobs.log_parts(replies, "emu0001")) == [
            ("", "emu0001: failed, and it has written nothing")
        ]
        script = ["sh", "-c", "hostname; sleep 8; cat /nowhere; echo done"]
        both = client.jobs.submit("exec", "run", argv=script, at="+1h", name="both")
        assert both.wait_accepted(30)
        parts = client.jobs.log_parts("both", "emu0002", follow=True)
        assert next(parts) == ("", "emu0002: it has not started yet")
        assert client.jobs.edit(both, at="+0s").wait(30).stats["ok"] == 2
        assert next(text for text, _why in parts if text) == "emu0002\n", "while it runs"
        rest = "".join(text for text, _why in parts)
        assert rest.startswith("done\ncat: /nowhere: No such file")
        both.wait(30)
        assert "".join(client.jobs.log("both", "emu0001")).startswith("emu0001\ndone\n")
