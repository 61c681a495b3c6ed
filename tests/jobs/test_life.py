"""What becomes of jobs on real daemons: missed starts, skips, pauses, conditions, runs, tombstones."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from mcshell.client.session.session import Session
from mcshell.client.session.transfer import export_session, import_session
from mcshell.errors import UsageError
from mcshell.message import State
from mcshell.wire.credentials import load_verifier
from mcshell.wire.documents.envelope import CERTIFICATE, SIGNATURE
from mcshell.wire.stomp.connector import Connector
from tests.jobs.job_fleet import JobFleet
from tests.peers.fleet import ROOT
from tests.peers.processes import Child, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mcshell.client.client import Client
    from mcshell.client.jobs.replies import JobReplies
    from mcshell.client.store.ledger import LedgerEntry
    from mcshell.client.store.records import OutgoingMessage
    from tests.peers.brokers import Broker

HOUR = 3600.0
STEPS = Path(ROOT) / "tests" / "peers" / "daemon_with_steps.py"


@pytest.fixture
def job_fleet(embedded: Broker, tmp_path: Path) -> Iterator[JobFleet]:
    """One node that is up."""
    with JobFleet(embedded, tmp_path, "n1") as one:
        one.start("n1")
        yield one


@pytest.fixture
def client(job_fleet: JobFleet) -> Client:
    """Alice, in a session with a name."""
    return job_fleet.client(session="jobs")


def submit(
    client: Client, job_fleet: JobFleet, text: str, action: str = "once", **more: Any
) -> JobReplies:
    """Hand in a job that marks its name, and wait until the node has it."""
    data = {"file": str(job_fleet.marks), "text": text} if action == "once" else {"text": text}
    replies = client.jobs.submit("mark", action, inputs=data, name=text, nodes=["n1"], **more)
    assert replies.wait_accepted(30), job_fleet.logs()
    return replies


def final(replies: JobReplies) -> tuple[State, str]:
    """The last reply about the job on the node."""
    entry: LedgerEntry = replies.wait(60).entries()[0]
    assert entry.reply is not None, entry
    return entry.state, entry.reply.statusmsg


@pytest.mark.parametrize(("late", "runs"), [("2h", 1), ("30m", 0)])
def test_node_that_was_off_at_the_time(
    job_fleet: JobFleet, client: Client, late: str, runs: int
) -> None:
    """A start that a node slept through happens when it is up, if it is not later than `late`."""
    replies = submit(client, job_fleet, "x", at="+1h", late=late)
    job_fleet.kill("n1")
    job_fleet.set_clock(2 * HOUR)
    job_fleet.start("n1")
    state, text = final(replies)
    assert job_fleet.runs()["x"] == runs
    if runs:
        assert state is State.OK
    else:
        assert (state, job_fleet.states(client, replies.job)) == (State.EXPIRED, {"n1": "missed"})
        assert text.startswith("missed: its time was")


def test_runs_of_a_job_that_recurs(job_fleet: JobFleet, client: Client, tmp_path: Path) -> None:
    """Each run is a request of its own in the session, and in a copy of it elsewhere."""
    replies = submit(client, job_fleet, "again", every="1h", at="+1h")
    for hour in (1, 2, 3):
        job_fleet.set_clock(hour * HOUR + 1)
        assert wait_until(lambda hour=hour: job_fleet.runs()["again"] == hour, 30), job_fleet.logs()
        assert wait_until(lambda hour=hour: len(client.jobs.runs(replies)) == hour, 30)
        # One that has not ended when the clock goes on is an hour long, and the next start falls into it.
        assert client.jobs.runs(replies)[-1].wait(30).stats["ok"] == 1
    runs = client.jobs.runs(replies)
    assert [run.wait(30).stats["ok"] for run in runs] == [1, 1, 1]
    assert len({run.requestid for run in runs}) == 3
    assert replies.entries()[0].state is State.RECEIVED
    assert client.replies(runs[1].requestid).frame()["text"].tolist() == ["again"]
    client.jobs.cancel(replies)
    assert final(replies) == (State.FAILED, "cancelled by cert=alice")
    client.close()
    copy = tmp_path / "copy.sqlite"
    export_session(client.settings.state_dir, "jobs", copy)
    report = import_session(
        tmp_path / "elsewhere", load_verifier(client.settings.pki), copy, lambda *_: False, "jobs"
    )
    assert not report.refused
    session = Session.open(
        tmp_path / "elsewhere", "cert=alice", client.settings.collective.main, "jobs"
    )
    kept = session.store.jobs
    assert [run for run, _name in kept.runs(replies.job)] == [run.requestid for run in runs]
    assert kept.all()[0].job.name == "again"
    session.close()


def test_many_starts_slept_through_are_one(job_fleet: JobFleet, client: Client) -> None:
    """Of all the starts that a node slept through only the newest happens."""
    replies = submit(client, job_fleet, "hourly", every="1h", at="+1h")
    job_fleet.kill("n1")
    job_fleet.set_clock(10.5 * HOUR)
    job_fleet.start("n1")
    assert wait_until(lambda: job_fleet.runs()["hourly"] == 1, 30), job_fleet.logs()
    (row,) = client.jobs.rows(replies.job)
    assert row["state"] in ("scheduled", "running", "queued")
    job_fleet.set_clock(11.1 * HOUR)
    assert wait_until(lambda: job_fleet.runs()["hourly"] == 2, 30), job_fleet.logs()


@pytest.mark.parametrize("change", ["pause", "cancel", "edit"])
def test_a_run_that_is_to_be_tried_again_and_is_not_says_so(
    job_fleet: JobFleet, client: Client, change: str
) -> None:
    """It has begun, and failed: paused, cancelled or put at another time, it does not run for ever."""
    more = {"every": "1h", "at": "+1h", "retries": 3, "backoff": "1h"}
    replies = submit(client, job_fleet, "x", "fail", **more)
    job_fleet.set_clock(HOUR + 1)
    assert wait_until(lambda: bool(client.jobs.runs(replies)), 30), job_fleet.logs()
    (run,) = client.jobs.runs(replies)

    def failed_once() -> bool:
        return any(event.get("again") for event in job_fleet.audit("n1"))

    assert wait_until(failed_once, 30), job_fleet.logs()
    changes = {"every": "2h"} if change == "edit" else {}
    assert getattr(client.jobs, change)(replies, **changes).wait(30).stats["ok"] == 1
    entry = run.wait(30).entries()[0]
    assert entry.reply is not None, entry
    said = {"pause": "paused", "cancel": "cancelled", "edit": "edited"}[change]
    assert (entry.state, entry.reply.statusmsg) == (
        State.FAILED,
        f"x; not started again: {said} by cert=alice",
    )


def test_a_run_that_a_node_slept_through_is_closed_by_its_next(
    embedded: Broker, tmp_path: Path
) -> None:
    """Others had it, so that the session has a row for it: no week goes by until that is judged."""
    with JobFleet(embedded, tmp_path, "n1", "n2") as job_fleet:
        job_fleet.start("n1", "n2")
        client = job_fleet.client(session="jobs")
        data = {"file": str(job_fleet.marks), "text": "x"}
        more = {"every": "1h", "at": "+1h", "nodes": ["n1", "n2"]}
        replies = client.jobs.submit("mark", "once", inputs=data, name="x", **more)
        assert replies.wait_accepted(30), job_fleet.logs()
        job_fleet.kill("n2")
        for hour in (1, 2):
            job_fleet.set_clock(hour * HOUR + 1)
            assert wait_until(lambda hour=hour: len(client.jobs.runs(replies)) == hour, 30)
            run = client.jobs.runs(replies)[-1]
            assert wait_until(lambda run=run: run.entries()[0].state is State.OK, 30)
        first, second = client.jobs.runs(replies)
        assert first.entries()[1].state is second.entries()[1].state is State.PENDING
        job_fleet.start("n2")
        assert [one.state for one in second.wait(60).entries()] == [State.OK, State.OK]
        slept = first.wait(60).entries()[1]
        assert (slept.state, slept.reason.partition(":")[0]) == (State.EXPIRED, "passed over")


def test_a_start_that_falls_into_the_jobs_own_run_is_missed(
    job_fleet: JobFleet, client: Client, tmp_path: Path
) -> None:
    """Forecast, history and the run's reply say so; the next one happens at its time."""
    go = tmp_path / "go"
    inputs = {"file": str(job_fleet.marks), "text": str(go)}
    more = {"every": "1h", "at": "+1h", "max_runtime": "90m", "nodes": ["n1"]}
    replies = client.jobs.submit("mark", "hold", inputs=inputs, name="hold", **more)
    assert replies.wait_accepted(30), job_fleet.logs()
    job_fleet.set_clock(HOUR + 1)
    assert wait_until(lambda: job_fleet.runs().total() == 1, 30), job_fleet.logs()
    starts = client.jobs.forecast_rows(within="150m")
    assert [(one["sure"], one["conflict"]) for one in starts] == [(False, False)] * 2
    assert {one["why"] for one in starts} == {
        "its own run before may still be under way: then it is missed"
    }
    job_fleet.set_clock(3.5 * HOUR)
    go.touch()

    def missed() -> list[str]:
        history = client.jobs.show(replies).rows()[0].data["history"]
        return [one["statusmsg"] for one in history if one["state"] == "missed"]

    assert wait_until(missed, 60), job_fleet.logs()
    (why,) = missed()
    assert why.startswith("missed: its own run of ")
    assert why.endswith(" was still under way, as were 1 before it")
    told = [run.wait(20).rows()[0] for run in client.jobs.runs(replies)]
    assert {(one.state, one.statusmsg) for one in told} == {
        (State.OK, "OK"),
        (State.EXPIRED, why),
    }
    job_fleet.set_clock(4 * HOUR + 5)
    assert wait_until(lambda: job_fleet.runs().total() == 2, 30), job_fleet.logs()


