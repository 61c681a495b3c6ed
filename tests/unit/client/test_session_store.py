"""A session file, call by call: what is kept, what is on the disk, and what is found again."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from mcshell.client.store.jobs import KeptJob
from mcshell.client.store.ledger import FOUND_LATE
from mcshell.client.store.plans import KeptPlan
from mcshell.client.store.records import NewRequest
from mcshell.client.store.store import SessionStore
from mcshell.client.store.strays import Stray
from mcshell.errors import MCShellError, SessionError
from mcshell.message import ReplySequence, State, Via
from tests.unit.client.session_files import asked, body_of, message, said, states, synced

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BOTH = ["web1", "web2"]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SessionStore]:
    """An empty session file."""
    made = SessionStore(tmp_path / "s.sqlite")
    yield made
    made.close()


# -- what goes out


@pytest.mark.parametrize(
    ("via", "durable"),
    [(Via.QUEUE, True), (Via.POOL, True), (Via.DIRECT, False), (Via.BROADCAST, False)],
)
def test_what_belongs_to_a_durable_request_is_on_the_disk(store, via, durable):
    """A power cut takes no queued request that was accepted; an interactive one costs no fsync."""
    store.add(asked(via=via), BOTH)
    assert synced(store) is durable
    store.add_all([NewRequest(asked(1, Via.DIRECT), BOTH), NewRequest(asked(2, via), BOTH)])
    assert synced(store) is durable


@pytest.mark.parametrize("durable", [True, False])
def test_replies_are_on_the_disk_where_they_are_to_be(store, durable):
    """What is acknowledged to a durable queue is synced first; the rest costs no fsync."""
    store.add(asked(via=Via.DIRECT), BOTH)
    store.enter([said(asked(), "web1")], durable=durable)
    assert synced(store) is durable


def test_all_of_a_request_is_kept_or_nothing(store):
    """Where its messages cannot be kept, there is neither the request nor a target of it."""
    twice = [message(asked(), "web1"), message(asked(), "web1")]
    with pytest.raises(MCShellError):
        store.add(asked(), BOTH, twice)
    assert (store.requests(), store.entries(asked().id), store.unconfirmed(9, 0.0)) == ([], [], [])


def test_a_reply_is_bound_to_what_was_signed_for_its_node(store):
    """The digest of a target's own message is no other's; what went to all, or a pool, is anybody's."""
    one, all_of_them = asked(0), asked(1, Via.BROADCAST)
    added = store.add_all(
        [
            NewRequest(one, BOTH, [message(one, "web1")]),
            NewRequest(all_of_them, BOTH, [message(all_of_them, "*")]),
        ]
    )
    assert added == [message(one, "web1").digest, message(all_of_them, "*").digest]
    digest = message(one, "web1").digest[2]
    assert store.signed(one.id, "web1", digest)
    assert not store.signed(one.id, "web2", digest)
    assert not store.signed(all_of_them.id, "web1", digest)
    assert not store.signed(one.id, "web1", "0" * 64)
    assert store.signed(all_of_them.id, "web2", message(all_of_them, "*").digest[2])
    assert list(store.digests(one.id)) == [("web1", digest)]
    store.mark_sent(one.id, ["web1"], 101.0, digests=[message(one, "web1").digest])
    assert list(store.digests(one.id)) == [("web1", digest)]


def test_what_is_unconfirmed_goes_out_the_oldest_first(store):
    """Requests in the order in which they were made, up to the limit; interactive ones never again."""
    for number, via in enumerate([Via.QUEUE, Via.DIRECT, Via.POOL]):
        one = asked(number, via)
        store.add(one, BOTH, [message(one, name) for name in reversed(BOTH)])
    found = [(one.request, one.sender) for one in store.unconfirmed(9, 150.0)]
    queue, pool = asked(0).id, asked(2).id
    assert found == [(queue, "web1"), (queue, "web2"), (pool, "web1"), (pool, "web2")]
    assert [(one.request, one.sender) for one in store.unconfirmed(3, 150.0)] == found[:3]
    assert store.unconfirmed(9, 199.9) != []
    assert store.unconfirmed(9, 200.0) == []
    assert store.open_outgoing(queue) == 2
    store.mark_confirmed([message(asked(0), "web1")], 151.0)
    assert store.open_outgoing(queue) == 1
    assert store.confirmed(queue, "web1") == 151.0
    assert store.confirmed(queue, "web2") is None
    assert store.confirmed(queue, "web3") is None
    assert [(one.sender, at) for one, at in store.outgoing(queue)] == [
        ("web1", 151.0),
        ("web2", None),
    ]
    assert store.open_outgoing(pool) == 2


