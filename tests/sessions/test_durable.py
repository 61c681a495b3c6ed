"""Queued requests: committed, sent, answered, and found again by another process."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import pytest

from mcshell.client.store.records import OutgoingMessage, RequestRecord
from mcshell.errors import ClientClosed, MCShellError, UsageError
from mcshell.message import Filter, State, Via, new_nonce
from mcshell.wire.documents.envelope import digest_of
from tests.peers.processes import wait_until

from .conftest import NAMES


def test_a_queued_request_is_answered(fleet, state):
    """Every node takes it from its own queue, runs it once and answers into the session."""
    with fleet.client(state=state) as client:
        replies = client.rpc("rpcutil", "ping", via="queue", nodes=NAMES, timeout=30)
        assert replies.done
        assert replies.confirmed
        assert replies.stats["ok"] == len(NAMES)
        entries = replies.entries()
        assert all(entry.sent <= entry.received <= entry.done for entry in entries)


def test_a_node_that_is_down_gets_it_later(fleet, state):
    """The broker keeps the request; the node answers when it is back, into the same table."""
    fleet.kill9("n3")
    try:
        with fleet.client(state=state, session="later") as client:
            replies = client.rpc("rpcutil", "ping", via="queue", nodes=NAMES, wait=False)
            assert replies.confirmed
            assert wait_until(lambda: replies.stats["ok"] == 2, 60)
            assert replies.stats["pending"] == 1
        fleet.start("n3")
        with fleet.client(state=state, session="later") as client:
            replies = client.replies().wait(30)
            assert replies.stats["ok"] == len(NAMES)
            assert client.requests()[0][1]["ok"] == len(NAMES)
    finally:
        if "n3" not in fleet.nodes:
            fleet.start("n3")


def test_a_message_that_breaks_the_connection_holds_up_no_other(fleet, state):
    """A request whose destination no broker takes is set aside; those beside it are answered."""
    now = time.time()
    bad = RequestRecord(
        id=new_nonce(),
        agent="rpcutil",
        action="ping",
        via=Via.QUEUE,
        collective=fleet.collective,
        created=now,
        expires=now + 60,
        filter=Filter(),
        data={},
    )
    sealed = OutgoingMessage(
        request=bad.id,
        sender="nobody",
        destination="/nowhere/at all",
        body=b"{}",
        signature="s",
        certificate="c",
        expires=now + 60,
    )
    with fleet.client(state=state) as client:
        client.session.store.add(bad, ["nobody"], [sealed])
        replies = client.rpc("rpcutil", "ping", via="queue", nodes=NAMES, timeout=60)
        assert replies.stats["ok"] == len(NAMES)
        assert client.session.store.open_outgoing(bad.id) == 1


def test_what_nobody_takes_expires(fleet, state):
    """A target without a reply is expired when the request's time is over, and says why."""
    with fleet.client(state=state) as client:
        replies = client.rpc("rpcutil", "ping", via="queue", nodes=["nobody"], ttl=1.5, wait=False)
        assert replies.stats["pending"] == 1
        began = time.monotonic()
        assert replies.wait(30).done
        assert time.monotonic() - began < 15
        (entry,) = replies.entries()
        assert (entry.state, entry.reason) == (State.EXPIRED, "no reply before it expired")


def test_rows_as_they_come_end_with_those_that_never_come(fleet, state):
    """A loop over arrivals has a row of who has let the time pass, as of who has answered."""
    with fleet.client(state=state) as client:
        asked = client.rpc("rpcutil", "ping", via="queue", nodes=["n1", "no"], ttl=3, wait=False)
        rows = {row.sender: row.state for row in asked.arrivals(timeout=60)}
        assert rows == {"n1": State.OK, "no": State.EXPIRED}


def test_the_answer_of_an_earlier_process_is_found_by_its_id(fleet, state):
    """A scratch session of a process that has ended still has its replies."""
    with fleet.client(state=state) as client:
        requestid = client.rpc("rpcutil", "ping", via="queue", nodes=NAMES, timeout=30).requestid
        client.session.save("kept")
    with fleet.client(state=state) as client:
        assert client.session.name == "scratch-1"
        replies = client.replies(requestid[:8])
        assert replies.stats["ok"] == len(NAMES)
        assert list(replies.frame().sender) == list(NAMES)


def test_two_processes_share_a_session(fleet, state):
    """The second follows the file: it asks, and sees what the holder receives, live."""
    with (
        fleet.client(state=state, session="shared") as holder,
        fleet.client(state=state, session="shared") as follower,
    ):
        assert holder.session.holds
        assert not follower.session.holds
        assert "is held by" in follower.notices[0]
        mine = follower.rpc("rpcutil", "ping", via="queue", nodes=NAMES, timeout=30)
        assert mine.stats["ok"] == len(NAMES)
        now = follower.rpc("rpcutil", "ping", timeout=30)
        assert now.stats["ok"] == len(NAMES)
        theirs = holder.replies(mine.requestid)
        assert theirs.stats["ok"] == len(NAMES)


