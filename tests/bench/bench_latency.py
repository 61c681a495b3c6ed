"""How long a call to ten nodes takes, for an operator who is connected already.

Run: python tests/bench/bench_latency.py [CALLS]

Ours: ten real daemons on ActiveMQ, from SEND to the last row in the table (verified and
committed); discovery is apart. By turns with each call: the broker's own fan-out, to ten bare
sockets in one process and back. In the same run, after them: ten bare processes which check the
request's signature and sign their answer, which is checked, and do nothing else; and ipyparallel's
`apply_sync` over ten engines.

Where it goes: processor time of a broadcast call, of ten daemons, broker and client. All of it over the
cores is the least that a call can take here, for the ten machines of a fleet are one; and what ten daemons
spend, over ten, is what one of them adds on a machine of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import statistics
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import psutil
from figures import bare_peers, figure, machine, median, ms, place, running, show

from mcshell import config
from mcshell.client.discovery.targeting import Targeting
from mcshell.wire.credentials import load_credentials
from tests.bench.bare_peers import Asker
from tests.peers.fleet import Fleet, Node

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from mcshell.client.client import Client
    from tests.peers.brokers import Broker

NODES = 10
LIMIT = 1.5
"""How much longer than the bare fan-out a call may take, by the issue."""
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


@dataclass(slots=True)
class Figures:
    """Seconds, of each call; processor seconds of all broadcast calls."""

    sockets: list[float] = field(default_factory=list)
    broadcast: list[float] = field(default_factory=list)
    direct: list[float] = field(default_factory=list)
    whole: list[float] = field(default_factory=list)
    finds: list[float] = field(default_factory=list)
    spent: list[tuple[float, float, float]] = field(default_factory=list)
    """Of daemons, broker, client."""


def by_turns(fleet: Fleet, broker: Broker, client: Client, calls: int) -> Figures:
    """Each kind of call after the other, so often."""
    figures = Figures()
    daemons = [psutil.Process(child.pid) for child in fleet.nodes.values()]
    server = psutil.Process(broker.pid)
    loop = asyncio.new_event_loop()
    asker = loop.run_until_complete(Asker.open(broker.url, broker.user, broker.passcode))

    def spent() -> tuple[float, float, float]:
        times = [sum(one.cpu_times()[:2]) for one in (*daemons, server)]
        return sum(times[:-1]), times[-1], time.process_time()

    client.find(Targeting())
    for _ in range(calls):
        figures.sockets.append(loop.run_until_complete(asker.ask(NODES))[1])
        before = spent()
        figures.broadcast.append(call(client, "broadcast"))
        after = spent()
        figures.spent.append(tuple(b - a for a, b in zip(before, after, strict=True)))
        figures.direct.append(call(client, "direct"))
        figures.whole.append(named(client))
        figures.finds.append(client.find(Targeting()).elapsed)
    loop.run_until_complete(asker.close())
    loop.close()
    return figures


def signed(fleet: Fleet, broker: Broker, calls: int) -> list[float]:
    """Seconds from SEND to the last answer of ten processes that check, sign, and do nothing else."""
    configs = [fleet.folder / f"{name}.toml" for name in NAMES]
    keys = load_credentials(config.load(fleet.config).pki)

    async def ask() -> list[float]:
        asker = await Asker.open(broker.url, broker.user, broker.passcode, keys)
        figures = [(await asker.ask(NODES))[1] for _ in range(calls)]
        await asker.close()
        return figures

    with contextlib.ExitStack() as stack:
        for one in configs:
            stack.enter_context(bare_peers(broker, fleet.folder, 1, 1, one))
        return asyncio.run(ask())


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
    """Measure all of them."""
    calls = WARM + (int(sys.argv[1]) if len(sys.argv) > 1 else 150)
    print(f"{machine()}\n{NODES} nodes on ActiveMQ, {calls - WARM} calls each")
    with place() as folder, running("activemq", folder) as broker:
        (folder / "fleet").mkdir()
        (folder / "signed").mkdir()
        with (
            bare_peers(broker, folder, NODES, NODES),
            Fleet(broker, folder / "fleet", dict.fromkeys(NAMES, Node())) as fleet,
        ):
            fleet.start()
            with fleet.client() as client:
                figures = by_turns(fleet, broker, client, calls)
        with Fleet(broker, folder / "signed", dict.fromkeys(NAMES, Node())) as fleet:
            limit = signed(fleet, broker, calls)
        parallel = engines(calls, folder)
    show("", "median", "95 %", "")
    row("broker alone: ten bare sockets and back", figures.sockets)
    floor = median(figures.sockets[WARM:])
    row("limit: ten bare processes that check and sign", limit, floor)
    row("mcshell, broadcast: SEND to last row", figures.broadcast, floor)
    row("mcshell, direct: SEND to last row", figures.direct, floor)
    row("mcshell, the whole call to named nodes", figures.whole, floor)
    row("mcshell, discovery (apart)", figures.finds, floor)
    row("ipyparallel apply_sync, ten engines", parallel, floor)
    ratio = median(figures.broadcast[WARM:]) / floor
    figure("ten daemons: a broadcast, of the bare fan-out", ratio, most=LIMIT)
    figure("  the bare fan-out", floor * 1000, "ms")
    spent = [statistics.fmean(part) for part in zip(*figures.spent[WARM:], strict=True)]
    show("processor of a call: ten daemons, broker, client", *map(ms, spent))
    show("limit: that, over the cores", ms(sum(spent) / (os.cpu_count() or 1)))


if __name__ == "__main__":
    main()