def test_clock_put_back_starts_nothing_again(job_fleet: JobFleet, client: Client) -> None:
    """A job that has run does not run again when the clock comes by that time once more."""
    replies = submit(client, job_fleet, "once more", every="1h", at="+1h")
    job_fleet.set_clock(1.1 * HOUR)
    assert wait_until(lambda: job_fleet.runs()["once more"] == 1, 30), job_fleet.logs()
    job_fleet.set_clock(0.9 * HOUR)
    job_fleet.set_clock(1.2 * HOUR)
    (row,) = client.jobs.rows(replies.job)
    assert row["state"] == "scheduled"
    job_fleet.set_clock(2.1 * HOUR)
    assert wait_until(lambda: job_fleet.runs()["once more"] == 2, 30), job_fleet.logs()


def test_an_edit_takes_no_start_away(job_fleet: JobFleet, client: Client, tmp_path: Path) -> None:
    """Not the one after a run that is under way, nor is a skipped one back; a new time counts."""
    go = tmp_path / "go"
    inputs = {"file": str(job_fleet.marks), "text": str(go)}
    more = {"every": "1h", "at": "+1h", "max_runtime": "90m", "nodes": ["n1"]}
    replies = client.jobs.submit("mark", "hold", inputs=inputs, name="hold", **more)
    assert replies.wait_accepted(30), job_fleet.logs()
    first = client.jobs.rows(replies.job)[0]["next"]
    job_fleet.set_clock(HOUR + 5)
    assert wait_until(lambda: job_fleet.runs().total() == 1, 30), job_fleet.logs()
    assert client.jobs.edit(replies, retries=1).wait(20).stats["ok"] == 1
    go.touch()
    assert wait_until(lambda: client.jobs.rows(replies.job)[0]["state"] == "scheduled", 30)
    assert client.jobs.rows(replies.job)[0]["next"] == pytest.approx(first + HOUR)
    client.jobs.skip(replies)
    client.jobs.edit(replies, retries=2).wait(20)
    starts = [one["start"] for one in client.jobs.forecast_rows(within="3h")]
    assert starts == [pytest.approx(first + 2 * HOUR), pytest.approx(first + 3 * HOUR)]

    go.unlink()
    job_fleet.set_clock(3 * HOUR + 5)  # the second is skipped
    assert wait_until(lambda: job_fleet.runs().total() == 2, 30), job_fleet.logs()
    client.jobs.edit(replies, every="1h", at="+30m").wait(20)
    go.touch()
    assert wait_until(lambda: client.jobs.rows(replies.job)[0]["state"] == "scheduled", 30)
    (row,) = client.jobs.rows(replies.job)
    assert row["next"] - time.time() == pytest.approx(1800, abs=120)


