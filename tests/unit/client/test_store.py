"""The session file, the lock on it, and the known nodes."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcshell.client.discovery.node_cache import CachedNode, NodeCache
from mcshell.client.messaging.stored_digests import StoredDigests
from mcshell.client.messaging.tracker import RequestTracker
from mcshell.client.session.folder import folder_of
from mcshell.client.session.session import Session, listing
from mcshell.client.store.records import OutgoingMessage, ReplyRecord, RequestRecord, StoredData
from mcshell.client.store.store import SessionStore
from mcshell.errors import MCShellError, PluginError, SessionError
from mcshell.message import Filter, Reply, State, Via, run_id
from mcshell.pki import Authority
from mcshell.wire.documents.envelope import CERTIFICATE, SIGNATURE, seal_reply
from mcshell.wire.documents.signatures import Signer
from tests.unit.client.session_files import body_of

ID = "0123456789abcdef" * 2
JOB = "fedcba9876543210" * 2


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    """A node's signer."""
    authority = Authority.init(tmp_path_factory.mktemp("ca"))
    return Signer.from_pem(*authority.issue_pem("web1", "node"))


def record(number: int = 0) -> RequestRecord:
    """A request for the history."""
    return RequestRecord(
        id=f"{number:x}{ID[1:]}",
        agent="package",
        action="status",
        via=Via.DIRECT,
        collective="mcs",
        created=100.0 + number,
        expires=200.0,
        filter=Filter(fact=("os=Debian",)),
        data={"name": "openssl"},
    )


def word(signer: Signer, request: str, state: State, kept: float, **data: object) -> ReplyRecord:
    """A reply of web1 as the receiver keeps it."""
    number = 1 if state is State.RUNNING else 2
    code = None if state is State.RUNNING else 0
    outputs = data or {"version": "3.0"}
    reply = Reply(
        requestid=request,
        sender="web1",
        sequence=number,
        statuscode=code,
        statusmsg="OK",
        data=outputs,
        created=1.0,
        state=state,
    )
    sealed = seal_reply(reply, signer)
    headers = sealed.headers
    return ReplyRecord(
        reply=reply,
        kept=kept,
        body=sealed.body,
        signature=headers[SIGNATURE],
        certificate=headers[CERTIFICATE],
        target="web1",
    )


def outgoing(about: RequestRecord, sender: str) -> OutgoingMessage:
    """A signed message of a request."""
    return OutgoingMessage(
        request=about.id,
        sender=sender,
        destination="/queue/x",
        body=about.id.encode(),
        signature="s",
        certificate="c",
    )


def test_the_history_survives(tmp_path, node):
    """A request, its targets and its replies are there when the file is opened again."""
    store = SessionStore(tmp_path / "s.sqlite")
    one = record()
    store.add(one, ["web1", "web2"])
    store.mark_sent(one.id, ["web1", "web2"], 101.0)
    store.enter([word(node, one.id, State.RUNNING, 102.0)], durable=False)
    store.enter([word(node, one.id, State.OK, 103.0)], durable=True)
    store.judge(one.id, [("web2", "no word"), ("web1", "too late")], State.SILENT)
    store.close()
    again = SessionStore(tmp_path / "s.sqlite")
    assert again.requests() == [(one, {"ok": 1, "pending": 0, "running": 0, "silent": 1})]
    tracker = RequestTracker(one, entries=again.entries(one.id))
    entries = {entry.sender: entry for entry in tracker.entries()}
    assert entries["web1"].state is State.OK
    assert entries["web1"].running == 102.0
    assert entries["web1"].lag == 2.0
    assert entries["web1"].reply.data == {"version": "3.0"}
    assert (entries["web2"].state, entries["web2"].reason) == (State.SILENT, "no word")
    again.close()


def test_a_redelivered_reply_is_kept_once(tmp_path, node):
    """The key (request, sender, sequence) makes a second copy harmless."""
    store = SessionStore(tmp_path / "s.sqlite")
    one = record()
    store.add(one, ["web1"])
    reply = word(node, one.id, State.OK, 103.0)
    ((request, entry),) = store.enter([reply, reply], durable=False)
    assert (request, entry.reply) == (one.id, reply.reply)
    assert store.enter([reply], durable=False) == []
    assert store.reply_count() == 1
    assert not store.entries(one.id)[0].duplicate
    store.close()


