"""A pool of 10 workers and 1,000 requests, two workers killed amid it, beside Celery.

Run: pip install celery; python tests/bench/bench_pool.py [REQUESTS]

Both on one RabbitMQ. Ours: ten node daemons, every request signed, claimed on disk, its outcome
committed before it is acknowledged. Celery: ten workers of one process each, acks_late, prefetch 1,
persistent results. Both append a line to a file. First undisturbed, then with two workers killed
-9 when a third of the requests has run.
"""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from figures import ROOT, figure, machine, place, running

from tests.peers.fleet import Fleet, Node
from tests.peers.processes import Child, wait_until

if TYPE_CHECKING:
    from tests.peers.brokers import Broker

WORKERS = 10
AGENTS = str(Path(ROOT) / "tests" / "agents_for_tests")
MORE = f"""serve = ["marks"]
slots = 1
agents = ["{AGENTS}"]
[pools.marks]
members = ["w*"]
"""
OPERATOR = f"""[node]
agents = ["{AGENTS}"]
[pools.marks]
members = ["w*"]
"""


def lines(path: Path) -> int:
    """How many requests have run."""
    return path.read_bytes().count(b"\n") if path.exists() else 0


def ours(fleet: Fleet, count: int, kill: int) -> dict[str, Any]:
    """Ask, kill, wait; returns the wall time, the outcomes and the spread."""
    mark = fleet.folder / f"marks-{kill}"
    with fleet.client(session=f"pool{kill}") as client:
        began = time.monotonic()
        asked = client.rpc_each(
            "mark", "again", [{"file": str(mark)} for _ in range(count)], pool="marks"
        )
        for name in list(fleet.nodes)[:kill]:
            wait_until(lambda: lines(mark) >= count // 3, 120, 0.005)
            fleet.kill9(name)
        for replies in asked:
            replies.wait(120)
        took = time.monotonic() - began
        states = Counter(row.state.value for replies in asked for row in replies.rows())
        spread = Counter(row.sender for replies in asked for row in replies.rows())
    return {"seconds": took, "states": dict(states), "spread": sorted(spread.values())}


def celery(broker: Broker, folder: Path, count: int, kill: int) -> dict[str, Any]:
    """The same by Celery."""
    amqp = f"amqp://{broker.user}:{broker.passcode}@{broker.host}:{broker._ports[0]}//"
    os.environ["BENCH_AMQP"] = amqp
    sys.path.insert(0, str(Path(__file__).parent))
    from celery_app import app
    from celery_app import mark as task

    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    workers = []
    for number in range(WORKERS):
        argv = [sys.executable, "-m", "celery", "-A", "celery_app", "worker", "-P", "solo"]
        argv += ["-n", f"w{number}@bench", "-l", "info", "--without-gossip", "--without-mingle"]
        workers.append(Child(argv, folder / f"celery-{number}-{kill}.log", environment))
    assert wait_until(lambda: all("ready." in one.log.read_text() for one in workers), 120)
    mark = folder / f"celery-marks-{kill}"
    began = time.monotonic()
    results = [task.delay(str(mark), str(number), 0.0) for number in range(count)]
    for worker in workers[:kill]:
        wait_until(lambda: lines(mark) >= count // 3, 120, 0.005)
        worker.kill9()
    pids = Counter(result.get(timeout=300) for result in results)
    took = time.monotonic() - began
    for worker in workers:
        worker.stop()
    app.close()
    return {"seconds": took, "states": {"ok": count}, "spread": sorted(pids.values())}


def show(label: str, count: int, figures: dict[str, Any]) -> None:
    """One line."""
    print(
        f"  {label:8} {count / figures['seconds']:7.0f} requests/s  {figures['seconds']:6.2f} s  "
        f"{figures['states']}  spread {figures['spread']}"
    )


def main() -> None:
    """Run both, undisturbed and with two deaths."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    print(machine())
    with place() as folder, running("rabbitmq", folder) as broker:
        for kill in (0, 2):
            (home := folder / f"fleet{kill}").mkdir()
            nodes = {f"w{number}": Node() for number in range(WORKERS)}
            with Fleet(broker, home, nodes, more=MORE) as fleet:
                with fleet.config.open("a") as file:
                    file.write(OPERATOR)
                fleet.start()
                print(f"{count} requests, {WORKERS} workers, {kill} killed")
                show("mcshell", count, mine := ours(fleet, count, kill))
            show("Celery", count, other := celery(broker, folder, count, kill))
            what = f"{count:,} requests to a pool, {kill} workers killed: of Celery's rate"
            figure(what, other["seconds"] / mine["seconds"])


if __name__ == "__main__":
    main()