def test_a_start_that_has_not_passed_survives_pause_and_resume(
    job_fleet: JobFleet, client: Client
) -> None:
    """What is resumed before its next start has that start still, however often it was paused."""
    replies = submit(client, job_fleet, "x", every="1h", at="+1h", splay="20m")
    (before,) = client.jobs.rows(replies.job)
    for _time in range(2):
        client.jobs.pause(replies)
        client.jobs.resume(replies)
    (after,) = client.jobs.rows(replies.job)
    assert (after["state"], after["next"]) == ("scheduled", before["next"])


def test_skip_pause_and_resume(job_fleet: JobFleet, client: Client) -> None:
    """A skipped start is passed, a paused job does not start, a resumed one does at its next."""
    replies = submit(client, job_fleet, "x", every="1h", at="+1h")
    (told,) = client.jobs.skip(replies).wait(20).rows()
    assert told.state is State.OK
    assert [one["start"] for one in client.jobs.forecast_rows(within="150m")] == [
        pytest.approx(told.data["next"] + HOUR)
    ]
    job_fleet.set_clock(1.1 * HOUR)
    assert wait_until(lambda: len(client.jobs.runs(replies)) == 1, 30), job_fleet.logs()
    (skipped,) = client.jobs.runs(replies)
    (row,) = skipped.wait(20).rows()
    assert (row.state, row.statusmsg) == (State.EXPIRED, "skipped, as asked")
    client.jobs.pause(replies)
    job_fleet.set_clock(2.1 * HOUR)
    assert job_fleet.states(client, replies.job) == {"n1": "paused"}
    client.jobs.resume(replies)
    (row,) = client.jobs.rows(replies.job)
    assert (row["state"], row["next"]) == ("scheduled", pytest.approx(told.data["next"] + 2 * HOUR))
    assert job_fleet.runs().total() == 0
    job_fleet.set_clock(3.1 * HOUR)
    assert wait_until(lambda: job_fleet.runs()["x"] == 1, 30), job_fleet.logs()


