"""Nodes refuse unheard what lives longer than their `max_ttl`: so it is refused before it is sent, and no default is longer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from mcshell.errors import UsageError
from tests.peers.fleet import Fleet, Node

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from mcshell.client.client import Client
    from tests.peers.brokers import Broker

PLAN = """\
plan: {name}
steps:
  - step: one
    ask: rpcutil.ping
    nodes: n1
  - step: two
    ask: rpcutil.ping
    nodes: n1
{more}"""
RULES = "policy default deny\nallow\tcert=alice\t*\t*\t*\n"


@pytest.fixture(scope="module")
def alice(embedded: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """An operator of a node that takes nothing which lives for longer than ten minutes."""
    folder, most = tmp_path_factory.mktemp("ttl"), 'max_ttl = "10m"\n'
    rules = dict.fromkeys(("job", "approval"), RULES)
    with Fleet(embedded, folder, {"n1": Node()}, policies=rules, more=most) as fleet:
        with fleet.config.open("a") as file:
            file.write(f"[node]\n{most}")
        fleet.start()
        with fleet.client() as client:
            yield client


def plan(folder: Path, name: str, more: str = "") -> Path:
    """A file of a plan of two steps."""
    path = folder / f"{name}.yaml"
    path.write_text(PLAN.format(name=name, more=more))
    return path


def test_no_default_is_longer_than_nodes_take(alice: Client, tmp_path: Path) -> None:
    """Without a ttl a queued request, a job, its edit, a plan and a proposal come to the node, and are answered."""
    asked = alice.rpc("rpcutil", "ping", nodes="n1", via="queue", timeout=30)
    assert [row.state for row in asked] == ["ok"]
    job = alice.jobs.submit("rpcutil", "ping", nodes="n1", at="+1h", name="later")
    assert job.wait_accepted(30)
    assert [row.state for row in alice.jobs.edit(job, at="+2h", timeout=30)] == ["ok"]
    assert alice.plans.run(plan(tmp_path, "short"), timeout=30).state == "ok"
    assert alice.approvals.propose("rpcutil", "ping", nodes="n1")


ASKED: dict[str, Callable[[Client, Path], Any]] = {
    "a queued request": lambda alice, _: alice.rpc(
        "rpcutil", "ping", nodes="n1", via="queue", ttl="1h"
    ),
    "a job": lambda alice, _: alice.jobs.submit("rpcutil", "ping", nodes="n1", at="+1h", ttl="1h"),
    "a job of no time": lambda alice, _: alice.jobs.submit("rpcutil", "ping", nodes="n1", ttl=0),
    "a proposal": lambda alice, _: alice.approvals.propose("rpcutil", "ping", nodes="n1", ttl="1h"),
    "a later step of a plan": lambda alice, folder: alice.plans.run(
        plan(folder, "long", "    ttl: 1h\n")
    ),
    "the look at a plan": lambda alice, folder: alice.plans.preview(
        plan(folder, "looked", "    ttl: 1h\n")
    ),
}


@pytest.mark.parametrize("what", ASKED)
def test_what_nodes_would_refuse_is_refused_here(alice: Client, tmp_path: Path, what: str) -> None:
    """Nothing is committed, nor sent: it would be `pending` to its end, a plan after its first steps."""
    before = len(alice.requests())
    with pytest.raises(UsageError, match=r"node\.max_ttl"):
        ASKED[what](alice, tmp_path)
    assert len(alice.requests()) == before
