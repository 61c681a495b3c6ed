"""The spool, call by call: what it takes, what it says of a row, and whose rows they are."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from mcshell.errors import MCShellError
from mcshell.node.store.job_table import JobRow
from mcshell.node.store.records import QUEUED, RUNNING, WorkResult
from mcshell.node.store.rule_table import RuleRow
from mcshell.node.store.spool import Spool
from tests.unit.node.spool_rows import row, word

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    """An empty one."""
    made = Spool(tmp_path / "work.sqlite")
    yield made
    made.close()


def end(number: int = 1, state: str = "ok", identity: str = "n1", **more: object) -> WorkResult:
    """How a row ends."""
    key = row(identity, number).key
    return WorkResult(
        **{"key": key, "state": state, "statuscode": 0, "statusmsg": "OK", "ended": 9.0} | more
    )


def job(number: int = 1, state: str = "scheduled", **more: object) -> JobRow:
    """A job of n1."""
    fields = {
        "identity": "n1",
        "id": f"{number:032x}",
        "revision": 1,
        "owner": "cert=alice",
        "session": "s",
        "author": "cert=alice",
        "collective": "mcs",
        "name": "nightly",
        "agent": "mark",
        "action": "once",
        "body": b"{}",
        "signature": "s",
        "certificate": "c",
        "received": 1.0,
        "state": state,
    }
    return JobRow(**fields | more)


def synced(spool: Spool) -> bool:
    """Whether the last commit was on the disk when it ended."""
    return bool(spool._database.read("PRAGMA synchronous")[0][0] == 2)


def numbers(rows: list) -> list[int]:
    """Which rows they are."""
    return [int(one.id, 16) for one in rows]


def test_a_row_comes_back_as_it_was_taken(spool: Spool) -> None:
    """All of it, under a number; of another identity, or another id, there is none."""
    taken = row(pool="sms", job="f" * 32, run="2026-11-26T04:00", kind="job", statusmsg="why")
    spool.add([taken])
    found = spool.get(taken.key)
    assert found == replace(taken, number=1)
    assert spool.get(("n2", taken.id)) is None
    assert spool.get(("n1", "f" * 32)) is None


def test_what_is_taken_is_on_the_disk_and_what_can_be_sent_again_need_not_be(spool: Spool) -> None:
    """No power cut takes what was acknowledged; what the broker still has costs no fsync."""
    steps = [
        (lambda: spool.add([row()]), True),
        (lambda: spool.confirmed([1]), False),
        (lambda: spool.start([row().key], 2.0), True),
        (lambda: spool.abandon("n1", 3.0), False),
        (lambda: spool.requeue([row().key], 4.0), True),
        (lambda: spool.purge(0.0, 1.0), False),
        (lambda: spool.finish([end()]), True),
        (lambda: spool.claim([row(number=2, via="pool")], []), False),
        (lambda: spool.claim([], [end(2)]), True),
        (lambda: spool.add([row(number=3)], durable=False), False),
        (lambda: spool.put_jobs([job()]), True),
    ]
    for place, (step, durable) in enumerate(steps):
        step()
        assert synced(spool) is durable, place


def test_a_reply_goes_into_the_outbox_with_its_own_row_alone(spool: Spool) -> None:
    """A row that was there keeps its reply to itself; one for nobody is not kept."""
    refused = [row(number=number, state="denied") for number in (1, 2)]
    assert spool.add(refused[:1], [word(refused[0].key)]) == [True]
    assert spool.add(refused, [replace(word(one.key), sequence=5) for one in refused]) == [
        False,
        True,
    ]
    assert [(one.request, one.sequence) for one in spool.unconfirmed()] == [
        (refused[0].id, 2),
        (refused[1].id, 5),
    ]
    spool.add_messages([replace(word(refused[0].key, 8), destination="")])
    spool.add_messages([word(refused[0].key, 11), word(refused[0].key, 11)])
    assert len(spool.unconfirmed()) == 3


def test_a_row_and_its_reply_end_in_one_commit(spool: Spool) -> None:
    """With the reply that cannot be kept, the row has not ended either."""
    spool.add([row()])
    spool.start([row().key], 2.0)
    with spool._database.transaction() as database:
        database.execute(
            "CREATE TRIGGER full BEFORE INSERT ON outbox BEGIN SELECT RAISE(ABORT, 'disk full'); END"
        )
    with pytest.raises(MCShellError, match="disk full"):
        spool.finish([end(message=word(row().key))])
    with spool._database.transaction() as database:
        database.execute("DROP TRIGGER full")
    assert [one.key for one in spool.running()] == [row().key]
    assert spool.finish([end(message=word(row().key))]) == [True]
    assert spool.finish([end(message=word(row().key, 5))]) == [False]
    assert [one.sequence for one in spool.unconfirmed()] == [2]
    found = spool.get(row().key)
    assert (found.state, found.statuscode, found.statusmsg, found.ended) == ("ok", 0, "OK", 9.0)
    assert (found.body, found.signature, found.certificate) == (None, None, None)


def test_jobs_move_with_their_runs(spool: Spool) -> None:
    """The run's end, the job's state and the replies about it are one commit."""
    spool.put_jobs([job()], runs=[row(job=job().id)], messages=[word(row().key)])
    assert spool.get(row().key).job == job().id
    (other,) = [replace(word(row(number=2).key), sequence=8)]
    spool.finish([end()], [job(state="ok")], [other])
    assert spool.jobs.get(job().key).state == "ok"
    assert {one.sequence for one in spool.unconfirmed()} == {2, 8}


def test_what_waits_for_others_and_what_brought_it_are_kept(spool: Spool) -> None:
    """A job's conditions and the rule that has it, in the commit of the job."""
    rule = RuleRow(
        identity="n1",
        machine="m",
        author="cert=alice",
        name="web",
        revision=3,
        digest="d",
        jobs="[]",
        taken=5.0,
    )
    waiting = job(2, state="waiting")
    spool.put_jobs([waiting], awaits=[(waiting.key, [(job().id, "ok")])], rule=rule, expires=77.0)
    assert [tuple(one) for one in spool.jobs.awaits(waiting.key)] == [(job().id, "ok", False)]
    assert spool.rules.get("n1", "m", "cert=alice", "web") == rule