@pytest.mark.parametrize(("late", "state"), [("2h", State.OK), ("30m", State.EXPIRED)])
def test_a_start_that_passed_while_paused(
    job_fleet: JobFleet, client: Client, late: str, state: State
) -> None:
    """The one start of a job happens at resume if it is not later than `late`, else it is missed."""
    replies = submit(client, job_fleet, "x", at="+1h", late=late)
    client.jobs.pause(replies)
    job_fleet.set_clock(2 * HOUR)
    assert job_fleet.states(client, replies.job) == {"n1": "paused"}
    client.jobs.resume(replies)
    assert final(replies)[0] is state
    assert job_fleet.runs()["x"] == (state is State.OK)


@pytest.mark.parametrize("ran", [False, True])
def test_a_job_that_is_paused_has_its_end(
    job_fleet: JobFleet, client: Client, *, ran: bool
) -> None:
    """One that is never resumed ends at `until` as its last start did, also behind a restart."""
    replies = submit(client, job_fleet, "x", every="1h", at="+1h", until="+150m")
    if ran:
        job_fleet.set_clock(1.1 * HOUR)
        assert wait_until(lambda: len(client.jobs.runs(replies)) == 1, 30), job_fleet.logs()
        client.jobs.runs(replies)[0].wait(30)
    client.jobs.pause(replies)
    assert job_fleet.states(client, replies.job) == {"n1": "paused"}
    if not ran:
        job_fleet.kill("n1")
        job_fleet.start("n1")
    job_fleet.set_clock(3 * HOUR)
    state, text = final(replies)
    assert state is (State.OK if ran else State.EXPIRED)
    assert text == f"its end has come, after {'1 start' if ran else '0 starts'}"
    assert job_fleet.states(client, replies.job) == {"n1": "ok" if ran else "expired"}
    assert job_fleet.runs().total() == ran


