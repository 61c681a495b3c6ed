"""Seeds of the simulation: every promise is kept, the same seed is the same run, a loss is named."""

from __future__ import annotations

import random
import resource

import pytest

from tests.simulation.run import run

pytestmark = pytest.mark.timeout(900)

SEEDS = 100


def test_a_hundred_seeds():
    """In each of a hundred runs, with all faults there are, every promise is kept."""
    faults, steps, begun = 0, 0, resource.getrusage(resource.RUSAGE_SELF).ru_utime
    for seed in range(1, SEEDS + 1):
        result = run(seed)
        assert result.good, str(result)
        faults += result.faults.total()
        steps += result.steps
    seconds = resource.getrusage(resource.RUSAGE_SELF).ru_utime - begun
    print(f"\n{SEEDS} seeds, {faults} faults, {steps} steps, {seconds:.0f} s of processor")
    assert faults > 10 * SEEDS / 2, "a simulation in which nothing goes wrong shows nothing"


def test_a_seed_is_a_run():
    """The same seed gives the same history, step by step."""
    seed = 5
    first, second = run(seed), run(seed)
    assert first.faults.total() > 10
    assert (first.history, first.steps) == (second.history, second.steps)


def test_a_broker_that_forgets_is_found_out():
    """Where the broker loses what it has confirmed, the checker says what was lost, and since when."""
    found = {}
    for seed in range(1, 400):
        kinds = {one.kind: str(one) for one in run(seed, forgets=True).violations}
        found.update(kinds)
        if "lost" in found or "unfinished" in found or "false" in found:
            break
    assert found.keys() & {"lost", "unfinished", "false"}, found


@pytest.mark.parametrize("seed", random.Random(0).sample(range(10**6), 3))
def test_without_faults(seed):
    """Where nothing goes wrong, everything is ok."""
    every = {"connection broken", "message twice", "false reply", "node killed", "client killed"}
    every |= {"broker restarted", "power cut", "session moved", "disk full", "clock jumped"}
    result = run(seed, without=every | {"slow network"})
    assert result.good, str(result)
    assert not result.faults
