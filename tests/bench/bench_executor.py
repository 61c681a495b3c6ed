"""`mcshell.Executor`: what a submit costs, and 10,000 tasks on a pool of ten emulated nodes.

Run: python tests/bench/bench_executor.py [TASKS]

On RabbitMQ and on the embedded broker. A submit is signed and committed behind the caller's back, in
batches; so its price for the caller, what a future and its result keep of memory, how long until the
broker has confirmed all of them, how long until the last future is resolved, and until a new process
has all results again from the session's file.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
from figures import ROOT, figure, machine, place, running

from mcshell import Executor
from tests.peers.fleet import Fleet

if TYPE_CHECKING:
    from tests.peers.brokers import Broker

WORKERS = 10
AGENTS = f'agents = ["{Path(ROOT) / "tests" / "agents_for_tests"}"]\n'
POOL = '[pools.marks]\nmembers = ["emu*"]\n'


def memory() -> float:
    """What this process has of memory now, in KiB."""
    return psutil.Process().memory_info().rss / 1024


def trial(broker: Broker, home: Path, count: int) -> dict[str, float]:
    """Submit, have it confirmed, have it resolved, and look at it again."""
    with Fleet(broker, home) as fleet:
        with fleet.config.open("a") as file:
            file.write(f"[node]\n{AGENTS}{POOL}")
        fleet.emulate(WORKERS, more=f'serve = ["marks"]\nslots = 1\n{AGENTS}{POOL}')
        found: dict[str, float] = {}
        with fleet.client(session="bench") as client, Executor("marks", client) as pool:
            pool.submit("mark.nap", sleep=0.0).result(60)
            before, began, own = memory(), time.perf_counter(), time.thread_time()
            futures = [pool.submit("mark.nap", sleep=0.0) for _ in range(count)]
            found["submit_us"] = (time.perf_counter() - began) / count * 1e6
            found["cpu_us"] = (time.thread_time() - own) / count * 1e6
            assert pool.flush(600)
            found["confirmed"] = time.perf_counter() - began
            for one in futures:
                one.result(600)
            found["resolved"] = time.perf_counter() - began
            found["kib"] = (memory() - before) / count
        with fleet.client(session="bench") as client, Executor("marks", client) as pool:
            began = time.perf_counter()
            assert sum(one.done() for one in pool.futures()) == count + 1
            found["again"] = time.perf_counter() - began
        return found


def main() -> None:
    """One line a broker."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    print(machine())
    with place() as folder:
        for kind in ("embedded", "rabbitmq"):
            with running(kind, folder) as broker:
                (home := folder / f"fleet-{kind}").mkdir()
                found = trial(broker, home, count)
            print(
                f"{kind}: {count:,} tasks, {WORKERS} workers: {found['submit_us']:.0f} us a submit "
                f"({found['cpu_us']:.0f} of processor), "
                f"{found['kib']:.1f} KiB each, confirmed in {found['confirmed']:.1f} s, resolved in "
                f"{found['resolved']:.1f} s; all again in {found['again']:.2f} s"
            )
            what = f"Executor, {kind}: microseconds of processor a submit, of {count:,}"
            figure(what, found["cpu_us"], "us", most=200)


if __name__ == "__main__":
    main()