def test_when_it_went_out_first_is_when_it_was_sent(store):
    """A second SEND after a lost connection moves nothing, for these targets of this request alone."""
    for number in (0, 1):
        store.add(asked(number), BOTH)
    store.mark_sent(asked(0).id, ["web1"], 101.0)
    store.mark_sent(asked(0).id, BOTH, 102.0)
    assert [entry.sent for entry in store.entries(asked(0).id)] == [101.0, 102.0]
    assert [entry.sent for entry in store.entries(asked(1).id)] == [None, None]


def test_another_broker_is_told_what_no_node_has_said_it_has(store):
    """Only queued requests that go on, and of these what is pending and was confirmed elsewhere."""
    late, pool, queue = asked(0, expires=140.0), asked(1, Via.POOL), asked(2)
    other = asked(3)
    for one in (late, pool, queue, other):
        store.add(one, BOTH, [message(one, name) for name in BOTH])
        store.mark_confirmed([message(one, name) for name in BOTH], 120.0)
    store.enter([said(queue, "web1", State.RECEIVED)], durable=True)
    store.enter([said(other, name, State.RECEIVED) for name in BOTH], durable=True)
    assert store.unconfirmed(9, 150.0) == []
    store.doubt(150.0, 120.1)
    assert store.unconfirmed(9, 150.0) == []
    store.doubt(150.0, 120.0)
    assert [(one.request, one.sender) for one in store.unconfirmed(9, 150.0)] == [
        (queue.id, "web2")
    ]
    assert store.confirmed(late.id, "web1") == store.confirmed(pool.id, "web1") == 120.0


def test_secret_bytes_go_with_the_reply_that_needs_them_no_more(store, tmp_path):
    """Once its node has it, nothing of a secret is in the file, its WAL or after it is opened again."""
    one = asked()
    secret = message(one, "web1", b"hunter2 in the inputs")
    store.add_all([NewRequest(one, ["web1"], [secret], secret=True)])
    store.forget_secrets(150.0)
    assert store.unconfirmed(9, 150.0)[0].body == secret.body
    store.enter([said(one, "web1", State.RECEIVED)], durable=True)
    assert store.outgoing(one.id)[0][0].body == b""
    assert store.signed(*secret.digest)
    assert store.unconfirmed(9, 150.0) == []
    held = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert b"hunter2" not in held


def test_secret_bytes_of_an_earlier_process_go_too(store, tmp_path):
    """What a killed process has left is forgotten by the next once its time is over."""
    one = asked()
    store.add_all([NewRequest(one, ["web1"], [message(one, "web1", b"hunter2")], secret=True)])
    store.close()
    with closing(SessionStore(tmp_path / "s.sqlite")) as next_one:
        next_one.lapse(150.0)
        assert next_one.unconfirmed(9, 150.0)[0].body == b"hunter2"
        next_one.lapse(201.0)
        assert next_one.outgoing(one.id)[0][0].body == b""
        next_one.add_all([NewRequest(asked(1), ["web1"], [message(asked(1), "web1")], secret=True)])
        next_one.forget_secrets(150.0, all_of_them=True)
        assert next_one.outgoing(asked(1).id)[0][0].body == b""


# -- what comes in


def test_a_stranger_has_a_row_of_its_own(store):
    """Who was no target is unexpected, behind all targets, and counted for nobody."""
    store.add(asked(), BOTH)
    ((request, entry),) = store.enter([said(asked(), "evil")], durable=False)
    assert (request, entry.unexpected, entry.reason) == (asked().id, True, "")
    assert store.requests()[0][1] == {"pending": 2, "unexpected": 1}
    assert [one.sender for one in store.entries(asked().id)] == [*BOTH, "evil"]
    assert not store.is_target(asked().id, "evil")
    assert store.is_target(asked().id, "web1")
    assert not store.is_target(asked(1).id, "web1")
    ((_, again),) = store.enter([said(asked(), "evil", statusmsg="more")], durable=False)
    assert again.duplicate
    assert store.requests()[0][1] == {"pending": 2, "unexpected": 1}


