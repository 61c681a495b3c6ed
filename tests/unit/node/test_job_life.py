"""What becomes of a job as time goes by, step by step: starts, ends, what is missed, what waits."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import pytest

from mcshell.errors import AgentError
from mcshell.message import Job, State, When, run_id
from mcshell.node.execution.lifecycle import RunLifecycle
from mcshell.node.jobs.scheduler import Scheduler, scheduled, zone_of_node
from mcshell.node.replies import ReplyWriter
from mcshell.node.store.job_table import JobRow
from mcshell.node.store.records import WorkResult
from mcshell.node.store.spool import Spool
from mcshell.node.verdicts import Outcome
from mcshell.wire.documents.envelope import CERTIFICATE, SIGNATURE, digest_of, read_reply
from mcshell.wire.documents.job import seal_job
from mcshell.wire.documents.rule import read_job
from tests.unit.node.admission_bench import AdmissionBench

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from mcshell.message import Reply

NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC).timestamp()
HOUR = 3600.0
DAY = 24 * HOUR
OK = Outcome(State.OK, 0, "OK")
FAILED = Outcome(State.FAILED, 1, "it broke")


class Jobs:
    """A node with a scheduler whose time the test moves."""

    def __init__(self, folder: Path) -> None:
        self.admission = AdmissionBench(folder)
        host = self.admission.host
        writer = ReplyWriter(self.admission.node_signer, 1 << 20)
        self.lifecycle = RunLifecycle(host, self.admission.controller, writer)
        self.spool = Spool(folder / "work.sqlite")
        self.told = 0
        self.scheduler = Scheduler(self.spool, {"web1": self.lifecycle}, self._tell)
        self.count = 0

    def _tell(self) -> None:
        self.told += 1

    def close(self) -> None:
        """Close its files."""
        self.spool.close()
        self.admission.close()

    def row(self, when: When, *, now: float = NOW, **more: Any) -> JobRow:
        """A job of alice's with its first start, as the node would keep it."""
        self.count += 1
        extra = {name: more.pop(name) for name in ("owner", "signed") if name in more}
        job = Job(
            **{
                "id": f"{self.count:032x}",
                "revision": 1,
                "author": "cert=alice",
                "collective": "mcs",
                "session": "s",
                "agent": "mark",
                "action": "once",
                "data": {"file": "f"},
                "created": now,
                "when": when,
            }
            | more
        )
        sealed = seal_job(job, self.admission.signers["alice"])
        row = JobRow(
            **{
                "identity": "web1",
                "id": job.id,
                "revision": 1,
                "owner": "cert=alice",
                "session": "s",
                "author": job.author,
                "collective": "mcs",
                "name": "nightly",
                "agent": "mark",
                "action": "once",
                "body": sealed.body,
                "signature": sealed.headers[SIGNATURE],
                "certificate": sealed.headers[CERTIFICATE],
                "received": now,
                "state": "scheduled",
                "signed": digest_of(sealed.body),
            }
            | extra
        )
        return scheduled(row, job, self.lifecycle, now)

    def put(self, when: When, **more: Any) -> JobRow:
        """Keep such a job."""
        row = self.row(when, **more)
        self.spool.put_jobs([row])
        return row

    def now(self, row: JobRow) -> JobRow:
        """How it stands."""
        found = self.spool.jobs.get(row.key)
        assert found is not None
        return found

    def run(self, at: float, outcome: Outcome = OK) -> list[str]:
        """Let what is due start and end at once; the names of the starts."""
        self.scheduler.start_due(at)
        items = self.spool.due("web1", at, 100)
        assert all(self.spool.start([one.key for one in items], at))
        self.end([self.spool.get(one.key) for one in items], at, outcome)
        return [one.run for one in items]

    def end(self, items: list[Any], at: float, outcome: Outcome = OK) -> None:
        """End runs."""
        ends = [
            WorkResult(
                key=one.key,
                state=outcome.state.value,
                statuscode=outcome.statuscode,
                statusmsg=outcome.statusmsg,
                ended=at,
                job=one.job,
                started=one.started,
                attempt=one.attempt,
            )
            for one in items
        ]
        self.scheduler.finish(ends)

    def replies(self) -> list[Reply]:
        """What waits in the outbox."""
        return [read_reply(one.body) for one in self.spool.unconfirmed()]

    def audited(self, event: str) -> list[dict[str, Any]]:
        """The audit's lines of an event."""
        return [line for line in self.admission.lines() if line["event"] == event]