def test_a_second_answer_is_marked(tmp_path, node):
    """Another reply under the same number, as a cloned machine gives, is a duplicate."""
    store = SessionStore(tmp_path / "s.sqlite")
    one = record()
    store.add(one, ["web1"])
    store.enter([word(node, one.id, State.OK, 103.0)], durable=False)
    store.enter([word(node, one.id, State.OK, 104.0, version="4.0")], durable=False)
    entry = store.entries(one.id)[0]
    assert entry.duplicate
    assert entry.reply.data == {"version": "3.0"}
    store.close()


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["web1", "web2", "stranger"]),
            st.sampled_from([0, 1, 2, 3, 5, 23, 26]),
            st.sampled_from(["", "other"]),
        ),
        max_size=12,
    ),
    st.integers(1, 12),
)
@settings(max_examples=40, deadline=None)
def test_replies_entered_together_say_what_they_say_one_by_one(said, size):
    """However replies are grouped, redeliveries and second answers among them, the rows are one."""
    states = (State.RECEIVED, State.RUNNING, State.OK)
    replies = []
    for place, (sender, sequence, text) in enumerate(said):
        final = sequence % 3 == 2
        reply = Reply(
            requestid=record().id,
            sender=sender,
            sequence=sequence,
            statuscode=0 if final else None,
            statusmsg=text,
            data={},
            created=1.0,
            state=states[sequence % 3],
        )
        body = body_of(reply)
        replies.append(
            ReplyRecord(
                reply=reply,
                kept=100.0 + place,
                body=body,
                signature="s",
                certificate="c",
                target=sender,
            )
        )
    kept = []
    for step in (1, size):
        with TemporaryDirectory() as folder:
            store = SessionStore(Path(folder) / "s.sqlite")
            store.add(record(), ["web1", "web2"])
            groups = [replies[at : at + step] for at in range(0, len(replies), step)]
            entered = [new for group in groups for new in store.enter(group, durable=False)]
            news = [(request, entry._replace(reply=None)) for request, entry in entered]
            rows = [tuple(row) for row in store.replies()]
            counts = {state: n for state, n in store.requests()[0][1].items() if n}
            kept.append((news, store.entries(record().id), rows, counts))
            store.close()
    assert kept[0] == kept[1]


def test_digests_that_do_not_fit_are_looked_up(tmp_path):
    """However few digests are remembered, a reply is bound to what was signed, and to that alone."""
    store = SessionStore(tmp_path / "s.sqlite")
    for number in range(8):
        store.add(record(number), ["web1"], [outgoing(record(number), "web1")])
    signed = {number: outgoing(record(number), "web1").digest for number in range(8)}
    digests = StoredDigests(store, most=3)
    for _ in range(3):
        for number, (request, sender, digest) in signed.items():
            assert digests.has(request, sender, digest)
            assert not digests.has(request, "web2", digest)
            assert not digests.has(record(number ^ 1).id, sender, digest)
    later = replace(outgoing(record(0), "web2"), body=b"later")
    store.mark_sent(record(0).id, ["web2"], 1.0, [later], [later.digest])
    assert digests.has(*later.digest)
    store.close()


def test_a_certificate_of_a_commit_that_failed_is_kept_with_the_next(tmp_path, node):
    """Its number went with the commit: a reply that came with it must not get another's."""
    store = SessionStore(tmp_path / "s.sqlite")
    one = record()
    store.add(one, ["web1", "web2"])
    reply = word(node, one.id, State.OK, 103.0)
    with store._commit() as db:
        db.execute(
            "CREATE TRIGGER full BEFORE UPDATE ON targets BEGIN SELECT RAISE(ABORT, 'disk full'); END"
        )
    with pytest.raises(MCShellError, match="disk full"):
        store.enter([reply], durable=False)
    with store._commit() as db:
        db.execute("DROP TRIGGER full")
    other = reply._replace(certificate="another", target="web2")
    other = other._replace(reply=replace(reply.reply, sender="web2"))
    store.enter([other], durable=False)
    store.enter([reply], durable=False)
    certificates = {row["request"]: row["text"] for row in store.replies(after=1)}
    assert certificates == {one.id: reply.certificate}
    store.close()


