"""What the embedded broker and the codec carry; prints figures, medians of five.

Run it with `python -m pytest tests/bench/bench_broker.py -m bench -s`. The clients are bare
asyncio peers in this process; on two cores they cost about as much as the broker.
"""

from __future__ import annotations

import asyncio
import statistics
import time
import uuid

import psutil
import pytest

from mcshell.wire.stomp.frame import Frame, Parser, dump
from tests.bench.figures import figure
from tests.peers.aio import AioConnection

pytestmark = [pytest.mark.bench, pytest.mark.timeout(600)]
ROUNDS = 5


class Countdown:
    """Counts deliveries and says when the last one is there."""

    def __init__(self) -> None:
        self.left = 0
        self.done = asyncio.Event()

    def begin(self, count: int) -> None:
        """Expect so many."""
        self.left = count
        self.done.clear()

    def __call__(self, _: object) -> None:
        """Count one."""
        self.left -= 1
        if self.left == 0:
            self.done.set()


async def open_to(broker) -> AioConnection:
    """A connection with patience."""
    return await AioConnection.open(broker.url, user=broker.user, passcode=broker.passcode)


def report(what: str, seconds: list[float], count: int = 0) -> None:
    """Print a median with its range, and as a rate if it is of many."""
    middle = statistics.median(seconds)
    print(f"\n{what}: {middle:.4f} s ({min(seconds):.4f}-{max(seconds):.4f})")
    figure(what, count / middle if count else middle * 1000, "a second" if count else "ms")


@pytest.mark.parametrize("nodes", [10, 100, 1000, 10_000])
@pytest.mark.parametrize("shared", [False, True], ids=["own-connections", "four-connections"])
def test_fan_out(broker, nodes, shared):
    """One topic message to N subscribers; each answers 300 bytes into one queue."""
    if nodes > 1000 and (not shared or broker.kind != "embedded"):
        pytest.skip("more than a connection each can show here")
    name = f"mcs.bench.{uuid.uuid4().hex[:8]}"

    async def measure() -> list[float]:
        count = Countdown()
        client = await open_to(broker)
        peers = [await open_to(broker) for _ in range(min(4, nodes) if shared else nodes)]
        await client.subscribe(f"/queue/{name}.reply", count, ack="auto")

        def answering(conn: AioConnection):
            return lambda _: conn.send(f"/queue/{name}.reply", b"r" * 300)

        for start in range(0, nodes, 500):
            await asyncio.gather(
                *(
                    peers[node % len(peers)].subscribe(
                        f"/topic/{name}", answering(peers[node % len(peers)]), ack="auto"
                    )
                    for node in range(start, min(nodes, start + 500))
                )
            )
        seconds = []
        for _ in range(ROUNDS):
            count.begin(nodes)
            started = time.perf_counter()
            client.send(f"/topic/{name}", b"q" * 300)
            await asyncio.wait_for(count.done.wait(), 120)
            seconds.append(time.perf_counter() - started)
        await asyncio.gather(*(conn.close() for conn in [client, *peers]))
        return seconds

    how = "4 connections" if shared else "a connection each"
    report(f"{broker.kind}: fan-out 1 → {nodes} → 1, {how}", asyncio.run(measure()), nodes)


@pytest.mark.parametrize("senders", [1, 50])
def test_receipted_persistent_messages(broker, senders):
    """Persistent messages of 200 bytes, each sender waiting for each receipt."""
    count = 1000
    name = f"/queue/mcs.bench.{uuid.uuid4().hex[:8]}"

    async def measure() -> list[float]:
        conn = await open_to(broker)

        async def one() -> None:
            for _ in range(count // senders):
                await conn.send_confirmed(name, b"x" * 200, persistent=True)

        seconds = []
        for _ in range(ROUNDS):
            started = time.perf_counter()
            await asyncio.gather(*(one() for _ in range(senders)))
            seconds.append(time.perf_counter() - started)
        await conn.close()
        return seconds

    report(f"{broker.kind}: receipted persistent, {senders} at once", asyncio.run(measure()), count)


@pytest.mark.parametrize("persistent", [False, True], ids=["transient", "persistent"])
def test_stream(broker, persistent):
    """20,000 messages of 200 bytes through a queue, end to end, one producer and one consumer."""
    count = 20_000
    name = f"/queue/mcs.bench.{uuid.uuid4().hex[:8]}"

    async def measure() -> list[float]:
        done = Countdown()
        sender, reader = await open_to(broker), await open_to(broker)

        def take(delivery) -> None:
            reader.ack(delivery)
            done(delivery)

        await reader.subscribe(name, take, prefetch=1000)
        seconds = []
        for _ in range(ROUNDS):
            done.begin(count)
            started = time.perf_counter()
            for number in range(count):
                sender.send(name, b"x" * 200, persistent=persistent)
                if number % 200 == 0:
                    await sender.drain()
                    await asyncio.sleep(0)
            await asyncio.wait_for(done.done.wait(), 120)
            seconds.append(time.perf_counter() - started)
        await asyncio.gather(sender.close(), reader.close())
        return seconds

    kind = "persistent" if persistent else "transient"
    report(f"{broker.kind}: stream, {kind}, acknowledged", asyncio.run(measure()), count)


def test_a_thousand_connections(embedded):
    """1,000 idle connections, each with its own queue and one topic: time, memory, processor."""
    process = psutil.Process(embedded.pid)

    async def measure() -> None:
        before = process.memory_info().rss
        started = time.perf_counter()
        conns = []
        for number in range(1000):
            conn = await open_to(embedded)
            await conn.subscribe(f"/queue/mcs.bench.idle.{number}", print)
            await conn.subscribe("/topic/mcs.bench.idle", print, ack="auto")
            conns.append(conn)
        seconds = time.perf_counter() - started
        process.cpu_percent()
        await asyncio.sleep(5)
        idle = process.cpu_percent()
        rss = process.memory_info().rss
        print(
            f"\nembedded: 1,000 connections in {seconds:.2f} s, "
            f"{before / 1e6:.0f} → {rss / 1e6:.0f} MB, {process.num_threads()} threads, "
            f"{idle:.1f} % processor when idle"
        )
        await asyncio.gather(*(conn.close() for conn in conns))

    asyncio.run(measure())


def test_codec():
    """Parsing and writing frames of 200 bytes with nine headers, five of them escaped."""
    headers = {f"header-{n}": "a:b" if n < 5 else "a-plain-value-of-a-header" for n in range(8)}
    frame = Frame("MESSAGE", {**headers, "destination": "/queue/x"}, b"x" * 200)
    count = 50_000
    stream = dump(frame) * count
    parsing, writing = [], []
    for _ in range(ROUNDS):
        parser = Parser()
        started = time.perf_counter()
        got = sum(len(parser.feed(stream[i : i + 65536])) for i in range(0, len(stream), 65536))
        parsing.append(time.perf_counter() - started)
        assert got == count
        started = time.perf_counter()
        for _ in range(count):
            dump(frame)
        writing.append(time.perf_counter() - started)
    report("codec: parse", parsing, count)
    report("codec: write", writing, count)