def test_what_a_follower_sends_is_known_to_the_holder(fleet, state, monkeypatch):
    """A node may answer at once: what it answers is in the file before it goes out."""
    with (
        fleet.client(state=state, session="quick") as holder,
        fleet.client(state=state, session="quick") as follower,
    ):
        sender = follower._hub.request_sender
        send, known = sender._transport.send, []

        def watched(destination, body, *rest, **more):
            query = "SELECT count(*) FROM digests WHERE digest=?"
            known.append(holder.session.store._all(query, digest_of(body))[0][0])
            return send(destination, body, *rest, **more)

        monkeypatch.setattr(sender, "_transport", SimpleNamespace(send=watched))
        asked = follower.rpc("rpcutil", "ping", nodes=NAMES, timeout=30)
        assert asked.stats["ok"] == len(NAMES)
        assert known == [1] * len(NAMES)
        assert not holder.junk


@pytest.mark.parametrize("holder_asks", [True, False])
def test_what_another_process_decides_is_waited_for(fleet, state, holder_asks):
    """Whoever looks at a request of another process sees whom that judges silent, and ends with it."""
    with (
        fleet.client(state=state, session="pair") as holder,
        fleet.client(state=state, session="pair") as follower,
    ):
        asker, reader = (holder, follower) if holder_asks else (follower, holder)
        asked = asker.rpc("rpcutil", "ping", nodes=["n1", "nobody"], wait=False)
        seen = reader.replies(asked.requestid)
        assert seen.wait(60).done
        assert (seen.stats["ok"], seen.stats["silent"]) == (1, 1)
        assert seen["nobody"].statusmsg == asked.wait(60)["nobody"].statusmsg


def test_a_follower_takes_over_when_the_holder_is_gone(fleet, state):
    """When the holder ends, whoever follows receives for the session."""
    holder = fleet.client(state=state, session="heir")
    with fleet.client(state=state, session="heir") as follower:
        holder.close()
        assert wait_until(lambda: follower.session.holds, 60)
        replies = follower.rpc("rpcutil", "ping", via="queue", nodes=NAMES, timeout=30)
        assert replies.stats["ok"] == len(NAMES)


def test_a_holder_that_is_a_zombie_is_not_waited_for(fleet, state):
    """It was killed and its parent has not asked for its end, as of a kernel: nobody waits for its answer."""
    code = (
        "import sys, time; from pathlib import Path; from mcshell import config\n"
        "from mcshell.client.client import Client\n"
        "client = Client(config.load(Path(sys.argv[1]), overrides={'state': sys.argv[2]}), session='undead')\n"
        "print(client.session.holds, flush=True); time.sleep(600)\n"
    )
    argv = [sys.executable, "-c", code, str(fleet.config), str(fleet.folder / state)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, env=fleet.environ) as holder:
        try:
            assert holder.stdout.readline() == "True\n"
            with fleet.client(state=state, session="undead") as follower:
                assert not follower.session.holds
                holder.kill()
                assert wait_until(lambda: follower.session.holds, 60)
                replies = follower.rpc("rpcutil", "ping", via="queue", nodes=NAMES, timeout=90)
                assert replies.stats["ok"] == len(NAMES)
                assert not [one for one in follower.notices if "did not answer" in one]
        finally:
            holder.kill()


def test_a_request_for_an_unknown_pool_is_refused(fleet, state):
    """One line says which pool is not configured, before anything is committed."""
    with fleet.client(state=state) as client:
        with pytest.raises(UsageError, match="no pool 'sms'"):
            client.rpc("rpcutil", "ping", via="pool", pool="sms")
        assert client.requests() == []


def test_a_closed_client_says_so(fleet, state):
    """After `close` each call is one line that says what to do, not a fault of the database."""
    with fleet.client(state=state) as client:
        pass
    client.close()
    for call in (client.requests, client.replies, client.discover):
        with pytest.raises(UsageError, match="this client is closed"):
            call()
    with pytest.raises(UsageError, match="this client is closed"):
        client.rpc("rpcutil", "ping")
    assert "cert=" in repr(client)


def test_what_a_closed_client_had_open_says_so_too(fleet, state):
    """Its jobs, files, plans, proposals and session, and who waits for it in a thread, hear that it is closed."""
    said: list[Exception] = []

    def ask() -> None:
        try:
            client.rpc("rpcutil", "ping", nodes=["ghost1"], timeout=2)
        except MCShellError as error:
            said.append(error)

    with fleet.client(state=state) as client:
        calls = (
            *(client.jobs.list, client.jobs.forecast, lambda: client.jobs.cancel("restart")),
            *(client.plans.list, client.approvals.list, lambda: client.files.list("/etc")),
            lambda: client.session.save("kept"),
        )
        waiting = threading.Thread(target=ask)
        waiting.start()
        assert wait_until(lambda: len(client.requests()) == 1, 60)
    waiting.join(60)
    for call in calls:
        with pytest.raises(ClientClosed, match="this client is closed"):
            call()
    assert [type(error) for error in said] == [ClientClosed]
