"""The audit log of real daemons: floods, outcomes of all ways, a kill, heads, a full disk."""

from __future__ import annotations

import json
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from mcshell.node.audit.files import log_files
from mcshell.node.audit.verify import verify
from mcshell.wire import destinations
from tests.peers.bare import Bare
from tests.peers.fleet import ROOT, Fleet, Node
from tests.peers.processes import wait_until
from tests.peers.small_disk import SmallDisk, small_disk

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mcshell.client.rpc.replies import Replies
    from tests.peers.brokers import Broker

PATIENCE = 60.0
AGENTS = f'agents = ["{ROOT}/tests/agents_for_tests"]\n'
POLICIES = {
    "exec": "policy default deny\nallow\tcert=alice\t*\t*\t*\n",
    "converse": "policy default deny\nallow\tcert=alice\t*\t*\t*\n",
}
SUPERVISOR = """\
[pools.inventory]
members = ["sup*"]
"""


def log_of(fleet: Fleet, name: str = "web1") -> Path:
    """A node's audit file."""
    return fleet.folder / f"state-{name}" / "node" / "audit.jsonl"


def states(replies: Replies) -> list[str]:
    """How a request came out, on each node."""
    return [row.state for row in replies.rows()]


def verified(fleet: Fleet, *words: str) -> tuple[int, str, dict[str, Any]]:
    """What `audit verify` says of a node's log: exit code, notes, row."""
    done = fleet.cli("audit", "verify", str(log_of(fleet)), *words, "--json")
    found = json.loads(done.stdout) if done.stdout else {}
    rows = found.get("rows", found) if isinstance(found, dict) else found
    return done.returncode, done.stderr + done.stdout, rows[0] if rows else {}


@pytest.fixture
def fleet(embedded: Broker, tmp_path: Path) -> Iterator[Fleet]:
    """One node, not started yet."""
    more = f'{AGENTS}register_every = "2s"\nserve = ["sms"]\n[pools.sms]\nmembers = ["web*"]\n'
    with Fleet(embedded, tmp_path, {"web1": Node()}, policies=POLICIES, more=more) as fleet:
        with fleet.config.open("a") as file:
            file.write(f'[node]\n{AGENTS}[pools.sms]\nmembers = ["web*"]\n{SUPERVISOR}')
        yield fleet


def test_a_flood_of_junk_is_counted(fleet: Fleet) -> None:
    """20,000 unsigned messages: fewer than 100 lines, all of them in the counts (a20_flood)."""
    fleet.environ["MCSHELL_NODE_AUDIT_EVERY"] = "60s"
    fleet.start()
    with Bare(fleet.broker) as bare:
        bare.connect()
        place = destinations.broadcast(fleet.collective)
        for number in range(20_000):
            bare.send(place, b'{"id":"%032x"}' % number, confirm=False)
        bare.send(place, b"x")
    done = fleet.cli("rpc", "rpcutil", "ping", "-I", "web1", "--json", timeout=PATIENCE)
    assert [one["state"] for one in json.loads(done.stdout)["replies"]] == ["ok"]
    fleet.stop()
    text = log_of(fleet).read_text().splitlines()
    events = [json.loads(line) for line in text]
    refused = [event for event in events if event["event"] == "refused"]
    assert len(text) < 100
    assert sum(event["count"] for event in refused) == 20_001
    assert verify(log_files(log_of(fleet)), {}).broken is None


def test_every_action_is_audited_before_and_after(fleet: Fleet) -> None:
    """Broadcast, direct, queue, pool, a job's run and a conversation; discovery is counted."""
    fleet.start()
    with fleet.client() as alice:
        asked = {
            "broadcast": alice.rpc("rpcutil", "ping"),
            "direct": alice.rpc("rpcutil", "ping", nodes=["web1"]),
            "queue": alice.rpc("rpcutil", "ping", nodes=["web1"], via="queue"),
            "pool": alice.rpc("rpcutil", "ping", pool="sms", via="pool"),
            "failed": alice.rpc("service", "status", name="there-is-none", nodes=["web1"]),
        }
        for replies in asked.values():
            replies.wait(PATIENCE)
        with alice.open("web1", "echo") as talk:
            talk.send("hello")
            talk.receive(PATIENCE)
        jobid = alice.jobs.submit("rpcutil", "ping", nodes=["web1"]).requestid

    def events(requestid: str) -> list[tuple[str, str | None]]:
        found = [one for one in fleet.audit("web1") if one.get("requestid") == requestid]
        return [(one["event"], one.get("state")) for one in found]

    assert wait_until(lambda: ("finished", "ok") in events(jobid), PATIENCE), events(jobid)
    for via in ("broadcast", "direct", "pool"):
        expected = [("accepted", None), ("finished", "ok")]
        assert events(asked[via].requestid) == expected, via
    queue = [("accepted", None), ("started", None), ("finished", "ok")]
    assert events(asked["queue"].requestid) == queue
    assert events(asked["failed"].requestid)[-1] == ("finished", "failed")
    talked = [one for one in fleet.audit("web1") if one.get("agent") == "converse"]
    assert [one["event"] for one in talked][:1] == ["accepted"]
    assert wait_until(
        lambda: any(
            one["event"] == "finished" and one["agent"] == "converse" for one in fleet.audit("web1")
        ),
        PATIENCE,
    )