def test_a_request_that_grows_takes_in_who_is_found_late(store):
    """Where it went out on what was known, a stranger that answers is a target, and counted."""
    store.add(asked(options={"grows": True}), ["web1"])
    ((_, entry),) = store.enter([said(asked(), "web9")], durable=False)
    assert (entry.unexpected, entry.found_late, entry.state) == (False, True, State.OK)
    assert {name: n for name, n in store.requests()[0][1].items() if n} == {"pending": 1, "ok": 1}
    assert store.is_target(asked().id, "web9")
    kept = store.entries(asked().id)[1]
    assert (kept.sender, kept.reason, kept.unexpected) == ("web9", FOUND_LATE, False)


def test_two_machines_of_one_name_are_told_from_a_second_answer(store):
    """A duplicate of another machine says so; of the same machine nothing is made up."""
    store.add(asked(), BOTH)
    for sender, machines in (("web1", ("a1", "b2")), ("web2", ("a1", "a1"))):
        for number, machine in enumerate(machines):
            more = {"machine": machine, "statusmsg": f"answer {number}"}
            store.enter([said(asked(), sender, **more)], durable=False)
    first, second = store.entries(asked().id)
    assert first.reason == "duplicate: 2 machines answer under this name: a1, b2"
    assert (first.duplicate, second.duplicate, second.reason) == (True, True, "")
    store.enter([said(asked(), "web2", State.RUNNING, machine="b2")], durable=False)
    assert store.entries(asked().id)[1].reason == ""
    assert first.reply.statusmsg == "answer 0"


@pytest.mark.parametrize("together", [True, False])
def test_a_node_that_never_ends_is_kept_so_far_and_no_further(store, together):
    """Eight last replies of a node are kept; the ninth only marks the row, whatever else comes with it."""
    store.add(asked(), BOTH)
    replies = [
        said(asked(), "web1", sequence=ReplySequence.FINAL + ReplySequence.STEP * attempt)
        for attempt in range(10)
    ]
    store.enter(replies[:8], durable=False)
    assert store.reply_count() == 8
    rest = [*replies[8:], said(asked(), "web2")]
    for some in [rest] if together else [[one] for one in rest]:
        store.enter(some, durable=False)
    assert store.reply_count() == 9
    assert [one.duplicate for one in store.entries(asked().id)] == [True, False]
    running = ReplySequence.RUNNING + ReplySequence.STEP * 8
    store.enter([said(asked(), "web1", State.RUNNING, sequence=running)], durable=False)
    assert store.reply_count() == 10


def test_what_a_node_goes_on_saying_has_a_bound(store):
    """Beyond 16 MiB nothing but a last reply is kept of it, and what is dropped changes no row."""
    store.add(asked(), BOTH)
    large = {"text": "x" * (1 << 20)}
    for attempt in range(8, 26):
        sequence = ReplySequence.RUNNING + ReplySequence.STEP * attempt
        reply = said(asked(), "web1", State.RUNNING, data=large, sequence=sequence)
        news = store.enter([reply], durable=False)
    assert news == []
    assert 16 <= store.reply_count() <= 17
    first = said(asked(), "web1", State.RECEIVED, sequence=ReplySequence.STEP * 8)
    assert store.enter([first], durable=False) == []
    last = said(asked(), "web1", sequence=ReplySequence.FINAL + ReplySequence.STEP * 30)
    assert store.enter([last], durable=False)[0][1].state is State.OK


