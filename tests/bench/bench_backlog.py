"""A backlog of queued replies, from the wire to committed rows, beside stomp.py and a bare parser.

Run: python tests/bench/bench_backlog.py [--count 200000] [--brokers activemq,rabbitmq]

The same signed replies are put into three queues: mcshell's session drains one (parse, verify,
commit with fsync, acknowledge), stomp.py alone receives and acknowledges the second, a bare socket
with our codec the third. Once with Ed25519 certificates and once with RSA-2048. Then replies of
200 KB, beside what hashing and writing them takes alone. Prints replies a second, ratios to stomp.py,
and the peak memory of the draining process.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from figures import ROOT, figure, machine, place, running

from mcshell.message import Reply, State, new_request_id
from mcshell.wire import destinations
from mcshell.wire.documents.envelope import digest_of, seal_reply
from mcshell.wire.documents.signatures import Signer
from tests.peers.aio import AioConnection
from tests.peers.certificates import rsa_leaf
from tests.peers.fleet import Fleet

if TYPE_CHECKING:
    from tests.peers.brokers import Broker

NODES = 100
GROUP = 20  # replies of 200 KB that are committed together
SESSION = "backlog"
LIMITS = {"ed25519": (0.85, 110.0), "rsa": (1.0, None), "large": (0.6, None)}
"""Of stomp.py's rate at least, and us of processor a reply at most."""
NAMES = {"bare": "bare socket", "stomp": "stomp.py alone", "mcshell": "mcshell"}


def signers(fleet: Fleet, algorithm: str, count: int = NODES) -> list[Signer]:
    """One key for each node."""
    names = [f"{algorithm}{number:03d}" for number in range(count)]
    if algorithm == "rsa":
        folder, ca = fleet.folder / "pki", fleet.authority.certificate
        return [Signer.from_pem(*rsa_leaf(folder, ca, name)) for name in names]
    pems = (fleet.authority.issue_pem(name, "node", renew=True) for name in names)
    return [Signer.from_pem(*pem) for pem in pems]


async def fill(broker: Broker, queue: str, sealed: list[tuple[bytes, dict[str, str]]]) -> None:
    """Put persistent messages into a queue, confirmed."""
    link = await AioConnection.open(broker.url, user=broker.user, passcode=broker.passcode)
    # on RabbitMQ a session's queue is there once it has been subscribed to
    await link.subscribe(queue, lambda _delivery: None, ack="client-individual", prefetch=1)
    await link.close()
    link = await AioConnection.open(broker.url, user=broker.user, passcode=broker.passcode)
    for number, (body, headers) in enumerate(sealed, 1):
        if number % 500 and number < len(sealed):
            link.send(queue, body, headers, persistent=True)
        else:  # ActiveMQ falls silent when it is fed much faster than it can store
            await link.send_confirmed(queue, body, headers, persistent=True)
    await link.close()


def seal(keys: list[Signer], requests: list[str], size: int) -> list[tuple[bytes, dict[str, str]]]:
    """Each request's final reply of each node."""
    filler = {"pong": 1_700_000_000} if size < 1000 else {"text": "x" * size}
    sealed = []
    for request in requests:
        for key in keys:
            name = key.identity.name
            reply = Reply(
                requestid=request,
                sender=name,
                sequence=2,
                statuscode=0,
                statusmsg="OK",
                data=filler,
                created=time.time(),
                state=State.OK,
                digest=digest_of(request.encode()),
            )
            one = seal_reply(reply, key)
            sealed.append((one.body, one.headers))
    return sealed


def floor(folder: Path, size: int, total: int) -> None:
    """What the machine itself takes for as many bytes: to hash them, and to have them on the disk."""
    body = os.urandom(size)
    began = time.monotonic()
    for _ in range(total):
        hashlib.sha256(body).digest()
    hashed = time.monotonic()
    with (folder / "floor").open("wb", buffering=0) as file:
        for number in range(1, total + 1):
            file.write(body)
            if number % GROUP == 0 or number == total:
                os.fdatasync(file.fileno())
    written = time.monotonic()
    (folder / "floor").unlink()
    figure("  SHA-256 alone, a reply", (hashed - began) / total * 1e6, "us")
    figure("  written and synced alone, a reply", (written - hashed) / total * 1e6, "us")


def child(*words: str) -> dict[str, float]:
    """Run one consumer in a process of its own; returns what it prints."""
    script = str(Path(__file__).with_name("drain.py"))
    done = subprocess.run(
        [sys.executable, script, *words],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": ROOT},
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


def one(broker: Broker, fleet: Fleet, algorithm: str, count: int, size: int) -> None:
    """Fill, drain three times, print a block."""
    keys = signers(fleet, algorithm)
    requests = [new_request_id("cert=alice")[0] for _ in range(max(1, count // NODES))]
    total = len(requests) * NODES
    sealed = seal(keys, requests, size)
    name = f"{SESSION}-{algorithm}-{size}"
    ours = destinations.reply(fleet.collective, "cert=alice", name)
    queues = {"bare": f"/queue/{name}.bare", "stomp": f"/queue/{name}.stomp", "mcshell": ours}
    wanted = fleet.folder / f"{name}.json"
    wanted.write_text(json.dumps({"requests": requests, "nodes": [k.identity.name for k in keys]}))
    login = (broker.host, str(broker.port), broker.user, broker.passcode)
    figures = {}
    for kind, queue in queues.items():  # one at a time: the brokers of the tests have small stores
        asyncio.run(fill(broker, queue, sealed))
        words = (str(fleet.config), name, str(wanted)) if queue == ours else (*login, queue)
        figures[kind] = child(kind, *words, str(total))
    for kind, taken in figures.items():
        rate = total / taken["seconds"]
        ratio = figures["stomp"]["seconds"] / taken["seconds"]
        print(
            f"  {NAMES[kind]:15} {rate:9.0f} replies/s   {ratio:5.2f} of stomp.py   "
            f"{taken['cpu'] / total * 1e6:4.0f} us of processor each   "
            f"{taken['peak_mib']:6.0f} MiB peak"
        )
    mine, beside = figures["mcshell"], figures["stomp"]
    least, most = LIMITS["large" if size else algorithm]
    what = f"{broker.kind}, {total:,} replies, {'200 KB' if size else algorithm}"
    figure(f"{what}: of stomp.py", beside["seconds"] / mine["seconds"], least=least)
    figure("  processor a reply", mine["cpu"] / total * 1e6, "us", most=most)
    figure("  peak memory", mine["peak_mib"], "MiB")
    if size:
        figure("  the whole drain, a reply", mine["seconds"] / total * 1e6, "us")
        floor(fleet.folder, size, total)


def main() -> None:
    """Run the blocks."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=200_000)
    parser.add_argument("--large", type=int, default=5_000)
    parser.add_argument("--brokers", default="activemq,rabbitmq")
    parser.add_argument("--algorithms", default="ed25519,rsa")
    options = parser.parse_args()
    print(machine())
    for kind in options.brokers.split(","):
        with place() as folder, running(kind, folder) as broker:
            (folder / "fleet").mkdir()
            fleet = Fleet(broker, folder / "fleet")
            for algorithm in options.algorithms.split(","):
                print(f"{kind}, {options.count} replies of some 230 bytes, {algorithm}")
                one(broker, fleet, algorithm, options.count, 0)
            print(f"{kind}, {options.large} replies of 200 KB, ed25519")
            one(broker, fleet, "ed25519", options.large, 200_000)
            fleet.stop()


if __name__ == "__main__":
    main()