def test_conditions(job_fleet: JobFleet, client: Client) -> None:
    """:ok, :failed and :done are what they say; what can no longer happen is cancelled."""
    good = submit(client, job_fleet, "good", at="+1h")
    bad = submit(client, job_fleet, "bad", "fail", at="+1h")
    both = submit(client, job_fleet, "both", after=[good, f"{bad.job}:failed"])
    done = submit(client, job_fleet, "done", after="bad:done")
    never = submit(client, job_fleet, "never", after="bad")
    behind = submit(client, job_fleet, "behind", after=never)
    after_all = submit(client, job_fleet, "after all", after="never:done")
    assert job_fleet.states(client, both.job) == {"n1": "waiting"}
    job_fleet.set_clock(HOUR + 10)
    assert final(both)[0] is final(done)[0] is final(after_all)[0] is State.OK
    assert final(bad)[0] is State.FAILED
    assert final(never) == (State.FAILED, f"{bad.job[:8]} is failed, ok was waited for")
    assert final(behind)[0] is State.FAILED
    late = submit(client, job_fleet, "late", after=good)
    assert final(late)[0] is State.OK
    assert job_fleet.runs() == {"good": 1, "both": 1, "done": 1, "after all": 1, "late": 1}


def test_jobs_that_would_wait_for_each_other_are_refused(
    job_fleet: JobFleet, client: Client
) -> None:
    """By the session that knows them, and by the node, whoever asks; the job stays as it was."""
    first = submit(client, job_fleet, "one", at="+1h")
    second = submit(client, job_fleet, "two", after=first)
    third = submit(client, job_fleet, "three", after=second)
    why = (
        f"job {first.job[:8]} would wait for itself: it waits for {third.job[:8]}, which waits for "
        f"{second.job[:8]}, which waits for {first.job[:8]}"
    )
    with pytest.raises(UsageError, match=why):
        client.jobs.edit(first, after=third)
    other = job_fleet.client(session="strange", state="strange")
    (row,) = other.jobs.edit(first.job, after=third.job).wait(20).rows()
    assert (row.state, row.statusmsg) == (State.FAILED, why)
    with pytest.raises(UsageError, match="would wait for itself"):
        client.jobs.edit(first, after=first)
    assert job_fleet.states(client, first.job) == {"n1": "scheduled"}


def test_who_waits_says_for_what(job_fleet: JobFleet, client: Client) -> None:
    """In list, forecast and explain; also that what is waited for is not on this node."""
    first = submit(client, job_fleet, "one", at="+1h")
    both = submit(client, job_fleet, "both", after=[first, f"{'0' * 32}:done"])
    waits = f"after {'0' * 8}:done (not on this node) and {first.job[:8]}:ok"
    (row,) = client.jobs.rows(both.job)
    assert (row["state"], row["progress"]) == ("waiting", waits)
    (start,) = [one for one in client.jobs.forecast_rows(within="2h") if one["job"] == both.job]
    assert (start["sure"], start["why"]) == (False, waits)
    told = client.rpc("rpcutil", "seen", requestid=both.job, nodes=["n1"]).rows()[0]
    assert told.data["reason"] == f"a job: it starts {waits}"


