"""A broker whose clock is ahead of everybody's drops whatever has an end: it is named, and not the node."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.peers.fleet import ROOT, Fleet, Node

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.peers.brokers import Broker

LINE = ("rpc", "rpcutil", "ping", "-I", "web1", "--json", "--session", "story")


@pytest.fixture
def fleet(broker: Broker, tmp_path: Path) -> Iterator[Fleet]:
    """A node and its operators, who agree, and are two and a half minutes behind the broker."""
    clock = tmp_path / "behind"
    clock.write_text("-150")
    with Fleet(broker, tmp_path, {"web1": Node()}) as running:
        path = os.pathsep.join((str(Path(ROOT) / "tests" / "peers" / "clock"), ROOT))
        running.environ |= {"TEST_CLOCK": str(clock), "PYTHONPATH": path}
        running.start()
        yield running


def test_a_broker_whose_clock_is_ahead_is_named(fleet: Fleet) -> None:
    """Asked directly the node is silent: `explain` and `doctor` say why. RabbitMQ counts from when it came."""
    done = fleet.cli(*LINE, "--via", "direct")
    (row,) = json.loads(done.stdout)["replies"]
    found = json.loads(fleet.cli("explain", "web1", "--json", "--session", "story").stdout)
    checks = json.loads(fleet.cli("doctor", "--json").stdout)
    (check,) = [one for one in checks if one["check"].startswith("broker ")]
    if fleet.broker.kind == "rabbitmq":
        assert row["state"] == "ok"
        assert check["state"] != "fail", check
        return
    assert row["state"] == "silent"
    assert (found[0]["cause"], found[0]["kind"]) == (
        "the broker's clock is ahead of ours",
        "observed",
    )
    assert check["state"] == "fail"
    assert check["detail"].startswith("its clock is ahead of ours: it dropped what is good for")