@pytest.fixture
def jobs(tmp_path: Path) -> Iterator[Jobs]:
    """A node without jobs."""
    made = Jobs(tmp_path)
    yield made
    made.close()


def at(hour: int, day: int = 25) -> str:
    """Wall time in November 2026."""
    return f"2026-11-{day:02}T{hour:02}:00"


def epoch(hour: int, day: int = 25) -> float:
    """The same in UTC, as seconds."""
    return datetime(2026, 11, day, hour, tzinfo=UTC).timestamp()


DAILY = When(cron="0 4 * * *", tz="UTC", until=NOW + 10 * DAY)


# -- once


def test_a_job_starts_once_at_its_time(jobs: Jobs) -> None:
    """Not a second before; its run has the job's id, and all that it needs to be verified again."""
    row = jobs.put(When(at=at(14), tz="UTC"))
    assert (row.due, row.run, jobs.scheduler.next_due()) == (epoch(14), at(14), epoch(14))
    assert jobs.scheduler.start_due(epoch(14) - 1) == set()
    assert jobs.scheduler.start_due(epoch(14)) == {"web1"}
    work = jobs.spool.get(row.key)
    assert (work.kind, work.job, work.run, work.state, work.attempt) == (
        "job",
        row.id,
        at(14),
        "queued",
        0,
    )
    assert (work.body, work.signature, work.certificate) == (
        row.body,
        row.signature,
        row.certificate,
    )
    assert (work.due, work.expires) == (epoch(14), epoch(14) + HOUR)
    assert (work.received, work.created, work.caller, work.session) == (NOW, NOW, "cert=alice", "s")
    assert jobs.now(row).state == "queued"
    assert jobs.scheduler.start_due(epoch(14) + 1) == set()
    assert jobs.told == 0


def test_a_start_that_may_not_be_late_has_a_second(jobs: Jobs) -> None:
    """To find a slot: with none it would be over before anything could begin."""
    row = jobs.put(When(at=at(14), tz="UTC", late=0.0))
    jobs.scheduler.start_due(epoch(14))
    assert jobs.spool.get(row.key).expires == epoch(14) + 1.0


def test_a_run_s_end_is_the_job_s(jobs: Jobs) -> None:
    """How it came out, when it ran, how often; nothing more is due, and no further reply is made."""
    row = jobs.put(When(at=at(14), tz="UTC"))
    assert jobs.run(epoch(14), FAILED) == [at(14)]
    now = jobs.now(row)
    assert (now.state, now.last_state, now.statusmsg) == ("failed", "failed", "it broke")
    assert (now.runs, now.last, now.ended, now.due, now.attempt) == (
        1,
        epoch(14),
        epoch(14),
        None,
        1,
    )
    assert jobs.replies() == []
    assert jobs.scheduler.next_due() is None


def test_a_run_that_never_began_is_not_counted(jobs: Jobs) -> None:
    """What expired before a slot was free is missed, and has not run."""
    row = jobs.put(When(at=at(14), tz="UTC"))
    jobs.scheduler.start_due(epoch(14))
    jobs.end([jobs.spool.get(row.key)], epoch(16), Outcome(State.EXPIRED, 5, "no slot"))
    now = jobs.now(row)
    assert (now.state, now.runs, now.last) == ("missed", 0, None)


