"""Clocks that are apart: what is refused for its date alone gets a signed last word that says so."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from pathlib import Path

import pytest

from mcshell.message import State, Via
from tests.peers.fleet import ROOT, Fleet, Node
from tests.peers.processes import Child
from tests.peers.workbench import Bench

APART = {"ahead": 300.0, "behind": -180.0}
STARTER = Path(ROOT) / "tests" / "peers" / "daemon_with_clock.py"
SAID = {
    "ahead": (State.EXPIRED, "expired 2", "s ago, but not by our clock: the clocks disagree"),
    "behind": (State.FAILED, "made 1", "s ahead: compare the clocks"),
}


@pytest.fixture(scope="module")
def apart(embedded, tmp_path_factory):
    """Three daemons: one five minutes ahead, one three behind, and one that is right."""
    names = dict.fromkeys([*APART, "right"], Node())
    pool = '\n[pools.sms]\nmembers = ["ahead", "behind"]\n'
    with Fleet(embedded, tmp_path_factory.mktemp("apart"), names) as fleet:
        for name in (*APART, "alice"):
            path = fleet.folder / f"{name}.toml"
            text = path.read_text()
            path.write_text(text + ('serve = ["sms"]\n' if name == "behind" else "") + pool)
        for name, seconds in APART.items():
            argv = [sys.executable, STARTER, fleet.folder / f"{name}.toml", str(seconds)]
            fleet.nodes[name] = Child(argv, fleet.folder / f"{name}.log", fleet.environ)
            fleet._wait(name, fleet.nodes[name], 0)
        fleet.start("right")
        yield fleet


@pytest.fixture(scope="module")
def alice(apart):
    """An operator on a machine whose clock is right."""
    with apart.client() as client:
        yield client


def check(replies, *names):
    """Each of them has said what is wrong, and that is what `explain` begins with."""
    rows = {row.sender: row for row in replies.rows()}
    assert rows["right"].state is State.OK
    for name in names:
        state, begin, end = SAID[name]
        row = rows[name]
        assert (row.state, row.statuscode) == (state, 5), row
        assert row.statusmsg.startswith(begin), row
        assert row.statusmsg.endswith(end), row
        assert row.trust == "mcs"


@pytest.mark.parametrize("via", ["direct", "queue", "broadcast"])
def test_a_date_that_is_the_only_fault_gets_a_last_word(apart, alice, via):
    """Queued or interactive, node ahead or behind: a row that says what to compare, at once."""
    asking = {} if via == "broadcast" else {"nodes": [*APART, "right"]}
    replies = alice.rpc("rpcutil", "ping", via=via, ttl=60, timeout=30, **asking)
    check(replies, *APART)
    for name in APART:
        found = alice.causes(name, replies.requestid)[:2]
        assert ("clock off", "observed") in {(one.cause, one.kind) for one in found}, found
    events = [one for one in apart.audit("behind") if one.get("requestid") == replies.requestid]
    assert [event["event"] for event in events] == ["refused"]


def test_a_pool_whose_worker_has_another_time_says_so(alice):
    """The row is the worker's, and `explain` looks at him, by his name and by the pool's."""
    replies = alice.rpc("rpcutil", "ping", via="pool", pool="sms", ttl=60, timeout=30)
    (row,) = replies.rows()
    assert (row.sender, row.state) == ("behind", State.FAILED)
    assert row.statusmsg.endswith("compare the clocks")
    for name in ("pool:sms", "behind"):
        assert alice.causes(name, replies.requestid)[0].cause == "clock off"
    assert alice.causes("behind")[0].cause == "clock off"  # the newest that he has to do with


def test_who_is_found_says_why_it_cannot_be_described(alice):
    """Discovery asks with a date too: such a node is a row, with its reason, not an absence."""
    found = alice.discover()
    assert set(found.sender) == {*APART, "right"}


def test_an_operator_who_is_behind_hears_so(apart, tmp_path):
    """Whom he asks by broadcast gets it, though it is over by the broker's clock, and says what to compare."""
    clock = tmp_path / "behind"
    clock.write_text("-240")
    path = os.pathsep.join((str(Path(ROOT) / "tests/peers/clock"), ROOT))
    line = ("rpc", "rpcutil", "ping", "--via", "broadcast", "-I", "right", "--json")
    done = apart.cli(*line, TEST_CLOCK=str(clock), PYTHONPATH=path)
    (row,) = json.loads(done.stdout)["replies"]
    assert (row["sender"], row["state"]) == ("right", "expired"), done
    assert row["statusmsg"].endswith(SAID["ahead"][2])


def test_who_waits_hears_at_once_that_its_time_is_over(alice, monkeypatch):
    """A machine that was asleep, or whose clock was put right, does not wait as long again."""
    replies = alice.rpc("rpcutil", "ping", via="queue", nodes=["ghost"], ttl=240, wait=False)
    true_time, began = time.time, time.monotonic()
    slept = threading.Timer(2, lambda: monkeypatch.setattr(time, "time", lambda: true_time() + 300))
    slept.start()
    replies.wait(200)
    assert time.monotonic() - began < 150
    assert replies.stats["expired"] == 1


@pytest.mark.parametrize("via", [Via.DIRECT, Via.QUEUE])
def test_what_is_too_late_is_answered_once(embedded, tmp_path, via):
    """The same bytes again get no second word: nobody can have a node speak at will."""
    with Bench(embedded, tmp_path) as bench:
        bench.start("n1")
        request, sealed = bench.seal("nap", via=via, ago=120.0, ttl=60.0)
        for _ in range(3):
            bench.put(request, sealed)
        reply = bench.final(request.id)
        assert (reply.state, reply.statusmsg[:8]) == (State.EXPIRED, "expired ")
        ping, _ = probe = bench.seal("ping", agent="rpcutil", via=via)
        bench.put(*probe)
        bench.final(ping.id)
        time.sleep(0.5)
        assert len(bench.finals(request.id)) == 1