@pytest.mark.parametrize("state", [QUEUED, "waiting"])
def test_a_spool_is_idle_when_nothing_waits_or_runs(spool: Spool, state: str) -> None:
    """A queued or running row, or a job that waits for another, keeps it busy; what ended does not."""
    assert spool.idle()
    if state == QUEUED:
        spool.add([row()])
        assert not spool.idle()
        spool.start([row().key], 2.0)
        assert not spool.idle()
        spool.finish([end()])
    else:
        spool.put_jobs([job(state="waiting")])
        assert not spool.idle()
        spool.put_jobs([job(state="ok")])
    assert spool.idle()


def test_a_pool_s_row_that_was_answered_is_not_begun_again(spool: Spool) -> None:
    """Only what was left without a reply; it starts anew, with the bytes that came with it."""
    first, queued = row(via="pool", state=RUNNING, attempt=1, started=1.0), row(number=2)
    spool.claim([first], [])
    spool.add([queued])
    spool.start([queued.key], 2.0)
    spool.abandon("n2", 3.0)
    assert spool.get(first.key).state == RUNNING
    spool.abandon("n1", 3.0)
    left = spool.get(first.key)
    assert (left.state, left.statusmsg, left.ended, left.body) == (
        "interrupted",
        "the worker died",
        3.0,
        None,
    )
    assert spool.get(queued.key).state == RUNNING
    again = replace(first, attempt=2, started=4.0, body=b"new", signature="t", certificate="d")
    assert spool.claim([again], [end(2)]) == [True]
    found = spool.get(first.key)
    assert (found.state, found.attempt, found.started, found.ended) == (RUNNING, 2, 4.0, None)
    assert (found.body, found.signature, found.certificate, found.statusmsg) == (
        b"new",
        "t",
        "d",
        "",
    )
    assert spool.get(queued.key).state == "ok"
    spool.finish([end(state="interrupted", statuscode=5)])
    assert spool.claim([again], []) == [False]
    spool.add([row(number=3, via="queue", state=RUNNING)])
    assert spool.claim([row(number=3, via="pool", state=RUNNING)], []) == [False]


