"""Ten real daemons on each broker: exactly the right ones answer, and the absent are named."""

from __future__ import annotations

import itertools
import json
import time
from typing import TYPE_CHECKING, Any

import pytest

from mcshell.client.discovery import methods
from tests.fleet.machines import TEN
from tests.peers.processes import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pandas as pd

    from mcshell.client.client import Client
    from tests.peers.fleet import Fleet

pytestmark = pytest.mark.timeout(300)

DEAD, STOPPED, BUSY = "web05", "db02", "web04"
PEERS_TAKE = 8.0  # seconds: the quickest of the peers, with one dead node in ten
# What the filters are asked for here, told once more in plain Python.
CASES: list[tuple[dict[str, Any], Any]] = [
    ({}, lambda _n, _f, _c: True),
    # -F, each operator
    ({"facts": "role=web"}, lambda _n, f, _c: f.get("role") == "web"),
    ({"facts": "role==db"}, lambda _n, f, _c: f.get("role") == "db"),
    ({"facts": "role!=web"}, lambda _n, f, _c: "role" in f and f["role"] != "web"),
    ({"facts": "role=~^(web|db)$"}, lambda _n, f, _c: f.get("role") in ("web", "db")),
    ({"facts": "role=/^c/"}, lambda _n, f, _c: f.get("role", "").startswith("c")),
    ({"facts": "role!=~^w"}, lambda _n, f, _c: "role" in f and f["role"][0] != "w"),
    ({"facts": "slots>8"}, lambda _n, f, _c: f.get("slots", 0) > 8),
    ({"facts": "slots>=8"}, lambda _n, f, _c: f.get("slots", 0) >= 8),
    ({"facts": "slots=>16"}, lambda _n, f, _c: f.get("slots", 0) >= 16),
    ({"facts": "slots<4"}, lambda _n, f, _c: f.get("slots", 99) < 4),
    ({"facts": "slots<=4"}, lambda _n, f, _c: f.get("slots", 99) <= 4),
    ({"facts": "slots=<10"}, lambda _n, f, _c: f.get("slots", 99) <= 10),
    # real types, lists, dotted paths
    ({"facts": "version>1.5"}, lambda _n, f, _c: f.get("version") in ("1.9", "1.10", "2", "2.1")),
    ({"facts": 'version="1.10"'}, lambda _n, f, _c: f.get("version") == "1.10"),
    ({"facts": "tls=true"}, lambda _n, f, _c: f.get("tls") is True),
    ({"facts": "tls=false"}, lambda _n, f, _c: f.get("tls") is False),
    ({"facts": "disks=sda"}, lambda _n, f, _c: "sda" in f.get("disks", ())),
    ({"facts": "city=Zürich"}, lambda _n, f, _c: f.get("city") == "Zürich"),
    ({"facts": "rack.row=3"}, lambda _n, f, _c: f.get("rack", {}).get("row") == 3),
    ({"facts": "rack.name=/^ams-/"}, lambda _n, f, _c: f.get("site") == "ams"),
    ({"facts": ["role=web", "site=lon"]}, lambda n, _f, _c: n in ("web03", "web04")),
    ({"facts": "mcshell.version=/./"}, lambda _n, _f, _c: True),
    # -C, -A, -I
    ({"classes": "ntp"}, lambda _n, _f, c: "ntp" in c),
    ({"classes": "/^role::(db|web)$/"}, lambda _n, f, _c: f.get("role") in ("web", "db")),
    ({"classes": ["base", "ntp"]}, lambda _n, _f, c: {"base", "ntp"} <= set(c)),
    ({"agents": "rpcutil"}, lambda _n, _f, _c: True),
    ({"agents": "/^exe/"}, lambda _n, _f, _c: True),
    ({"identities": "web01"}, lambda n, _f, _c: n == "web01"),
    ({"identities": ["web01", "db01"]}, lambda n, _f, _c: n in ("web01", "db01")),
    ({"identities": "web[01-03]"}, lambda n, _f, _c: n in ("web01", "web02", "web03")),
    ({"identities": "/^web0[24]/"}, lambda n, _f, _c: n in ("web02", "web04")),
    ({"identities": ["/example/", "db02"]}, lambda n, _f, _c: n in ("mon01.example.com", "db02")),
    # -S and where=
    ({"where": "role=web and site=ams"}, lambda n, _f, _c: n in ("web01", "web02")),
    ({"where": "role=db or ntp"}, lambda _n, f, c: f.get("role") == "db" or "ntp" in c),
    ({"where": "not role=web"}, lambda _n, f, _c: f.get("role") != "web"),
    ({"where": "!(role=web or ntp)"}, lambda _n, f, c: f.get("role") != "web" and "ntp" not in c),
    (
        {"where": "role=db or role=web and site=lon"},
        lambda n, _f, _c: n in ("db01", "db02", "web03", "web04"),
    ),
    (
        {"where": "(role=db or role=web) and site=lon"},
        lambda n, _f, _c: n in ("db02", "web03", "web04"),
    ),
    ({"where": "rack.row>=4 and /^role::/"}, lambda _n, f, _c: f.get("rack", {}).get("row", 0) > 3),
    ({"where": "fstat('/etc/passwd').present=true and role=db"}, lambda n, _f, _c: n[:2] == "db"),
    # combined
    (
        {"facts": "site=ams", "classes": "base", "identities": "/^web/", "where": "slots>2"},
        lambda n, _f, _c: n == "web02",
    ),
    (
        {"facts": "role=web", "agents": "exec", "where": "not ntp"},
        lambda n, _f, c: n[:3] == "web" and "ntp" not in c,
    ),
]