@pytest.mark.parametrize(("late", "starts"), [(HOUR, True), (HOUR + 1, False)])
def test_how_late_is_too_late(jobs: Jobs, late: float, *, starts: bool) -> None:
    """Up to `late` it starts; beyond it is missed, its owner is told, and the audit has it."""
    row = jobs.put(When(at=at(14), tz="UTC", late=HOUR))
    touched = jobs.scheduler.start_due(epoch(14) + late)
    assert touched == ({"web1"} if starts else set())
    if starts:
        assert (jobs.replies(), jobs.told) == ([], 0)
        return
    (reply,) = jobs.replies()
    assert (reply.requestid, reply.state, reply.statuscode) == (row.id, State.EXPIRED, 5)
    assert reply.statusmsg == "missed: its time was 3601 s ago"
    assert (reply.digest, reply.job) == (row.signed, None)
    now = jobs.now(row)
    assert (now.state, now.ended, now.due) == ("missed", epoch(14) + late, None)
    assert now.statusmsg == reply.statusmsg
    assert jobs.told == 1
    (line,) = jobs.audited("not_started")
    assert (line["requestid"], line["state"], line["reason"]) == (
        row.id,
        "expired",
        reply.statusmsg,
    )


def test_a_start_that_is_to_be_skipped_is(jobs: Jobs) -> None:
    """Of a job that starts once that is its end: cancelled, as asked."""
    row = jobs.row(When(at=at(14), tz="UTC"))
    jobs.spool.put_jobs([replace(row, skips=1)])
    assert jobs.run(epoch(14)) == []
    assert jobs.now(row).state == "cancelled"
    (reply,) = jobs.replies()
    assert (reply.state, reply.statuscode, reply.statusmsg) == (
        State.FAILED,
        1,
        "skipped, as asked",
    )


def test_a_job_at_once_starts_when_it_comes(jobs: Jobs) -> None:
    """Its splay is counted from now, also where it was long on its way."""
    row = jobs.row(When(), now=NOW)
    assert row.due == NOW
    late = scheduled(row, read_job(row.body), jobs.lifecycle, NOW + 500.0)
    assert late.due == NOW + 500.0
    spread = jobs.row(When(splay=100.0), now=NOW)
    assert NOW <= spread.due <= NOW + 100.0
    later = scheduled(spread, read_job(spread.body), jobs.lifecycle, NOW + 500.0)
    assert later.due - 500.0 == pytest.approx(spread.due)


def test_a_job_that_would_never_start_is_refused(jobs: Jobs) -> None:
    """Its only time is after its end: said at once, as an invalid input."""
    with pytest.raises(AgentError, match="never start: its end is before its time") as caught:
        jobs.row(When(at=at(14), tz="UTC", until=epoch(14) - 1))
    assert caught.value.statuscode == 4
    assert jobs.row(When(at=at(14), tz="UTC", until=epoch(14))).due == epoch(14)


# -- again and again


def test_a_job_that_recurs_goes_on_to_its_next_start(jobs: Jobs) -> None:
    """Each start once, each run under an id of its own; how one came out is not the job's end."""
    row = jobs.put(DAILY)
    assert (row.run, row.due) == (at(4, 26), epoch(4, 26))
    assert jobs.run(epoch(4, 26)) == [at(4, 26)]
    now = jobs.now(row)
    assert (now.state, now.run, now.due, now.runs) == ("scheduled", at(4, 27), epoch(4, 27), 1)
    assert (now.last_state, now.ended) == ("ok", None)
    assert jobs.spool.get(("web1", run_id(row.id, at(4, 26)))) is not None
    assert jobs.run(epoch(4, 27), FAILED) == [at(4, 27)]
    now = jobs.now(row)
    assert (now.state, now.run, now.last_state, now.runs) == ("scheduled", at(4, 28), "failed", 2)
    assert (jobs.replies(), jobs.told) == ([], 0)


