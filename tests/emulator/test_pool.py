"""Emulated nodes that serve a pool, each as a worker of its own."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest

from mcshell.message import State
from tests.peers.processes import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.peers.workbench import EmulatedBench

pytestmark = pytest.mark.timeout(240)
NAMES = {f"emu{number:04d}" for number in range(1, 6)}


def test_workers_share_what_comes(pool: EmulatedBench, tmp_path: Path) -> None:
    """Each request runs once and is answered once, by a worker that says who it is; all get some."""
    pool.emulate(len(NAMES))
    mark = tmp_path / "marks"
    ids = pool.pools("once", 60, "sms", {"file": str(mark), "sleep": 0.05})
    pool.all_final(ids, 60)
    assert sorted(mark.read_text().split()) == sorted(ids)
    assert all(len(pool.finals(one)) == 1 for one in ids)
    spread = Counter(pool.finals(one)[0].sender for one in ids)
    print(f"\n{pool.broker.kind}: {dict(spread)}")
    assert set(spread) == NAMES
    assert not pool.junk


def test_killed_workers_answer_all_of_it(pool: EmulatedBench, tmp_path: Path) -> None:
    """After kill -9 in the middle each request ran once, or is interrupted and ran at most once."""
    child = pool.emulate(len(NAMES))
    mark = tmp_path / "marks"
    ids = pool.pools("once", 60, "sms", {"file": str(mark), "sleep": 0.2})
    assert wait_until(lambda: sum(bool(pool.finals(one)) for one in ids) >= 10, 60)
    child.kill9()
    pool.emulate(len(NAMES))
    pool.all_final(ids, 90)
    states = {one: pool.finals(one)[0].state for one in ids}
    cut = [one for one, state in states.items() if state is State.INTERRUPTED]
    print(f"\n{pool.broker.kind}: {len(cut)} interrupted")
    marks = mark.read_text().split()
    assert set(states.values()) <= {State.OK, State.INTERRUPTED}
    assert len(cut) <= 4 * len(NAMES)  # two slots each, and what was sent for two more
    assert all(marks.count(one) == 1 for one in ids if one not in cut)
    assert all(marks.count(one) <= 1 for one in cut)