def test_replies_of_many_nodes_go_into_their_own_rows(store):
    """More than one statement takes, of several requests at once: each entry is its sender's."""
    names = [f"n{number:04}" for number in range(1203)]
    for number in (0, 1):
        store.add(asked(number), names)
        store.mark_sent(asked(number).id, names, 101.0 + number)
    replies = [said(asked(0), name, statusmsg=f"{name} says") for name in names] + [
        said(asked(1), name, State.FAILED) for name in names[:5]
    ]
    news = store.enter(replies, durable=False)
    assert [(request, entry.sender) for request, entry in news] == [
        (one.reply.requestid, one.reply.sender) for one in replies
    ]
    entries = store.entries(asked(0).id)
    assert [entry.reply.statusmsg for entry in entries] == [f"{name} says" for name in names]
    assert {entry.sent for entry in entries} == {101.0}
    assert {entry.sent for entry in store.entries(asked(1).id)} == {102.0}
    other = states(store, asked(1))
    assert [name for name, state in other.items() if state == "failed"] == names[:5]
    assert store.requests()[1][1] == {"pending": 1198, "failed": 5}


def test_all_that_a_reply_says_is_in_its_row(store):
    """Times, attempt, status and who took it come back from the file as the reply gave them."""
    one = asked(via=Via.POOL, pool="sms")
    store.add(one, ["pool:sms"])
    store.mark_sent(one.id, ["pool:sms"], 101.0)
    word = {"target": "pool:sms"}
    store.enter([said(one, "w1", State.RECEIVED, 102.0, **word)], durable=True)
    store.enter([said(one, "w1", State.RUNNING, 103.0, **word)], durable=True)
    failed = said(one, "w1", State.FAILED, 104.0, sequence=5, statuscode=4, data={"a": 1}, **word)
    store.enter([failed], durable=True)
    (entry,) = store.entries(one.id)
    assert (entry.sent, entry.received, entry.running, entry.done) == (101.0, 102.0, 103.0, 104.0)
    assert (entry.worker, entry.attempt, entry.reply.statuscode) == ("w1", 2, 4)
    assert (entry.reply.data, entry.reply.sequence, entry.reply.trust) == ({"a": 1}, 5, "mcs")
    assert store.concerns(one.id, "w1")
    assert store.concerns(one.id, "pool:sms")
    assert not store.concerns(one.id, "w2")
    assert not store.concerns(asked(1).id, "w1")
    store.enter([said(one, "evil")], durable=True)
    assert not store.concerns(one.id, "evil")


# -- judged


def test_only_what_is_pending_is_judged_and_counted(store):
    """A judgement names its reason, leaves who has answered, and forgets nobody's count."""
    store.add(asked(via=Via.DIRECT), [*BOTH, "web3"])
    store.enter([said(asked(), "web1")], durable=False)
    verdicts = [("web1", "too late"), ("web2", "no reply"), ("nobody", "who?")]
    (judged,) = store.judge(asked().id, verdicts, State.SILENT)
    assert (judged.sender, judged.state, judged.reason) == ("web2", State.SILENT, "no reply")
    assert store.judge(asked().id, verdicts, State.SILENT) == []
    counts = {name: number for name, number in store.requests()[0][1].items() if number}
    assert counts == {"ok": 1, "silent": 1, "pending": 1}
    assert states(store, asked()) == {"web1": "ok", "web2": "silent", "web3": "pending"}


def test_what_a_dead_process_left_pending_is_judged(store):
    """Who was never sent to says so; who was is silent once the time is over; queued ones wait on."""
    direct, queue = asked(0, Via.DIRECT), asked(1)
    for one in (direct, queue):
        store.add(one, BOTH)
    store.mark_sent(direct.id, ["web1"], 101.0)
    store.abandon(150.0)
    assert states(store, direct) == {"web1": "pending", "web2": "silent"}
    assert store.entries(direct.id)[1].reason == "not sent: its process ended"
    store.abandon(201.0)
    assert states(store, direct) == {"web1": "silent", "web2": "silent"}
    assert states(store, queue) == {"web1": "pending", "web2": "pending"}


# -- looked back into


def test_the_newest_is_the_last_that_was_made(store):
    """Also where an import brought older requests in later; of two at one moment the later row."""
    for number in (2, 0, 1):
        store.add(asked(number), BOTH)
    assert store.find_request() == asked(2)
    assert [record.created for record, _ in store.requests()] == [100.0, 101.0, 102.0]
    store.add(asked(3, created=102.0), BOTH)
    assert store.find_request() == asked(3, created=102.0)


