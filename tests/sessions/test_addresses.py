"""An address serves one session: what two of one address cost, and where their replies go."""

from __future__ import annotations

import shutil

import pytest

from mcshell.client.session.session import listing
from mcshell.client.session.transfer import export_session
from mcshell.client.store import strays
from mcshell.client.store.records import RequestRecord
from mcshell.client.store.store import SessionStore
from mcshell.client.store.strays import Stray
from mcshell.errors import SessionError
from mcshell.message import Filter, Via
from tests.peers.processes import wait_until

from .conftest import NAMES
from .test_moving import bring_in, hears


def ask_while_down(fleet, client, node="n3"):
    """A queued request to a node that is down; its reply comes when it is up again."""
    fleet.kill9(node)
    replies = client.rpc("rpcutil", "ping", via="queue", nodes=[node], wait=False)
    assert replies.confirmed
    return replies.requestid


@pytest.fixture
def whole(fleet):
    """The fleet, with all of its nodes up again in the end."""
    yield fleet
    for name in NAMES:
        if name not in fleet.nodes:
            fleet.start(name)


def two_of_one_address(fleet, state):
    """What an earlier version let happen: `kept` and `friday`, both of the address `friday`."""
    with fleet.client(state=state, session="friday") as client:
        client.session.save("kept")
        asked = ask_while_down(fleet, client)
    folder = fleet.folder / state / "sessions"
    shutil.copy(folder / "kept.sqlite", folder / "friday.sqlite")
    store = SessionStore(folder / "friday.sqlite")
    with store._commit() as db:
        for table in ("requests", "targets", "counts", "outgoing", "replies", "digests"):
            db.execute(f"DELETE FROM {table}")
        db.execute("UPDATE meta SET value='another' WHERE key='origins'")
    store.close()
    return asked


def test_a_name_whose_address_is_taken_here_is_refused(fleet, state):
    """`friday` was saved as `kept` and is still what nodes answer to: no second one is made for it."""
    with fleet.client(state=state, session="friday") as client:
        client.session.save("kept")
    with pytest.raises(SessionError, match="session 'kept' under the address 'friday': attach it"):
        fleet.client(state=state, session="friday")
    done = fleet.cli("session", "new", "friday", MCSHELL_STATE=str(fleet.folder / state))
    assert done.returncode == 64
    assert "nodes answer to session 'kept'" in done.stderr
    assert [info.name for info in listing(fleet.folder / state)] == ["kept"]
    with fleet.client(state=state, session="kept") as client:
        assert client.session.address == "friday"


def test_a_copy_is_merged_into_the_session_of_its_address(fleet, state):
    """A second name for an address that is here is refused by import too; the merge is named."""
    with fleet.client(state=state, session="friday") as client:
        client.rpc("rpcutil", "ping", via="queue", nodes=NAMES, timeout=60)
    path = export_session(fleet.folder / state, "friday", fleet.folder / f"{state}.mcs")
    bring_in(fleet, f"{state}-b", path, "ours")
    with pytest.raises(SessionError, match="session import FILE --session ours"):
        bring_in(fleet, f"{state}-b", path)
    assert bring_in(fleet, f"{state}-b", path, "ours").refused.total() == 0


def test_two_sessions_of_one_address_lose_no_reply(whole, state):
    """What comes to the one and was asked in the other is kept, and given by `attach`."""
    asked = two_of_one_address(whole, state)
    with whole.client(state=state, session="friday") as friday:
        whole.start("n3")
        assert wait_until(lambda: friday.session.store.strays.count() > 0, 60)
        assert wait_until(lambda: any("did not ask for" in one for one in friday.notices), 60)
        mine = friday.rpc("rpcutil", "ping", via="queue", nodes=NAMES, timeout=60)
        assert mine.stats["ok"] == len(NAMES)
        strayed = friday.session.store.strays
        assert wait_until(lambda: any(one.sequence == 2 for one in strayed.all()), 60)
        assert {one.request for one in strayed.all() if one.durable} == {asked}
    (friday_info, _kept) = listing(whole.folder / state)
    assert friday_info.strays > 0
    with whole.client(state=state, session="kept") as kept:
        assert kept.replies(asked).stats["ok"] == 1
        assert any("came to another one" in one for one in kept.notices)
        assert not kept.session.store.strays.count()
    assert [info.strays for info in listing(whole.folder / state)] == [0, 0]


