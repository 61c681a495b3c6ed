"""via=queue on real daemons: what a node does with work that comes over its queue."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from mcshell.message import State, Via
from mcshell.node.store.records import OutboxMessage
from mcshell.node.store.spool import Spool
from mcshell.wire.documents.envelope import SealedMessage
from tests.peers.processes import wait_until
from tests.peers.workbench import Bench

if TYPE_CHECKING:
    from pathlib import Path

    from tests.peers.brokers import Broker

pytestmark = pytest.mark.timeout(240)


def test_queued_request_runs_in_a_process_of_its_own(each_bench: Bench, tmp_path: Path) -> None:
    """A queued request is received, runs in a shim and is answered, in this order."""
    daemon = each_bench.start()
    mark = tmp_path / "marks"
    request = each_bench.ask("once", {"file": str(mark), "text": "hello"})
    reply = each_bench.final(request)
    assert reply.state is State.OK
    assert reply.data["text"] == "hello"
    assert reply.data["pid"] != daemon.pid
    assert each_bench.states(request) == ["received", "running", "ok"]
    assert mark.read_text() == f"{request} hello\n"
    events = [e["event"] for e in each_bench.audit() if e.get("requestid") == request]
    assert events == ["accepted", "started", "finished"]
    work = tmp_path / "state-n1" / "node" / "work"
    assert wait_until(lambda: not list(work.iterdir()), 30)  # once the broker has the answer


def held(folder: Path) -> dict[str, str]:
    """The inputs of an action that keeps its slot until the file `go` is there."""
    return {"file": str(folder / "held"), "text": str(folder / "go")}


def test_work_waits_for_a_node_that_is_down(each_bench: Bench, tmp_path: Path) -> None:
    """What was queued while the node was down runs when it starts."""
    each_bench.start()
    each_bench.stop()
    mark = tmp_path / "marks"
    ids = [each_bench.ask("once", {"file": str(mark)}) for _ in range(3)]
    each_bench.start()
    assert [each_bench.final(one).state for one in ids] == [State.OK] * 3
    assert sorted(mark.read_text().split()) == sorted(ids)


def test_same_bytes_twice_run_once(each_bench: Bench, tmp_path: Path) -> None:
    """A request that the client sends again, before or after it ran, does not run again."""
    each_bench.start()
    mark = tmp_path / "marks"
    request, sealed = each_bench.seal("once", {"file": str(mark), "sleep": 0.5})
    each_bench.put(request, sealed)
    each_bench.put(request, sealed)
    each_bench.final(request.id)
    each_bench.put(request, sealed)
    after = each_bench.ask("once", {"file": str(mark)})
    each_bench.final(after)
    assert mark.read_text().split() == [request.id, after]
    assert len(each_bench.finals(request.id)) == 1


def test_too_late_is_said_by_the_node(bench: Bench, tmp_path: Path) -> None:
    """A request whose ttl is over when the node gets it does not run, and is answered expired."""
    mark = tmp_path / "marks"
    late = bench.ask("once", {"file": str(mark)}, ttl=5.0, ago=60.0)
    bench.start()
    reply = bench.final(late)
    assert (reply.state, reply.statuscode) == (State.EXPIRED, 5)
    assert not mark.exists()
    assert [e["reason"] for e in bench.audit() if e["event"] == "refused"] == ["expired"]


def test_what_waits_too_long_in_the_spool_expires(bench: Bench, tmp_path: Path) -> None:
    """A request that finds no free slot within its ttl is answered expired, while slots are busy."""
    bench.enrol("n1", "slots = 1")
    bench.start()
    mark = tmp_path / "marks"
    long = bench.ask("nap", {"sleep": 6.0})
    short = bench.ask("once", {"file": str(mark)}, ttl=2.0)
    assert bench.final(short).state is State.EXPIRED
    assert not bench.finals(long)
    assert bench.final(long).state is State.OK
    assert not mark.exists()


def test_refusals_are_answered_at_once(embedded: Broker, tmp_path: Path) -> None:
    """Policy, unknown actions and bad inputs get final replies, though the slots are busy."""
    deny = "deny\tcert=alice\tagain\t*\t*\n"
    with Bench(embedded, tmp_path, node="slots = 1", deny=deny) as bench:
        bench.start()
        bench.ask("nap", {"sleep": 3.0})
        file = {"file": str(tmp_path / "marks")}
        answers = [
            bench.final(bench.ask("again", file)),
            bench.final(bench.ask("nothing", file)),
            bench.final(bench.ask("ping", agent="nobody")),
            bench.final(bench.ask("once")),
            bench.final(bench.ask("once", {**file, "sleep": "long"})),
        ]
    assert [(one.state, one.statuscode) for one in answers] == [
        (State.DENIED, 1),
        (State.FAILED, 2),
        (State.FAILED, 2),
        (State.FAILED, 3),
        (State.FAILED, 4),
    ]
    assert not (tmp_path / "marks").exists()


def test_what_cannot_be_verified_is_taken_off_the_queue(bench: Bench, tmp_path: Path) -> None:
    """A message with a broken signature is audited, not answered, and does not block others."""
    bench.start()
    request, sealed = bench.seal("once", {"file": str(tmp_path / "marks"), "text": "forged"})
    forged = SealedMessage(sealed.body.replace(b"forged", b"FORGED"), sealed.headers)
    bench.put(request, forged)
    good = bench.ask("once", {"file": str(tmp_path / "marks")})
    assert bench.final(good).state is State.OK
    assert not bench.heard.get(request.id)
    assert [e["reason"] for e in bench.audit() if e["event"] == "refused"] == ["bad_signature"]


def test_policy_counts_as_it_is_at_the_start(bench: Bench, tmp_path: Path) -> None:
    """A request whose policy was changed while it waited is judged again, and denied."""
    bench.enrol("n1", "slots = 1")
    bench.start()
    mark = tmp_path / "marks"
    first = bench.ask("hold", held(tmp_path))
    second = bench.ask("once", {"file": str(mark)})
    assert wait_until(lambda: "received" in bench.states(second), 60)
    assert wait_until(lambda: "running" in bench.states(first), 60)
    (tmp_path / "policies" / "default.policy").write_text("policy default deny\n")

    def in_force() -> bool:
        ping = bench.ask("ping", agent="rpcutil", via=Via.DIRECT)
        return bench.final(ping).state is State.DENIED

    assert wait_until(in_force, 60)
    (tmp_path / "go").touch()
    assert bench.final(first).state is State.OK
    assert bench.final(second).state is State.DENIED
    assert not mark.exists()


def test_author_revoked_while_it_waits_is_denied(bench: Bench, tmp_path: Path) -> None:
    """What waits in the spool of an author who was revoked meanwhile does not run."""
    bench.enrol("n1", "slots = 1")
    bench.start()
    mark = tmp_path / "marks"
    first = bench.ask("hold", held(tmp_path))
    second = bench.ask("once", {"file": str(mark)})
    assert wait_until(lambda: "received" in bench.states(second), 60)
    assert wait_until(lambda: "running" in bench.states(first), 60)
    bench.kill()
    bench.authority.revoke("alice")
    bench.start()
    (tmp_path / "go").touch()
    assert bench.final(first).state is State.OK
    reply = bench.final(second)
    assert reply.state is State.DENIED
    assert "revoked" in reply.statusmsg
    assert not mark.exists()


def test_failures_and_crashes_are_outcomes(bench: Bench) -> None:
    """An agent that fails, crashes, or answers too much gets the codes of the contract."""
    bench.start()
    failed = bench.final(bench.ask("fail", {"text": "no such thing"}))
    assert (failed.state, failed.statuscode, failed.statusmsg) == (
        State.FAILED,
        1,
        "no such thing",
    )
    crashed = bench.final(bench.ask("crash", {"text": "boom"}))
    assert (crashed.state, crashed.statuscode) == (State.FAILED, 5)
    assert "RuntimeError: boom" in crashed.statusmsg
    large = bench.final(bench.ask("talk", {"bytes": 2_000_000}))
    assert (large.state, large.statuscode) == (State.FAILED, 5)
    assert "reply too large" in large.statusmsg


def test_full_spool_stops_reading_and_resumes(broker: Broker, tmp_path: Path) -> None:
    """At spool_max the node leaves the rest in the broker; all run once there is room again."""
    with Bench(broker, tmp_path, node="slots = 2\nspool_max = 20") as bench:
        bench.enrol("n1")
        mark = tmp_path / "marks"
        first = [bench.ask("hold", held(tmp_path)) for _ in range(2)]
        ids = [bench.ask("once", {"file": str(mark)}) for _ in range(80)]
        bench.start()
        assert wait_until(lambda: "the spool is full" in bench.log(), 60)
        received = sum("received" in bench.states(one) for one in ids)
        print(f"\n{broker.kind}: {received} of 80 taken in at spool_max 20")
        assert received <= 60
        (tmp_path / "go").touch()
        bench.all_final([*first, *ids], 120)
        marks = mark.read_text().split()
        assert sorted(marks) == sorted(ids)
        assert all(len(bench.finals(one)) == 1 for one in ids)


def test_ping_is_quick_beside_a_full_spool(bench: Bench) -> None:
    """With 500 requests in the spool and every slot busy, an interactive request is at once."""
    bench.start()
    for _ in range(500):
        _, sealed = bench.seal("nap", {"sleep": 50.0})
        bench.operator.send(
            f"/queue/mcs.{bench.collective}.work.n1", sealed.body, sealed.headers, persistent=True
        )

    def spooled() -> int:
        stats = bench.final(bench.ask("daemon_stats", agent="rpcutil", via=Via.DIRECT))
        return int(stats.data.get("spooled") or 0)

    assert wait_until(lambda: spooled() >= 498, 60, 0.3)
    times = []
    for _ in range(20):
        began = time.time()
        bench.final(bench.ask("ping", agent="rpcutil", via=Via.DIRECT))
        times.append(time.time() - began)
    print(f"\nping beside 500 spooled: median {sorted(times)[10] * 1000:.1f} ms,", end=" ")
    print(f"slowest {max(times) * 1000:.1f} ms")
    assert sorted(times)[10] < 1.0


def test_seen_tells_the_place_in_the_spool(bench: Bench, tmp_path: Path) -> None:
    """What a node answers about a waiting request says how many go before it."""
    bench.enrol("n1", "slots = 1")
    bench.start()
    running = bench.ask("hold", held(tmp_path))
    waiting = [bench.ask("nap", {"sleep": 0.0}) for _ in range(3)]
    assert wait_until(lambda: "received" in bench.states(waiting[-1]), 60)
    assert wait_until(lambda: "running" in bench.states(running), 60)

    def seen(requestid: str) -> dict[str, object]:
        data = {"requestid": requestid}
        return dict(bench.final(bench.ask("probe", data, agent="discovery", via=Via.DIRECT)).data)

    assert seen(running)["state"] == "running"
    last = seen(waiting[-1])
    assert (last["state"], last["place"]) == ("queued", 2)
    assert "behind 2" in str(last["reason"])
    (tmp_path / "go").touch()
    bench.all_final([running, *waiting], 60)
    assert seen(waiting[-1])["state"] == "ok"


def test_word_that_no_broker_takes_is_set_aside(bench: Bench, tmp_path: Path) -> None:
    """A reply over which the broker ends the connection does not keep back the others for long."""
    bench.start()
    bench.stop()
    spool = Spool(tmp_path / "state-n1" / "node" / "work.sqlite")
    spool.add_messages(
        [
            OutboxMessage(
                identity="n1",
                request="0" * 32,
                sequence=2,
                destination="/nowhere/at all",
                body=b"{}",
                signature="s",
                certificate="c",
            )
        ]
    )
    spool.close()
    mark = tmp_path / "marks"
    ids = [bench.ask("once", {"file": str(mark)}) for _ in range(5)]
    bench.start()
    bench.all_final(ids, 90)
    assert "set aside" in bench.log()
    assert all(bench.finals(one)[0].state is State.OK for one in ids)
