"""A TCP proxy whose line is slow, breaks, or goes dead without a word, as a test wants it."""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading
from typing import Final

__all__ = ["Proxy"]

_STEP: Final = 0.02  # seconds between two looks at what is wanted


class Proxy:
    """Forwards connections to `port` of the loopback interface to `to`, in a thread of its own.

    `mode` may be set at any time: `pass`; `slow` (each piece waits a while); `lossy` (one piece in
    ten is cut in the middle, and the connection reset); `dead` (half-open: connections are taken and
    stand, nothing comes through, not even an end).
    """

    def __init__(self, port: int, to: int, seed: int) -> None:
        self.port, self.mode = port, "pass"
        self._to = to
        self._dice = random.Random(seed)
        self._loop = asyncio.new_event_loop()
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self._thread = threading.Thread(target=self._loop.run_forever, name=f"proxy-{port}")

    def start(self) -> None:
        """Listen."""
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(10)

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._taken, "127.0.0.1", self.port)

    def stop(self) -> None:
        """Close everything."""
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _close(self) -> None:
        assert self._server is not None
        self._server.close()
        self._reset()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def reset(self) -> None:
        """Break all connections, as a firewall that has forgotten them does."""
        self._loop.call_soon_threadsafe(self._reset)

    def _reset(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    async def _taken(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            with contextlib.suppress(asyncio.CancelledError):
                await self._forward(reader, writer)
        finally:
            writer.transport.abort()
            self._writers.discard(writer)
            self._tasks.discard(task)

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._alive()
        try:
            there = await asyncio.open_connection("127.0.0.1", self._to)
        except OSError:
            return
        self._writers.add(there[1])
        ways = [
            asyncio.create_task(self._pump(reader, there[1])),
            asyncio.create_task(self._pump(there[0], writer)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            there[1].transport.abort()
            self._writers.discard(there[1])

    async def _alive(self) -> None:
        while self.mode == "dead":  # noqa: ASYNC110 - other threads set it
            await asyncio.sleep(_STEP)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(1 << 16):
                await self._alive()
                if self.mode == "slow":
                    await asyncio.sleep(self._dice.uniform(0.0, 0.3))
                if self.mode == "lossy" and self._dice.random() < 0.1:
                    writer.write(data[: len(data) // 2])
                    await writer.drain()
                    return
                writer.write(data)
                await writer.drain()
        await self._alive()  # the other end is not told of an end, either
