"""What limits.AGENT allows a queued action, enforced by the kernel or by the shim."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import psutil
import pytest

from mcshell.message import State
from tests.peers.workbench import Bench

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.peers.brokers import Broker

LIMITS = """\
slots = 3
[node.limits.mark]
memory = "300MiB"
output = "64KiB"
timeout = "1s"
slots = 2
"""


@pytest.fixture
def bench(embedded: Broker, tmp_path: Path) -> Iterator[Bench]:
    """A bench with a node whose agent `mark` is held short."""
    with Bench(embedded, tmp_path, node=LIMITS) as one:
        one.start()
        yield one


def test_memory_is_bounded(bench: Bench) -> None:
    """An action that takes more memory than it may fails; one that takes less does not."""
    assert bench.final(bench.ask("eat", {"bytes": 50_000_000})).state is State.OK
    reply = bench.final(bench.ask("eat", {"bytes": 400_000_000}))
    assert (reply.state, reply.statuscode) == (State.FAILED, 5)
    assert "memory" in reply.statusmsg


def test_output_is_bounded(bench: Bench, tmp_path: Path) -> None:
    """A file, and what is written to the standard streams, stays below the limit."""
    small, large = tmp_path / "small", tmp_path / "large"
    written = bench.final(bench.ask("write", {"file": str(small), "bytes": 60_000}))
    assert written.state is State.OK
    reply = bench.final(bench.ask("write", {"file": str(large), "bytes": 100_000}))
    assert (reply.state, reply.statuscode) == (State.FAILED, 5)
    assert "File too large" in reply.statusmsg
    assert large.stat().st_size <= 64 * 1024
    assert bench.final(bench.ask("talk", {"bytes": 200_000})).state is State.OK


def test_time_is_bounded_for_the_deaf(bench: Bench) -> None:
    """An action that does not listen is ended with all its processes, some seconds later."""
    began = time.time()
    request = bench.ask("nap", {"sleep": 60.0})
    reply = bench.final(request)
    assert (reply.state, reply.statuscode) == (State.FAILED, 5)
    assert "timed out after 1 s" in reply.statusmsg
    assert time.time() - began < 30
    shims = [
        p for p in psutil.process_iter(["cmdline"]) if request in " ".join(p.info["cmdline"] or ())
    ]
    assert not shims


def test_who_listens_may_end_in_time(bench: Bench, tmp_path: Path) -> None:
    """An action that watches `cancelled` ends by itself; late is late all the same."""
    mark = tmp_path / "marks"
    reply = bench.final(bench.ask("once", {"file": str(mark), "sleep": 60.0}))
    assert (reply.state, reply.statuscode) == (State.FAILED, 5)
    assert "timed out" in reply.statusmsg


def test_an_agent_has_slots_of_its_own(bench: Bench, tmp_path: Path) -> None:
    """No more actions of an agent run at once than limits.AGENT.slots."""
    mark = tmp_path / "marks"
    ids = [bench.ask("once", {"file": str(mark), "sleep": 0.4}) for _ in range(6)]
    bench.all_final(ids, 60)
    moments = [
        (reply.at, 1 if reply.reply.state is State.RUNNING else -1)
        for one in ids
        for reply in bench.heard[one]
        if reply.reply.state is not State.RECEIVED
    ]
    running = most = 0
    for _at, step in sorted(moments):
        running += step
        most = max(most, running)
    assert most <= 2
