"""`explain` on real daemons: each way to be silent is injected, and named for what it is."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import pandas as pd
import pytest

from mcshell.client.discovery.node_cache import CachedNode
from mcshell.errors import MCShellError
from mcshell.message import State
from tests.explain.flawed_fleet import PATIENCE
from tests.peers.fleet import Fleet, Node
from tests.peers.processes import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from mcshell.client.client import Client
    from mcshell.client.rpc.replies import Replies
    from tests.explain.flawed_fleet import FlawedFleet

Case = tuple[str, str]


def asked(client: Client, node: str, agent: str = "rpcutil", action: str = "ping", **more) -> Case:
    """Ask one node by its name, and wait as an operator does."""
    more.setdefault("timeout", 10)
    return node, client.rpc(agent, action, nodes=node, **more).requestid


def queued(client: Client, node: str, sleep: float, **more) -> Replies:
    """Have work wait in a node's queue."""
    more.setdefault("ttl", "1h")
    more.setdefault("wait", False)
    return client.rpc("mark", "nap", nodes=node, via="queue", sleep=sleep, **more)


def state_of(replies: Replies) -> State:
    """Where the only target stands."""
    return replies.entries()[0].state


def never_seen(_world: FlawedFleet, alice: Client) -> Case:
    """A name that nobody has."""
    return asked(alice, "ghost")


def gone_before(flawed_fleet: FlawedFleet, alice: Client) -> Case:
    """A node that died before it was asked."""
    if "gone" in flawed_fleet.nodes:
        flawed_fleet.kill9("gone")
        time.sleep(0.05)  # what it said before is older than what is asked now
    return asked(alice, "gone")


def gone_and_queued(flawed_fleet: FlawedFleet, alice: Client) -> Case:
    """The same, asked through its queue."""
    gone_before(flawed_fleet, alice)
    replies = queued(alice, "gone", 0.0)
    assert replies.wait_confirmed(PATIENCE)
    return "gone", replies.requestid


def expired(flawed_fleet: FlawedFleet, alice: Client) -> Case:
    """The same, and nobody came for it in time."""
    gone_before(flawed_fleet, alice)
    replies = queued(alice, "gone", 0.0, ttl="1s")
    assert replies.wait(PATIENCE).done
    return "gone", replies.requestid


def running(_world: FlawedFleet, alice: Client) -> Case:
    """Work that takes long."""
    replies = queued(alice, "busy", 20.0)
    assert wait_until(lambda: state_of(replies) is State.RUNNING, PATIENCE)
    return "busy", replies.requestid


def spooled(_world: FlawedFleet, alice: Client) -> Case:
    """Work behind other work."""
    queued(alice, "busy", 20.0)
    replies = queued(alice, "busy", 0.0)
    assert wait_until(lambda: state_of(replies) is State.RECEIVED, PATIENCE)
    return "busy", replies.requestid


def left_in_the_broker(_world: FlawedFleet, alice: Client) -> Case:
    """Work for a node whose spool is full: it takes no more."""
    replies = [queued(alice, "full", 25.0) for _ in range(60)]
    assert all(one.wait_confirmed(PATIENCE) for one in replies)
    waits = [one for one in replies if state_of(one) is State.PENDING]
    assert waits
    return "full", waits[-1].requestid


def denied(_world: FlawedFleet, alice: Client) -> Case:
    """What the policy does not allow."""
    return asked(alice, "web1", "package", "status", name="bash")


def missing_input(_world: FlawedFleet, alice: Client) -> Case:
    """An input that the operator's DDL forgot."""
    return asked(alice, "web1", "mark", "nap")


def unknown_action(_world: FlawedFleet, alice: Client) -> Case:
    """An action that only the operator's DDL has."""
    return asked(alice, "web1", "mark", "novel")


def unknown_agent(_world: FlawedFleet, alice: Client) -> Case:
    """An agent that only the operator has a DDL of."""
    return asked(alice, "web1", "other", "ping")


def timed_out(_world: FlawedFleet, alice: Client) -> Case:
    """An action that takes longer than the node allows."""
    return asked(alice, "web1", "mark", "nap", sleep=5.0)


def crashed(_world: FlawedFleet, alice: Client) -> Case:
    """An action that raises what it should not."""
    return asked(alice, "web1", "mark", "crash")


