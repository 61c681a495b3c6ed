"""Two ActiveMQ as `broker config` sets them up, on one store: the second has all that the first had."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from tests.peers.brokers import Configured
from tests.peers.outstanding import Outstanding
from tests.peers.processes import free_ports, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.peers.fleet import Fleet

pytestmark = [pytest.mark.activemq, pytest.mark.soak, pytest.mark.timeout(600)]
TAKEN_OVER = 60.0  # seconds


class OnOneStore(Configured):
    """One of the two: it serves when it has the lock, so nobody waits for it at its start."""

    def restart(self) -> None:
        """Start it."""
        self.child = self.launch()


class Two:
    """Both brokers, and a fleet that has both in its `urls`."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.ports = folder, free_ports(2)
        urls = [f"stomp+ssl://127.0.0.1:{port}" for port in self.ports]
        place = SimpleNamespace(urls=urls, user="", passcode="", kind="activemq")
        self.story = Outstanding(folder, place, count=10)
        self.fleet: Fleet = self.story.fleet
        (folder / "ca.pem").write_bytes(self.fleet.authority.ca_pem)
        (folder / "store").mkdir()
        self.brokers = [self._start(f"mq{port}", port) for port in self.ports]

    def _start(self, name: str, port: int) -> OnOneStore:
        words = ["--pki", "pki", "--dir", name, "--tls-port", str(port), "--json"]
        hosts = ["--listen", "127.0.0.1", "--host", "127.0.0.1"]
        done = self.fleet.cli("broker", "config", "activemq", *words, *hosts)
        assert done.returncode == 0, done.stderr
        (self.folder / name / "data").symlink_to(self.folder / "store")
        made = OnOneStore("activemq", json.loads(done.stdout)[0]["start"], port, self.folder)
        if port == self.ports[0]:
            assert wait_until(made.ready, TAKEN_OVER)
        return made

    def stop(self) -> None:
        """End all of it."""
        self.fleet.stop()
        for one in self.brokers:
            one.stop()


@pytest.fixture
def two(tmp_path: Path) -> Iterator[Two]:
    """The first serves, the second waits."""
    made = Two(tmp_path)
    try:
        yield made
    finally:
        made.stop()


def test_the_second_takes_over_all_that_waits(two: Two) -> None:
    """Requests, a pool, replies and a job lie in the first when it is killed: each comes, once."""
    first, second = two.brokers
    two.story.ask()
    assert not second.ready()
    first.kill9()
    assert wait_until(second.ready, TAKEN_OVER)
    two.story.check()


def test_the_lock_goes_to_and_fro_under_work(two: Two) -> None:
    """Amid requests the broker that serves is killed, twice; everything asked runs once and is answered."""
    first, second = two.brokers
    story = two.story
    two.fleet.start()
    with two.fleet.client(session="to-and-fro") as alice:
        asked = []
        for dies in (first, second):
            for number in range(20):
                word = f"{dies.tls_port}-{number}"
                asked.append(
                    alice.rpc(
                        "exec",
                        "run",
                        argv=story.writes(word),
                        via="queue",
                        nodes=two.fleet.names,
                        wait=False,
                    )
                )
                story.expected[word] = len(two.fleet.names)
                if number == 10:
                    dies.kill9()
            for one in asked:
                assert one.wait(120).stats["ok"] == len(two.fleet.names), one.rows()
            dies.restart()  # it waits for the lock from now on
        assert not alice.junk
    assert story.ran() == story.expected
