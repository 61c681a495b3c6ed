"""Where a lid is closed: two hundred emulated nodes on one broker, or on a cluster of three."""

from __future__ import annotations

import itertools
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from tests.lid.trial import COUNT
from tests.peers import brokers, certificates
from tests.peers.cluster import Cluster, Hosts
from tests.peers.fleet import Fleet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.peers.brokers import Broker

__all__ = ["KINDS", "Place", "on_broker", "place"]

KINDS = ("embedded", "activemq", "rabbitmq", "cluster")
_EMULATED = '[agents.emulate]\ndelay = "3s"\n'


class Place(NamedTuple):
    """A fleet, and what kills its broker, or one of its members, and starts it again."""

    fleet: Fleet
    crash: Callable[[], None]


@contextmanager
def place(kind: str, folder: Path) -> Iterator[Place]:
    """One of `KINDS`; a cluster is three RabbitMQ 4 (`RABBITMQ_BIN`) and wants root."""
    if kind == "cluster":
        with _on_cluster(folder) as one:
            yield one
        return
    broker = brokers.start(kind, folder / "broker", certificates.write(folder / "tls"))
    try:
        with on_broker(broker, folder) as one:
            yield one
    finally:
        broker.stop()


@contextmanager
def on_broker(broker: Broker, folder: Path) -> Iterator[Place]:
    """A fleet on a broker that runs."""

    def crash() -> None:
        broker.kill9()
        broker.restart()

    with Fleet(broker, folder, more="") as fleet:
        fleet.emulate(COUNT, more=_EMULATED)
        yield Place(fleet, crash)


@contextmanager
def _on_cluster(folder: Path) -> Iterator[Place]:
    for name in ("cluster", "fleet"):
        (folder / name).mkdir()
    with Hosts(3) as hosts:
        cluster = Cluster(hosts, folder / "cluster")
        members = itertools.cycle(cluster.members)

        def crash() -> None:
            member = next(members)
            cluster.kill9(member)
            cluster.start(member)

        try:
            with Fleet(cluster, folder / "fleet", more="") as fleet:
                cluster.configure(fleet)
                cluster.let_in("emulator")
                cluster.start()
                fleet.emulate(COUNT, more=_EMULATED)
                yield Place(fleet, crash)
        finally:
            cluster.stop()
