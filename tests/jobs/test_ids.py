"""Nobody stands in the way of another's job by taking its id, or that of its next run, first."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from mcshell import schedule
from mcshell.message import Request, State, Via, new_request_id, run_id
from mcshell.wire import destinations
from mcshell.wire.documents.envelope import seal_request
from mcshell.wire.documents.signatures import Signer
from mcshell.wire.stomp.connector import Connector
from tests.hostile.forge import changed, signed
from tests.jobs.job_fleet import JobFleet
from tests.peers.processes import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.peers.brokers import Broker

pytestmark = pytest.mark.timeout(240)


@pytest.fixture
def job_fleet(embedded: Broker, tmp_path: Path) -> Iterator[JobFleet]:
    """One node; alice may all, bob nothing."""
    with JobFleet(embedded, tmp_path, "n1", operators=("alice", "bob")) as one:
        one.start("n1")
        yield one


class Thief:
    """Bob, who knows what alice's ids are and asks something under them, over the work queue."""

    def __init__(self, job_fleet: JobFleet) -> None:
        self._job_fleet = job_fleet
        folder = job_fleet.folder
        self._signer = Signer.load(folder / "bob.pem", folder / "bob.key")

    def claim(self, *ids: str) -> None:
        """Send a request of each id, and wait until the node has refused it."""
        fleet = self._job_fleet.fleet
        broker = fleet.broker
        with Connector([broker.url], user=broker.user, passcode=broker.passcode) as link:
            link.start()
            for stolen in ids:
                honest = seal_request(self._request(), self._signer)
                sealed = signed(changed(honest, id=stolen).body, self._signer)
                where = destinations.work(fleet.collective, "n1")
                receipt = link.send(
                    where, sealed.body, sealed.headers, persistent=True, receipt=True
                )
                assert receipt is not None
                receipt.wait(20)
        assert wait_until(lambda: self.refused() == sorted(ids), 40), self._job_fleet.logs()

    def _request(self) -> Request:
        requestid, nonce = new_request_id("cert=bob")
        now = time.time()
        return Request(
            id=requestid,
            nonce=nonce,
            agent="rpcutil",
            action="ping",
            caller="cert=bob",
            collective=self._job_fleet.fleet.collective,
            via=Via.QUEUE,
            session="s",
            created=now,
            expires=now + 86_400.0,
            identity="n1",
        )

    def refused(self) -> list[str]:
        """The ids for which the node has said that they are not his."""
        events = self._job_fleet.audit("n1")
        return sorted(e["requestid"] for e in events if e.get("reason") == "foreign_id")


def test_a_job_runs_whose_id_another_has_claimed(job_fleet: JobFleet) -> None:
    """A request without any right, under the id of a job that waits, is refused; the job runs."""
    alice = job_fleet.client()
    replies = alice.jobs.submit(
        "mark", "once", at="+5s", file=str(job_fleet.marks), text="ran", nodes=["n1"]
    )
    assert replies.wait_accepted(30), job_fleet.logs()
    Thief(job_fleet).claim(replies.job)
    assert replies.wait(60).entries()[0].state is State.OK, job_fleet.logs()
    assert job_fleet.runs() == {"ran": 1}


def test_the_runs_to_come_cannot_be_claimed(job_fleet: JobFleet) -> None:
    """The ids of a recurring job's next runs can be foretold, and are nobody's to take."""
    alice = job_fleet.client()
    replies = alice.jobs.submit(
        "mark",
        "once",
        every="1h",
        at="+1h",
        until="+5h",
        file=str(job_fleet.marks),
        text="ran",
        nodes=["n1"],
    )
    assert replies.wait_accepted(30), job_fleet.logs()
    job = alice.jobs.document(replies.job)
    ids, after = [], job.created
    for _ in range(3):
        start = schedule.next_start(
            job.when,
            after,
            seed=f"{job.id}/n1",
            node=schedule.local_zone(),
            created=job.created,
        )
        assert start is not None
        after = start.planned
        ids.append(run_id(job.id, start.name))
    Thief(job_fleet).claim(*ids)
    for count, one in enumerate(ids, 1):
        job_fleet.set_clock(3600.0 * count + 1)
        assert wait_until(lambda n=count: len(alice.jobs.runs(replies.job)) == n, 60)
        newest = alice.jobs.runs(replies.job)[-1]
        assert newest.requestid == one
        assert newest.wait(60).stats["ok"] == 1, job_fleet.logs()
    assert job_fleet.runs() == {"ran": 3}
    alice.jobs.cancel(replies.job)
