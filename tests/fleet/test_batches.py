"""Batches whose nodes take longer than is waited for them."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest

from tests.peers.fleet import Fleet, Node

if TYPE_CHECKING:
    from pathlib import Path

    from tests.peers.brokers import Broker

EXEC = {"exec": "policy default deny\nallow\tcert=alice\t*\t*\t*\n"}
TIMEOUT = 2.0

pytestmark = pytest.mark.timeout(240)


def test_what_an_earlier_batch_still_says_ends_no_later_one(
    embedded: Broker, tmp_path: Path
) -> None:
    """Each is waited for to its own end or the timeout, whatever comes in of those before."""
    names = ("n1", "n2", "n3")
    with Fleet(embedded, tmp_path, {name: Node() for name in names}, policies=EXEC) as fleet:
        fleet.start()
        with fleet.client() as alice:
            asked = {"argv": ["sleep", str(TIMEOUT * 1.5)], "nodes": names, "batch": 1}
            rows = alice.rpc("exec", "run", timeout=TIMEOUT, **asked).ledger().sort_values("sent")
    assert len(rows) == len(names)
    for before, after in itertools.pairwise(rows.itertuples()):
        waited = (after.sent - before.sent).total_seconds()
        assert waited >= TIMEOUT - 0.1 or after.sent >= before.done