def failed(_world: FlawedFleet, alice: Client) -> Case:
    """An action that fails."""
    return asked(alice, "web1", "mark", "fail")


def too_large(flawed_fleet: FlawedFleet, alice: Client) -> Case:
    """A reply that is larger than the node may send."""
    file = str(flawed_fleet.folder / "marks")
    return asked(alice, "web1", "mark", "once", file=file, text="x" * 5000)


def clock_off(_world: FlawedFleet, alice: Client) -> Case:
    """A node that lives two hours from now: whatever comes has expired."""
    return asked(alice, "fast")


def clock_off_and_queued(_world: FlawedFleet, alice: Client) -> Case:
    """The same node says itself that its work has expired."""
    replies = queued(alice, "fast", 0.0)
    assert replies.wait(PATIENCE).done
    return "fast", replies.requestid


def started_later(flawed_fleet: FlawedFleet, alice: Client) -> Case:
    """A node that came up only after it was asked."""
    if "late" in flawed_fleet.nodes:
        flawed_fleet.kill9("late")
    case = asked(alice, "late", ttl="1s")
    time.sleep(1.1)  # its direct request has expired
    flawed_fleet.start("late")
    return case


def no_match(flawed_fleet: FlawedFleet, alice: Client) -> Case:
    """A node whose facts have changed since it was last heard: it passes."""
    asking = {"facts": "role=old", "via": "broadcast", "timeout": 10}
    alice.known.forget("moved")
    flawed_fleet.kill9("moved")
    (flawed_fleet.folder / "moved.yaml").write_text(json.dumps({"role": "new"}))
    flawed_fleet.start("moved")
    flawed_fleet.known(alice, "moved")
    old = alice.known.node(flawed_fleet.collective, "moved")
    stale = CachedNode(
        identity="moved", seen=time.time() + 30, facts={"role": "old"}, agents=old.agents
    )
    alice.known.learn(flawed_fleet.collective, [stale])
    return "moved", alice.rpc("rpcutil", "ping", **asking).requestid


def stopped(_world: FlawedFleet, alice: Client) -> Case:
    """A target that was left out after others had failed."""
    replies = alice.rpc("mark", "fail", nodes=["web1", "busy"], batch=1, max_failures=1, timeout=10)
    return "busy", replies.requestid


def no_target(_world: FlawedFleet, alice: Client) -> Case:
    """A node that was not asked at all."""
    return "lost", asked(alice, "web1")[1]


def no_member(_world: FlawedFleet, alice: Client) -> Case:
    """A pool that nobody serves."""
    replies = alice.rpc("rpcutil", "ping", via="pool", pool="sms", ttl="1h", wait=False)
    assert replies.wait_confirmed(PATIENCE)
    return "pool:sms", replies.requestid


def answered(_world: FlawedFleet, alice: Client) -> Case:
    """Nothing is wrong."""
    return asked(alice, "busy")


CAUSES: list[tuple[Callable[[FlawedFleet, Client], Case], str, str, str]] = [
    (never_seen, "never seen", "inferred", "no registration"),
    (gone_before, "last seen before the request was sent", "inferred", "no answer to a probe"),
    (gone_and_queued, "last seen before the request was sent", "inferred", "no answer"),
    (expired, "expired before it was taken", "inferred", "ttl"),
    (running, "it is running", "observed", "says so"),
    (spooled, "waiting in the node's spool", "observed", "behind"),
    (
        left_in_the_broker,
        "confirmed by the broker, not received by the node",
        "observed",
        "knows nothing of it",
    ),
    (denied, "denied by policy", "observed", "package.policy:1"),
    (missing_input, "refused by the DDL", "observed", "sleep"),
    (unknown_action, "unknown agent or action", "observed", "novel"),
    (unknown_agent, "unknown agent or action", "observed", "other"),
    (timed_out, "timed out in the action", "observed", "1 s"),
    (crashed, "crashed in the action", "observed", "RuntimeError"),
    (failed, "failed in the action", "observed", "as asked"),
    (too_large, "reply too large", "observed", "4000 are allowed"),
    (clock_off, "clock off", "observed", "2 h ahead"),
    (clock_off_and_queued, "clock off", "observed", "2 h ahead"),
    (started_later, "it was not running when the request was sent", "observed", "started after"),
    (no_match, "the filter did not match", "observed", "filter"),
    (stopped, "not sent", "observed", "after 1 failures"),
    (no_target, "no target", "observed", "was not for this node"),
    (no_member, "no member serves the pool", "inferred", "serves it"),
    (answered, "it answered: ok", "observed", "OK"),
]


