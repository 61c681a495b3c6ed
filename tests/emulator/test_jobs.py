"""Jobs of emulated nodes: cancelled while they run, tried again, answered after a restart."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mcshell.message import State
from tests.jobs.job_fleet import AGENTS, JobFleet
from tests.peers.processes import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.peers.brokers import Broker

pytestmark = pytest.mark.timeout(240)
NAMES = [f"emu{number:04d}" for number in range(1, 11)]


@pytest.fixture
def job_fleet(embedded: Broker, tmp_path: Path) -> Iterator[JobFleet]:
    """Ten emulated nodes with the agents for tests."""
    with JobFleet(embedded, tmp_path) as one:
        one.fleet.emulate(len(NAMES), more=f'agents = ["{AGENTS}"]\n')
        yield one


def test_cancel_ends_a_run(job_fleet: JobFleet) -> None:
    """A job that runs on ten nodes is cancelled on all, though the action itself hears nothing."""
    client = job_fleet.client()
    go = job_fleet.folder / "go"
    replies = client.jobs.submit(
        "mark", "hold", nodes=NAMES, file=str(job_fleet.marks), text=str(go)
    )
    assert wait_until(lambda: sum(job_fleet.runs().values()) == len(NAMES), 60)
    client.jobs.cancel(replies)
    replies.wait(60)
    told = {(one.state, one.reply.statusmsg) for one in replies.entries() if one.reply}
    assert told == {(State.FAILED, "cancelled by cert=alice")}
    assert set(job_fleet.states(client, replies.job).values()) == {"cancelled"}
    again = client.rpc("mark", "once", nodes=NAMES, via="queue", file=str(job_fleet.marks))
    assert again.wait(60).stats["ok"] == len(NAMES)
    go.touch()


def test_a_failure_is_tried_again(job_fleet: JobFleet) -> None:
    """A job that fails is run once more for each retry, and fails for good after the last."""
    client = job_fleet.client()
    replies = client.jobs.submit("mark", "fail", nodes=NAMES, retries=2, backoff="1s")
    replies.wait(60)
    assert replies.stats["failed"] == len(NAMES)
    assert {one["attempt"] for one in client.jobs.rows(replies.job)} == {3}
