"""The scheduler beside what it does not have: nodes that are gone, and plans of its queries."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcshell.node.jobs.scheduler import Scheduler
from tests.jobs.simulation import Simulation

if TYPE_CHECKING:
    from pathlib import Path

NOW = 1_795_000_000.0
DAY = 86_400.0


def test_jobs_of_nodes_that_are_gone_hold_nobody_up(tmp_path: Path) -> None:
    """With fewer nodes than last time the jobs of the others wait, and do not keep it awake."""
    simulation = Simulation(tmp_path, 40, NOW)
    few = {name: lifecycle for name, lifecycle in simulation.lifecycles.items() if name < "n00010"}
    simulation.close()
    simulation.spool = type(simulation.spool)(tmp_path / "work.sqlite")
    simulation.lifecycles = few
    simulation.scheduler = Scheduler(simulation.spool, few, lambda: None)
    foretold = simulation.forecast(DAY)
    happened = simulation.live(DAY)
    assert happened.keys() == {start[:3] for start in foretold}
    assert len(happened) > 10
    due = simulation.scheduler.next_due()
    assert due is not None
    assert due >= NOW + DAY
    simulation.close()


def test_looking_for_what_is_due_reads_an_index(tmp_path: Path) -> None:
    """However many jobs there are, what is due next is found without reading them all."""
    simulation = Simulation(tmp_path, 3, NOW)
    asked: list[tuple[str, tuple[object, ...]]] = []
    database = simulation.spool._database
    read = database.read
    database.read = lambda query, values=(): asked.append((query, values)) or read(query, values)
    simulation.scheduler.next_due()
    simulation.spool.jobs.due(NOW, 500)
    simulation.spool.jobs.over(NOW)
    assert len(asked) == 3
    for query, values in asked:
        plan = " ".join(row["detail"] for row in read(f"EXPLAIN QUERY PLAN {query}", values))
        assert "INDEX jobs_due" in plan or "INDEX jobs_ends" in plan, plan
        assert "TEMP B-TREE" not in plan
    simulation.close()