def test_conditions_over_a_restart(job_fleet: JobFleet, client: Client) -> None:
    """A job waits through a restart of the daemon, and is let go by what ended meanwhile."""
    first = submit(client, job_fleet, "first", at="+1h")
    second = submit(client, job_fleet, "second", after=first)
    job_fleet.kill("n1")
    job_fleet.start("n1")
    assert job_fleet.states(client, second.job) == {"n1": "waiting"}
    job_fleet.kill("n1")
    job_fleet.set_clock(HOUR + 10)
    job_fleet.start("n1")
    assert final(second)[0] is State.OK
    assert list(job_fleet.runs()) == ["first", "second"]


def test_waiting_has_an_end(job_fleet: JobFleet, client: Client) -> None:
    """A job that waits for what does not come ends when its time is over."""
    replies = submit(client, job_fleet, "x", after="0" * 32, until="+1h")
    job_fleet.set_clock(HOUR + 10)
    assert final(replies) == (State.EXPIRED, "what it waits for did not come in time")


def test_cancelled_before_it_came(job_fleet: JobFleet, client: Client) -> None:
    """A job that is cancelled on a node which has not seen it is not taken there any more."""
    job_fleet.kill("n1")
    replies = client.jobs.submit(
        "mark", "once", file=str(job_fleet.marks), text="x", nodes=["n1"], at="+1s", late="1d"
    )
    other = job_fleet.client(state="other")
    other.jobs.wait_quiet(other.jobs.cancel(replies.job, nodes=["n1"], timeout=1), 1)
    job_fleet.start("n1")
    assert final(replies)[0] is State.FAILED
    assert job_fleet.runs().total() == 0


def test_what_is_long_due_waits_for_its_cancel_however_slowly_that_is_read(
    job_fleet: JobFleet, client: Client
) -> None:
    """On a busy machine the cancel is looked at long after the job: nothing of it begins meanwhile."""
    job_fleet.kill("n1")
    replies = client.jobs.submit(
        "mark", "once", file=str(job_fleet.marks), text="x", nodes=["n1"], at="+1s", late="1d"
    )
    behind = range(25)  # more than come at once, and all denied: the cancel comes after the job
    for _time in behind:
        client.rpc("exec", "run", argv=["true"], nodes=["n1"], via="queue", wait=False)
    client.jobs.cancel(replies, timeout=0.5)
    assert wait_until(lambda: not client.session.store.unconfirmed_count(0.0), 60)
    due = time.time() + 1
    assert wait_until(lambda: time.time() > due, 10)
    words = [str(job_fleet.folder / "n1.toml"), "received", str(len(behind) + 2), "2"]
    log, environ = job_fleet.folder / "n1.log", {"PYTHONPATH": ROOT}
    job_fleet.children["n1"] = Child([sys.executable, STEPS, *words], log, environ)
    assert final(replies) == (State.FAILED, "cancelled by cert=alice")
    assert job_fleet.runs().total() == 0


def test_edit_reaches_a_node_that_was_down(job_fleet: JobFleet, client: Client) -> None:
    """A node that was down gets the job and its edits in order, and does the last revision."""
    job_fleet.kill("n1")
    replies = client.jobs.submit(
        "mark", "once", file=str(job_fleet.marks), text="one", nodes=["n1"], at="+1h"
    )
    for text in ("two", "three"):
        client.jobs.edit(replies, text=text, timeout=0.5)
    client.jobs.edit(replies, at="+1s", timeout=0.5)
    job_fleet.start("n1")
    assert final(replies)[0] is State.OK
    assert job_fleet.runs() == {"three": 1}
    (row,) = client.jobs.rows(replies.job)
    assert (row["state"], row["revision"]) == ("ok", 4)


