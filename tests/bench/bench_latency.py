"""How long a call to ten nodes takes, for an operator who is connected already.

Run: python tests/bench/bench_latency.py [CALLS]

Ours: ten real daemons on ActiveMQ, from SEND to the last row in the table (verified and
committed); discovery is apart. Beside it in the same run: the broker's own fan-out, to ten bare
sockets and back, and ipyparallel's `apply_sync` over ten engines.
"""

from __future__ import annotations

import asyncio
import sys
import time
from typing import TYPE_CHECKING

from figures import bare_peers, machine, median, ms, place, running, show

from mcshell.client.discovery.targeting import Targeting
from tests.bench.bare_peers import Asker
from tests.peers.fleet import Fleet, Node

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from mcshell.client.client import Client
    from tests.peers.brokers import Broker

NODES = 10
NAMES = [f"node{number:02d}" for number in range(1, NODES + 1)]
WARM = 10


def call(client: Client, via: str) -> float:
    """Seconds from the SEND to the last row."""
    replies = client.rpc("rpcutil", "ping", via=via)
    entries = replies.entries()
    assert replies.stats["ok"] == NODES, replies.stats
    sent = min(entry.sent for entry in entries if entry.sent is not None)
    return max(entry.done for entry in entries if entry.done is not None) - sent


def named(client: Client) -> float:
    """Seconds of a whole call to named nodes, which needs no discovery."""
    began = time.time()
    assert client.rpc("rpcutil", "ping", nodes=NAMES).stats["ok"] == NODES
    return time.time() - began


async def bare(broker: Broker, calls: int) -> list[float]:
    """The broker's own fan-out."""
    asker = await Asker.open(broker.url, broker.user, broker.passcode)
    figures = [(await asker.ask(NODES))[1] for _ in range(calls)]
    await asker.close()
    return figures


def engines(calls: int, folder: Path) -> list[float]:
    """The blocking call of ipyparallel, on its own transport."""
    import ipyparallel

    figures = []
    with ipyparallel.Cluster(
        n=NODES,
        profile_dir=str(folder / "ipyparallel"),
        log_level=40,
        send_engines_connection_env=True,
    ) as clients:
        view = clients[:]
        for _ in range(calls):
            began = time.time()
            assert len(view.apply_sync(time.time)) == NODES
            figures.append(time.time() - began)
    return figures


def row(what: str, figures: Sequence[float], beside: float | None = None) -> None:
    """Median, 95th percentile, and the ratio to what stands beside it."""
    figures = sorted(figures[WARM:])
    ratio = f"{median(figures) / beside:.1f} x bare" if beside else ""
    show(what, ms(median(figures)), ms(figures[int(len(figures) * 0.95)]), ratio)


def main() -> None:
    """Measure the three, one after the other."""
    calls = WARM + (int(sys.argv[1]) if len(sys.argv) > 1 else 150)
    print(f"{machine()}\n{NODES} nodes on ActiveMQ, {calls - WARM} calls each")
    with place() as folder, running("activemq", folder) as broker:
        with bare_peers(broker, folder, NODES, NODES):
            sockets = asyncio.run(bare(broker, calls))
        (folder / "fleet").mkdir()
        with Fleet(broker, folder / "fleet", dict.fromkeys(NAMES, Node())) as fleet:
            fleet.start()
            with fleet.client() as client:
                client.find(Targeting())
                broadcast = [call(client, "broadcast") for _ in range(calls)]
                direct = [call(client, "direct") for _ in range(calls)]
                whole = [named(client) for _ in range(calls)]
                finds = [client.find(Targeting()).elapsed for _ in range(calls)]
        parallel = engines(calls, folder)
    show("", "median", "95 %", "")
    row("broker alone: ten bare sockets and back", sockets)
    floor = median(sockets[WARM:])
    row("mcshell, broadcast: SEND to last row", broadcast, floor)
    row("mcshell, direct: SEND to last row", direct, floor)
    row("mcshell, the whole call to named nodes", whole, floor)
    row("mcshell, discovery (apart)", finds, floor)
    row("ipyparallel apply_sync, ten engines", parallel, floor)


if __name__ == "__main__":
    main()
