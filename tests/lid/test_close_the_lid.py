"""Close the lid: whatever dies and whenever, another machine has all the replies, each once.

Each phase once on our own broker, those in which a broker has a part on each; `-m soak` runs fifty on each
broker, and twenty on a cluster of three RabbitMQ that loses a member (`RABBITMQ_BIN` of `tests/peers/rabbitmq_of`,
root). Prints in which phases the client died.
"""

from __future__ import annotations

import os
from collections import Counter
from functools import partial

import pytest

from tests.lid.trial import COUNT, PHASES, trial
from tests.peers.cluster import Cluster, Hosts
from tests.peers.fleet import Fleet

FEW = {"embedded": range(5), "activemq": range(1, 4), "rabbitmq": range(1, 4)}
EMULATED = '[agents.emulate]\ndelay = "3s"\n'


def run_trials(kind, fleet, seeds, crash):
    """Run trials on one emulated fleet; `crash(seed)` kills a broker. Returns the phases that were hit."""
    hit: Counter[str] = Counter()
    for seed in seeds:
        outcome = trial(fleet, seed, partial(crash, seed))
        where = (kind, seed, outcome)
        assert outcome.stats["ok"] == COUNT, where
        assert sorted(set(outcome.rows)) == sorted(outcome.rows), where
        assert len(outcome.rows) == COUNT, where
        assert outcome.stats["unexpected"] == outcome.stats["duplicate"] == 0, where
        assert set(outcome.ran.values()) == {1}, where
        hit[outcome.phase] += 1
    print(f"\n{kind}: " + ", ".join(f"{phase} {hit[phase]}" for phase in PHASES))
    return hit


def on_one_broker(kind, broker, folder, seeds):
    """Trials in which the one broker is killed."""

    def crash(_seed):
        broker.kill9()
        broker.restart()

    with Fleet(broker, folder, more="") as fleet:
        fleet.emulate(COUNT, more=EMULATED)
        return run_trials(kind, fleet, seeds, crash)


@pytest.mark.timeout(600)
def test_nothing_is_lost(broker_kind, fresh_broker, tmp_path):
    """All 200 replies, no row twice, the ledger closed, in each phase of dying."""
    seeds = FEW[broker_kind]
    hit = on_one_broker(broker_kind, fresh_broker(broker_kind), tmp_path, seeds)
    assert set(hit) == {PHASES[seed] for seed in seeds}


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_nothing_is_lost_in_fifty_trials(broker_kind, fresh_broker, tmp_path):
    """The same over many seeds: each phase is hit many times."""
    hit = on_one_broker(broker_kind, fresh_broker(broker_kind), tmp_path, range(1000, 1050))
    assert min(hit[phase] for phase in PHASES) >= 2


@pytest.mark.soak
@pytest.mark.rabbitmq
@pytest.mark.timeout(7200)
def test_nothing_is_lost_on_a_cluster(tmp_path):
    """The same while any one of three members is killed, and comes back."""
    if os.geteuid():
        pytest.skip("needs root: a network namespace for each member")
    for name in ("cluster", "fleet"):
        (tmp_path / name).mkdir()
    with Hosts(3) as hosts:
        cluster = Cluster(hosts, tmp_path / "cluster")

        def crash(seed):
            member = cluster.members[seed // len(PHASES) % 3]
            cluster.kill9(member)
            cluster.start(member)

        try:
            with Fleet(cluster, tmp_path / "fleet", more="") as fleet:
                cluster.configure(fleet)
                cluster.let_in("emulator")
                cluster.start()
                fleet.emulate(COUNT, more=EMULATED)
                hit = run_trials("cluster", fleet, range(2000, 2020), crash)
        finally:
            cluster.stop()
    assert set(hit.values()) == {4}