def test_heads_leave_and_a_killed_log_verifies(fleet: Fleet) -> None:
    """A supervisor keeps each head; after a kill -9 and a start the log is whole, an edit is found."""
    fleet._enrol("sup1", "node", SUPERVISOR)
    supervisor = fleet._run("sup1", ["supervisor", "--config", str(fleet.folder / "sup1.toml")])
    try:
        fleet._wait("sup1", supervisor, 0)
        fleet.start()
        with fleet.client() as alice:
            for _ in range(20):
                alice.rpc("rpcutil", "ping", nodes=["web1"]).wait(PATIENCE)
            fleet.kill9("web1")
            with log_of(fleet).open("ab") as file:
                file.write(b'{"time":"2026-11-25T')
            fleet.start()
            alice.rpc("rpcutil", "ping", nodes=["web1"]).wait(PATIENCE)
        kept = fleet.folder / "state-sup1" / "supervisor" / "registrations.sqlite"
        last = json.loads(log_of(fleet).read_text().splitlines()[-1])["n"]

        def anchored() -> int:
            done = verified(fleet, "--heads", str(kept))
            return int(done[2].get("last", 0)) - int(done[2].get("unanchored", 1 << 60))

        assert wait_until(lambda: anchored() >= last, PATIENCE), verified(
            fleet, "--heads", str(kept)
        )
        code, said, row = verified(fleet, "--heads", "inventory")
        asked = (code, row.get("torn"), row.get("ok"))
    finally:
        supervisor.stop()
    code, said, row = verified(fleet, "--heads", str(kept))
    assert (code, row["torn"], row["ok"]) == (0, 1, True), said
    assert asked == (0, 1, True)
    text = log_of(fleet).read_bytes()
    log_of(fleet).write_bytes(text.replace(b'"event":"finished"', b'"event":"Finished"', 1))
    code, said, row = verified(fleet, "--heads", str(kept))
    assert (code, row["ok"]) == (1, False)
    assert row["problem"].startswith("audit.jsonl:")


@pytest.fixture
def disk(fleet: Fleet) -> Iterator[SmallDisk]:
    """The node's state on a filesystem of its own of 4 MiB."""
    with small_disk(fleet.folder / "state-web1") as disk:
        yield disk
        fleet.stop()


def test_on_a_full_disk_the_operator_can_clear_it(fleet: Fleet, disk: SmallDisk) -> None:
    """Exec goes on from the reserve, reading is answered and its lines are counted as lost."""
    fleet.start()
    with fleet.client() as alice:
        alice.rpc("rpcutil", "ping", nodes=["web1"]).wait(PATIENCE)
        filler = disk.fill()
        reads = set()
        for _ in range(10):
            read = alice.rpc("rpcutil", "ping", nodes=["web1"])
            read.wait(PATIENCE)
            assert states(read) == ["ok"]
            reads.add(read.requestid)
        cleared = alice.rpc("exec", "run", argv=["rm", str(filler)], nodes=["web1"])
        cleared.wait(PATIENCE)
        assert states(cleared) == ["ok"]
        assert not filler.exists()
        alice.rpc("rpcutil", "ping", nodes=["web1"]).wait(PATIENCE)
    events = [json.loads(line) for line in log_of(fleet).read_text().splitlines()]
    mine = [one["event"] for one in events if one.get("requestid") == cleared.requestid]
    assert mine == ["accepted", "finished"]
    found = verify(log_files(log_of(fleet)), {})
    assert found.broken is None
    lost = sum(gap.lost for gap in found.gaps)
    assert lost > 0
    assert lost + sum(one.get("requestid") in reads for one in events) == 20


def test_without_reserve_changes_are_refused_and_all_else_is_answered(
    fleet: Fleet, disk: SmallDisk
) -> None:
    """The reason names the log; what only looks is done, and a gap says what was lost."""
    fleet.start()
    reserve = log_of(fleet).with_name("audit.jsonl.reserve")
    with fleet.client() as alice:
        alice.rpc("rpcutil", "ping", nodes=["web1"]).wait(PATIENCE)
        filler = disk.fill()
        large = "x" * 60_000
        outcomes: Counter[str] = Counter()
        for _ in range(6):
            done = alice.rpc("exec", "run", argv=["true", large], nodes=["web1"])
            done.wait(PATIENCE)
            outcomes.update(states(done))
            last = [row.statusmsg for row in done.rows()]
        assert set(outcomes) == {"ok", "failed"}
        assert "the audit log cannot be written (No space left on device)" in last[0]
        assert reserve.read_bytes().rstrip(b"\0").endswith(b"\n")
        read = alice.rpc("rpcutil", "ping", nodes=["web1"])
        read.wait(PATIENCE)
        assert states(read) == ["ok"]
        filler.unlink()
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            done = alice.rpc("exec", "run", argv=["true"], nodes=["web1"])
            done.wait(PATIENCE)
            if states(done) == ["ok"]:
                break
    found = verify(log_files(log_of(fleet)), {})
    assert found.broken is None
    assert sum(gap.lost for gap in found.gaps) >= outcomes["failed"] + 2
