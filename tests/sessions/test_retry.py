"""What `retry` asks again, of whom, and how; what it leaves alone."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from contextlib import closing, suppress
from queue import Empty, SimpleQueue

import pytest

from mcshell.client.origin import ORIGIN
from mcshell.client.session.transfer import export_session
from mcshell.client.store.store import SessionStore
from mcshell.message import State
from mcshell.wire import destinations
from mcshell.wire.stomp.connector import Connector
from tests.peers.processes import wait_until

from .conftest import NAMES
from .test_moving import bring_in


@pytest.fixture
def prompt(fleet, state):
    """Lines of a session of one name, each in a process of its own."""

    def run(*words: str):
        return fleet.cli(*words, "--session", "story", MCSHELL_STATE=str(fleet.folder / state))

    return run


def options(client):
    """How the newest request was put."""
    record = client.replies().tracker.record
    put = {name: value for name, value in record.options.items() if name != ORIGIN}
    return round(record.expires - record.created, 3), put


def test_retry_asks_with_the_ttl_it_had(fleet, state, prompt):
    """8 s are 8 s again, and not seven days; what the line gives goes before."""
    with fleet.client(state=state, session="story") as client:
        replies = client.rpc("rpcutil", "ping", via="queue", nodes=["ghost"], ttl=2, wait=False)
        assert replies.wait(30).stats["expired"] == 1
    assert prompt("retry", "-b").returncode == 0
    with fleet.client(state=state, session="story") as client:
        assert options(client) == (2.0, {"named": True})
        assert client.replies().wait(30).stats["expired"] == 1
    assert prompt("retry", "-b", "--ttl", "1d").returncode == 0
    with fleet.client(state=state, session="story") as client:
        assert options(client) == (86400.0, {"named": True})


def test_retry_asks_with_batch_canary_and_max_failures(fleet, state, prompt):
    """What was left over behind a canary or too many failures is asked again as carefully."""
    with fleet.client(state=state, session="story") as client:
        asked = client.rpc(
            "rpcutil",
            "ping",
            nodes=["ghost", *NAMES],
            canary=1,
            batch="50%",
            batch_sleep=0.01,
            max_failures=2,
            timeout=20,
        )
        assert [row.state for row in asked.rows()] == [State.SILENT, *[State.PENDING] * 3]
    done = prompt("retry", "--json")
    assert '"pending": 3' in done.stdout, done.stderr
    with fleet.client(state=state, session="story") as client:
        put = {
            "named": True,
            "canary": "1",
            "batch": "50%",
            "batch_sleep": 0.01,
            "max_failures": "2",
        }
        assert options(client) == (60.0, {"timeout": 20, **put})
        rows = client.replies().ledger()
        assert list(rows.sender) == ["ghost", *NAMES]
        assert "not sent: the canary ghost is silent" in list(rows.reason)
    path = export_session(fleet.folder / state, "story", fleet.folder / f"{state}.mcs")
    bring_in(fleet, f"{state}-b", path)
    with fleet.client(state=f"{state}-b", session="story") as client:
        assert options(client)[1]["canary"] == "1"


def test_after_an_import_the_newest_is_the_newest_made(fleet, state, prompt):
    """An older request that comes in by file is not what `retry`, `replies` and `@now` mean."""
    with fleet.client(state=f"{state}-b", session="story") as other:
        other.rpc("rpcutil", "get_fact", fact="os", nodes=["ghost"], timeout=5)
    path = export_session(fleet.folder / f"{state}-b", "story", fleet.folder / f"{state}.mcs")
    with fleet.client(state=state, session="story") as client:
        client.rpc("rpcutil", "ping", nodes=["n1"])
        mine = client.rpc("rpcutil", "ping", nodes=["ghost2"], timeout=5).requestid
    bring_in(fleet, f"{state}-c", path, "story")
    own = export_session(fleet.folder / state, "story", fleet.folder / f"{state}-own.mcs")
    fleet.client(state=f"{state}-c", session="story").close()
    bring_in(fleet, f"{state}-c", own)
    bring_in(fleet, f"{state}-d", own)
    bring_in(fleet, f"{state}-d", path)  # the older one last
    for place in ("c", "d"):
        with fleet.client(state=f"{state}-{place}", session="story") as client:
            assert client.replies().requestid == mine
            assert client.replies("@now").requestid == mine
            assert [record.agent for record, _ in client.requests()] == ["rpcutil"] * 3
            made = [record.created for record, _ in client.requests()]
            assert made == sorted(made)
            assert client.again().names == ["ghost2"]


def test_after_ctrl_c_nothing_is_pending(fleet, state):
    """Whoever was asked is silent, whoever was not is `not sent`; `retry` takes both."""
    fleet.pause("n2")
    targets = ["-I", "n1", "-I", "n2", "-I", "n3"]
    words = ["rpc", "rpcutil", "ping", *targets, "--batch", "2", "--batch-sleep", "300"]
    command = [sys.executable, "-m", "mcshell", *words, "--session", "story", "-t", "300"]
    try:
        fleet.client(state=state, session="story").close()
        environ = {**fleet.environ, "MCSHELL_STATE": str(fleet.folder / state)}
        process = subprocess.Popen(command, env=environ, cwd=fleet.folder)
        path = fleet.folder / state / "sessions" / "story.sqlite"
        assert wait_until(lambda: _sent(path) == 2, 60)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
    finally:
        fleet.resume("n2")
    with fleet.client(state=state, session="story") as client:
        rows = {row.sender: row for row in client.replies().rows()}
        assert rows["n2"].state in (State.SILENT, State.OK)
        assert rows["n3"].state is State.SILENT
        assert rows["n3"].statusmsg == "not sent: stopped"
        assert "n3" in client.again().names


def _sent(path):
    """How many targets the newest request in a session file was sent to."""
    store = SessionStore(path)
    try:
        record = store.find_request()
        return 0 if record is None else sum(e.sent is not None for e in store.entries(record.id))
    finally:
        store.close()


def test_after_kill_9_nothing_is_pending_either(fleet, state):
    """A shell that died in the middle: the next one says of each target where it stands."""
    words = ["rpc", "rpcutil", "ping", "-I", "ghost", "-I", "n1", "--batch", "1", "--ttl", "2s"]
    command = [sys.executable, "-m", "mcshell", *words, "--session", "story", "-t", "300"]
    fleet.client(state=state, session="story").close()
    environ = {**fleet.environ, "MCSHELL_STATE": str(fleet.folder / state)}
    process = subprocess.Popen(command, env=environ, cwd=fleet.folder)
    path = fleet.folder / state / "sessions" / "story.sqlite"
    assert wait_until(lambda: _sent(path) >= 1, 60)  # two, where the ghost is silent by now
    process.kill()
    process.wait(30)
    time.sleep(2.5)  # until its ttl is over
    with fleet.client(state=state, session="story") as client:
        assert client.replies().stats["pending"] == 0
        reasons = {row.sender: row.statusmsg for row in client.replies().rows()}
        assert reasons["n1"] in ("not sent: its process ended", "OK")
        assert "ghost" in client.again().names


def test_what_is_still_open_is_said_and_left_alone(fleet, state, prompt):
    """A node that is down may still take it: retry asks the others, and names it."""
    fleet.kill9("n3")
    try:
        with fleet.client(state=state, session="story") as client:
            asked = client.rpc(
                "rpcutil", "get_fact", fact="os", via="queue", nodes=["n1", "n3"], timeout=20
            )
            assert asked.stats["pending"] == 1
        done = prompt("retry")
        assert done.returncode == 1
        assert "still open" in done.stderr
        assert "n3" in done.stderr
    finally:
        fleet.start("n3")


def test_what_a_broker_has_lost_is_asked_again(fleet, state, prompt):
    """A broker that lost its disk: the node does not know it, so retry takes it, and it runs once."""
    fleet.kill9("n2")
    try:
        with fleet.client(state=state, session="story") as client:
            asked = client.rpc("rpcutil", "ping", via="queue", nodes=["n2"], wait=False)
            assert asked.confirmed
        lose(fleet, destinations.work(fleet.collective, "n2"))
    finally:
        fleet.start("n2")
    with fleet.client(state=state, session="story") as client:
        assert client.replies(asked.requestid).stats["pending"] == 1
        assert wait_until(lambda: client.again().names == ["n2"], 60, 1.0)
        (row,) = client.replies(asked.requestid).rows()
        assert (row.state, row.statusmsg[:18]) == (State.EXPIRED, "lost by the broker")
    done = prompt("retry", "-t", "60", "--json")
    assert '"ok": 1' in done.stdout, done.stderr
    runs = [event for event in fleet.audit("n2") if event.get("event") == "finished"]
    assert asked.requestid not in {event["requestid"] for event in runs}


def test_what_a_node_has_done_is_not_asked_again_though_its_reply_is_lost(fleet, state):
    """A broker that lost its disk: the node says that it has ended it, so it is `ok` and not retried."""
    with fleet.client(state=state, session="story") as client:
        caller, address = client.caller, client.session.address
        fleet.kill9("n2")
        asked = client.rpc("rpcutil", "ping", via="queue", nodes=["n2"], wait=False)
        assert asked.confirmed
    fleet.start("n2")
    assert wait_until(lambda: _ended(fleet, "n2", asked.requestid), 60)
    lose(fleet, destinations.reply(fleet.collective, caller, address), most=3)
    with fleet.client(state=state, session="story") as client:
        assert wait_until(lambda: client.again().still_open == [], 60, 1.0)
        assert client.again().names == []
        (row,) = client.replies(asked.requestid).rows()
        assert (row.state, row.statusmsg[:17]) == (State.OK, "its reply is lost")
    assert len(_ended(fleet, "n2", asked.requestid)) == 1


def _ended(fleet, node, request):
    """The events of a node's audit file that say that it has ended a request."""
    events = fleet.audit(node)
    return [e for e in events if e.get("event") == "finished" and e["requestid"] == request]


def lose(fleet, queue, most=1):
    """Take what waits in a queue of the broker out of it, as the loss of its disk would."""
    inbox = SimpleQueue()
    broker = fleet.broker
    with closing(Connector([broker.url], user=broker.user, passcode=broker.passcode)) as connector:
        connector.start(timeout=20)
        connector.subscribe(queue, inbox, ack="auto")
        inbox.get(timeout=30)
        with suppress(Empty):
            for _further in range(1, most):
                inbox.get(timeout=5)
