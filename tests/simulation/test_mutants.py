"""The simulation finds what it is for: four promises broken on purpose, each found within 1,000 seeds."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import pytest

from mcshell.client.messaging.receiver import Receiver
from mcshell.node.queue.consumer import QueueConsumer
from mcshell.node.workers.queue_worker import QueueWorker
from mcshell.sqlite import Database
from tests.simulation.run import run

if TYPE_CHECKING:
    from collections.abc import Callable

SEEDS = 1000

admit, transaction = QueueConsumer._admit, Database.transaction


def acknowledge_first(self: QueueConsumer, group: list[Any]) -> None:
    """Acknowledge, and then commit."""
    for _where, delivery in group:
        self._transport.ack(delivery)
    admit(self, group)


def claim_last(self: QueueWorker, cleared: Any) -> None:
    """Start, and then write down that it was started."""
    for work, request, admitted in cleared:
        self._begin(work, request, admitted, 0.0)
    self._spool.start([work.key for work, _, _ in cleared], 0.0)


def forget_to_sync(self: Database, *, durable: bool = True) -> Any:
    """Commit, and let it reach the disk when it may."""
    del durable
    return transaction(self, durable=False)


def compare_no_digest(self: Receiver, reply: Any) -> bool:
    """Believe a node whatever it answers."""
    del self, reply
    return True


MUTANTS: dict[str, tuple[type, str, Callable[..., Any], set[str]]] = {
    "acknowledge before commit": (
        QueueConsumer,
        "_admit",
        acknowledge_first,
        {"lost", "unfinished"},
    ),
    "claim after start": (QueueWorker, "_start", claim_last, {"twice"}),
    "a forgotten fsync": (Database, "transaction", forget_to_sync, {"lost", "twice", "unnamed"}),
    "a digest not compared": (Receiver, "_bound", compare_no_digest, {"false", "unsaid"}),
}


@pytest.mark.soak
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", MUTANTS)
def test_a_mutant_is_found(name):
    """Of a bug that is planted a seed among the first 1,000 tells, by the promise that it breaks."""
    place, method, wrong, expected = MUTANTS[name]
    with ExitStack() as planted:
        planted.enter_context(patch.object(place, method, wrong))
        for seed in range(1, SEEDS + 1):
            result = run(seed)
            kinds = {one.kind for one in result.violations} & expected
            if kinds:
                print(f"\n{name}: found by seed {seed}: {result}")
                break
        else:
            pytest.fail(f"{name}: not found within {SEEDS} seeds")
    assert run(seed).good, f"seed {seed} fails without the mutant, too"
