"""Large bodies of queued replies: beside the session file, and whatever happens, where their rows say."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from mcshell.client.analysis.sql import Sources, query
from mcshell.client.session.folder import folder_of
from mcshell.client.session.session import Session, remove
from mcshell.client.store.bodies import BESIDE
from mcshell.client.store.records import NewRequest, ReplyRecord, RequestRecord
from mcshell.client.store.store import SessionStore
from mcshell.errors import MachineError
from mcshell.message import Filter, Reply, State, Via
from mcshell.wire.documents import strict_json

ROOT = Path(__file__).resolve().parents[3]
REQUEST = RequestRecord(
    id="0123456789abcdef" * 2,
    agent="package",
    action="status",
    via=Via.QUEUE,
    collective="mcs",
    created=100.0,
    expires=200.0,
    filter=Filter(),
    data={},
)


def reply(sender: str, text: str) -> ReplyRecord:
    """A final reply as it is kept; unsigned, for signatures are the receiver's."""
    said = Reply(
        requestid=REQUEST.id,
        sender=sender,
        sequence=2,
        statuscode=0,
        statusmsg="OK",
        data={"text": text},
        created=1.0,
        state=State.OK,
    )
    names = ("sender", "sequence", "statuscode", "statusmsg", "data", "created")
    document = {name: getattr(said, name) for name in names}
    body = strict_json.dumps(
        {"v": 2, "kind": "reply", "id": said.requestid, "state": "ok", **document}
    )
    return ReplyRecord(
        reply=said, kept=103.0, body=body, signature="s", certificate="c", target=sender
    )


REPLIES = [reply(f"web{number}", chr(97 + number) * 100_000) for number in range(6)]
NAMES = [one.reply.sender for one in REPLIES]


def kept(store: SessionStore) -> dict[str, bytes]:
    """Every reply's bytes, by its number's place in `NAMES`."""
    rows = [store.whole(body) for _number, _request, body, *_ in store.replies()]
    return dict(zip(NAMES, rows, strict=False))


@pytest.fixture
def store(tmp_path: Path):
    """A session file with a queued request to all."""
    store = SessionStore(tmp_path / "s.sqlite")
    store.add_all([NewRequest(REQUEST, NAMES)])
    yield store
    store.close()


def beside(store: SessionStore) -> Path:
    """The file of its bodies."""
    return store.path.with_name(store.path.name + BESIDE)


def test_a_large_body_is_written_beside_the_file_and_read_as_it_came(store, tmp_path):
    """By its row, by its ledger, in SQL and in an answer to a second process it is what came in."""
    small = reply("web9", "small")
    store.enter([*REPLIES[:2], small], durable=True)
    assert beside(store).read_bytes() == REPLIES[0].body + REPLIES[1].body
    assert beside(store).stat().st_mode & 0o777 == 0o600
    assert store.path.stat().st_size < 200_000
    other = SessionStore(store.path)
    rows = [other.whole(body) for _number, _request, body, *_ in other.replies()]
    assert rows == [one.body for one in (*REPLIES[:2], small)]
    for whole in (False, True):
        found = {one.sender: one.reply for one in other.entries(REQUEST.id, whole=whole)}
        assert [dict(found[name].data) for name in NAMES[:2]] == [
            one.reply.data for one in REPLIES[:2]
        ]
    other.close()
    asked = "SELECT length(data ->> '$.text') AS n FROM replies WHERE sender='web1'"
    assert query(Sources(sessions=[("s", store.path)]), asked)[1] == [(100_000,)]


def test_what_is_not_durable_stays_in_the_file(store):
    """An interactive reply waits for no disk."""
    store.enter(REPLIES[:1], durable=False)
    assert not beside(store).exists()
    assert kept(store) == {"web0": REPLIES[0].body}


def test_what_comes_again_is_kept_once(store):
    """A redelivery, alone or among others, adds no bytes; a second answer is told from it."""
    store.enter(REPLIES[:3], durable=True)
    store.enter(REPLIES[1:3], durable=True)
    store.enter(REPLIES[2:5], durable=True)
    store.enter(REPLIES[5:], durable=True)
    assert kept(store) == {name: one.body for name, one in zip(NAMES, REPLIES, strict=True)}
    assert store.enter([reply("web1", "y" * 100_000)], durable=True)[0][1].duplicate
    parts = [REPLIES[number].body for number in (0, 1, 2, 5)]
    assert beside(store).read_bytes()[: sum(map(len, parts))] == b"".join(parts)


DIES = """
import os, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from tests.unit.client import test_bodies as here
from mcshell.client.store.store import SessionStore
store = SessionStore(Path(sys.argv[2]))
sync = os.fdatasync
def die(handle):
    sync(handle)
    os._exit(7)
os.fdatasync = die
store.enter(here.REPLIES[int(sys.argv[3]):int(sys.argv[4])], durable=True)
"""


