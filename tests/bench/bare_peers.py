"""Peers that do nothing but answer: what the broker and asyncio cost alone.

Run by the benchmarks: `bare_peers.py URL USER PASSCODE COUNT CONNECTIONS [CONFIG]`. Each of COUNT
peers, spread over the connections, sends one message of some 230 bytes to REPLIES for each message
on TOPIC. No envelope, no table, no SQLite. With the configuration of one of a fleet, what comes must
be signed in it, and what goes is: as little as a node can do that signs.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from mcshell import config  # after the path is right
from mcshell.wire.credentials import Credentials, load_credentials
from mcshell.wire.documents.envelope import sealed, verified
from tests.peers.aio import AioConnection

if TYPE_CHECKING:
    from mcshell.wire.stomp.transport import Delivery

TOPIC, REPLIES = "/topic/bench.fanout", "/queue/bench.replies"
_CHUNK = 50


async def _peers(
    link: AioConnection,
    names: list[str],
    inbox: asyncio.Queue[Delivery],
    keys: Credentials | None,
) -> None:
    while True:
        _check(await inbox.get(), keys)
        for start in range(0, len(names), _CHUNK):
            for name in names[start : start + _CHUNK]:
                _send(link, REPLIES, answer(name), keys)
            await link.drain()
            await asyncio.sleep(0)


def answer(name: str) -> bytes:
    """A body as long as a reply's."""
    document = {"sender": name, "pong": int(time.time()), "created": time.time(), "fill": "x" * 150}
    return json.dumps(document, separators=(",", ":")).encode()


def _send(link: AioConnection, where: str, body: bytes, keys: Credentials | None) -> None:
    """Send a message, signed by who has keys."""
    link.send(where, body, None if keys is None else sealed(body, keys.signer).headers)


def _check(delivery: Delivery, keys: Credentials | None) -> None:
    """Look who has signed it; raises Rejected."""
    if keys is not None:
        verified(delivery.body, delivery.headers, keys.verifier, time.time())


class Asker:
    """The other end: asks all, and notes when the first and the last answer came."""

    def __init__(self, link: AioConnection, keys: Credentials | None) -> None:
        self._link = link
        self._keys = keys
        self._times: list[float] = []
        self._all = asyncio.Event()
        self._count = 0

    @classmethod
    async def open(
        cls, url: str, user: str, passcode: str, keys: Credentials | None = None
    ) -> Asker:
        """Connect and subscribe to the answers, as a client does: acknowledging each."""
        asker = cls(await AioConnection.open(url, user=user, passcode=passcode), keys)
        await asker._link.subscribe(REPLIES, asker._take, ack="client-individual", prefetch=200)
        return asker

    def _take(self, delivery: Delivery) -> None:
        _check(delivery, self._keys)
        json.loads(delivery.body)
        self._times.append(time.time())
        self._link.ack(delivery)
        if len(self._times) == self._count:
            self._all.set()

    async def ask(self, count: int, seconds: float = 120.0) -> tuple[float, float]:
        """Ask, and return seconds from the SEND to the first and to the last of `count`."""
        self._times, self._count = [], count
        self._all.clear()
        sent = time.time()
        _send(self._link, TOPIC, b"ping", self._keys)
        async with asyncio.timeout(seconds):
            await self._all.wait()
        return self._times[0] - sent, self._times[-1] - sent

    async def close(self) -> None:
        """Disconnect."""
        await self._link.close()


async def serve(
    url: str, user: str, passcode: str, count: int, connections: int, keys: Credentials | None
) -> None:
    """Answer until SIGTERM."""
    names = [f"bare{number:05d}" for number in range(count)]
    tasks = []
    for number in range(connections):
        link = await AioConnection.open(url, user=user, passcode=passcode)
        inbox: asyncio.Queue[Delivery] = asyncio.Queue()
        await link.subscribe(TOPIC, partial(inbox.put_nowait), ack="auto")
        tasks.append(asyncio.create_task(_peers(link, names[number::connections], inbox, keys)))
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    print("ready", flush=True)
    await stop.wait()
    for task in tasks:
        task.cancel()


if __name__ == "__main__":
    _url, _user, _passcode, _count, _connections, *_config = sys.argv[1:]
    _keys = load_credentials(config.load(Path(_config[0])).pki) if _config else None
    asyncio.run(serve(_url, _user, _passcode, int(_count), int(_connections), _keys))
