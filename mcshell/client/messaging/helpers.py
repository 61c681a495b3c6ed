"""Threads that help another one with a part of its work.

Python's executors take nothing more once the main thread has ended; what other threads then ask, or
what is done at exit, is to be answered all the same.
"""

from __future__ import annotations

import threading
from concurrent.futures import Future
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Helpers"]

T = TypeVar("T")


class Helpers:
    """So many threads of this name, each from when there is work for it; one thread gives it to them."""

    def __init__(self, count: int, name: str) -> None:
        self._count = count
        self._name = name
        self._waiting: SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []

    def submit(self, work: Callable[[], T]) -> Future[T]:
        """Have it done; what comes of it, an error too, is the future's."""
        future: Future[T] = Future()
        self._waiting.put((future, work))
        if len(self._threads) < self._count:
            name = f"{self._name}_{len(self._threads)}"
            self._threads.append(threading.Thread(target=self._run, name=name, daemon=True))
            self._threads[-1].start()
        return future

    def shutdown(self) -> None:
        """End the threads once all is done."""
        for _ in self._threads:
            self._waiting.put(None)
        for one in self._threads:
            one.join()

    def _run(self) -> None:
        while (given := self._waiting.get()) is not None:
            future, work = given
            try:
                result = work()
            except Exception as error:  # noqa: BLE001 - it is raised again where it is waited for
                future.set_exception(error)
            else:
                future.set_result(result)