def test_a_large_reply_stays_in_the_file(tmp_path, node):
    """Its data is read when it is looked at, and is the same."""
    store = SessionStore(tmp_path / "s.sqlite")
    one = record()
    store.add(one, ["web1"])
    store.enter([word(node, one.id, State.OK, 103.0, text="x" * 100_000)], durable=False)
    data = store.entries(one.id)[0].reply.data
    assert isinstance(data, StoredData)
    assert dict(data) == {"text": "x" * 100_000}
    store.close()


def test_a_durable_request_lapses(tmp_path):
    """What is pending when its time is over has expired, in the file and in its counts."""
    store = SessionStore(tmp_path / "s.sqlite")
    one = replace(record(), via=Via.QUEUE)
    store.add(one, ["web1", "web2"])
    store.lapse(one.expires - 1)
    assert store.requests()[0][1] == {"pending": 2}
    store.lapse(one.expires + 1)
    assert store.requests()[0][1] == {"pending": 0, "expired": 2}
    assert {entry.state for entry in store.entries(one.id)} == {State.EXPIRED}
    store.close()


def test_what_is_not_confirmed_is_found_again(tmp_path):
    """Signed bytes are handed out until the broker has confirmed them, or their time is over."""
    store = SessionStore(tmp_path / "s.sqlite")
    one = replace(record(), via=Via.QUEUE)
    outgoing = [
        OutgoingMessage(
            request=one.id,
            sender=name,
            destination=f"/queue/{name}",
            body=b"{}",
            signature="s",
            certificate="c",
        )
        for name in "ab"
    ]
    store.add(one, ["a", "b"], outgoing)
    found = store.unconfirmed(10, 150.0)
    assert [(o.sender, o.body, o.expires) for o in found] == [
        ("a", b"{}", 200.0),
        ("b", b"{}", 200.0),
    ]
    store.mark_confirmed(found[:1], 151.0)
    assert [o.sender for o in store.unconfirmed(10, 150.0)] == ["b"]
    assert store.unconfirmed(10, 201.0) == []
    assert store.open_outgoing(one.id) == 1
    store.close()


def test_a_request_is_found_by_its_first_letters(tmp_path):
    """A prefix finds its request, an ambiguous one is refused, none at all is the newest."""
    store = SessionStore(tmp_path / "s.sqlite")
    for number in (1, 2):
        store.add(record(number), ["web1"])
    assert store.find_request("1") == record(1)
    assert store.find_request() == record(2)
    assert store.find_request("f") is None
    store.add(replace(record(1), id="1" * 32), ["web1"])
    with pytest.raises(SessionError, match="ambiguous"):
        store.find_request("1")
    store.close()


def test_what_is_no_session_file_is_refused(tmp_path):
    """A file of another kind is named, and left as it was."""
    path = tmp_path / "s.sqlite"
    path.write_text("a letter to a friend, long enough to be no empty file")
    with pytest.raises(SessionError, match="no session file"):
        SessionStore(path)
    assert path.read_text().startswith("a letter")


def test_a_later_version_is_refused(tmp_path):
    """A file that a newer mcshell wrote is not touched."""
    path = tmp_path / "s.sqlite"
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version=99")
    with pytest.raises(SessionError, match="version 99"):
        SessionStore(path)


def test_each_live_process_has_a_scratch_session_of_its_own(tmp_path):
    """A held scratch session is passed over, a freed one is taken again."""
    first = Session.open(tmp_path, "cert=alice", "mcs", None)
    second = Session.open(tmp_path, "cert=alice", "mcs", None)
    assert (first.name, second.name) == ("scratch-1", "scratch-2")
    first.close()
    third = Session.open(tmp_path, "cert=alice", "mcs", None)
    assert third.name == "scratch-1"
    second.close()
    third.close()


def test_a_scratch_session_that_cannot_be_made_is_an_error(tmp_path):
    """One that is broken is passed over, but where a new one finds no place the next would not."""
    folder = folder_of(tmp_path)
    folder.mkdir()
    (folder / "scratch-1.sqlite").write_text("broken, and long enough to be no empty file")
    (folder / "scratch-2.sqlite").symlink_to(tmp_path / "nowhere" / "at-all")
    with pytest.raises(SessionError, match=r"scratch-2\.sqlite cannot be opened"):
        Session.open(tmp_path, "cert=alice", "mcs", None)


