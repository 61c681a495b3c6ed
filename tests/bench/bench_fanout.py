"""From one call to 1,000 and 10,000 rows, beside the same fan-out without mcshell.

Run: python tests/bench/bench_fanout.py [--runs N] [NODES ...]

Ours: an emulator, each of whose nodes verifies, asks its policy, checks inputs, audits and signs
under its own certificate; the embedded broker; a client that verifies, commits and enters each
reply. Bare: asyncio peers on the same broker, without envelope, table or SQLite. The ratio of the
last rows is the figure to bring down.

The first request discovers, the others go out on what is known of the nodes, as in an open shell.
Processor time is that of one call, from before it until the emulator rests: seconds on a clock
depend on who else is at work on the machine, these hardly do. Nodes do not register meanwhile. The
client's memory is its own process's, after one question more than the runs, before the bare peers.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING

import psutil
from figures import bare_peers, figure, machine, median, ms, place, running, show

from mcshell.client.discovery.targeting import Targeting
from mcshell.message import Via, new_request_id
from mcshell.wire import destinations
from mcshell.wire.documents.envelope import seal_request
from tests.bench.bare_peers import Asker
from tests.hostile.forge import Forge, changed
from tests.peers.bare import Bare
from tests.peers.fleet import Fleet
from tests.peers.processes import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from mcshell.client.client import Client
    from tests.peers.brokers import Broker

PER_CONNECTION = 2500  # as the emulator
SIZES = (1_000, 10_000)
RUNS = 5
# Of an open shell, the issue's: seconds of the whole call, and to the first row; us of the client.
WHOLE = {1_000: 0.3, 10_000: 3.0, 50_000: 20.0}
FIRST_ROW, PROCESSOR = 1.0, 250.0
# What cannot be done without, one after the other on one core (microseconds, measured).
VERIFY, SIGN = 150e-6, 50e-6


@dataclass(frozen=True, slots=True)
class Call:
    """Seconds to the SEND, from there to the first row and the last, the whole call; processor seconds."""

    before: float
    first: float
    last: float
    whole: float
    client: float
    emulator: float


def processor(pid: int) -> float:
    """Seconds of processor time that a process has used, once it uses no more."""
    process = psutil.Process(pid)
    before = -1.0
    while (now := sum(process.cpu_times()[:2])) - before > 0.02:
        before = now
        time.sleep(0.3)
    return now


def ours(client: Client, fleet: Fleet, nodes: int) -> Call:
    """One request to all."""
    assert fleet.emulator is not None
    emulator, own = processor(fleet.emulator.pid), time.process_time()
    called = time.time()
    replies = client.rpc("rpcutil", "ping")
    returned, own = time.time(), time.process_time() - own
    emulator = processor(fleet.emulator.pid) - emulator
    assert replies.stats["ok"] == nodes, replies.stats
    done = [entry.done for entry in replies.entries() if entry.done is not None]
    sent = next(entry.sent for entry in replies.entries() if entry.sent is not None)
    first, last = min(done) - sent, max(done) - sent
    return Call(sent - called, first, last, returned - called, own, emulator)


async def bare(broker: Broker, nodes: int, runs: int) -> list[tuple[float, float]]:
    """The same without us."""
    asker = await Asker.open(broker.url, broker.user, broker.passcode)
    figures = [await asker.ask(nodes) for _ in range(runs)]
    await asker.close()
    return figures


def tampered(fleet: Fleet, nodes: int) -> float:
    """Seconds until one tampered broadcast is audited by every node."""
    forge = Forge(fleet.authority, outstanding=new_request_id, collective=fleet.collective)
    hostile = changed(seal_request(forge.request(Via.BROADCAST), forge.alice), action="inventory")

    def refused() -> int:
        audit = next(fleet.folder.glob("state-emulator/emulate-*/audit.jsonl"))
        return audit.read_bytes().count(b'"reason":"bad_signature"')

    with Bare(fleet.broker).connect() as socket:
        began = time.time()
        socket.send(destinations.broadcast(fleet.collective), hostile.body, hostile.headers)
        wait_until(lambda: refused() >= nodes, 120.0, 0.01)
        took = time.time() - began
    print(f"one tampered broadcast: {refused():,} audited refusals in {took:.2f} s")
    return took


def measure(broker: Broker, folder: Path, nodes: int, runs: int) -> None:
    """Print the figures for so many nodes."""
    print(f"\n{nodes:,} nodes, medians of {runs}")
    with Fleet(broker, folder) as fleet:
        began = time.time()
        fleet.emulate(
            nodes, more='register_every = "0s"\n', audit_every="60s", ready=max(90.0, nodes / 50)
        )
        show("emulator ready after", f"{time.time() - began:.1f} s")
        with fleet.client() as client:
            first = client.find(Targeting())
            again = client.find(Targeting())
            assert len(again.names) == nodes
            show("discovery: nobody known, everybody known", ms(first.elapsed), ms(again.elapsed))
            first_call = ours(client, fleet, nodes)
            figures = [ours(client, fleet, nodes) for _ in range(runs)]
            show("the first call: whole", ms(first_call.whole))
            show("client's memory", f"{psutil.Process().memory_info().rss / 2**20:,.0f} MiB")
        tampered(fleet, nodes)
    connections = -(-nodes // PER_CONNECTION)
    with bare_peers(broker, folder, nodes, connections):
        beside = asyncio.run(bare(broker, nodes, runs))
    report(nodes, figures, beside)


def report(nodes: int, figures: list[Call], beside: list[tuple[float, float]]) -> None:
    """Print the table."""
    columns = zip(*map(astuple, figures), strict=True)
    before, first, last, whole, client, emulator = (median(column) for column in columns)
    bare_first, bare_last = (median(column) for column in zip(*beside, strict=True))
    show("", "mcshell", "bare asyncio", "ratio")
    show("SEND to first row", ms(first), ms(bare_first), f"{first / bare_first:.1f}")
    show("SEND to last row", ms(last), ms(bare_last), f"{last / bare_last:.1f}")
    show("the whole call, and of that before the SEND", ms(whole), ms(before))
    show("a node, all of it", f"{last / nodes * 1e6:,.0f} µs", f"{bare_last / nodes * 1e6:,.0f} µs")
    show("processor time: emulator, client", ms(emulator), ms(client))
    show("processor time a node", *(f"{one / nodes * 1e6:,.0f} µs" for one in (emulator, client)))
    crypto = nodes * (VERIFY + SIGN)  # the nodes' process; the client's verify goes on beside it
    show("limit: verify and sign, on the nodes' core", ms(crypto), "", f"{last / crypto:.1f}")
    figure(f"{nodes:,} nodes: the whole call", whole, "s", most=WHOLE.get(nodes))
    figure("  SEND to first row", first, "s", most=FIRST_ROW)
    figure("  SEND to last row, of bare asyncio", last / bare_last)
    figure("  the client's processor a node", client / nodes * 1e6, "us", most=PROCESSOR)


def main() -> None:
    """Measure each size in turn."""
    parser = argparse.ArgumentParser(description="One SEND to many rows.")
    parser.add_argument("nodes", nargs="*", help="how many, each size in turn: 1,000 10,000 50,000")
    parser.add_argument("--runs", type=int, default=RUNS, help="requests of each size")
    options = parser.parse_args()
    print(machine())
    with place() as folder, running("embedded", folder) as broker:
        for nodes in [int(word.replace(",", "")) for word in options.nodes] or SIZES:
            (folder / str(nodes)).mkdir()
            measure(broker, folder / str(nodes), nodes, options.runs)


if __name__ == "__main__":
    main()