@pytest.mark.parametrize(
    ("outcome", "state", "words"),
    [
        (OK, "ok", "its end has come, after 2 starts"),
        (FAILED, "failed", "its end has come, after 2 starts; it broke"),
        (Outcome(State.DENIED, 1, "no"), "denied", "its end has come, after 2 starts; no"),
    ],
)
def test_a_job_that_recurs_ends_as_its_last_run_did(
    jobs: Jobs, outcome: Outcome, state: str, words: str
) -> None:
    """As soon as that has ended, if no start is left before its end; its owner is told."""
    row = jobs.put(replace(DAILY, until=epoch(5, 27)))
    assert jobs.run(epoch(4, 26), Outcome(State.DENIED, 1, "denied: no")) == [at(4, 26)]
    assert (jobs.now(row).state, jobs.replies()) == ("scheduled", [])
    assert jobs.run(epoch(4, 27), outcome) == [at(4, 27)]
    now = jobs.now(row)
    assert (now.state, now.ended, now.due, now.statusmsg) == (state, epoch(4, 27), None, words)
    (reply,) = jobs.replies()
    assert (reply.requestid, reply.state, reply.statuscode) == (
        row.id,
        outcome.state,
        outcome.statuscode,
    )
    assert (reply.statusmsg, reply.digest) == (words, row.signed)


def test_a_job_whose_last_start_was_missed_is_missed(jobs: Jobs) -> None:
    """Its owner hears of that start, and that there will be none."""
    row = jobs.put(replace(DAILY, until=epoch(5, 27)))
    assert jobs.run(epoch(4, 26)) == [at(4, 26)]
    assert jobs.run(epoch(12, 29)) == []
    why = "missed: its time was 201600 s ago"
    run, last = jobs.replies()
    assert (run.job, run.run, run.state, run.statusmsg) == (row.id, at(4, 27), State.EXPIRED, why)
    words = f"its end has come, after 1 start; {why}"
    assert (last.requestid, last.state, last.statusmsg) == (row.id, State.EXPIRED, words)
    now = jobs.now(row)
    assert (now.state, now.ended, now.statusmsg) == ("missed", epoch(12, 29), words)


def test_of_several_starts_that_were_slept_through_the_newest_happens(jobs: Jobs) -> None:
    """If it is not too late; the others are gone, and nothing starts twice."""
    row = jobs.put(DAILY)
    assert jobs.run(epoch(4, 28) + 60) == [at(4, 28)]
    assert jobs.now(row).run == at(4, 29)
    other = jobs.put(replace(DAILY, cron="0 5 * * *"), now=NOW)
    assert jobs.run(epoch(12, 29)) == []
    (reply,) = [one for one in jobs.replies() if one.job == other.id]
    assert (reply.run, reply.state, reply.statuscode) == (at(5, 29), State.EXPIRED, 5)
    assert reply.statusmsg == "missed: its time was 25200 s ago, as were 3 before it"
    assert (reply.requestid, reply.digest) == (run_id(other.id, at(5, 29)), other.signed)
    now = jobs.now(other)
    assert (now.run, now.last_state, now.state) == (at(5, 30), "missed", "scheduled")
    (passed,) = jobs.spool.runs_of(other.key)
    assert (passed.state, passed.statuscode, passed.ended) == ("expired", 5, epoch(12, 29))
    assert (passed.body, passed.signature, passed.certificate) == (None, None, None)
    assert passed.statusmsg == reply.statusmsg
    assert jobs.told == 1


def test_a_clock_that_is_put_back_starts_nothing_again(jobs: Jobs) -> None:
    """A start that has been is passed over without a word, not said to be missed; the next one comes."""
    row = jobs.put(DAILY)
    assert jobs.run(epoch(4, 26) + 60) == [at(4, 26)]
    jobs.spool.put_jobs([replace(jobs.now(row), run=row.run, planned=row.planned, due=row.due)])
    assert jobs.scheduler.start_due(epoch(4, 26)) == set()
    assert (jobs.now(row).run, jobs.now(row).last_state) == (at(4, 27), "ok")
    assert (jobs.replies(), len(jobs.spool.runs_of(row.key))) == ([], 1)
    assert jobs.run(epoch(4, 27)) == [at(4, 27)]