def test_a_session_belongs_to_its_caller(tmp_path):
    """Another caller is refused by name, and gets a scratch session of its own."""
    Session.open(tmp_path, "cert=alice", "mcs", "audit").close()
    with pytest.raises(SessionError, match="cert=alice"):
        Session.open(tmp_path, "cert=bob", "mcs", "audit")
    Session.open(tmp_path, "cert=alice", "mcs", None).close()
    scratch = Session.open(tmp_path, "cert=bob", "mcs", None)
    assert scratch.name == "scratch-2"
    scratch.close()


def test_a_second_process_follows_a_named_session(tmp_path):
    """The same name opens the same file, without its queue until the holder is gone."""
    first = Session.open(tmp_path, "cert=alice", "mcs", "audit")
    second = Session.open(tmp_path, "cert=alice", "mcs", "audit")
    assert (first.holds, second.holds) == (True, False)
    assert not second.acquire()
    first.close()
    assert second.acquire()
    second.close()


def test_a_saved_session_keeps_its_queue(tmp_path):
    """A name is given to a scratch session, what was asked in it is still answered there."""
    session = Session.open(tmp_path, "cert=alice", "mcs", None)
    session.store.add(record(), ["web1"])
    queues = session.queues(["mcs", "eu"])
    assert len(set(queues)) == 2
    session.save("patch-friday")
    assert (session.name, session.queues(["mcs", "eu"])) == ("patch-friday", queues)
    session.close()
    again = Session.open(tmp_path, "cert=alice", "mcs", "patch-friday")
    assert again.queues(["mcs", "eu"]) == queues
    assert [one.id for one, _ in again.store.requests()] == [record().id]
    scratch = Session.open(tmp_path, "cert=alice", "mcs", None)
    assert scratch.name == "scratch-1"
    assert set(scratch.queues(["mcs", "eu"])).isdisjoint(queues)
    for name in ("patch-friday", "scratch-7", "Friday!"):
        with pytest.raises(MCShellError):
            scratch.save(name)
    scratch.close()
    again.close()


