"""Seeds of the simulation: every promise is kept, the same seed is the same run, a loss is named."""

from __future__ import annotations

import random
import resource
import threading
import time
from unittest.mock import patch

import pytest

from mcshell.client.messaging import receiver
from mcshell.client.messaging.helpers import Helpers
from mcshell.client.messaging.receiver import Receiver
from tests.simulation.run import run
from tests.simulation.world import World

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


def test_groups_of_replies_are_verified_and_kept_by_helpers(monkeypatch):
    """What is verified in two halves, and kept while the next group is verified, is kept and acknowledged."""
    handed_in = []
    submit = Helpers.submit

    def counted(self, work):
        handed_in.append(work)
        return submit(self, work)

    monkeypatch.setattr(Helpers, "submit", counted)
    monkeypatch.setattr(receiver, "_GROUP", 3)
    monkeypatch.setattr(receiver, "_SPLIT", 2)
    for seed in range(1, 21):
        result = run(seed)
        assert result.good, str(result)
    assert len(handed_in) > 100


def test_a_fault_that_is_only_logged_is_a_flaw(monkeypatch):
    """A loop that takes an exception for a bad moment, and goes on, is no good run."""
    keep, failed = Receiver._keep_group, []

    def fails_once(self, *about):
        if not failed:
            failed.append(True)
            raise TypeError("submit() takes 2 positional arguments")
        keep(self, *about)

    monkeypatch.setattr(Receiver, "_keep_group", fails_once)
    result = run(1)
    assert not result.violations
    (flaw,) = result.flaws
    assert "could not keep" in flaw
    assert "TypeError: submit() takes 2 positional arguments" in flaw


def test_a_world_that_does_not_begin_leaves_nothing_replaced():
    """The tests after it have the clock, the locks and the threads that they know."""
    known = (time.sleep, time.time, threading.Lock, threading.Thread.start)
    world = World(random.Random(1), [], keeps_unacked=False, forgets=False)
    with (
        patch.object(World, "_populate", side_effect=AttributeError),
        pytest.raises(AttributeError),
    ):
        world.__enter__()
    assert (time.sleep, time.time, threading.Lock, threading.Thread.start) == known
    assert not world.folder.exists()
