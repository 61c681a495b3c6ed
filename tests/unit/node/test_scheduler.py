"""The scheduler beside what it does not have: nodes that are gone, and plans of its queries."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcshell.node.jobs.scheduler import Scheduler
from tests.jobs.simulation import World

if TYPE_CHECKING:
    from pathlib import Path

NOW = 1_795_000_000.0
DAY = 86_400.0


def test_jobs_of_nodes_that_are_gone_hold_nobody_up(tmp_path: Path) -> None:
    """With fewer nodes than last time the jobs of the others wait, and do not keep it awake."""
    world = World(tmp_path, 40, NOW)
    few = {name: desk for name, desk in world.desks.items() if name < "n00010"}
    world.close()
    world.spool = type(world.spool)(tmp_path / "work.sqlite")
    world.desks = few
    world.scheduler = Scheduler(world.spool, few, lambda: None)
    foretold = world.forecast(DAY)
    happened = world.live(DAY)
    assert happened.keys() == {start[:3] for start in foretold}
    assert len(happened) > 10
    due = world.scheduler.next_due()
    assert due is not None
    assert due >= NOW + DAY
    world.close()


def test_looking_for_what_is_due_reads_an_index(tmp_path: Path) -> None:
    """However many jobs there are, what is due next is found without reading them all."""
    world = World(tmp_path, 3, NOW)
    asked: list[tuple[str, tuple[object, ...]]] = []
    database = world.spool._database
    read = database.read
    database.read = lambda query, values=(): asked.append((query, values)) or read(query, values)
    world.scheduler.next_due()
    world.spool.jobs.due(NOW, 500)
    world.spool.jobs.over(NOW)
    assert len(asked) == 3
    for query, values in asked:
        plan = " ".join(row["detail"] for row in read(f"EXPLAIN QUERY PLAN {query}", values))
        assert "INDEX jobs_due" in plan or "INDEX jobs_ends" in plan, plan
        assert "TEMP B-TREE" not in plan
    world.close()