def test_a_newcomer_without_the_file_is_told_before_it_takes_the_queue(whole, state):
    """Two machines make a session `work`: the second is refused, and the first loses nothing."""
    with whole.client(state=state, session="work") as first:
        asked = ask_while_down(whole, first)
        with pytest.raises(SessionError, match=r"its file is not here.*session import"):
            whole.client(state=f"{state}-b", session="work")
        assert first.session.holds
        whole.start("n3")
        assert first.replies(asked).wait(60).stats["ok"] == 1
        path = export_session(whole.folder / state, "work", whole.folder / f"{state}.mcs")
        bring_in(whole, f"{state}-b", path)
        with whole.client(state=f"{state}-b", session="work") as second:
            assert wait_until(lambda: not first.session.holds, 60)
            assert second.replies(asked).stats["ok"] == 1


def test_two_that_were_made_apart_are_told_and_brought_together_by_import(whole, state):
    """Each machine made `work` while the other was off: strays go home when the files meet."""
    with whole.client(state=state, session="work") as first:
        asked = ask_while_down(whole, first)
    with whole.client(state=f"{state}-b", session="work") as second:
        theirs = second.rpc("rpcutil", "ping", via="queue", nodes=["n1"], timeout=60).requestid
        whole.start("n3")
        strayed = second.session.store.strays
        assert wait_until(lambda: any(one.sequence == 2 for one in strayed.all()), 60)
        with whole.client(state=state, session="work") as first:
            assert wait_until(lambda: not first.session.holds, 60)
            assert wait_until(lambda: any("is held by" in one for one in first.notices), 60)
            assert second.session.holds
            assert wait_until(lambda: hears(second, "another one of this name"), 60)
    path = export_session(whole.folder / f"{state}-b", "work", whole.folder / f"{state}.mcs")
    report = bring_in(whole, state, path)
    assert (report.strays, report.refused.total()) == (0, 0)
    with whole.client(state=state, session="work") as first:
        assert first.replies(asked).stats["ok"] == 1
        assert first.replies(theirs).stats["ok"] == 1
        with whole.client(state=f"{state}-b", session="work") as second:  # it is one session now
            assert wait_until(lambda: not first.session.holds, 60)
            assert second.session.holds


def test_strays_are_bounded_and_those_of_queued_requests_stay(tmp_path, monkeypatch):
    """Beyond the bounds the oldest go, and late answers to discovery push out no other."""
    monkeypatch.setattr(strays, "MOST", 5)
    monkeypatch.setattr(strays, "PASSING", 2)
    store = SessionStore(tmp_path / "work.sqlite")

    def stray(number, durable):
        return Stray(
            request=f"{number:032x}",
            durable=durable,
            kept=1.0,
            body=b"x" * 10,
            signature="",
            certificate="",
        )

    def kept():
        return [int(one.request, 16) for one in store.strays.all()]

    store.strays.keep([stray(number, durable=True) for number in range(4)])
    store.strays.keep([stray(number, durable=False) for number in range(10, 20)])
    assert kept() == [0, 1, 2, 3, 19]
    store.strays.keep([stray(20, durable=True), stray(21, durable=True)])
    assert kept() == [1, 2, 3, 20, 21]
    monkeypatch.setattr(strays, "SIZE", 25)
    store.strays.keep([stray(22, durable=True)])
    assert kept() == [21, 22]
    store.close()


def test_what_is_held_has_room_of_its_own(tmp_path, monkeypatch):
    """A flood under ended certificates pushes out no stray, and of one sender not those of others."""
    monkeypatch.setattr(strays, "MOST", 5)
    monkeypatch.setattr(strays, "OF_ONE", 2)
    store = SessionStore(tmp_path / "work.sqlite")
    asked = RequestRecord(
        id="a" * 32,
        agent="rpcutil",
        action="ping",
        via=Via.QUEUE,
        collective="mcs",
        created=1.0,
        expires=2.0,
        filter=Filter(),
        data={},
    )
    store.add(asked, ["n1", "n2"])

    def keep(request, sender, numbers):
        store.strays.keep(
            Stray(
                request=request,
                sender=sender,
                sequence=number,
                kept=1.0,
                body=b"x" * 10,
                signature="",
                certificate="",
            )
            for number in numbers
        )

    keep("b" * 32, "n1", range(4))
    keep(asked.id, "n2", [2])
    keep(asked.id, "n1", range(100))
    assert store.strays.count() == 4
    assert [one.sequence for one in store.strays.held_of(["n1"])] == [98, 99]
    assert [one.sequence for one in store.strays.held_of(["n2"])] == [2]
    assert store.strays.held() == [("n1", 1.0, asked.id, "mcs"), ("n2", 1.0, asked.id, "mcs")]
    for number in range(9):
        keep(asked.id, f"m{number}", [2])
    assert len(store.strays.all()) == 4 + 5
    store.close()