def test_a_further_attempt_waits_until_its_time(spool: Spool) -> None:
    """It is due then, its ttl never gets shorter, and what does not run is left alone."""
    spool.add([row(), row(number=2)])
    spool.start([row().key], 2.0)
    spool.requeue([row().key, row(number=2).key], 50.0, 2000.0)
    first, second = (spool.get(row(number=n).key) for n in (1, 2))
    assert (first.state, first.due, first.expires, first.attempt) == (QUEUED, 50.0, 2000.0, 1)
    assert (second.due, second.expires) == (1.0, 1000.0)
    assert spool.start([row().key], 51.0) == [True]
    assert (spool.get(row().key).attempt, spool.get(row().key).started) == (2, 51.0)
    spool.requeue([row().key], 60.0)
    assert spool.get(row().key).expires == 2000.0


def test_only_what_has_not_started_can_be_taken_back(spool: Spool) -> None:
    """A queued row is gone as if it had never come; one that runs, or is another's, stays."""
    spool.add([row(), row(number=2), row("n2")])
    spool.start([row(number=2).key], 2.0)
    assert spool.withdraw(row().key)
    assert not spool.withdraw(row().key)
    assert not spool.withdraw(row(number=2).key)
    assert spool.states([row().key, row(number=2).key, row("n2").key]) == {
        row(number=2).key: RUNNING,
        row("n2").key: QUEUED,
    }


def test_the_runs_of_a_job_are_the_newest_first(spool: Spool) -> None:
    """And the last that has started is no run that still waits, nor another job's."""
    runs = [row(number=number, job="f" * 32, run=str(number)) for number in (1, 2, 3)]
    spool.add([*runs, row(number=4, job="e" * 32), row("n2", 5, job="f" * 32)])
    key = ("n1", "f" * 32)
    assert numbers(spool.runs_of(key)) == [3, 2, 1]
    assert numbers(spool.runs_of(key, 2)) == [3, 2]
    assert spool.last_run(key) is None
    spool.start([one.key for one in (*runs[:2], row(number=4), row("n2", 5))], 2.0)
    assert numbers([spool.last_run(key)]) == [2]


