"""A queued request is a job with when = now: it is cancelled as one, wherever it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from mcshell.commands.context import Context
from mcshell.commands.run import run_words
from mcshell.errors import NoTargets
from mcshell.message import State
from tests.jobs.job_fleet import JobFleet
from tests.peers.processes import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mcshell.client.client import Client
    from mcshell.client.rpc.replies import Replies
    from tests.peers.brokers import Broker

pytestmark = pytest.mark.timeout(240)
ALL = "policy default deny\nallow\tcert=alice\t*\t*\t*\nallow\tcert=bob\t*\t*\t*\n"
CANCELLED = (State.FAILED, "cancelled by cert=alice")


@pytest.fixture
def job_fleet(broker: Broker, tmp_path: Path) -> Iterator[JobFleet]:
    """On each broker: one node with one slot, which reads no further while one request waits."""
    more: dict[str, Any] = {"policies": {"default": ALL}, "operators": ("alice", "bob")}
    with JobFleet(broker, tmp_path, "n1", node="slots = 1\nspool_max = 1\n", **more) as one:
        one.start("n1")
        yield one


QUEUED: dict[str, Any] = {"nodes": ["n1"], "via": "queue", "ttl": "1h", "wait": False}


def queued(client: Client, job_fleet: JobFleet, text: str, sleep: float = 0.0) -> Replies:
    """Put a request into the node's work queue."""
    data = {"file": str(job_fleet.marks), "text": text, "sleep": sleep}
    return client.rpc("mark", "once", inputs=data, **QUEUED)


def held(client: Client, job_fleet: JobFleet, go: Path) -> Replies:
    """Put a request there that runs until a file is there; it marks nothing but that it has begun."""
    data = {"file": str(job_fleet.marks), "text": str(go)}
    replies = client.rpc("mark", "hold", inputs=data, **QUEUED)
    assert wait_until(lambda: replies.stats["running"] == 1, 60), job_fleet.logs()
    return replies


def said(replies: Replies) -> tuple[State, str]:
    """The last reply to a request."""
    entry = replies.wait(60).entries()[0]
    assert entry.reply is not None, entry
    return entry.state, entry.reply.statusmsg


def test_cancelled_while_it_waits_and_before_the_node_has_read_it(
    job_fleet: JobFleet, tmp_path: Path
) -> None:
    """Nothing of it starts, and whoever waits for it is told so; it is not cancelled twice."""
    client = job_fleet.client(session="s")
    first = held(client, job_fleet, tmp_path / "go")
    waits, unread = queued(client, job_fleet, "waits"), queued(client, job_fleet, "unread")
    assert wait_until(lambda: waits.stats["received"] == 1, 60), job_fleet.logs()
    for one in (unread, waits):  # there is room for the other once this one is gone
        client.rpc("job", "cancel", job=one.requestid, nodes=["n1"], timeout=60)
    assert said(waits) == CANCELLED
    (tmp_path / "go").touch()
    assert said(unread) in (CANCELLED, (State.FAILED, f"{CANCELLED[1]}, before it came"))
    assert said(first)[0] is State.OK
    assert job_fleet.runs() == {"": 1}
    with pytest.raises(NoTargets):
        client.jobs.cancel(waits.requestid)


def test_job_list_says_that_requests_are_queued(job_fleet: JobFleet) -> None:
    """They are in no row of it, as they are no jobs; once they have ended nothing is said of them."""
    context = Context("cli", job_fleet.folder / "alice.toml")
    try:
        client = context.client()
        job = client.jobs.submit("mark", "once", at="+1h", text="x", file="x", nodes=["n1"])
        assert job.wait_accepted(60), job_fleet.logs()
        one = queued(client, job_fleet, "runs", 600.0)
        assert wait_until(lambda: one.stats["running"] == 1, 60), job_fleet.logs()
        _, table = run_words(["job", "list"], context)
        assert [
            note
            for note in table.notes
            if note.startswith("open queued requests") and ": 1 (" in note
        ]
        assert len(table.rows) == 1
        assert client.jobs.cancel(one.requestid, timeout=60).stats["ok"] == 1
        one.wait(60)
        assert not any("queued" in note for note in run_words(["job", "list"], context)[1].notes)
    finally:
        context.close()


def test_cancelled_while_it_runs(job_fleet: JobFleet) -> None:
    """Its process is stopped, though it has just begun: what would take ten minutes is over at once."""
    client = job_fleet.client(session="s")
    runs = queued(client, job_fleet, "runs", 600.0)
    assert wait_until(lambda: runs.stats["running"] == 1, 60), job_fleet.logs()
    assert client.jobs.cancel(runs.requestid, timeout=60).stats["ok"] == 1
    assert said(runs)[0].final


def test_cancelled_while_the_node_is_down(job_fleet: JobFleet) -> None:
    """Both wait in its work queue: it finds the request, then that it is not to be."""
    client = job_fleet.client(session="s")
    job_fleet.kill("n1")
    waits = [queued(client, job_fleet, f"{number}", 600.0) for number in range(3)]
    changes = [client.jobs.cancel(one.requestid, timeout=0.1) for one in waits]
    job_fleet.start("n1")
    assert [change.wait(60).stats["ok"] for change in changes] == [1, 1, 1], job_fleet.logs()
    assert all(said(one)[0].final for one in waits)


def test_that_of_another_is_let_alone(job_fleet: JobFleet, tmp_path: Path) -> None:
    """Before it has come as after: without a right to touch what is another's."""
    alice, bob = job_fleet.client(session="s"), job_fleet.client("bob", state="state-bob")
    first = held(alice, job_fleet, tmp_path / "go")
    waits, unread = queued(alice, job_fleet, "waits"), queued(alice, job_fleet, "unread")
    assert wait_until(lambda: waits.stats["received"] == 1, 60), job_fleet.logs()
    for one in (first, waits, unread):
        tried = bob.rpc("job", "cancel", job=one.requestid, nodes=["n1"], timeout=60).stats
        unknown = tried["failed"] if one is unread else 0  # it may be the broker's still
        assert tried["denied"] + unknown == 1
    (tmp_path / "go").touch()
    assert {said(one)[0] for one in (first, waits, unread)} == {State.OK}
    assert job_fleet.runs() == {"": 1, "waits": 1, "unread": 1}
