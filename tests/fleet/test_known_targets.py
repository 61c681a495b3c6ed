"""Real daemons, and a broadcast that goes out on what is known of them (§5): every rule of that."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import time
from contextlib import closing, contextmanager
from queue import SimpleQueue
from typing import TYPE_CHECKING

import pytest

from mcshell.client.discovery import methods
from mcshell.client.discovery.node_cache import CachedNode
from mcshell.client.discovery.targeting import Targeting
from mcshell.errors import NoTargets
from mcshell.message import Filter
from mcshell.wire import destinations
from mcshell.wire.stomp.connector import Connector
from tests.peers.fleet import Fleet, Node
from tests.peers.processes import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from mcshell.client.client import Client
    from mcshell.client.rpc.replies import Replies
    from mcshell.client.store.ledger import LedgerEntry
    from tests.peers.brokers import Broker

ROLES = {"web1": "web", "web2": "web", "web3": "web", "db1": "db"}
WEB = {"web1", "web2", "web3"}
POLICY = "policy default deny\nallow\tcert=alice\t*\t*\t*\n"


@pytest.fixture(scope="module")
def fleet(embedded: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """Four nodes, each serving as what it is; who changes one puts it back."""
    folder = tmp_path_factory.mktemp("known-targets")
    nodes = {name: Node({"role": role}) for name, role in ROLES.items()}
    policies = {"exec": POLICY, "service": POLICY}
    more = 'register_every = "30m"\n'  # seldom: it tells whoever listens what a node is now
    with Fleet(embedded, folder, nodes, policies=policies, more=more) as fleet:
        fleet.start()
        yield fleet


@pytest.fixture
def heard(fleet: Fleet) -> Iterator[Callable[[], list[str]]]:
    """Tells what was sent to all since it was asked last: the agents and actions of the requests."""
    broker, inbox = fleet.broker, SimpleQueue()
    listener = Connector([broker.url], user=broker.user, passcode=broker.passcode)
    listener.start(timeout=60)
    listener.subscribe(destinations.broadcast(fleet.collective), inbox, ack="auto")
    end = f"/topic/mcs.{fleet.collective}.heard"
    listener.subscribe(end, inbox, ack="auto")

    def since() -> list[str]:
        listener.send(end, b"")  # what was sent before a call returned comes before that
        said = []
        while body := inbox.get(timeout=60).body:
            one = json.loads(body)
            said.append(f"{one['agent']}.{one['action']}")
        return said

    try:
        yield since
    finally:
        listener.close()


@contextmanager
def knowing(fleet: Fleet, state: str) -> Iterator[Client]:
    """A client that has asked who is there."""
    with fleet.client(state=state) as client:
        # who is busy for a second while he is asked is not found, and would not be known here
        assert wait_until(lambda: set(client.discover(fresh=True).sender) >= {*ROLES}, 60)
        yield client


def ask(client: Client, **more: object) -> Replies:
    """What changes nothing, to all web servers at once, few as they are."""
    return client.rpc("rpcutil", "ping", facts="role=web", via="broadcast", **more)


def by_name(replies: Replies) -> dict[str, LedgerEntry]:
    """The rows of a request."""
    return {entry.sender: entry for entry in replies.entries()}


def name_and_role(registration: bytes) -> tuple[str, str]:
    """What a registration says of its node."""
    document = json.loads(registration)
    return document["identity"], document["facts"]["role"]


@contextmanager
def another_role(fleet: Fleet, name: str, role: str) -> Iterator[None]:
    """A node is something else for a while; it is started anew with that, and at the end again.

    Its registration has gone by then: whoever connects later does not hear what it is.
    """
    broker, said = fleet.broker, SimpleQueue()
    listener = Connector([broker.url], user=broker.user, passcode=broker.passcode)
    listener.start(timeout=60)
    listener.subscribe(destinations.registration(fleet.collective), said, ack="auto")

    def restarted(one: str) -> None:
        (fleet.folder / f"{name}.yaml").write_text(json.dumps({"role": one}))
        fleet.nodes.pop(name).stop()
        fleet.start(name)
        while name_and_role(said.get(timeout=60).body) != (name, one):
            continue

    try:
        restarted(role)
        yield
    finally:
        try:
            restarted(ROLES[name])
        finally:
            listener.close()


def aged(fleet: Fleet, state: str, *names: str) -> None:
    """Have another process write that nodes were heard of two hours ago."""
    with sqlite3.connect(fleet.folder / state / "nodes.sqlite") as db:
        for name in names:
            db.execute("UPDATE nodes SET seen=seen-7200 WHERE identity=?", (name,))
    db.close()


def test_who_knows_asks_nobody_who_is_there(fleet, heard):
    """The request itself is all that goes out; with --fresh, for a change and by `find` they are asked."""
    with knowing(fleet, "all") as alice:
        heard()
        assert ask(alice).stats["ok"] == 3
        assert heard() == ["rpcutil.ping"]
        assert ask(alice, fresh=True).stats["ok"] == 3
        assert heard() == ["discovery.ping", "rpcutil.ping"]
        assert ask(alice, known=False).stats["ok"] == 3
        assert heard() == ["discovery.ping", "rpcutil.ping"]
        alice.rpc("service", "restart", name="x", facts="role=web", via="broadcast")
        assert heard() == ["discovery.ping", "service.restart"]
        alice.find(Targeting(filter=Filter(fact=("role=web",))))
        assert heard() == ["discovery.ping"]
        alice.rpc("rpcutil", "ping", where="fstat('/etc/passwd').present=true", via="broadcast")
        assert heard() == ["discovery.ping", "rpcutil.ping"]
        assert alice.rpc("rpcutil", "ping", facts="role=web").via == "direct"
        assert heard() == ["discovery.ping"]


def test_who_has_not_asked_asks(fleet, heard):
    """The few that have registered are not all: somebody must have been asked before."""
    with fleet.client(state="new") as alice:
        heard()
        assert ask(alice).stats["ok"] == 3
        assert heard() == ["discovery.ping", "rpcutil.ping"]
        assert ask(alice).stats["ok"] == 3
        assert heard() == ["rpcutil.ping"]


def test_a_node_that_is_not_known_to_match_is_found_late(fleet, heard):
    """It has a row, counts as a target, was not sent to by name, and is a target next time."""
    with knowing(fleet, "late"):
        pass  # and does not hear what changes now
    with another_role(fleet, "db1", "web"), fleet.client(state="late") as alice:
        heard()
        replies = ask(alice)
        assert heard() == ["rpcutil.ping"]
        # whom nobody waits for may answer after those who were known
        assert wait_until(lambda: "db1" in by_name(replies), 60)
        entry = by_name(replies)["db1"]
        assert (entry.state, entry.reason, entry.sent) == ("ok", "found late", None)
        assert not entry.unexpected
        stats = replies.stats
        assert (stats["targets"], stats["ok"], stats["unexpected"]) == (4, 4, 0)
        frame = replies.ledger().set_index("sender")
        assert frame.sent.isna()["db1"]
        (_record, counts) = alice.requests()[-1]
        assert (counts["ok"], counts.get("pending", 0)) == (4, 0)
        again = by_name(ask(alice))["db1"]
        assert (again.state, again.reason) == ("ok", "")
        assert heard() == ["rpcutil.ping"]


def test_a_target_that_no_longer_matches_is_silent(fleet, heard):
    """It says so itself when it is probed, and is no target the next time."""
    with knowing(fleet, "gone"):
        pass
    with another_role(fleet, "web3", "db"), fleet.client(state="gone") as alice:
        heard()
        found = by_name(ask(alice))
        assert {name for name, one in found.items() if one.state == "ok"} == {"web1", "web2"}
        assert (found["web3"].state, found["web3"].reason) == ("silent", "no longer matches")
        assert set(by_name(ask(alice))) == {"web1", "web2"}
        assert heard() == ["rpcutil.ping", "rpcutil.ping"]


def test_the_stale_are_asked_by_themselves(fleet, heard, monkeypatch):
    """Who was not heard of for long says what it is before the request goes out, and all others not."""
    monkeypatch.setattr(methods, "_SILENCE", 60.0)  # on a busy machine, too, it says so in time
    with knowing(fleet, "stale"):
        pass
    with another_role(fleet, "web3", "db"):
        aged(fleet, "stale", "web3")
        with fleet.client(state="stale") as alice:
            heard()
            assert set(by_name(ask(alice))) == {"web1", "web2"}
            assert heard() == ["rpcutil.ping"]
            aged(fleet, "stale", "web1")
            assert set(by_name(ask(alice))) == {"web1", "web2"}
            assert alice.known.seen(fleet.collective, ["web1"])["web1"] > time.time() - 60
            assert heard() == ["rpcutil.ping"]
            aged(fleet, "stale", "web1", "web2")
            assert ask(alice).stats["ok"] == 2
            assert heard() == ["discovery.ping", "rpcutil.ping"]


def test_a_node_that_is_down_is_a_row(fleet, heard):
    """Known and fresh, or known and stale: it is a target that gave no reply."""
    with knowing(fleet, "down") as alice:
        fleet.kill9("web2")
        try:
            for age in (0, 1):
                heard()
                if age:
                    aged(fleet, "down", "web2")
                found = by_name(ask(alice))
                assert set(found) == WEB
                assert (found["web2"].state, found["web1"].state) == ("silent", "ok")
                assert found["web2"].reason.startswith("no reply, and no answer to a probe")
                assert heard() == ["rpcutil.ping"]
        finally:
            fleet.start("web2")


def test_a_new_node_is_heard_of_by_who_listens(fleet, heard, tmp_path: Path):
    """An open shell knows it by its registration: it is a target from the start."""
    with knowing(fleet, "open") as alice, another_role(fleet, "db1", "web"):
        assert wait_until(
            lambda: alice.known.node(fleet.collective, "db1").facts["role"] == "web", 60
        )
        heard()
        found = by_name(ask(alice))
        assert (found["db1"].state, found["db1"].reason) == ("ok", "")
        assert heard() == ["rpcutil.ping"]


def test_what_matches_no_more_is_not_asked_by_name(fleet, heard, monkeypatch):
    """Who lives, and is something else than was known, has nothing done to it that is meant for that."""
    monkeypatch.setattr(methods, "_BY_NAME", 60.0)  # on a busy machine, too, it says so in time
    with knowing(fleet, "by-name"):
        pass
    with another_role(fleet, "web3", "db"), fleet.client(state="by-name") as alice:
        heard()
        replies = alice.rpc("rpcutil", "ping", facts="role=web")
        assert replies.via == "direct"
        assert set(by_name(replies)) == {"web1", "web2"}
        assert set(heard()) == {"discovery.ping"}  # once, where its registration came first
        assert alice.known.node(fleet.collective, "web3").facts["role"] == "db"


def test_a_retry_does_nothing_to_what_does_not_match(fleet, heard):
    """A row that says so is left alone: asked by name, it would do what others were meant to do."""
    with knowing(fleet, "again"):
        pass
    with another_role(fleet, "web3", "db"), fleet.client(state="again") as alice:
        assert by_name(ask(alice))["web3"].reason == "no longer matches"
        again = alice.again()
        assert again.names == []
        assert "left alone: web3" in again.left_alone


def test_a_name_that_nobody_knows_is_a_row(fleet):
    """Beside a filter, too: it is not asked, as nobody can tell whether it matches, nor passed over."""
    with knowing(fleet, "named") as alice:
        names = ["web1", "db1", "ghost"]
        for how in (
            {"nodes": names},
            {"identities": names},
            {"identities": names, "via": "broadcast"},  # to whoever is known to match
        ):
            replies = alice.rpc("rpcutil", "ping", facts="role=web", **how)
            found = by_name(replies)
            assert {name: one.state for name, one in found.items()} == {
                "web1": "ok",
                "ghost": "silent",
            }
            assert found["ghost"].reason == methods.UNHEARD
            assert found["ghost"].sent is None
            assert alice.again().names == []
            assert alice.notices.pop() == f"ghost: {methods.UNHEARD}"
    (fleet.folder / "names").write_text("web1\nghost\n")
    words = ("--nodes", "names", "-F", "role=web")
    told = [fleet.cli(verb, *words) for verb in ("find", "ping")]
    assert all(f"ghost: {methods.UNHEARD}" in one.stderr for one in told)
    assert [one.returncode for one in told] == [0, 5]


def test_who_is_not_asked_is_told_once(fleet):
    """Also where they were looked for twice: among the known, then, being few, by discovery."""
    with knowing(fleet, "once") as alice:
        alice.rpc("rpcutil", "ping", facts="role=web", identities=["web1", "ghost"])
        assert alice.notices == [f"ghost: {methods.UNHEARD}"]


def test_a_window_that_was_cut_short_finds_not_all(fleet):
    """Whoever has waited for less than usual has not asked all: the next one waits for them."""
    with fleet.client(state="hasty") as alice:
        since = time.time() - 60
        alice.discover(discovery_timeout=0.5)
        assert not alice.known.surveyed(fleet.collective, Filter(), since)
        alice.discover()
        assert alice.known.surveyed(fleet.collective, Filter(), since)


def test_any_number_may_be_gone(fleet):
    """More known nodes than one filter can name do not answer: they are targets, as ever."""
    gone = {f"n{hashlib.sha256(bytes([n % 256, n // 256])).hexdigest()}" for n in range(1500)}
    with knowing(fleet, "gone-many") as alice:
        now, facts = time.time(), {"role": "web"}
        nodes = [CachedNode(identity=name, seen=now, facts=facts) for name in gone]
        alice.known.learn(fleet.collective, nodes)
        found = alice.find(Targeting(filter=Filter(fact=("role=web",))))
        assert set(found.names) == gone | WEB


def test_a_cache_that_takes_nothing_costs_no_reply(fleet):
    """What nodes have answered is given to whoever has asked, though the known nodes' file is locked."""
    with (
        fleet.client(state="locked") as alice,
        closing(sqlite3.connect(fleet.folder / "locked" / "nodes.sqlite")) as other,
    ):
        other.execute("BEGIN IMMEDIATE")
        assert alice.rpc("rpcutil", "ping", nodes=["web1"]).stats["ok"] == 1


