"""What 10,000 stored jobs cost the node that stores them.

Run: python tests/bench/bench_jobs.py [JOBS] [SECONDS]

A real daemon on the embedded broker, without jobs and with so many, all scheduled for a later
hour. Start: from exec to `ready`. Memory: resident set when it is ready, after one `job list` of
all and one forecast of an hour. Idle hour: the processor time of SECONDS of doing nothing, times
what makes an hour of it; and on a fake clock, what the scheduler does in each second of an hour in
which one job in a hundred comes due.
"""

from __future__ import annotations

import sys
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

import psutil
from figures import figure, machine, ms, place, running, show

from mcshell.message import Job, When, new_nonce
from mcshell.node.agents.registry import AgentRegistry
from mcshell.node.execution.lifecycle import RunLifecycle
from mcshell.node.host import Host
from mcshell.node.jobs.scheduler import following
from mcshell.node.store.job_table import JobRow
from mcshell.node.store.spool import Spool
from mcshell.wire.documents.envelope import CERTIFICATE, SIGNATURE
from mcshell.wire.documents.job import seal_job
from mcshell.wire.documents.signatures import Signer
from tests.peers.fleet import Fleet, Node

if TYPE_CHECKING:
    from pathlib import Path

    from tests.peers.brokers import Broker

MIB = 1 << 20
HOUR = 3600.0


class Taken(NamedTuple):
    """What one daemon took: seconds, MiB, MiB, seconds of processor an hour."""

    start: float
    fresh: float
    used: float
    hour: float


def store(path: Path, collective: str, author: Signer, count: int, identity: str) -> None:
    """Write so many jobs into a node's file, one in three of each kind."""
    spool = Spool(path)
    host = Host(identity, facts=dict, served=AgentRegistry([]))
    lifecycle = RunLifecycle(host, None, None)  # type: ignore[arg-type] - only its zone is asked
    now = time.time()
    day = datetime.fromtimestamp(now + 86_400, UTC).date()
    whens = [
        When(at=f"{day}T04:00", splay=1800.0),
        When(cron=f"30 {(datetime.now(UTC).hour + 12) % 24} * * *", until=now + 90 * 86_400),
        When(every=6 * HOUR, splay=600.0, until=now + 90 * 86_400),
    ]
    rows = []
    for number in range(count):
        when = whens[number % len(whens)]
        job = Job(
            id=new_nonce(),
            revision=1,
            author="cert=alice",
            collective=collective,
            session="s",
            agent="rpcutil",
            action="ping",
            created=now,
            name=f"job {number}",
            when=when,
        )
        sealed = seal_job(job, author)
        row = JobRow(
            identity=identity,
            id=job.id,
            revision=1,
            owner=job.author,
            session=job.session,
            author=job.author,
            collective=collective,
            name=job.name,
            agent=job.agent,
            action=job.action,
            body=sealed.body,
            signature=sealed.headers[SIGNATURE],
            certificate=sealed.headers[CERTIFICATE],
            received=now,
            state="scheduled",
        )
        rows.append(following(row, job, now if when.recurs else float("-inf"), lifecycle))
    spool.put_jobs(rows)
    spool.close()


def daemon(broker: Broker, folder: Path, count: int, seconds: float) -> Taken:
    """Start one with so many jobs, ask it, and watch it do nothing."""
    folder.mkdir()
    with Fleet(broker, folder, {"node01": Node()}) as fleet:
        fleet.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        fleet.start()
        fleet.stop()
        author = Signer.load(folder / "alice.pem", folder / "alice.key")
        state = folder / "state-node01" / "node" / "work.sqlite"
        store(state, fleet.collective, author, count, "node01")
        began = time.monotonic()
        fleet.start()
        start = time.monotonic() - began
        process = psutil.Process(fleet.nodes["node01"].pid)
        fresh = process.memory_info().rss / MIB
        before = sum(process.cpu_times()[:2])
        time.sleep(seconds)
        hour = (sum(process.cpu_times()[:2]) - before) * HOUR / seconds
        with fleet.client() as client:
            began = time.monotonic()
            listed = len(client.jobs.rows(timeout=60.0))
            took = time.monotonic() - began
            began = time.monotonic()
            starts = client.jobs.forecast_rows(within="1d", timeout=60.0)
            show(
                f"{count:,} jobs: list, forecast of a day",
                f"{ms(took)} ({listed})",
                f"{ms(time.monotonic() - began)} ({len(starts)})",
            )
        return Taken(start, fresh, process.memory_info().rss / MIB, hour)


def fake_hour(folder: Path, count: int) -> tuple[float, int]:
    """Processor seconds of the scheduler in an hour on a fake clock, and how many jobs came due."""
    from tests.jobs.simulation import Simulation

    folder.mkdir()
    simulation = Simulation(folder, count // 3, time.time())
    due = sum(start < simulation.now + HOUR for *_rest, start in simulation.forecast(HOUR))
    spent = time.process_time()
    for _second in range(int(HOUR)):
        simulation.live(1.0, 0.0)
    spent = time.process_time() - spent
    simulation.close()
    return spent, due


def main() -> None:
    """Print the figures."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    seconds = float(sys.argv[2]) if len(sys.argv) > 2 else 60.0
    print(machine())
    with place() as folder, running("embedded", folder) as broker:
        taken = {some: daemon(broker, folder / str(some), some, seconds) for some in (0, count)}
        show("", *(f"{some:,} jobs" for some in taken))
        show("start to ready", *(f"{one.start:.2f} s" for one in taken.values()))
        show("memory when ready", *(f"{one.fresh:.1f} MiB" for one in taken.values()))
        show("memory after list and forecast", *(f"{one.used:.1f} MiB" for one in taken.values()))
        show("processor time of an idle hour", *(f"{one.hour:.1f} s" for one in taken.values()))
        spent, due = fake_hour(folder / "fake", count)
        show(f"the agenda's part, fake clock, {due} starts", f"{spent:.1f} s")
        more = taken[count].fresh - taken[0].fresh
        figure(f"{count:,} jobs on a node: memory that they take", more, "MiB")
        figure("  processor time of an idle hour", taken[count].hour, "s")


if __name__ == "__main__":
    main()
