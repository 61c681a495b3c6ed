"""via=pool on real daemons: competing workers, deaths, redelivery, a bound on the tries."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from mcshell.message import State, Via
from tests.peers.processes import wait_until
from tests.peers.workbench import Bench

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.peers.brokers import Broker

pytestmark = pytest.mark.timeout(240)
MORE = '[pools.sms]\nmembers = ["w*"]\n'
SERVE = 'serve = ["sms"]\nslots = 2\n'


@pytest.fixture
def pool(embedded: Broker, tmp_path: Path) -> Iterator[Bench]:
    """A bench whose nodes serve the pool `sms`, on the embedded broker."""
    with Bench(embedded, tmp_path, node=SERVE, more=MORE) as bench:
        yield bench


@pytest.fixture
def each_pool(broker: Broker, tmp_path: Path) -> Iterator[Bench]:
    """The same on each of the three brokers."""
    with Bench(broker, tmp_path, node=SERVE, more=MORE) as bench:
        yield bench


def start(bench: Bench, *names: str) -> None:
    """Start workers, all at once."""
    for name in names[:-1]:
        bench.start(name, wait=False)
    bench.start(names[-1])
    assert wait_until(lambda: all(bench._ready(name) for name in names), 60)


def test_workers_share_what_comes(each_pool: Bench, tmp_path: Path) -> None:
    """Each request runs once, on one of the workers, and all of them get some."""
    start(each_pool, "w1", "w2", "w3")
    mark = tmp_path / "marks"
    ids = each_pool.pools("once", 60, "sms", {"file": str(mark), "sleep": 0.05})
    each_pool.all_final(ids, 60)
    assert sorted(mark.read_text().split()) == sorted(ids)
    assert all(len(each_pool.finals(one)) == 1 for one in ids)
    spread = Counter(each_pool.finals(one)[0].sender for one in ids)
    print(f"\n{each_pool.broker.kind}: {dict(spread)}")
    assert set(spread) == {"w1", "w2", "w3"}


def test_killed_worker_leaves_its_requests_to_others(each_pool: Bench, tmp_path: Path) -> None:
    """What a killed worker had not begun is done by others; what it had begun is interrupted."""
    start(each_pool, "w1", "w2")
    mark = tmp_path / "marks"
    ids = each_pool.pools("once", 40, "sms", {"file": str(mark), "sleep": 0.2})
    assert wait_until(lambda: sum(bool(each_pool.finals(one)) for one in ids) >= 8, 60)
    each_pool.kill("w1")
    each_pool.all_final(ids, 90)
    states = {one: each_pool.finals(one)[0].state for one in ids}
    cut = [one for one, state in states.items() if state is State.INTERRUPTED]
    print(f"\n{each_pool.broker.kind}: {len(cut)} interrupted")
    marks = mark.read_text().split()
    assert set(states.values()) <= {State.OK, State.INTERRUPTED}
    assert len(cut) <= 4  # two slots; a result may be cut off between its commit and its SEND
    assert all(marks.count(one) == 1 for one in ids if one not in cut)
    assert all(marks.count(one) <= 1 for one in cut)


def test_safe_request_of_a_killed_worker_runs_elsewhere(each_pool: Bench, tmp_path: Path) -> None:
    """A request that is safe to run again is done by another worker, and answered ok."""
    start(each_pool, "w1")
    mark = tmp_path / "marks"
    (request,) = each_pool.pools("again", 1, "sms", {"file": str(mark), "sleep": 3.0})
    assert wait_until(mark.exists, 30)
    each_pool.kill("w1")
    start(each_pool, "w2")
    reply = each_pool.final(request)
    assert (reply.state, reply.sender) == (State.OK, "w2")
    assert mark.read_text().split() == [request, request]


def test_safe_request_is_set_aside_after_three_tries(pool: Bench, tmp_path: Path) -> None:
    """A request with which a worker always dies is begun three times, then set aside: named."""
    mark = tmp_path / "marks"
    (request,) = pool.pools("again", 1, "sms", {"file": str(mark), "sleep": 30.0})
    for number in (1, 2, 3):
        pool.start("w1")
        assert wait_until(
            lambda count=number: mark.exists() and len(mark.read_text().split()) == count, 30
        )
        pool.kill("w1")
    pool.start("w1")
    reply = pool.final(request)
    assert (reply.state, reply.statuscode) == (State.FAILED, 5)
    assert "set aside after 3 tries" in reply.statusmsg
    assert len(mark.read_text().split()) == 3


@pytest.mark.parametrize("step", ["claimed", "outcome", "outbox", "sent"])
def test_worker_killed_at_a_step(pool: Bench, tmp_path: Path, step: str) -> None:
    """A worker that comes back knows what it did: nothing runs twice, everything is answered."""
    mark = tmp_path / "marks"
    child = pool.start("w1", step)
    (request,) = pool.pools("once", 1, "sms", {"file": str(mark)})
    assert wait_until(lambda: not child.running, 30)
    pool.start("w1")
    reply = pool.final(request)
    runs = mark.read_text().split().count(request) if mark.exists() else 0
    expected = {"claimed": (State.INTERRUPTED, 0), "outcome": (State.INTERRUPTED, 1)}
    assert (reply.state, runs) == expected.get(step, (State.OK, 1))


def test_requests_are_refused_in_a_pool_too(pool: Bench) -> None:
    """Bad inputs and requests that are too late get their final replies from a worker."""
    start(pool, "w1")
    (bad,) = pool.pools("once", 1, "sms", {})
    assert pool.final(bad).statuscode == 3
    late = pool.ask("once", {"file": "x"}, via=Via.POOL, pool="sms", ttl=5, ago=60)
    assert pool.final(late).state is State.EXPIRED


def test_slow_action_of_a_pool_times_out(embedded: Broker, tmp_path: Path) -> None:
    """Past its time a pool's action is answered failed, and its message is done with."""
    node = SERVE + '[node.limits.mark]\ntimeout = "1s"\n'
    with Bench(embedded, tmp_path, node=node, more=MORE) as bench:
        start(bench, "w1")
        (request,) = bench.pools("once", 1, "sms", {"file": str(tmp_path / "m"), "sleep": 30.0})
        reply = bench.final(request)
    assert (reply.state, reply.statuscode) == (State.FAILED, 5)
    assert bench.states(request)[0] == "running"