def test_a_run_that_is_taken_back_has_its_last_reply(jobs: Jobs) -> None:
    """Of a job that recurs each run is a request of its own: somebody waits for it, and it had begun."""
    row = jobs.put(DAILY)
    jobs.scheduler.start_due(epoch(4, 26))
    (run,) = jobs.spool.runs_of(row.key)
    jobs.spool.start([run.key], epoch(4, 26))
    assert not jobs.scheduler.take_back(row, "paused by cert=alice"), "it runs"
    assert (jobs.replies(), jobs.told) == ([], 0)
    jobs.spool.requeue([run.key], epoch(5, 26), 0.0, 1, "it broke")
    assert jobs.scheduler.take_back(row, "paused by cert=alice")
    (reply,) = jobs.replies()
    assert (reply.requestid, reply.state, reply.statuscode) == (run.id, State.FAILED, 1)
    assert reply.statusmsg == "it broke; not started again: paused by cert=alice"
    assert jobs.told == 1
    (kept,) = jobs.spool.runs_of(row.key)
    assert (kept.state, kept.attempt, kept.statusmsg) == ("failed", 1, reply.statusmsg)
    (line,) = jobs.audited("finished")
    assert (line["state"], line["reason"]) == ("failed", reply.statusmsg)
    other = jobs.put(DAILY)
    jobs.scheduler.start_due(epoch(4, 26))
    assert jobs.scheduler.take_back(other, "edited by cert=alice", again=True)
    assert (jobs.spool.runs_of(other.key), len(jobs.replies())) == ([], 1)


def test_a_job_whose_run_was_taken_back_by_a_node_that_died_goes_on(jobs: Jobs) -> None:
    """What was to become of it died with that process: it is as it was before, and nothing starts twice."""
    row, other = jobs.put(When(at=at(14), tz="UTC")), jobs.put(DAILY)
    jobs.scheduler.start_due(epoch(14))
    jobs.scheduler.take_back(row, "paused by cert=alice", again=True)
    jobs.scheduler.start_due(epoch(4, 26))
    jobs.scheduler.take_back(other, "paused by cert=alice")
    assert {jobs.now(row).state, jobs.now(other).state} == {"queued"}
    restarted = Scheduler(jobs.spool, {"web1": jobs.lifecycle}, jobs.scheduler._replies_added)
    restarted.start_due(epoch(14) + 60)
    (run,) = jobs.spool.runs_of(row.key)
    assert (run.state, run.run, jobs.now(row).state) == ("queued", at(14), "queued")
    assert (jobs.now(other).state, jobs.now(other).run) == ("scheduled", at(4, 26))
    restarted.start_due(epoch(4, 26) + 60)
    assert (jobs.now(other).state, jobs.now(other).run) == ("scheduled", at(4, 27))


def test_a_start_within_the_job_s_own_run_is_missed(jobs: Jobs) -> None:
    """It never runs beside itself, nor twice in a row; after an interrupted run it does start."""
    hourly = When(every=HOUR, at=at(13), tz="UTC", until=NOW + 10 * DAY)
    for outcome, starts in ((OK, 0), (Outcome(State.INTERRUPTED, 5, "it died"), 1)):
        row = jobs.put(hourly)
        jobs.scheduler.start_due(epoch(13))
        (work,) = jobs.spool.runs_of(row.key)
        jobs.spool.start([work.key], epoch(13))
        jobs.end([jobs.spool.get(work.key)], epoch(14), outcome)
        jobs.scheduler.start_due(epoch(14))
        queued = [one for one in jobs.spool.runs_of(row.key) if one.state == "queued"]
        assert len(queued) == starts
    reply = jobs.replies()[0]
    assert reply.statusmsg == f"missed: its own run of {at(13)} was still under way"
    assert reply.run == at(14)