@pytest.mark.parametrize("before", [0, 2])
def test_who_dies_before_the_commit_leaves_nothing_that_counts(store, before):
    """Bytes without rows, of a process that died, are written over; rows have what they had."""
    if before:
        store.enter(REPLIES[:before], durable=True)
    words = [str(ROOT), str(store.path), str(before), str(before + 3)]
    child = subprocess.run([sys.executable, "-c", DIES, *words], check=False, cwd=ROOT)
    assert child.returncode == 7
    size = sum(len(one.body) for one in REPLIES[: before + 3])
    assert beside(store).stat().st_size == size
    assert len(kept(store)) == before
    late = [*REPLIES[:before], REPLIES[5], REPLIES[4]]
    store.enter(late[before:], durable=True)
    assert list(kept(store).values()) == [one.body for one in late]


def test_a_commit_that_fails_leaves_nothing_that_counts(store):
    """Its bytes are written over by the next: nothing is kept twice, nothing is lost."""
    with store._commit() as db:
        db.execute(
            "CREATE TRIGGER full BEFORE UPDATE ON targets BEGIN SELECT RAISE(ABORT, 'no'); END"
        )
    with pytest.raises(MachineError):
        store.enter(REPLIES[:3], durable=True)
    with store._commit() as db:
        db.execute("DROP TRIGGER full")
    store.enter(REPLIES, durable=True)
    assert kept(store) == {name: one.body for name, one in zip(NAMES, REPLIES, strict=True)}
    assert beside(store).read_bytes() == b"".join(one.body for one in REPLIES)


def test_a_copy_has_all_bodies_in_one_file(store, tmp_path):
    """What is handed on is one file, and needs none beside it."""
    store.enter(REPLIES, durable=True)
    store.copy(tmp_path / "copy.sqlite")
    beside(store).unlink()
    copy = SessionStore(tmp_path / "copy.sqlite")
    assert kept(copy) == {name: one.body for name, one in zip(NAMES, REPLIES, strict=True)}
    assert copy.meta("bodies") is None
    copy.close()


def test_a_session_takes_its_bodies_along(tmp_path):
    """Under another name they are there; a new session of the old name has none; removed, none stay."""
    session = Session.open(tmp_path, "cert=alice", "mcs", None)
    session.store.add_all([NewRequest(replace(REQUEST), NAMES)])
    session.store.enter(REPLIES[:2], durable=True)
    old = session.path
    # what a process left behind that died as it gave a session this name
    (folder_of(tmp_path) / f"kept.sqlite{BESIDE}").write_bytes(b"other")
    session.save("kept")
    session.store.enter(REPLIES[2:4], durable=True)
    assert list(kept(session.store).values()) == [one.body for one in REPLIES[:4]]
    session.close()
    assert not old.with_name(old.name + BESIDE).exists()
    remove(tmp_path, "kept")
    assert [one.name for one in folder_of(tmp_path).iterdir()] == [old.with_suffix(".lock").name]


def test_large_bodies_come_and_are_read_while_a_session_is_saved(tmp_path):
    """Each is where it was put, whatever the session was called just then."""
    names = [f"web{number}" for number in range(100)]
    session = Session.open(tmp_path, "cert=alice", "mcs", None)
    session.store.add_all([NewRequest(REQUEST, names)])

    def enter():
        for name in names:
            session.store.enter([reply(name, name * 20_000)], durable=True)
            assert session.store.body(REQUEST.id, name, 2) == reply(name, name * 20_000).body

    with ThreadPoolExecutor() as pool:
        entered, day = pool.submit(enter), 0
        while not entered.done():
            day += 1
            session.save(f"day-{day}")
        entered.result(60)
    assert day > 1
    for name in names:
        assert session.store.body(REQUEST.id, name, 2) == reply(name, name * 20_000).body
    session.close()


def test_a_new_session_writes_over_no_other_session_s_bodies(store, tmp_path):
    """A file that is there under its name, and may be another's as well, is left to that one."""
    store.enter(REPLIES[:2], durable=True)
    new = SessionStore(tmp_path / "new.sqlite")
    beside(new).hardlink_to(beside(store))
    new.add_all([NewRequest(REQUEST, NAMES)])
    new.enter(REPLIES[2:], durable=True)
    assert list(kept(store).values()) == [one.body for one in REPLIES[:2]]
    new.close()


def test_lost_bodies_are_named(store):
    """Where the file is gone, or short, whoever looks is told which; small replies are still there."""
    store.enter([*REPLIES[:2], reply("web9", "small")], durable=True)
    with beside(store).open("r+b") as file:
        file.truncate(len(REPLIES[0].body) + 10)
    assert store.body(REQUEST.id, "web0", 2) == REPLIES[0].body
    with pytest.raises(MachineError, match=f"s.sqlite{BESIDE} is not whole"):
        store.body(REQUEST.id, "web1", 2)
    beside(store).unlink()
    with pytest.raises(MachineError, match=f"s.sqlite{BESIDE} cannot be read: .*No such file"):
        store.body(REQUEST.id, "web0", 2)
    found = {one.sender: one.reply for one in store.entries(REQUEST.id)}
    assert found.keys() >= {"web0", "web1"}
    assert store.body(REQUEST.id, "web9", 2) == reply("web9", "small").body
