"""The session file, the lock on it, and the known nodes."""

from __future__ import annotations

import sqlite3

import pytest

from mcshell.client.history import restore
from mcshell.client.known import Known, KnownNode
from mcshell.client.session import Session
from mcshell.client.store import Record, Store, StoredReply
from mcshell.errors import PluginError, SessionError
from mcshell.message import Filter, Reply, State, Via
from mcshell.pki import Authority
from mcshell.wire.envelope import CERTIFICATE, SIGNATURE, seal_reply
from mcshell.wire.security import Signer

ID = "0123456789abcdef" * 2


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    """A node's signer."""
    authority = Authority.init(tmp_path_factory.mktemp("ca"))
    return Signer.from_pem(*authority.issue_pem("web1", "node"))


def record(number: int = 0) -> Record:
    """A request for the history."""
    return Record(
        f"{number:x}{ID[1:]}",
        "package",
        "status",
        Via.DIRECT,
        "mcs",
        100.0 + number,
        200.0,
        Filter(fact=("os=Debian",)),
        {"name": "openssl"},
    )


def stored(signer: Signer, request: str, state: State, kept: float) -> StoredReply:
    """A word as the receiver keeps it."""
    number = 1 if state is State.RUNNING else 2
    code = None if state is State.RUNNING else 0
    reply = Reply(request, "web1", number, code, "OK", {"version": "3.0"}, 1.0, state)
    sealed = seal_reply(reply, signer)
    headers = sealed.headers
    return StoredReply(
        request, "web1", number, kept, sealed.body, headers[SIGNATURE], headers[CERTIFICATE]
    )


def test_the_history_survives(tmp_path, node):
    """A request, its targets and its replies are there when the file is opened again."""
    store = Store(tmp_path / "s.sqlite")
    one = record()
    store.add_request(one, ["web1", "web2"])
    store.mark_sent(one.id, ["web1", "web2"], 101.0)
    store.add_replies([stored(node, one.id, State.RUNNING, 102.0)])
    store.add_replies([stored(node, one.id, State.OK, 103.0)])
    store.mark_judged(one.id, [("web2", "no word")], 104.0)
    store.close()
    again = Store(tmp_path / "s.sqlite")
    assert again.requests() == [one]
    entries = {entry.sender: entry for entry in restore(again, one).entries()}
    assert entries["web1"].state is State.OK
    assert entries["web1"].running == 102.0
    assert entries["web1"].lag == 2.0
    assert (entries["web2"].state, entries["web2"].reason) == (State.SILENT, "no word")
    again.close()


def test_a_redelivered_reply_is_kept_once(tmp_path, node):
    """The key (request, sender, sequence) makes a second copy harmless."""
    store = Store(tmp_path / "s.sqlite")
    one = record()
    store.add_request(one, ["web1"])
    reply = stored(node, one.id, State.OK, 103.0)
    store.add_replies([reply, reply])
    store.add_replies([reply])
    assert store.replies(one.id) == [reply]
    store.close()


def test_a_request_is_found_by_its_first_letters(tmp_path):
    """A prefix finds its request, an ambiguous one is refused, none at all is the newest."""
    store = Store(tmp_path / "s.sqlite")
    for number in (1, 2):
        store.add_request(record(number), ["web1"])
    assert store.find_request("1") == record(1)
    assert store.find_request() == record(2)
    assert store.find_request("f") is None
    store.add_request(Record(**{**_fields(record(1)), "id": "1" * 32}), ["web1"])
    with pytest.raises(SessionError, match="ambiguous"):
        store.find_request("1")
    store.close()


def _fields(one: Record) -> dict[str, object]:
    return {name: getattr(one, name) for name in one.__slots__}


def test_what_is_no_session_file_is_refused(tmp_path):
    """A file of another kind is named, and left as it was."""
    path = tmp_path / "s.sqlite"
    path.write_text("a letter to a friend, long enough to be no empty file")
    with pytest.raises(SessionError, match="no session file"):
        Store(path)
    assert path.read_text().startswith("a letter")


def test_a_later_version_is_refused(tmp_path):
    """A file that a newer mcshell wrote is not touched."""
    path = tmp_path / "s.sqlite"
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version=99")
    db.close()
    with pytest.raises(SessionError, match="version 99"):
        Store(path)


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


def test_a_session_belongs_to_its_caller(tmp_path):
    """Another caller is refused by name, and gets a scratch session of its own."""
    Session.open(tmp_path, "cert=alice", "mcs", "audit").close()
    with pytest.raises(SessionError, match="cert=alice"):
        Session.open(tmp_path, "cert=bob", "mcs", "audit")
    Session.open(tmp_path, "cert=alice", "mcs", None).close()
    scratch = Session.open(tmp_path, "cert=bob", "mcs", None)
    assert scratch.name == "scratch-2"
    scratch.close()


def test_the_known_never_go_back_in_time(tmp_path):
    """An older word about a node does not replace a newer one; realms are apart."""
    known = Known(tmp_path / "known.sqlite", "realm")
    known.learn("mcs", [KnownNode("web1", 200.0, {"os": "new"})])
    known.learn("mcs", [KnownNode("web1", 100.0, {"os": "old"})])
    assert known.nodes("mcs")[0].facts == {"os": "new"}
    assert known.nodes("mcs", since=201.0) == []
    known.touch("mcs", ["web1", "nobody"], 300.0)
    assert known.nodes("mcs")[0].seen == 300.0
    other = Known(tmp_path / "known.sqlite", "other")
    assert other.nodes("mcs") == []
    assert known.forget("web1")
    assert not known.forget("web1")
    other.close()
    known.close()


def test_a_file_cannot_be_asked_from_afar():
    """What only the node can answer leaves a known node out, rather than guessing."""
    with pytest.raises(PluginError):
        KnownNode("web1", 1.0).query("fstat", "/etc/hosts")
