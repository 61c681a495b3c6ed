"""Close the lid: whatever dies and whenever, another machine has all the replies, each once.

Each phase once on our own broker, those in which a broker has a part on each; `-m soak` closes fifty on
each, and twenty on a cluster of three RabbitMQ that loses a member (root, `RABBITMQ_BIN`), and keeps what
came of them in RESULTS.csv, as `python -m tests.lid` does.
"""

from __future__ import annotations

import os
from collections import Counter

import pytest

from tests.lid.__main__ import RESULTS, sitting
from tests.lid.places import on_broker
from tests.lid.trial import PHASES, trial

FEW = {"embedded": range(5), "activemq": range(1, 4), "rabbitmq": range(1, 4)}


@pytest.mark.timeout(600)
def test_nothing_is_lost(broker_kind, fresh_broker, tmp_path):
    """All 200 replies, no row twice, the ledger closed, in each phase of dying."""
    seeds = FEW[broker_kind]
    hit: Counter[str] = Counter()
    with on_broker(fresh_broker(broker_kind), tmp_path) as (fleet, crash):
        for seed in seeds:
            outcome = trial(fleet, seed, crash)
            assert not outcome.wrong(), (seed, outcome)
            hit[outcome.phase] += 1
    assert set(hit) == {PHASES[seed] for seed in seeds}


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_nothing_is_lost_in_fifty_trials(broker_kind):
    """The same over many seeds: each phase ten times."""
    assert sitting(broker_kind, range(1000, 1050), RESULTS) == []


@pytest.mark.soak
@pytest.mark.rabbitmq
@pytest.mark.timeout(7200)
def test_nothing_is_lost_on_a_cluster():
    """The same while each of three members in turn is killed, and comes back."""
    if os.geteuid():
        pytest.skip("needs root: a network namespace for each member")
    assert sitting("cluster", range(2000, 2020), RESULTS) == []