def test_a_limit_takes_those_who_answer(fleet):
    """One who is only known is taken where those who live are too few, and is a row then."""
    with fleet.client(state="state-limited") as client:
        about = {"facts": {"role": "web"}, "agents": frozenset({"rpcutil"}), "seen": time.time()}
        gone = [CachedNode(identity=f"gone{n}", **about) for n in range(50)]
        client.known.learn(fleet.collective, gone)
        for more in (
            {},
            {"nodes": [*ROLES, *(node.identity for node in gone)], "where": "role=web"},
        ):
            assert client.rpc("rpcutil", "ping", one=True, **more).stats["ok"] == 1
        stats = client.rpc("rpcutil", "ping", limit=6).stats
        assert (stats["ok"], stats["silent"]) == (4, 2)


def test_who_acts_on_what_is_known_hears_how_old_it_is(fleet):
    """Nobody was asked who is there, or what it is."""
    with fleet.client(state="state-aged") as client:
        client.discover()
        assert client.rpc("rpcutil", "ping", source="inventory").stats["ok"] == len(ROLES)
        (line,) = [one for one in client.notices if "last seen" in one]
        assert line.startswith("from the inventory, nobody was asked: last seen ")


def test_an_empty_list_of_nodes_is_nobody(fleet, heard):
    """Nor is one of identities anybody, beside a filter, too: one line says so, and nothing is sent."""
    with fleet.client(state="state-empty") as client:
        heard()
        for more in ({}, {"where": "role=web"}, {"via": "queue"}):
            with pytest.raises(NoTargets, match="the list of nodes is empty"):
                client.rpc("rpcutil", "ping", nodes=[], **more)
            with pytest.raises(NoTargets, match="the list of nodes is empty"):
                client.rpc("rpcutil", "ping", identities=iter(()), **more)
        with pytest.raises(NoTargets, match="the list of nodes is empty"):
            client.jobs.submit("rpcutil", "ping", nodes=[])
        assert heard() == []
        assert client.requests() == []