def named(frame: pd.DataFrame, state: str) -> set[str]:
    """The senders in this state."""
    return set(frame.loc[frame.state == state, "sender"])


def last_reply(frame: pd.DataFrame) -> float:
    """When the last final reply came in, of a ledger's rows."""
    return float(frame.done.max().timestamp())


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where all are there, whoever is known is waited for, for as long as a window may last."""
    monkeypatch.setattr(methods, "_SILENCE", 60.0)


@pytest.fixture
def without(ten: Fleet, alice: Client) -> Iterator[Callable[[str], None]]:
    """Kills a node with -9, `without(name)`; it runs again after the test."""
    gone: list[str] = []

    def kill(name: str) -> None:
        alice.discover()
        ten.kill9(name)
        gone.append(name)

    yield kill
    for name in gone:
        ten.start(name)


@pytest.fixture
def stopped(ten: Fleet) -> Iterator[Callable[[str], None]]:
    """Stops a node with SIGSTOP, `stopped(name)`; it goes on after the test at the latest."""
    halted: list[str] = []

    def halt(name: str) -> None:
        ten.pause(name)
        halted.append(name)

    yield halt
    for name in halted:
        ten.resume(name)


@pytest.mark.parametrize(
    ("targeting", "meant"), CASES, ids=[json.dumps(case[0], ensure_ascii=False) for case in CASES]
)
@pytest.mark.usefixtures("patient")
def test_exactly_the_right_nodes_answer(alice: Client, targeting: Any, meant: Any) -> None:
    """Found, asked by broadcast and asked directly, a filter means the same nodes."""
    wanted = {name for name, node in TEN.items() if meant(name, node.facts, tuple(node.classes))}
    assert wanted
    found = alice.discover(**targeting)
    assert set(found.sender) == wanted
    for via in ("broadcast", "direct"):
        replies = alice.rpc("rpcutil", "ping", via=via, **targeting)
        assert replies.via == via
        assert named(replies.frame(), "ok") == wanted
        assert replies.stats["targets"] == len(wanted)
        assert replies.stats["unexpected"] == replies.stats["duplicate"] == 0
    assert not alice.junk


def test_the_outputs_are_each_nodes_own(alice: Client) -> None:
    """A reply's data are those of the node whose row it is."""
    rows = alice.rpc("rpcutil", "get_fact", fact="rack.name").frame()
    told = rows.set_index("sender").value.dropna().to_dict()
    facts = {name: node.facts["rack"]["name"] for name, node in TEN.items() if node.facts}
    assert told == facts