def test_nothing_is_found_in_an_empty_history(store):
    """No request, no reply, no number: and none of it is an error."""
    assert store.find_request() is None
    assert store.find_request("a") is None
    assert (store.requests(), store.replies(), store.entered(0)) == ([], [], [])
    assert (store.reply_count(), store.latest(), store.meta("caller")) == (0, 0, None)


def test_a_session_s_own_facts_are_kept(store):
    """The last that was written is read."""
    store.set_meta("address", "audit")
    store.set_meta("address", "patch-friday")
    assert store.meta("address") == "patch-friday"


def test_replies_are_handed_out_in_the_order_they_came(store):
    """From the one after a number on, at most so many, each as it came in and with its certificate."""
    store.add(asked(), BOTH)
    came = [
        said(asked(), "web2", kept=150.0),
        said(asked(), "web1", State.RECEIVED, kept=151.0),
        said(asked(), "web1", kept=152.0, data={"a": "b"}),
    ]
    for one in came:
        store.enter([one], durable=False)
    rows = [tuple(row) for row in store.replies()]
    assert [row[1:] for row in rows] == [
        (asked().id, one.body, one.kept, "s", "c", "mcs") for one in came
    ]
    numbers = [row[0] for row in rows]
    assert [row[0] for row in store.replies(numbers[0], 1)] == numbers[1:2]
    assert store.latest() == numbers[-1]
    assert store.body(asked().id, "web1", 2) == came[2].body
    assert store.body(asked().id, "web2", 2) == came[0].body
    entered = store.entered(numbers[0])
    assert [(number, request, one.sender) for number, request, one in entered] == [
        (number, asked().id, "web1") for number in numbers[1:]
    ]
    assert [one.reply.data for _, _, one in entered] == [{"a": "b"}] * 2
    assert len(store.entered(0, limit=2)) == 2


def test_another_process_reads_what_a_pool_s_workers_said(store):
    """A follower is given the outputs of the worker that counts, whoever else spoke before."""
    one = asked(via=Via.POOL, pool="sms")
    store.add(one, ["pool:sms"])
    store.enter([said(one, "w1", State.RUNNING, target="pool:sms")], durable=True)
    store.enter([said(one, "evil", data={"text": "no"})], durable=True)
    store.enter([said(one, "w2", target="pool:sms", data={"text": "yes"})], durable=True)
    entries = [entry for _, _, entry in store.entered(0)]
    assert {entry.sender for entry in entries} == {"pool:sms", "evil"}
    answers = {(entry.sender, entry.reply.data["text"]) for entry in entries}
    assert answers == {("pool:sms", "yes"), ("evil", "no")}


def test_large_replies_are_read_when_they_are_wanted(store):
    """What is small is there at once, what is large when it is looked at, `whole` is everything."""
    store.add(asked(), BOTH)
    store.enter([said(asked(), "web1", data={"text": "x" * 70_000})], durable=False)
    store.enter([said(asked(), "web2", data={"text": "y"})], durable=False)
    large, small = (entry.reply.data for entry in store.entries(asked().id))
    assert (type(large) is dict, type(small) is dict) == (False, True)
    assert (large["text"], small["text"]) == ("x" * 70_000, "y")
    assert all(type(one.reply.data) is dict for one in store.entries(asked().id, whole=True))


def test_a_request_that_went_out_anew_is_found_by_its_old_id(store):
    """And by the first letters of it; what is ambiguous is nobody's. It is on the disk."""
    former, fresh = asked(0), asked(5)
    store.add(former, BOTH, [message(former, name) for name in BOTH])
    store.add(asked(9, Via.DIRECT), BOTH)
    store.reissue(former.id, NewRequest(fresh, ["web1"], [message(fresh, "web1")]))
    assert synced(store)
    assert store.find_request(former.id[:3]) == former
    assert states(store, former) == {"web2": "pending"}
    assert store.requests()[0][1] == {"pending": 1}
    store.reissue(former.id, NewRequest(replace(fresh, id="6" * 32), ["web2"]))
    assert store.find_request(former.id[:3]).id == "6" * 32
    assert [one.id for one, _counts in store.requests()] == [fresh.id, "6" * 32, asked(9).id]
    assert store.outgoing(former.id) == []


