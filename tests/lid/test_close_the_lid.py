"""Close the lid: whatever dies and whenever, another machine has all the replies, each once.

Each phase once on our own broker, those in which a broker has a part on each; `-m soak` runs 200 in
all. Prints in which phases the client died.
"""

from __future__ import annotations

from collections import Counter

import pytest

from tests.lid.trial import COUNT, PHASES, trial
from tests.peers.fleet import Fleet

FEW = {"embedded": range(5), "activemq": range(1, 4), "rabbitmq": range(1, 4)}
MANY = {"embedded": 80, "activemq": 80, "rabbitmq": 40}


def run_trials(kind, fresh_broker, folder, seeds):
    """Run trials on one broker and one emulated fleet; return the phases that were hit."""
    hit: Counter[str] = Counter()
    with Fleet(fresh_broker(kind), folder, more="") as fleet:
        fleet.emulate(COUNT, more='[agents.emulate]\ndelay = "3s"\n')
        for seed in seeds:
            outcome = trial(fleet, seed)
            where = (kind, seed, outcome)
            assert outcome.stats["ok"] == COUNT, where
            assert sorted(set(outcome.rows)) == sorted(outcome.rows), where
            assert len(outcome.rows) == COUNT, where
            assert outcome.stats["unexpected"] == outcome.stats["duplicate"] == 0, where
            assert set(outcome.ran.values()) == {1}, where
            hit[outcome.phase] += 1
    print(f"\n{kind}: " + ", ".join(f"{phase} {hit[phase]}" for phase in PHASES))
    return hit


@pytest.mark.timeout(600)
def test_nothing_is_lost(broker_kind, fresh_broker, tmp_path):
    """All 200 replies, no row twice, the ledger closed, in each phase of dying."""
    seeds = FEW[broker_kind]
    hit = run_trials(broker_kind, fresh_broker, tmp_path, seeds)
    assert set(hit) == {PHASES[seed] for seed in seeds}


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_nothing_is_lost_in_200_trials(broker_kind, fresh_broker, tmp_path):
    """The same over many seeds: each phase is hit many times."""
    seeds = range(1000, 1000 + MANY[broker_kind])
    hit = run_trials(broker_kind, fresh_broker, tmp_path, seeds)
    assert min(hit[phase] for phase in PHASES) >= 2