def test_skips_are_counted_down(jobs: Jobs) -> None:
    """Each takes one start, which its history shows; what was slept through is skipped one by one."""
    row = jobs.row(DAILY)
    jobs.spool.put_jobs([replace(row, skips=2)])
    assert jobs.run(epoch(4, 26)) == []
    now = jobs.now(row)
    assert (now.skips, now.run, now.last_state, now.statusmsg) == (
        1,
        at(4, 27),
        "skipped",
        "skipped, as asked",
    )
    assert jobs.run(epoch(4, 27)) == []
    assert jobs.run(epoch(4, 28)) == [at(4, 28)]
    assert [(one.run, one.state, one.statusmsg) for one in jobs.replies()] == [
        (at(4, day), State.EXPIRED, "skipped, as asked") for day in (26, 27)
    ]
    assert jobs.now(row).skips == 0


def test_what_another_edited_runs_under_ids_of_its_own(jobs: Jobs) -> None:
    """The owner's request is not the editor's run."""
    row = jobs.put(When(at=at(14), tz="UTC"), owner="cert=bob")
    jobs.scheduler.start_due(epoch(14))
    (work,) = jobs.spool.runs_of(row.key)
    assert (work.id, work.caller) == (run_id(row.id, at(14)), "cert=alice")


# -- again, and no more


def test_a_failed_run_is_tried_again_after_a_while(jobs: Jobs) -> None:
    """As often as the job says, each time after twice as long; only what failed, and of a job."""
    row = jobs.put(When(at=at(14), tz="UTC", late=10.0), retries=2, backoff=60.0)
    jobs.scheduler.start_due(epoch(14))
    for attempt, wait in ((1, 60.0), (2, 120.0)):
        jobs.spool.start([row.key], NOW)
        work = jobs.spool.get(row.key)
        assert work.attempt == attempt
        for other in (OK, Outcome(State.DENIED, 1, "no")):
            assert not jobs.scheduler.retry(work, other, NOW)
        assert jobs.scheduler.retry(work, FAILED, NOW)
        again = jobs.spool.get(row.key)
        assert (again.state, again.due) == ("queued", NOW + wait)
        assert again.expires >= NOW + wait + 10.0
    jobs.spool.start([row.key], NOW)
    assert not jobs.scheduler.retry(jobs.spool.get(row.key), FAILED, NOW)
    assert not jobs.scheduler.retry(replace(work, kind="request"), FAILED, NOW)
    assert not jobs.scheduler.retry(replace(work, body=None), FAILED, NOW)
    assert not jobs.scheduler.retry(replace(work, job="f" * 32), FAILED, NOW)
    jobs.spool.put_jobs([replace(jobs.now(row), ended=NOW)])
    assert not jobs.scheduler.retry(work, FAILED, NOW)


def test_a_cancelled_job_stays_cancelled_when_its_run_ends(jobs: Jobs) -> None:
    """The run's outcome is noted; the state, and who cancelled it, are not undone."""
    row = jobs.put(When(at=at(14), tz="UTC"))
    jobs.scheduler.start_due(epoch(14))
    work = jobs.spool.get(row.key)
    assert jobs.scheduler.cancelled(work) == ""
    text = "cancelled by cert=alice"
    jobs.spool.put_jobs([replace(jobs.now(row), state="cancelled", ended=NOW, statusmsg=text)])
    assert jobs.scheduler.cancelled(work) == text
    assert jobs.scheduler.cancelled(replace(work, job=None, id="0" * 32)) == ""
    jobs.end([work], epoch(15), FAILED)
    now = jobs.now(row)
    assert (now.state, now.ended, now.last_state) == ("cancelled", NOW, "failed")


def test_a_run_of_no_job_ends_as_it_is(jobs: Jobs) -> None:
    """Queued requests have none, nor have runs of a job that is gone, or of a node that is."""
    jobs.spool.add([])
    row = jobs.put(When(at=at(14), tz="UTC"))
    jobs.scheduler.start_due(epoch(14))
    work = jobs.spool.get(row.key)
    jobs.end([replace(work, job="f" * 32)], epoch(14))
    assert jobs.spool.get(row.key).state == "ok"
    assert jobs.now(row).state == "queued"
    jobs.end([replace(work, job=None)], epoch(15))
    assert jobs.now(row).state == "queued"