def test_a_killed_node_is_silent_and_does_not_hold_up_the_call(
    ten: Fleet, alice: Client, without: Callable[[str], None], record_property: Any
) -> None:
    """It is known, so it has a row; exit 5; the call ends soon after its last reply."""
    without(DEAD)
    for via in ("broadcast", "direct"):
        replies = alice.rpc("rpcutil", "ping", via=via)
        after = time.time() - last_reply(replies.ledger())
        print(f"{ten.broker.kind}, {via}: over {after:.2f} s after the last reply")
        record_property(f"after_last_reply_{via}", round(after, 3))
        assert after < PEERS_TAKE - 3
        frame = replies.frame()
        assert named(frame, "silent") == {DEAD}
        assert named(frame, "ok") == set(TEN) - {DEAD}
    ledger = replies.ledger().set_index("sender")
    assert "no answer to a probe" in ledger.reason[DEAD]

    done = ten.cli("rpc", "rpcutil", "ping", "--json")
    assert done.returncode == 5, done.stderr
    states = {row["sender"]: row["state"] for row in json.loads(done.stdout)["replies"]}
    assert states == {name: "silent" if name == DEAD else "ok" for name in TEN}


def test_without_known_nodes_the_dead_are_no_targets(
    ten: Fleet, alice: Client, without: Callable[[str], None]
) -> None:
    """`--no-known`: only who answers is asked, and all is well."""
    without(DEAD)
    frame = alice.rpc("rpcutil", "ping", known=False).frame()
    assert named(frame, "ok") == set(frame.sender) == set(TEN) - {DEAD}
    done = ten.cli("rpc", "rpcutil", "ping", "--no-known", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["stats"]["targets"] == len(TEN) - 1


def test_the_stopped_are_silent_and_the_busy_are_waited_for(
    alice: Client, stopped: Callable[[str], None], ten: Fleet
) -> None:
    """SIGSTOP is silence, five seconds of work are not; a late reply still joins the table."""
    stopped(STOPPED)
    replies = alice.rpc(
        "exec", "run", argv=["sleep", "5"], nodes=[STOPPED, BUSY, "web01"], timeout="60s"
    )
    ledger = replies.ledger().set_index("sender")
    assert dict(ledger.state) == {STOPPED: "silent", BUSY: "ok", "web01": "ok"}
    assert not ledger.late.any()
    assert (ledger.done[BUSY] - ledger.sent[BUSY]).total_seconds() >= 5
    assert ledger.running.notna()[BUSY]

    ten.resume(STOPPED)
    assert wait_until(lambda: replies.stats["silent"] == 0, 60.0)
    assert wait_until(lambda: replies.stats["ok"] == 3, 60.0)
    row = replies.ledger().set_index("sender").loc[STOPPED]
    assert (row.state, row.late) == ("ok", True)


def test_a_node_with_no_slot_free_is_waited_for(
    alice: Client, stopped: Callable[[str], None]
) -> None:
    """A ping behind five seconds of work on all slots that its caller may have is late, not lost."""
    busy = [
        alice.rpc("exec", "run", argv=["sleep", "5"], nodes=[BUSY], wait=False, timeout="60s")
        for _ in range(12)
    ]
    assert wait_until(lambda: all(one.stats["running"] for one in busy), 60.0)
    stopped(STOPPED)
    replies = alice.rpc("rpcutil", "ping", nodes=[BUSY, STOPPED, "web01"], timeout="60s")
    ledger = replies.ledger().set_index("sender")
    assert dict(ledger.state) == {BUSY: "ok", STOPPED: "silent", "web01": "ok"}
    assert (ledger.done[BUSY] - ledger.sent[BUSY]).total_seconds() > 2
    assert ledger.done["web01"] < ledger.done[BUSY]
    for one in busy:
        assert one.wait(60).stats["ok"] == 1


@pytest.mark.parametrize("wait", [True, False])
def test_whoever_waits_longer_than_anything_lives_has_the_answer(alice: Client, wait: Any) -> None:
    """A timeout beyond the longest ttl, and beyond what clocks can say, is only how long is waited."""
    replies = alice.rpc("rpcutil", "ping", nodes=["web01"], timeout=1e300, wait=wait)
    replies.wait(60)
    assert list(replies.frame().state) == ["ok"]


def test_batches_go_one_after_the_other(alice: Client) -> None:
    """Three at a time with a pause: a batch is sent when the one before is answered."""
    replies = alice.rpc("rpcutil", "ping", batch=3, batch_sleep="0.3s")
    ledger = replies.ledger()
    assert replies.via == "direct"
    assert replies.stats["ok"] == len(TEN)
    waves = [group for _, group in sorted(ledger.groupby("sent"), key=lambda pair: pair[0])]
    assert [len(wave) for wave in waves] == [3, 3, 3, 1]
    for before, after in itertools.pairwise(waves):
        assert after.sent.iloc[0].timestamp() - last_reply(before) >= 0.3


def test_too_many_failures_stop_the_batches(ten: Fleet, alice: Client) -> None:
    """Denied by policy, two at a time: after three failures nobody else is asked."""
    replies = alice.rpc("file", "read", path="/etc/passwd", batch=2, max_failures=3)
    assert (replies.stats["denied"], replies.stats["pending"]) == (4, 6)
    rest = replies.ledger().query("state == 'pending'")
    assert rest.sent.isna().all()
    assert all("not sent: stopped after 4 failures" in reason for reason in rest.reason)
    reads = [
        event
        for name in TEN
        for event in ten.audit(name)
        if event.get("requestid") == replies.requestid
    ]
    assert [event["event"] for event in reads] == ["denied"] * 4


def test_a_canary_goes_before_the_rest(alice: Client) -> None:
    """The others are asked once it has come out well, all at once or in batches."""
    ledger = alice.rpc("rpcutil", "ping", canary=2, batch=5).ledger()
    assert list(ledger.state) == ["ok"] * len(TEN)
    waves = [group for _, group in sorted(ledger.groupby("sent"), key=lambda pair: pair[0])]
    assert [len(wave) for wave in waves] == [2, 5, 3]
    assert waves[1].sent.iloc[0].timestamp() >= last_reply(waves[0])


def test_a_canary_that_is_not_well_saves_the_rest(ten: Fleet, alice: Client) -> None:
    """Denied by policy: one node was asked, nine were not, and each says which canary it was."""
    replies = alice.rpc("file", "read", path="/etc/passwd", canary=1)
    assert (replies.stats["denied"], replies.stats["pending"]) == (1, 9)
    rest = replies.ledger().query("state == 'pending'")
    assert rest.sent.isna().all()
    assert set(rest.reason) == {f"not sent: the canary {replies.failed.sender[0]} is denied"}


@pytest.mark.usefixtures("patient")
def test_a_sample_of_the_nodes(alice: Client) -> None:
    """`limit` asks so many, a seed always the same ones, `one` a single node."""
    some = alice.rpc("rpcutil", "ping", limit=3, limit_seed=7).frame()
    again = alice.rpc("rpcutil", "ping", limit=3, limit_seed=7).frame()
    assert len(some) == 3
    assert named(some, "ok") == set(again.sender)
    assert len(alice.rpc("rpcutil", "ping", limit="30%").frame()) == 3
    few = alice.rpc("rpcutil", "ping", where="role=web", limit="21%").frame()
    assert len(few) == 2
    assert set(few.sender) <= {name for name in TEN if name.startswith("web")}
    single = alice.rpc("rpcutil", "ping", one=True, classes="ntp").frame()
    assert named(single, "ok") < {"web02", "db02", "mon01.example.com"}
    assert len(single) == 1
