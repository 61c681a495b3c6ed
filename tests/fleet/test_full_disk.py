"""A node whose disk takes nothing: it is a row with its reason, and comes back by itself."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest

from tests.peers.fleet import ROOT, Fleet, Node
from tests.peers.processes import wait_until
from tests.peers.small_disk import SmallDisk, small_disk

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mcshell.client.client import Client
    from mcshell.client.rpc.replies import Replies
    from tests.peers.brokers import Broker

PATIENCE = 120.0
POOL = '[pools.sms]\nmembers = ["web*"]\n'
MORE = f'agents = ["{ROOT}/tests/agents_for_tests"]\nserve = ["sms"]\nslots = 2\n{POOL}'
POLICIES = {"exec": "policy default deny\nallow\tcert=alice\t*\t*\t*\n"}


@pytest.fixture
def fleet(embedded: Broker, tmp_path: Path) -> Iterator[Fleet]:
    """One node, not started yet."""
    with Fleet(embedded, tmp_path, {"web1": Node()}, policies=POLICIES, more=MORE) as fleet:
        with fleet.config.open("a") as file:
            file.write(POOL)
        yield fleet


@pytest.fixture
def disk(fleet: Fleet) -> Iterator[SmallDisk]:
    """The node's state on a filesystem of its own of 16 MiB."""
    with small_disk(fleet.folder / "state-web1", "16m") as disk:
        yield disk
        fleet.stop()


def outcome(replies: Replies) -> tuple[str, str]:
    """State and reason of the only node's row, once it has a last word."""
    replies.wait(PATIENCE)
    (row,) = replies.rows()
    return row.state, row.statusmsg


def works(alice: Client) -> bool:
    """Whether the node does queued work now."""
    return outcome(alice.rpc("rpcutil", "ping", nodes=["web1"], via="queue"))[0] == "ok"


def explained(fleet: Fleet) -> str:
    """What `explain` says of the node."""
    return fleet.cli("explain", "web1", timeout=PATIENCE).stdout


def test_three_hundred_requests_to_a_full_node_are_answered(fleet: Fleet, disk: SmallDisk) -> None:
    """Each gets a signed last word with the reason, ping and explain name the disk, then it works."""
    fleet.start()
    with fleet.client() as alice:
        assert works(alice)
        disk.fill()
        asked = [
            alice.rpc("rpcutil", "ping", nodes=["web1"], via=via, wait=False)
            for _ in range(100)
            for via in ("direct", "queue", "queue")
        ]
        outcomes = [outcome(replies) for replies in asked]
        refusals = Counter(text for state, text in outcomes if state != "ok")
        assert {state for state, _text in outcomes} <= {"ok", "failed"}
        assert refusals.total() >= 200
        assert all(text.startswith("refused: nothing can be kept here") for text in refusals)
        assert list(alice.discover().sender) == ["web1"]
        assert "is full" in explained(fleet)
        disk.empty()
        assert works(alice)
    assert fleet.nodes["web1"].running


def test_a_pool_loses_a_few_requests_to_a_full_worker(fleet: Fleet, disk: SmallDisk) -> None:
    """It refuses no more than it has slots, and leaves the rest to others, or until there is room."""
    fleet.start()
    with fleet.client() as alice:
        assert outcome(alice.rpc("rpcutil", "ping", pool="sms", via="pool"))[0] == "ok"
        disk.fill()
        asked = [
            alice.rpc("rpcutil", "ping", pool="sms", via="pool", wait=False) for _ in range(200)
        ]

        def refused() -> list[Replies]:
            return [one for one in asked if one.rows()[0].state == "failed"]

        assert wait_until(lambda: len(refused()) == 2, PATIENCE)
        assert Counter(one.rows()[0].state for one in asked)["pending"] > 100
        assert all("nothing can be kept here" in one.rows()[0].statusmsg for one in refused())
        disk.empty()
        outcomes = Counter(outcome(one)[0] for one in asked)
        assert outcomes == {"failed": 2, "ok": 198}


def test_what_was_taken_in_before_is_done_when_there_is_room(fleet: Fleet, disk: SmallDisk) -> None:
    """A run that ends on the full disk, and one that waits in the spool, come to their ends."""
    fleet.start()
    with fleet.client() as alice:
        asked = [
            alice.rpc("exec", "run", argv=["sleep", "3"], nodes=["web1"], via="queue", wait=False)
            for _ in range(5)
        ]
        known = [
            lambda one=one: one.rows()[0].state in ("received", "running", "ok") for one in asked
        ]
        assert all(wait_until(taken, PATIENCE) for taken in known)
        disk.fill()
        assert "is full" in explained(fleet)
        disk.empty()
        assert [outcome(one)[0] for one in asked] == ["ok"] * 5