def test_a_request_by_its_first_letters_is_no_other(store):
    """The letters are where an id begins, not where it sorts."""
    for number in (1, 3):
        store.add(asked(number), BOTH)
    assert store.find_request("2") is None
    assert store.find_request(asked(3).id) == asked(3)
    store.add(asked(4, id="31" + "0" * 30), BOTH)
    with pytest.raises(
        SessionError, match=r"'3' is ambiguous: 3123456789ab, 310000000000|310000000000, 3123"
    ):
        store.find_request("3")


# -- the file


def test_a_copy_is_whole_and_a_packed_file_stands_alone(store, tmp_path):
    """A copy has what was committed until then; packed, nothing of it is in a second file."""
    store.add(asked(), BOTH)
    store.copy(tmp_path / "copy.sqlite")
    store.add(asked(1), BOTH)
    copy = SessionStore(tmp_path / "copy.sqlite")
    assert [one for one, _ in copy.requests()] == [asked()]
    copy.pack()
    assert not list(tmp_path.glob("copy.sqlite-*"))
    copy.close()
    with closing(sqlite3.connect(tmp_path / "copy.sqlite")) as plain:
        assert plain.execute("PRAGMA journal_mode").fetchone() == ("delete",)


def test_a_closed_file_takes_nothing_more(store):
    """Whoever still writes after `close` is told so, and does not lose it quietly."""
    store.close()
    with pytest.raises(MCShellError):
        store.add(asked(), BOTH)


def test_each_part_of_the_file_is_its_own(store):
    """Jobs, plans, strays and what an import could not prove stand in the one file."""
    stray = Stray(
        request="f" * 32,
        sender="web1",
        sequence=2,
        kept=1.0,
        body=b"{}",
        signature="s",
        certificate="c",
    )
    store.strays.keep([stray])
    assert store.strays.all() == [stray]
    store.unverified.mark(asked().id, ["web1"])
    assert store.unverified.targets(asked().id) == {"web1"}
    plan = KeptPlan(
        id="p",
        name="n",
        revision=1,
        created=1.0,
        body=b"{}",
        signature="s",
        certificate="c",
        waves={"one": [("web1",)]},
    )
    store.plans.add(plan)
    assert [one.waves for one in store.plans.all()] == [plan.waves]
    assert store.jobs.all() == []
    assert store.earlier.waiting(1, 150.0) == []


def test_a_backlog_of_runs_costs_what_it_is_long(store):
    """Each run of a job is looked at once for those before it, not once for each one behind it."""
    job, runs = asked(), 2000
    store.add(job, BOTH)
    store.jobs.add(KeptJob(id=job.id, name="", body=b"", request=job.id))
    backlog = []
    for number in range(runs):
        reply = said(asked(id=f"{number:032x}"), "web1", job=job.id, run=f"{number:06}")
        store.jobs.adopt(reply.reply, 150.0)
        backlog.append(reply)
    began = time.process_time()
    store.enter(backlog, durable=False)
    assert time.process_time() - began < 3  # each for itself: more than 10
    newest = said(asked(id=f"{runs - 1:032x}"), "web2", job=job.id, run=f"{runs - 1:06}")
    store.enter([newest], durable=False)
    states = {(one.sender, one.state) for one in store.entries(f"{0:032x}")}
    assert states == {("web1", State.OK), ("web2", State.EXPIRED)}


def test_a_certificate_is_kept_once(store):
    """However many replies it vouches for, over the life of the file."""
    store.add(asked(), BOTH)
    store.enter([said(asked(), name) for name in BOTH], durable=False)
    store.enter([said(asked(), "web1", State.RUNNING)._replace(certificate="d")], durable=False)
    assert {row[5] for row in store.replies()} == {"c", "d"}
    assert [tuple(row) for row in store._all("SELECT text FROM certificates ORDER BY id")] == [
        ("c",),
        ("d",),
    ]
    assert body_of(said(asked(), "web1").reply) in {bytes(row[2]) for row in store.replies()}