def test_max_runtime(job_fleet: JobFleet, client: Client) -> None:
    """A run that takes longer than the job allows is ended, and fails."""
    replies = client.jobs.submit(
        "mark", "count", file=str(job_fleet.marks), sleep=60.0, max_runtime=1.0, nodes=["n1"]
    )
    state, text = final(replies)
    assert (state, text) == (State.FAILED, "timed out after 1 s")


def test_explain_knows_of_jobs(job_fleet: JobFleet, client: Client) -> None:
    """Asked about a job that waits for its time, a node says so."""
    replies = submit(client, job_fleet, "x", at="2035-01-01 04:00")
    told = client.rpc("rpcutil", "seen", requestid=replies.job, nodes=["n1"]).rows()[0]
    assert told.data["reason"] == "a job: it starts at 2035-01-01T04:00, by its zone"


@pytest.mark.parametrize("unseen", [False, True])
def test_a_cancelled_job_does_not_come_back_by_replay(embedded, tmp_path, unseen):
    """However short the retention, a job's record outlives the request that could bring it again."""
    with JobFleet(embedded, tmp_path, "n1", node='retention = "5s"\n') as job_fleet:
        client = job_fleet.client(session="jobs")
        if not unseen:
            job_fleet.start("n1")
        data = {"file": str(job_fleet.marks), "text": "patrol"}
        replies = client.jobs.submit(
            "mark", "once", inputs=data, name="patrol", nodes=["n1"], cron="* * * * *", ttl="20d"
        )
        job = replies.requestid
        ((message, _),) = client.session.store.outgoing(job)
        if unseen:  # the cancel comes first: the job waits in the broker for a node that is down
            job_fleet.start("n1")
        assert replies.wait_accepted(30), job_fleet.logs()
        client.jobs.cancel(job).wait(30)
        assert job_fleet.states(client, job) == {"n1": "cancelled"}
        for ahead in (0.5 * 86_400.0, 19.0 * 86_400.0):
            job_fleet.set_clock(ahead)
            for _time in range(3):  # the first wakes the worker, which purges
                _send_again(embedded, message)
                time.sleep(1.5)
                assert job_fleet.states(client, job) == {"n1": "cancelled"}
        if not unseen:  # what was never seen is remembered for the longest ttl
            job_fleet.set_clock(21 * 86_400.0)
            _send_again(embedded, message)
            assert wait_until(lambda: job_fleet.states(client, job) == {}, 30), job_fleet.logs()


def _send_again(broker: Broker, message: OutgoingMessage) -> None:
    link = Connector([broker.url], user=broker.user, passcode=broker.passcode)
    link.start(timeout=20)
    headers = {SIGNATURE: message.signature, CERTIFICATE: message.certificate}
    try:
        receipt = link.send(message.destination, message.body, headers, receipt=True)
        assert receipt is not None
        receipt.wait(20)
    finally:
        link.close()


@pytest.mark.parametrize("change", ["pause", "skip", "cancel"])
def test_a_job_is_changed_nowhere_where_its_targets_are_misspelt(
    job_fleet: JobFleet, client: Client, change: str
) -> None:
    """A filter that is none would be for every node that has the job: nothing is asked."""
    replies = submit(client, job_fleet, "x", every="1h", at="+1h")
    (before,) = client.jobs.rows(replies.job)
    with pytest.raises(UsageError, match=r"no argument 'wher' \(did you mean where\?\)"):
        getattr(client.jobs, change)(replies, wher="role=nobody")
    for look in (client.jobs.list, client.discover):
        with pytest.raises(UsageError, match="no argument 'wher'"):
            look(wher="role=nobody")
    (after,) = client.jobs.rows(replies.job)
    assert (after["state"], after["next"]) == ("scheduled", before["next"])