def test_closing_a_job_tells_its_owner(jobs: Jobs) -> None:
    """With the reason, in a ledger's words."""
    row = jobs.put(When(at=at(14), tz="UTC"))
    jobs.scheduler.close(row, "cancelled", "no more", NOW + 5)
    now = jobs.now(row)
    assert (now.state, now.ended, now.due, now.statusmsg) == ("cancelled", NOW + 5, None, "no more")
    (reply,) = jobs.replies()
    assert (reply.requestid, reply.state, reply.statuscode) == (row.id, State.FAILED, 1)
    assert (reply.statusmsg, jobs.told) == ("no more", 1)


# -- jobs that wait for others


def waiting(jobs: Jobs, *others: tuple[JobRow, str], **more: Any) -> JobRow:
    """A job that waits for others, each with the end that is needed; it is of now."""
    needs = tuple(f"{row.id}:{need}" for row, need in others)
    row = jobs.row(When(), now=time.time(), after=needs, **more)
    assert row.state == "waiting"
    conditions = [(row.key, [(other.id, need) for other, need in others])]
    jobs.spool.put_jobs([row], awaits=conditions)
    return row


@pytest.mark.parametrize(
    ("need", "outcome", "state"),
    [
        ("ok", OK, "scheduled"),
        ("failed", FAILED, "scheduled"),
        ("done", FAILED, "scheduled"),
        ("ok", FAILED, "cancelled"),
        ("failed", OK, "cancelled"),
    ],
)
def test_a_job_waits_for_the_end_that_it_needs(
    jobs: Jobs, need: str, outcome: Outcome, state: str
) -> None:
    """With that end it is scheduled, with another it is cancelled and says why."""
    first = jobs.put(When(at=at(14), tz="UTC"))
    row = waiting(jobs, (first, need))
    assert jobs.now(row).due is not None
    jobs.run(epoch(14), outcome)
    now = jobs.now(row)
    assert now.state == state
    if state == "scheduled":
        assert now.due == row.due > epoch(14), "not before its own time"
        assert now.planned is not None
    else:
        assert now.statusmsg == f"{first.id[:8]} is {outcome.state}, {need} was waited for"
        assert jobs.replies()[-1].requestid == row.id


def test_a_job_waits_for_the_last_of_several(jobs: Jobs) -> None:
    """One of two is not enough, and what one of them says is nothing about the other."""
    first, second = jobs.put(When(at=at(14), tz="UTC")), jobs.put(When(at=at(15), tz="UTC"))
    row = waiting(jobs, (first, "ok"), (second, "done"))
    jobs.run(epoch(14))
    assert jobs.now(row).state == "waiting"
    assert [tuple(one)[2] for one in sorted(jobs.spool.jobs.awaits(row.key))] == [True, False]
    jobs.run(epoch(15), FAILED)
    assert jobs.now(row).state == "scheduled"


def test_one_run_of_a_job_that_recurs_is_an_end(jobs: Jobs) -> None:
    """Whoever waits for it to be ok goes on after the first run that is; a failed one cancels nobody."""
    first = jobs.put(DAILY)
    row = waiting(jobs, (first, "ok"))
    jobs.run(epoch(4, 26), FAILED)
    assert jobs.now(row).state == "waiting"
    jobs.run(epoch(4, 27))
    assert jobs.now(row).state == "scheduled"