def test_who_is_no_member_does_not_serve(pool: Bench) -> None:
    """A node whose identity is none of the pool's members refuses to start, and says why."""
    child = pool.start("n1", wait=False)
    assert wait_until(lambda: not child.running, 30)
    assert "none of its members" in pool.log("n1")


def test_stopped_worker_finishes_what_it_began(each_pool: Bench, tmp_path: Path) -> None:
    """SIGTERM lets a worker end what runs; the rest is done by the next, nothing twice."""
    start(each_pool, "w1")
    mark = tmp_path / "marks"
    ids = each_pool.pools("once", 20, "sms", {"file": str(mark), "sleep": 0.2})
    assert wait_until(lambda: sum(bool(each_pool.finals(one)) for one in ids) >= 4, 30)
    each_pool.stop("w1")
    assert each_pool.children["w1"].process.returncode == 0
    start(each_pool, "w2")
    each_pool.all_final(ids, 60)
    states = Counter(each_pool.finals(one)[0].state.value for one in ids)
    print(f"\n{each_pool.broker.kind}: {dict(states)}")
    # A broker may send one more a slot before it reads that the worker leaves: delivered and never
    # begun, it looks begun to the others, and is `interrupted`. RabbitMQ lends, and is left first.
    assert states["ok"] >= (20 if each_pool.broker.kind == "rabbitmq" else 18)
    assert set(states) <= {"ok", "interrupted"}
    assert sorted(mark.read_text().split()) == sorted(
        one for one in ids if each_pool.finals(one)[0].state is State.OK
    )


@pytest.mark.bench
def test_pool_throughput(each_pool: Bench, tmp_path: Path) -> None:
    """Requests a second through ten workers, each of which only leaves a mark."""
    names = [f"w{number}" for number in range(10)]
    start(each_pool, *names)
    mark = tmp_path / "marks"
    began = time.time()
    ids = each_pool.pools("once", 1000, "sms", {"file": str(mark)})
    queued = time.time() - began
    each_pool.all_final(ids, 120)
    last = max(each_pool.heard[one][-1].at for one in ids)
    spread = Counter(each_pool.finals(one)[0].sender for one in ids)
    print(f"\n{each_pool.broker.kind}: 1,000 in {last - began:.2f} s (queued in {queued:.2f} s):")
    print(f"{1000 / (last - began):.0f}/s; {sorted(spread.values())}")
    assert len(mark.read_text().split()) == 1000