@contextmanager
def opened_elsewhere(path):
    """Another process that has a session file open, as a listing has, and has read from it."""
    code = (
        "import sqlite3, sys\n"
        "file = sqlite3.connect(sys.argv[1])\n"
        "print(file.execute('SELECT count(*) FROM requests').fetchone()[0], flush=True)\n"
        "sys.stdin.read()\n"
    )
    argv = [sys.executable, "-c", code, str(path)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"1\n"
        yield process


def test_a_session_that_another_process_looks_at_is_saved_when_that_has_ended(tmp_path):
    """Its rows stand beside the file as long as somebody has that open: they come along."""
    session = Session.open(tmp_path, "cert=alice", "mcs", None)
    session.store.add(record(), ["web1"])
    with opened_elsewhere(session.path) as process, ThreadPoolExecutor() as pool:
        saved = pool.submit(session.save, "friday")
        with suppress(TimeoutError):  # it waits, however long that is
            saved.result(0.5)
        process.stdin.close()
        saved.result(60)
    assert session.name == "friday"
    session.close()
    again = Session.open(tmp_path, "cert=alice", "mcs", "friday")
    assert [one.id for one, _ in again.store.requests()] == [record().id]
    again.close()


def test_a_session_that_another_process_keeps_open_keeps_its_name(tmp_path, monkeypatch):
    """After a while it is said; the session goes on as it was, and can be saved later."""
    monkeypatch.setattr("mcshell.sqlite._PATIENCE", 0.2)
    session = Session.open(tmp_path, "cert=alice", "mcs", None)
    session.store.add(record(), ["web1"])
    with opened_elsewhere(session.path) as process:
        with pytest.raises(SessionError, match=r"scratch-1.*another process has it open"):
            session.save("friday")
        assert session.name == "scratch-1"
        assert session.asked
        session.store.set_meta("kept", "yes")
        process.stdin.close()
    session.save("friday")
    assert (session.name, session.store.meta("kept"), session.asked) == ("friday", "yes", True)
    session.close()
    assert [info.name for info in listing(tmp_path)] == ["friday"]


def test_what_comes_while_a_session_is_saved_is_kept(tmp_path):
    """Threads that enter replies meanwhile wait, and nothing of theirs is refused or lost."""
    session = Session.open(tmp_path, "cert=alice", "mcs", None)
    over = threading.Event()

    def write(thread):
        number = 0
        while not over.is_set() or number < 50:
            number += 1
            session.store.set_meta(f"{thread}", str(number))
            assert session.store.meta(f"{thread}") == str(number)
        return number

    with ThreadPoolExecutor() as pool:
        writers = [pool.submit(write, thread) for thread in range(4)]
        try:
            for name in ("monday", "friday"):
                session.save(name)
        finally:
            over.set()
        written = [one.result(60) for one in writers]
    assert [session.store.meta(str(thread)) for thread in range(4)] == [str(n) for n in written]
    session.close()


def test_a_listing_shows_what_is_open(tmp_path):
    """Each session file with its counts, and who holds it."""
    held = Session.open(tmp_path, "cert=alice", "mcs", "audit")
    held.store.add(record(), ["web1", "web2"])
    Session.open(tmp_path, "cert=alice", "mcs", "old").close()
    first, second = listing(tmp_path)
    assert (first.name, first.requests, first.open) == ("audit", 1, 2)
    assert f":{os.getpid()}:" in first.holder
    assert (second.name, second.holder) == ("old", "")
    held.close()


def test_a_listing_is_in_nobodys_way(tmp_path):
    """While it looks at a session another process may take it; what it shows it does not write."""
    first = Session.open(tmp_path, "cert=alice", "mcs", "audit")
    first.store.add(replace(record(), via=Via.QUEUE), ["web1"])
    first.close()
    for info in listing(tmp_path):
        again = Session.open(tmp_path, "cert=alice", "mcs", info.name)
        assert (again.holds, info.holder, info.open) == (True, "", 0)
        assert again.store.requests()[0][1] == {"pending": 1}
        again.close()


def test_the_known_never_go_back_in_time(tmp_path):
    """An older description of a node does not replace a newer one; realms are apart."""
    known = NodeCache(tmp_path / "nodes.sqlite", "realm")
    known.learn("mcs", [CachedNode(identity="web1", seen=200.0, facts={"os": "new"})])
    known.learn("mcs", [CachedNode(identity="web1", seen=100.0, facts={"os": "old"})])
    assert known.nodes("mcs")[0].facts == {"os": "new"}
    assert known.nodes("mcs", since=201.0) == []
    known.touch("mcs", ["web1", "nobody"], 300.0)
    assert known.nodes("mcs")[0].seen == 300.0
    other = NodeCache(tmp_path / "nodes.sqlite", "other")
    assert other.nodes("mcs") == []
    assert known.forget("web1")
    assert not known.forget("web1")
    other.close()
    known.close()


def test_a_file_cannot_be_asked_from_afar():
    """What only the node can answer leaves a known node out, rather than guessing."""
    with pytest.raises(PluginError):
        CachedNode(identity="web1", seen=1.0).query("fstat", "/etc/hosts")


def test_what_a_new_session_is_is_one_commit(tmp_path):
    """Whose a session is stands in its file as a whole or not at all, and whoever writes first counts."""
    with closing(SessionStore(tmp_path / "s.sqlite")) as store:
        with pytest.raises(MCShellError):
            store.found({"caller": "cert=alice", "collective": object()})  # type: ignore[dict-item]
        assert store.meta("caller") is None
        store.found({"caller": "cert=alice", "collective": "mcs"})
        store.found({"caller": "cert=bob", "address": "s"})
        facts = [store.meta(key) for key in ("caller", "collective", "address")]
        assert facts == ["cert=alice", "mcs", "s"]


def test_a_request_to_a_pool_is_begun_once(tmp_path):
    """Who has begun to send it is told so, another leaves it alone for a while, then has a copy."""
    asked = replace(record(), via=Via.POOL, pool="p", expires=1e10)
    message = OutgoingMessage(
        request=asked.id,
        sender="pool:p",
        destination="/queue/p",
        body=b"{}",
        signature="s",
        certificate="c",
    )
    beside = replace(asked, id=record(2).id)
    other = replace(message, request=beside.id)
    with closing(SessionStore(tmp_path / "s.sqlite")) as store:
        store.add(asked, ["pool:p"], [message])
        store.add(beside, ["pool:p"], [other])
        assert store.begin([message], 100.0, since=90.0) == {message: False}
        assert store.begin([message], 105.0, since=95.0) == {}
        assert store.begin([other], 105.0, since=95.0) == {other: False}
        assert store.begin([message], 105.0, since=105.0) == {message: True}
        store.not_begun([message], 100.0)  # another has begun it since
        assert store.begin([message], 120.0, since=110.0) == {message: True}
        store.not_begun([message], 120.0)
        assert store.begin([message], 121.0, since=111.0) == {message: False}
        assert store.begin([message], 50.0, since=40.0) == {message: True}, "its clock was put back"


def test_what_no_process_waits_for_is_silent(tmp_path):
    """Long after its time an interactive request has no pending row, whoever had asked and died."""
    with closing(SessionStore(tmp_path / "s.sqlite")) as store:
        for number, options in ((1, {}), (2, {"batch": "1"})):
            store.add(replace(record(number), options=options), ["a", "b"])
            store.mark_sent(record(number).id, ["a"], 101.0)
        store.lapse(700.0)
        assert {one.state for one in store.entries(record(1).id)} == {State.PENDING}
        store.lapse(801.0)
        assert [(one.state, one.reason) for one in store.entries(record(1).id)] == [
            (State.SILENT, "no reply before it expired"),
            (State.SILENT, "not sent: its process ended"),
        ]
        batches = [one.state for one in store.entries(record(2).id)]
        assert batches == [State.SILENT, State.PENDING], "the second batch may be still to come"


def said_of_run(request: str, sender: str, run: str, state: State) -> ReplyRecord:
    """What a node says of a run of a job."""
    reply = Reply(
        requestid=request,
        sender=sender,
        sequence=1 if state is State.RUNNING else 2,
        statuscode=None if state is State.RUNNING else 0,
        statusmsg="",
        data={},
        created=1.0,
        state=state,
        job=JOB,
        run=run,
    )
    return ReplyRecord(
        reply=reply, kept=500.0, body=body_of(reply), signature="s", certificate="c", target=sender
    )


def test_who_goes_on_to_a_later_run_has_passed_over_the_earlier(tmp_path):
    """A node that slept through a start which another had is told from one that may be at it yet."""
    runs = {"1": run_id(JOB, "1"), "2": run_id(JOB, "2"), "3": run_id(JOB, "3")}
    other = replace(record(9), via=Via.QUEUE)
    with closing(SessionStore(tmp_path / "s.sqlite")) as store:
        store.add(other, ["a", "b", "c"])
        for run, request in runs.items():
            store.add(replace(record(), id=request, via=Via.QUEUE), ["a", "b", "c"])
            with store._commit() as db:
                db.execute(
                    "INSERT INTO runs (request, job, run) VALUES (?,?,?)", (request, JOB, run)
                )

        def enter(sender: str, run: str, state: State) -> list[tuple[str, str, State]]:
            news = store.enter([said_of_run(runs[run], sender, run, state)], durable=True)
            return [(request, entry.sender, entry.state) for request, entry in news]

        enter("a", "1", State.OK)
        assert enter("b", "2", State.EXPIRED) == [(runs["2"], "b", State.EXPIRED)], "1 is under way"
        assert enter("b", "3", State.RUNNING) == [
            (runs["3"], "b", State.RUNNING),
            (runs["1"], "b", State.EXPIRED),
        ]
        assert [(one.state, one.reason) for one in store.entries(runs["1"])] == [
            (State.OK, ""),
            (State.EXPIRED, "passed over: this node went on to the run of 3"),
            (State.PENDING, ""),
        ]
        assert {one.state for one in store.entries(other.id)} == {State.PENDING}
        counts = {made.id: states for made, states in store.requests()}
        assert counts[runs["1"]] == {"ok": 1, "expired": 1, "pending": 1}
        ((_request, late),) = store.enter(
            [said_of_run(runs["1"], "b", "1", State.OK)], durable=True
        )
        assert (late.state, late.late) == (State.OK, True), "what it says after all is believed"