def test_what_happened_before_the_daemon_came_up_counts(tmp_path: Path) -> None:
    """At its start it looks whether what is waited for has been, or cannot be any more."""
    before = Jobs(tmp_path)
    ok, failed = before.put(When(at=at(13), tz="UTC")), before.put(When(at=at(14), tz="UTC"))
    before.run(epoch(13))
    before.run(epoch(14), FAILED)
    open_one = before.put(When(at=at(15), tz="UTC"))
    cases = {
        "scheduled": waiting(before, (ok, "ok"), (failed, "done")),
        "cancelled": waiting(before, (ok, "ok"), (failed, "ok")),
        "waiting": waiting(before, (ok, "ok"), (open_one, "ok")),
    }
    unknown = before.row(When(), now=time.time(), after=("f" * 32 + ":ok",))
    before.spool.put_jobs([unknown], awaits=[(unknown.key, [("f" * 32, "ok")])])
    after = Scheduler(before.spool, {"web1": before.lifecycle}, lambda: None)
    after.start_due(NOW)
    assert {state: before.now(row).state for state, row in cases.items()} == {
        state: state for state in cases
    }
    assert before.now(unknown).state == "waiting"
    assert before.now(cases["cancelled"]).statusmsg == (
        f"{failed.id[:8]} is failed, ok was waited for"
    )
    before.close()


def test_what_is_waited_for_in_vain_has_an_end(jobs: Jobs) -> None:
    """At `until`, or after ninety days, whoever still waits expires and says so."""
    first = jobs.put(When(at=at(14), tz="UTC"))
    now = time.time()
    row = waiting(jobs, (first, "ok"))
    assert row.ends == pytest.approx(now + 90 * DAY, abs=60)
    short = jobs.row(When(until=now + 100), now=now, after=(f"{first.id}:ok",))
    assert short.ends == now + 100
    jobs.spool.put_jobs([short], awaits=[(short.key, [(first.id, "ok")])])
    jobs.spool.put_jobs([replace(first, state="paused")])
    jobs.scheduler.start_due(now + 101)
    assert (jobs.now(short).state, jobs.now(row).state) == ("expired", "waiting")
    (reply,) = jobs.replies()
    assert reply.statusmsg == "what it waits for did not come in time"
    assert (reply.requestid, reply.state) == (short.id, State.EXPIRED)


def test_a_job_that_is_missed_cancels_who_waits_for_it(jobs: Jobs) -> None:
    """They are told in the same step."""
    first = jobs.put(When(at=at(14), tz="UTC", late=1.0))
    row = waiting(jobs, (first, "ok"))
    done = waiting(jobs, (first, "done"))
    jobs.scheduler.start_due(epoch(15))
    assert (jobs.now(row).state, jobs.now(done).state) == ("cancelled", "scheduled")
    assert jobs.now(row).statusmsg == f"{first.id[:8]} is missed, ok was waited for"


# -- zones


def test_a_node_s_zone_is_its_fact(jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    """By name; without one UTC; what is no zone is what the machine says of itself."""
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    facts: dict[str, str] = {"timezone": "Asia/Kolkata"}
    host = jobs.lifecycle.host
    host._facts = lambda: facts  # type: ignore[assignment]
    assert zone_of_node(host) == ZoneInfo("Asia/Kolkata")
    facts.clear()
    assert zone_of_node(host) is UTC
    facts["timezone"] = "XST-3XDT"
    assert zone_of_node(host) == ZoneInfo("Asia/Tokyo")


def test_what_was_cancelled_before_it_came_is_found_for_a_batch_at_once(jobs: Jobs) -> None:
    """Of a thousand requests, in less than half the time that a thousand questions take."""
    row = jobs.row(DAILY)
    jobs.spool.put_jobs([replace(row, id=f"{n:032x}") for n in range(2000)])
    gone = replace(row, revision=0, state="cancelled", body=None, statusmsg="cancelled by bob")
    jobs.spool.put_jobs([replace(gone, id=f"{n:032x}", author="cert=bob") for n in range(3)])
    keys = [("web1", f"{n:032x}") for n in range(0, 4000, 2)]
    found = jobs.spool.jobs.entombed(keys)
    assert found == dict.fromkeys(keys[:2], ("cert=bob", "cancelled by bob"))

    def spent(work: Callable[[], object]) -> float:
        began = time.process_time()
        work()
        return time.process_time() - began

    at_once = min(spent(lambda: jobs.spool.jobs.entombed(keys)) for _ in range(5))
    each = min(spent(lambda: [jobs.spool.jobs.get(key) for key in keys]) for _ in range(5))
    assert at_once < each / 2