def test_each_caller_s_oldest_are_due(spool: Spool) -> None:
    """Up to the limit of each, in the order of time and then of arrival, what is due now alone."""
    callers = ["cert=alice", "cert=bob", "cert=carol"]
    for number in range(9):
        spool.add([row(number=number, caller=callers[number % 3], due=10.0 - number // 3)])
    spool.add([row(number=20, due=10.5), row("n2", 21, caller="cert=dave")])
    assert numbers(spool.due("n1", 10.0, 2)) == [6, 7, 8, 3, 4, 5]
    assert numbers(spool.due("n1", 8.0, 9)) == [6, 7, 8]
    assert numbers(spool.due("n1", 10.5, 9))[-1] == 20
    assert spool.due("n1", 10.0, 9, ["mark", "other"]) == []
    assert spool.waiting_of("n1") == {"cert=alice": 4, "cert=bob": 3, "cert=carol": 3}
    assert (spool.waiting("n1"), spool.waiting("n3")) == (10, 0)


def test_whose_time_is_over_is_found(spool: Spool) -> None:
    """Queued rows past their ttl, of every identity, some at a time."""
    spool.add(
        [row(number=1, expires=10.0), row("n2", 2, expires=10.0), row(number=3, expires=20.0)]
    )
    assert sorted(numbers(spool.overdue(10.1))) == [1, 2]
    assert spool.overdue(10.0) == []
    assert len(spool.overdue(99.0, 2)) == 2


def test_who_has_work_is_told(spool: Spool) -> None:
    """The identities with something due, each once."""
    spool.add([row(number=1), row(number=2), row("n2", 3, due=9.0), row("n3", 4)])
    spool.start([row("n3", 4).key], 1.0)
    assert spool.waiters(1.0) == ["n1"]
    assert sorted(spool.waiters(9.0)) == ["n1", "n2"]
    assert spool.waiters(0.5) == []


def test_what_is_here_is_counted(spool: Spool) -> None:
    """What waits, runs and is still to be said, of one identity."""
    spool.add([row(number=1), row(number=2), row(number=3), row("n2", 4)])
    spool.start([row(number=3).key], 2.0)
    spool.add_messages([word(row().key), word(row("n2", 4).key)])
    assert spool.counts("n1") == {"spooled": 2, "running": 1, "outbox": 1}
    assert spool.counts("n3") == {"spooled": 0, "running": 0, "outbox": 0}


def test_a_place_in_the_spool_knows_that_callers_go_round(spool: Spool) -> None:
    """Of each other caller at most as many go before as one's own that are older, and one more."""
    spool.add([row(number=number) for number in (1, 2)])
    spool.add([row(number=number, caller="cert=bob") for number in range(10, 15)])
    spool.add([row(number=20, caller="cert=carol", due=0.5), row("n2", 30)])
    places = {number: spool.seen("n1", row(number=number).id)["place"] for number in (1, 2, 14, 20)}
    assert places == {1: 2, 2: 4, 14: 7, 20: 2}
    assert spool.seen("n1", row().id)["reason"] == "waits in the spool behind 2 others"


def test_what_is_known_of_a_job_is_told_by_its_id(spool: Spool) -> None:
    """A request that is none of the rows may be a job; what is neither is not known."""
    spool.put_jobs([job()])
    seen = spool.seen("n1", job().id)
    assert seen is not None
    assert (seen["state"], seen["requestid"]) == ("received", job().id)
    assert spool.seen("n2", job().id) is None


def test_the_outbox_is_read_in_order_and_by_whose_it_is(spool: Spool) -> None:
    """From a number on, so many, and only of the identities of this connection."""
    for name in ("a", "b", "c", "d"):
        spool.add_messages([word((name, "0" * 32)), word((name, "1" * 32))])
    said = spool.unconfirmed()
    assert [one.number for one in said] == list(range(1, 9))
    assert [one.number for one in spool.unconfirmed(after=5)] == [6, 7, 8]
    assert [one.number for one in spool.unconfirmed(limit=3)] == [1, 2, 3]
    assert [one.identity for one in spool.unconfirmed(names=("b", "c"))] == ["b", "b", "c", "c"]


def test_replies_that_fit_together_are_read_together(spool: Spool) -> None:
    """4 MiB at once, to the byte; what is one byte more waits for the next turn."""
    half = 2 << 20
    spool.add_messages(
        [word(("n1", f"{n:032x}"), n, size) for n, size in ((2, half), (5, half), (8, 1))]
    )
    assert [one.sequence for one in spool.unconfirmed()] == [2, 5]


def test_another_reply_stands_in_the_place_of_one(spool: Spool) -> None:
    """The same place and request, other bytes; its neighbours are left alone."""
    spool.add_messages([word(row().key), word(row().key, 5)])
    first, second = spool.unconfirmed()
    spool.replace_message(replace(first, body=b"smaller", signature="t", certificate="d"))
    found, other = spool.unconfirmed()
    assert (found.body, found.signature, found.certificate) == (b"smaller", "t", "d")
    assert (found.number, found.sequence, other) == (first.number, first.sequence, second)


def test_what_ended_is_forgotten_when_its_id_cannot_come_again(spool: Spool) -> None:
    """Its ttl is over for an hour and it ended long enough ago; both, and some at a time."""
    spool.add([row(number=number, expires=100.0) for number in range(3)])
    spool.add([row(number=9, expires=100.0)])
    spool.finish([end(0, ended=50.0), end(1, ended=90.0), end(2, ended=50.0)])
    assert spool.purge(3700.0, 10.0) == 0
    assert spool.purge(3700.1, 3650.1) == 0
    assert spool.purge(3700.1, 3620.0) == 2
    assert numbers([spool.get(row(number=n).key) for n in (1, 9)]) == [1, 9]
    assert spool.purge(99_999.0, 1.0) == 1
    spool.add(
        [row(number=number, expires=1.0, state="ok", ended=1.0) for number in range(100, 700)]
    )
    assert [spool.purge(99_999.0, 1.0) for _ in range(3)] == [500, 100, 0]


def test_secret_bytes_are_nowhere_once_they_are_wiped(spool: Spool, tmp_path: Path) -> None:
    """After `wipe` neither the file nor what lies beside it has what a row held."""
    spool.add([row(body=b"hunter2")])
    spool.finish([end()])
    spool.wipe()
    assert b"hunter2" not in b"".join(path.read_bytes() for path in tmp_path.iterdir())


def test_a_file_says_how_its_disk_is(tmp_path: Path) -> None:
    """On a disk that takes something there is room, and nothing hinders it; closed, it takes nothing."""
    spool = Spool(tmp_path / "work.sqlite")
    assert spool.has_room()
    assert not spool.hindered
    spool.close()
    with pytest.raises(MCShellError):
        spool.add([row()])