def test_a_node_that_starts_on_a_full_disk_is_a_row(fleet: Fleet, disk: SmallDisk) -> None:
    """It answers ping, knows what ran here before, and the operator can clear it: it begins anew."""
    fleet.start()
    with fleet.client() as alice:
        before = alice.rpc("rpcutil", "ping", nodes=["web1"], via="queue")
        assert outcome(before)[0] == "ok"
        fleet.stop()
        filler = disk.fill()
        fleet.start()
        assert list(alice.discover().sender) == ["web1"]
        said = alice.rpc("rpcutil", "seen", requestid=before.requestid, nodes=["web1"])
        said.wait(PATIENCE)
        assert said.rows()[0].data["state"] == "ok"
        state, text = outcome(alice.rpc("exec", "run", argv=["true"], nodes=["web1"], via="queue"))
        assert (state, text.partition(":")[0]) == ("failed", "refused")
        assert "is full" in explained(fleet)
        cleared = alice.rpc("exec", "run", argv=["rm", str(filler)], nodes=["web1"])
        assert outcome(cleared)[0] == "ok"
        assert wait_until(lambda: works(alice), PATIENCE)
    assert fleet.nodes["web1"].running


def test_a_node_that_starts_without_an_inode_is_a_row(fleet: Fleet) -> None:
    """Its disk has room, but for no further file: it answers, refuses, and begins anew, as on a full one."""
    with small_disk(fleet.folder / "state-web1", "16m", files=80) as disk:
        fleet.start()
        with fleet.client() as alice:
            assert works(alice)
            fleet.stop()
            disk.take_files()
            fleet.start()
            assert list(alice.discover().sender) == ["web1"]
            asked = alice.rpc("exec", "run", argv=["true"], nodes=["web1"], via="queue")
            state, text = outcome(asked)
            assert (state, text.partition(":")[0]) == ("failed", "refused")
            assert "has no inode left" in explained(fleet)
            disk.empty()
            assert wait_until(lambda: works(alice), PATIENCE)
        fleet.stop()


def test_a_node_on_a_read_only_state_is_a_row(fleet: Fleet, disk: SmallDisk) -> None:
    """It starts, answers, refuses with the reason, and begins anew when it may write."""
    fleet.start()
    with fleet.client() as alice:
        assert works(alice)
        fleet.stop()
        disk.remount("ro")
        fleet.start()
        assert list(alice.discover().sender) == ["web1"]
        for via in ("direct", "queue"):
            state, text = outcome(alice.rpc("rpcutil", "ping", nodes=["web1"], via=via))
            assert (state, text.partition(":")[0]) == ("failed", "refused"), (via, text)
        assert "is read-only" in explained(fleet)
        disk.remount("rw")
        assert wait_until(lambda: works(alice), PATIENCE)


def test_a_node_that_never_had_room_is_a_row(fleet: Fleet, disk: SmallDisk) -> None:
    """The very first start on a full disk: it is there, and begins when there is room."""
    disk.fill()
    fleet.start()
    with fleet.client() as alice:
        assert list(alice.discover().sender) == ["web1"]
        assert outcome(alice.rpc("rpcutil", "ping", nodes=["web1"]))[0] == "failed"
        disk.empty()
        assert wait_until(lambda: works(alice), PATIENCE)


def test_a_node_whose_files_are_deleted_under_it_loses_nothing(
    fleet: Fleet, tmp_path: Path
) -> None:
    """What it has taken in since is done after a kill -9, once; what it did before is not done again."""
    fleet.start()
    marks = tmp_path / "marks"

    def ask(alice: Client, number: int) -> Replies:
        line = f"sleep 1; echo {number} >> {marks}"
        argv = ["sh", "-c", line]
        return alice.rpc("exec", "run", argv=argv, nodes=["web1"], via="queue", wait=False)

    with fleet.client() as alice:
        before = ask(alice, 0)
        assert outcome(before)[0] == "ok"
        for path in (fleet.folder / "state-web1" / "node").glob("*.sqlite*"):
            path.unlink()
        asked = [ask(alice, number) for number in range(1, 7)]
        for one in asked:
            assert wait_until(lambda one=one: one.rows()[0].state != "pending", PATIENCE)
        fleet.kill9("web1")
        fleet.start()
        outcomes = Counter(outcome(one)[0] for one in asked)
        said = alice.rpc("rpcutil", "seen", requestid=before.requestid, nodes=["web1"])
        said.wait(PATIENCE)
        assert said.rows()[0].data["state"] == "ok"
    assert outcomes.total() == outcomes["ok"] + outcomes["interrupted"]
    assert outcomes["ok"] >= 4, "two slots were at work when it was killed"
    assert max(Counter(marks.read_text().split()).values()) == 1
