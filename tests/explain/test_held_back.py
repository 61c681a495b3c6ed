"""A broker that takes nothing more, for want of memory or disk, is named; nothing is lost over it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.peers.brokers import RABBITMQ, RabbitMQ
from tests.peers.fleet import Fleet, Node
from tests.peers.processes import said, wait_until

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.peers.brokers import Broker

pytestmark = [pytest.mark.rabbitmq, pytest.mark.timeout(400)]

ROOM, NONE = "1MB", "900000GB"  # what has to be free of the disk


@pytest.fixture
def fleet(fresh_broker: Callable[..., Broker], tmp_path: Path) -> Iterator[Fleet]:
    """One node at a RabbitMQ of its own."""
    with Fleet(fresh_broker("rabbitmq"), tmp_path, {"web1": Node()}) as running:
        running.start()
        yield running


def wants_free(fleet: Fleet, space: str) -> None:
    """Have the broker want so much of its disk free; else it reads nothing from who has sent."""
    broker = fleet.broker
    assert isinstance(broker, RabbitMQ)
    control = RABBITMQ.with_name("rabbitmqctl")
    said(control, "-q", "set_disk_free_limit", space, **broker.environment)


def of_broker(done: subprocess.CompletedProcess[str]) -> tuple[int, str, str]:
    """Exit code of `doctor`, and what it found of the broker."""
    rows = [row for row in json.loads(done.stdout) if row["check"].startswith("broker ")]
    return done.returncode, rows[0]["state"], rows[0]["detail"]


def test_an_alarm_is_named_and_what_was_queued_comes_when_it_is_over(fleet: Fleet) -> None:
    """`explain` and `doctor` name the broker, not the node; what waits is answered afterwards."""
    assert of_broker(fleet.cli("doctor", "--json"))[1] != "fail"
    with fleet.client(session="waits") as alice:
        assert alice.rpc("rpcutil", "ping", nodes="web1", timeout=60).stats["ok"] == 1
        wants_free(fleet, NONE)
        while alice.rpc("rpcutil", "ping", nodes="web1", timeout=2).stats["ok"]:
            pass  # each connection is read up to its next message
        queued = alice.rpc("rpcutil", "ping", nodes="web1", via="queue", ttl="1h", wait=False)
        found = alice.causes("web1", queued.requestid)
        assert (found[0].cause, found[0].kind) == ("the broker holds back what we send", "observed")
        code, state, detail = of_broker(fleet.cli("doctor", "--json"))
        assert (code, state) == (2, "fail"), detail
        assert "did not confirm what is sent to it (an alarm of its memory or disk?)" in detail
        wants_free(fleet, ROOM)
        assert wait_until(lambda: queued.stats["ok"] == 1, 120), queued.stats
        assert alice.rpc("rpcutil", "ping", nodes="web1", timeout=60).stats["ok"] == 1