def test_a_name_that_nobody_knows_is_a_row_of_what_is_queued(fleet):
    """Of a request and of a job: nothing goes out to it, it has nothing, and is not asked again."""
    with knowing(fleet, "state-queued") as alice:
        where = {"nodes": ["web1", "db1", "ghost"], "facts": "role=web"}
        queued = alice.rpc("rpcutil", "ping", via="queue", timeout=30, **where)
        job = alice.jobs.submit("rpcutil", "ping", at="+1h", name="later", **where)
        assert job.wait_accepted(30)
        for replies, state in ((queued, "ok"), (job, "received")):
            found = by_name(replies)
            assert {name: one.state for name, one in found.items()} == {
                "web1": state,
                "ghost": "silent",
            }
            assert (found["ghost"].reason, found["ghost"].sent) == (methods.UNHEARD, None)
        assert queued.tracker.finished
        assert alice.again(queued.requestid).names == []
        assert {row["sender"] for row in alice.jobs.rows(job.job)} == {"web1"}
        assert alice.jobs.cancel("later", timeout=30).stats["targets"] == 1
    words = ("--nodes", "names", "-F", "role=web", "--json", "-y")
    (fleet.folder / "names").write_text("web1\nghost\n")
    done = fleet.cli("job", "submit", "rpcutil", "ping", "--at", "+1h", *words)
    rows = json.loads(done.stdout)
    rows = rows["replies"] if isinstance(rows, dict) else rows
    assert {row["sender"]: row["state"] for row in rows} == {"web1": "received", "ghost": "silent"}
    (fleet.folder / "more").write_text("x")
    there = ("web1,ghost:/tmp/nothing/", "-F", "role=web", "--json", "-y")
    with fleet.client() as alice:
        asked = len(alice.requests())
    for how in ((), ("--via", "queue")):
        rows = json.loads(fleet.cli("cp", "names", "more", *there, *how, timeout=120).stdout)
        assert {(row["sender"], row["source"], row["state"]) for row in rows} == {
            (node, source, "denied" if node == "web1" else "silent")
            for node in ("web1", "ghost")
            for source in ("names", "more")
        }
        assert {row["reason"] for row in rows if row["sender"] == "ghost"} == {methods.UNHEARD}
    with fleet.client() as alice:
        records = [record for record, _counts in alice.requests()[asked:]]
        assert len(records) >= 4
        for record in records:
            sent = [one.sender for one in alice.replies(record.id).entries() if one.sent]
            assert sent == ["web1"]