@pytest.mark.parametrize(
    ("inject", "cause", "kind", "evidence"), CAUSES, ids=[case[0].__name__ for case in CAUSES]
)
def test_the_cause_is_named_first(flawed_fleet, alice, inject, cause, kind, evidence):
    """The most likely cause is the injected one, with how it is known and what says so."""
    node, request = inject(flawed_fleet, alice)
    found = alice.causes(node, request)
    assert (found[0].cause, found[0].kind) == (cause, kind), found
    assert evidence in found[0].evidence, found


def test_the_command_line_gives_the_same_causes(flawed_fleet, alice):
    """A table with the columns cause, kind, evidence and since; by the first letters of the id."""
    node, request = asked(alice, "web1", "mark", "fail")
    environ = {"MCSHELL_STATE": str(flawed_fleet.folder / "state-alice")}
    done = flawed_fleet.cli("explain", node, request[:12], "--json", **environ)
    (row,) = json.loads(done.stdout)
    assert list(row) == ["cause", "kind", "evidence", "since"]
    assert (row["cause"], row["kind"]) == ("failed in the action", "observed")
    frame = alice.explain(node, request)
    since = pd.Timestamp(row.pop("since"), unit="s", tz="UTC")
    (shown,) = frame.to_dict("records")
    assert abs(shown.pop("since") - since) < pd.Timedelta("1ms")
    assert shown == row


def test_a_queued_request_for_the_dead_waits_in_the_broker(flawed_fleet, alice):
    """The second cause of a queued request says where it is now."""
    found = alice.causes(*gone_and_queued(flawed_fleet, alice))
    assert [cause.cause for cause in found][1:] == ["waiting in the broker"]


def test_without_a_request_it_is_the_newest_that_was_for_the_node(flawed_fleet, alice):
    """Requests for others in between do not count."""
    asked(alice, "web1", "mark", "fail")
    asked(alice, "busy")
    assert alice.causes("web1")[0].cause == "failed in the action"


def test_of_a_request_that_came_out_well_nothing_is_to_be_explained(flawed_fleet, alice):
    """Without a request it is asked whether a node is there now, where the newest was answered."""
    asked(alice, "web1")
    assert alice.causes("web1")[0].cause == "it answers now"


def test_a_node_that_was_never_asked_says_that_it_is_there(flawed_fleet):
    """Without any request there is still the question whether it answers."""
    with flawed_fleet.client("alice", state="state-fresh") as fresh:
        found = fresh.causes("busy")
    assert (found[0].cause, found[0].kind) == ("it answers now", "observed")


def test_after_a_restart_the_node_knows_from_its_audit_file(flawed_fleet, alice):
    """What the daemon's memory has lost, its audit file still tells."""
    case = asked(alice, "lost", "mark", "nap", sleep=20.0, timeout=0.3)
    flawed_fleet.kill9("lost")
    flawed_fleet.start("lost")
    found = alice.causes(*case)
    assert (found[0].cause, found[0].kind) == ("the daemon was restarted in the middle", "observed")


def test_an_unknown_request_is_an_error_that_says_so(alice):
    """No guess is made about an id that no session has."""
    with pytest.raises(MCShellError):
        alice.causes("web1", "ffffffff")


def test_without_a_broker_it_is_our_own_fault(fresh_broker, tmp_path):
    """Neither the node nor the broker is blamed for what was never sent."""
    with Fleet(fresh_broker(), tmp_path, {"web1": Node()}) as fleet, fleet.client() as alice:
        fleet.broker.kill9()
        replies = alice.rpc("rpcutil", "ping", nodes="web1", via="queue", ttl="1h", wait=False)
        found = alice.causes("web1", replies.requestid)
    assert [(one.cause, one.kind) for one in found] == [
        ("we have no broker", "observed"),
        ("not sent yet", "observed"),
    ]
