"""Work that takes long: followed while it runs, cancelled, left alone by a restart of the daemon."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from mcshell.message import State
from mcshell.node.execution.run_directory import RunDirectory
from tests.jobs.job_fleet import JobFleet
from tests.peers.processes import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from mcshell.client.client import Client
    from mcshell.client.jobs.replies import JobReplies
    from tests.peers.brokers import Broker

pytestmark = pytest.mark.timeout(240)


def begun(job_fleet: JobFleet, replies: JobReplies) -> RunDirectory:
    """The folder of the job's run on n1, once it writes."""
    folder = RunDirectory(job_fleet.folder / "state-n1" / "node" / "work" / replies.job)
    assert wait_until(lambda: folder.log.exists() and folder.log.stat().st_size > 0, 60), (
        job_fleet.logs()
    )
    return folder


def count(job_fleet: JobFleet, client: Client, seconds: float, **more: object) -> JobReplies:
    """Hand in a job that counts for so long."""
    return client.jobs.submit(
        "mark",
        "count",
        file=str(job_fleet.marks),
        sleep=seconds,
        max_runtime=seconds + 60,
        nodes=["n1"],
        **more,
    )


@pytest.mark.parametrize(
    ("seconds", "killed", "back"),
    [(12.0, 2.0, 4.0), pytest.param(60.0, 10.0, 20.0, marks=pytest.mark.soak)],
)
def test_daemon_killed_while_a_job_runs(
    embedded: Broker, tmp_path: Path, seconds: float, killed: float, back: float
) -> None:
    """A daemon killed and started again does not disturb the job; output and result are whole."""
    with JobFleet(embedded, tmp_path, "n1") as job_fleet:
        job_fleet.start("n1")
        client = job_fleet.client()
        began = time.monotonic()
        replies = count(job_fleet, client, seconds)
        folder = begun(job_fleet, replies)
        pid = folder.shim_pid()
        time.sleep(killed)
        job_fleet.kill("n1")
        time.sleep(back - killed)
        job_fleet.start("n1")
        assert folder.shim_pid() == pid
        assert replies.wait(seconds + 60).ok["pid"].tolist() == [pid]
        assert time.monotonic() - began > seconds
        said = "".join(client.jobs.log(replies, "n1"))
        assert said.split() == [str(number) for number in range(1, int(seconds * 10) + 1)]
        assert job_fleet.runs().total() == 1


def test_progress_is_seen_and_followed(embedded: Broker, tmp_path: Path) -> None:
    """Progress stands in the list of jobs and in the ledger; `log` follows the output to its end."""
    with JobFleet(embedded, tmp_path, "n1") as job_fleet:
        job_fleet.start("n1")
        client = job_fleet.client()
        replies = count(job_fleet, client, 15.0)
        begun(job_fleet, replies)
        assert wait_until(lambda: replies.entries()[0].state is State.RUNNING, 60)
        (row,) = client.jobs.rows(replies.job)
        assert row["state"] == "running"
        assert "% said " in row["progress"]
        ledger = client.jobs.progress(replies)
        assert "% said " in ledger["reason"][0]
        pieces = list(client.jobs.log(replies, "n1", follow=True))
        assert len(pieces) > 1
        assert "".join(pieces).split() == [str(number) for number in range(1, 151)]
        assert replies.wait(60).stats["ok"] == 1


@pytest.mark.parametrize("how", ["alive", "down"])
def test_cancel_stops_all_its_processes(embedded: Broker, tmp_path: Path, how: str) -> None:
    """Cancelled while it runs, a job's processes end, also when its daemon dies at that moment."""
    with JobFleet(embedded, tmp_path, "n1") as job_fleet:
        job_fleet.start("n1")
        client = job_fleet.client()
        replies = count(job_fleet, client, 60.0)
        folder = begun(job_fleet, replies)
        client.jobs.cancel(replies)
        if how == "down":
            job_fleet.kill("n1")
            job_fleet.start("n1")
        assert wait_until(lambda: not folder.alive(), 60)
        replies.wait(30)
        entry = replies.entries()[0]
        assert entry.reply is not None
        assert (entry.state, entry.reply.statusmsg) == (State.FAILED, "cancelled by cert=alice")
        assert job_fleet.states(client, replies.job) == {"n1": "cancelled"}


def test_reboot_interrupts(embedded: Broker, tmp_path: Path) -> None:
    """What ran when the machine went down is interrupted, and is not started again."""
    with JobFleet(embedded, tmp_path, "n1") as job_fleet:
        job_fleet.start("n1")
        client = job_fleet.client()
        replies = count(job_fleet, client, 60.0, retries=3)
        begun(job_fleet, replies)
        job_fleet.children["n1"].kill9()
        job_fleet.start("n1")
        assert replies.wait(30).stats["interrupted"] == 1
        assert job_fleet.states(client, replies.job) == {"n1": "interrupted"}
        assert job_fleet.runs().total() == 1


def test_retries_with_backoff(embedded: Broker, tmp_path: Path) -> None:
    """A failed run is tried again, each wait twice as long, and the last reply is the last try's."""
    with JobFleet(embedded, tmp_path, "n1") as job_fleet:
        job_fleet.start("n1")
        client = job_fleet.client()
        began = time.monotonic()
        replies = client.jobs.submit(
            "mark", "fail", text="no", retries=2, backoff=1.0, nodes=["n1"]
        )
        entry = replies.wait(60).entries()[0]
        assert (entry.state, entry.attempt) == (State.FAILED, 3)
        assert time.monotonic() - began >= 3.0
        (row,) = client.jobs.rows(replies.job)
        assert (row["state"], row["attempt"]) == ("failed", 3)
