"""A fleet goes from one RabbitMQ to a cluster of three, in the middle of its work, with rights alone.

The old one is Debian's own, or that of MCSHELL_OLD_RABBITMQ, which is its folder of programs.
"""

from __future__ import annotations

import json
import os
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from tests.peers.brokers import Configured
from tests.peers.cluster import Cluster, Hosts
from tests.peers.outstanding import Outstanding
from tests.peers.processes import free_ports, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.rabbitmq, pytest.mark.soak, pytest.mark.timeout(900)]
OLD = os.environ.get("MCSHELL_OLD_RABBITMQ", "/usr/lib/rabbitmq/bin")


class Single:
    """One RabbitMQ that `broker config` sets up, at which the fleet is; who may move is to be named."""

    def __init__(self, folder: Path, count: int) -> None:
        self.folder, self.port = folder, free_ports(1)[0]
        self.url = f"stomp+ssl://127.0.0.1:{self.port}"
        place = SimpleNamespace(url=self.url, user="", passcode="", kind="rabbitmq")
        self.story = Outstanding(folder, place, count)
        self.fleet = self.story.fleet
        (folder / "ca.pem").write_bytes(self.fleet.authority.ca_pem)
        start = self.configure("--mover", "alice")
        self.broker = Configured("rabbitmq", start, self.port, folder, RABBITMQ_BIN=OLD)

    def configure(self, *more: str) -> str:
        """Write it (again); returns how it is started."""
        words = ["--pki", "pki", "--dir", "conf", "--tls-port", str(self.port), "--json"]
        hosts = ["--listen", "127.0.0.1", "--host", "127.0.0.1"]
        done = self.fleet.cli("broker", "config", "rabbitmq", *words, *hosts, *more)
        assert done.returncode == 0, done.stderr
        return str(json.loads(done.stdout)[0]["start"])

    def listing(self) -> str:
        """What is in its queues."""
        return self.broker.command("ctl", "-q", "list_queues", "name", "messages")

    def waiting(self) -> dict[str, int]:
        """The messages of each queue that has any."""
        rows = [line.split("\t") for line in self.listing().splitlines()[1:]]
        return {name: int(count) for name, count in rows if int(count)}


@pytest.fixture
def single(tmp_path: Path) -> Iterator[Single]:
    """The old broker, with the fleet's work in it."""
    folder = tmp_path / "fleet"
    folder.mkdir()
    made = Single(folder, count=25)
    try:
        made.story.ask()
        yield made
    finally:
        made.fleet.stop()
        made.broker.stop()


def test_work_goes_from_one_node_to_a_cluster(single: Single, tmp_path: Path) -> None:
    """The move is killed three times, a member once: each request, job and reply arrives once."""
    if os.geteuid():
        pytest.skip("needs root: a network namespace for each member")
    before = single.waiting()
    assert len(before) >= 4, before
    with Hosts(3) as hosts:
        cluster = Cluster(hosts, tmp_path / "cluster")
        cluster.folder.mkdir()
        cluster.configure(single.fleet, "--mover", "alice")
        cluster.start()
        try:
            words = ["--from", single.url, "--to", ",".join(cluster.urls)]
            for phase, number in (("sent", 5), ("confirmed", 20), ("sent", 70)):
                single.story.die(phase, number, *words, listing=single.listing())
            cluster.kill9(cluster.members[0])
            code, rows, said = single.story.move(*words, listing=single.listing())
            print(f"\n{before} -> {rows}")
            assert code == 0, said
            assert wait_until(lambda: not single.waiting(), 30), single.waiting()
            cluster.start(cluster.members[0])
            kinds = cluster.ctl(cluster.members[1], "list_queues", "name", "type", "messages")
            print(kinds)
            single.story.go_over(cluster.urls)
            single.broker.stop()
            single.story.check(doubted=2)
        finally:
            cluster.stop()
