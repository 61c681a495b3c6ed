"""What an operator who may hand in one harmless job can make it cost a node: seconds at most."""

from __future__ import annotations

import time
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING

import pytest

from mcshell.errors import UsageError
from mcshell.message import When
from mcshell.node.jobs.forecast import forecast, planned_starts
from mcshell.pki import Authority
from mcshell.wire.documents.job import refuse_circle, seal_job
from mcshell.wire.documents.rule import read_job
from mcshell.wire.documents.signatures import Signer
from tests.jobs.simulation import Simulation

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.timeout(240)
NOW = 1_795_000_000.0
YEAR = 365 * 86_400.0
AT_ONCE = 3.0
"""Seconds of processor."""


@pytest.fixture
def simulation(tmp_path: Path) -> Iterator[Simulation]:
    """One node."""
    one = Simulation(tmp_path, 1, NOW)
    yield one
    one.close()


@pytest.mark.parametrize("skips", [0, 3])
def test_a_forecast_far_ahead_looks_at_its_window_alone(simulation: Simulation, skips: int) -> None:
    """Of a start a second, spread over a year or with some skipped, those before are not counted off."""
    ((identity, lifecycle),) = simulation.lifecycles.items()
    row = next(iter(simulation.spool.jobs.coming(identity, NOW + YEAR)))
    assert row.body is not None
    when = When(every=1.0, splay=YEAR, until=NOW + 9 * YEAR)
    job = replace(read_job(row.body), when=when, created=NOW)
    row = replace(row, planned=NOW, due=NOW, skips=skips)
    begin = NOW + 2 * YEAR
    before = time.process_time()
    found = list(islice(planned_starts(row, job, lifecycle, (begin, begin + 60)), 100))
    assert time.process_time() - before < AT_ONCE
    assert len(found) == 60
    assert all(begin <= one.due < begin + 60 for one in found)


def test_a_forecast_of_many_jobs_looks_no_further_than_it_tells(
    simulation: Simulation, tmp_path: Path
) -> None:
    """Of three hundred that start each second only as many starts are made as are asked for."""
    ((identity, lifecycle),) = simulation.lifecycles.items()
    row = next(iter(simulation.spool.jobs.coming(identity, NOW + YEAR)))
    assert row.body is not None
    cert, key = Authority.init(tmp_path / "ca", "fleet").issue_pem("alice", "operator")
    signer, often = Signer.from_pem(cert, key), When(every=1.0, until=NOW + YEAR)
    job = replace(read_job(row.body), when=often, created=NOW)
    rows = []
    for number in range(300):
        one = replace(job, id=f"{number + 1000:032x}")
        moved = replace(row, id=one.id, body=seal_job(one, signer).body, planned=NOW, due=NOW + 1)
        rows.append(moved)
    simulation.spool.put_jobs(rows)
    before = time.process_time()
    found = forecast(simulation.spool, lifecycle, 1000, (NOW, NOW + YEAR), 10_000)
    assert time.process_time() - before < 4 * AT_ONCE
    assert len(found) == 10_001
    assert max(one.start for one in found) < NOW + 40


def test_jobs_that_wait_for_many_are_looked_at_once_each() -> None:
    """A circle is looked for in as many steps as there are conditions, and is named by its way."""
    ids = [f"{number:032x}" for number in range(5000)]
    waits = {one: ids[max(0, at - 100) : at] for at, one in enumerate(ids)}
    before = time.process_time()
    refuse_circle("f" * 32, [f"{ids[-1]}:ok"], lambda one: waits.get(one, []))
    assert time.process_time() - before < AT_ONCE
    chain = {"a" * 32: ["b" * 32], "b" * 32: ["c" * 32], "c" * 32: ["d" * 32]}
    said = (
        "job cccccccc would wait for itself: it waits for aaaaaaaa, which waits for bbbbbbbb, which"
    )
    with pytest.raises(UsageError, match=f"^{said} waits for cccccccc$"):
        refuse_circle("c" * 32, [f"{'a' * 32}:ok"], lambda one: chain.get(one, []))
