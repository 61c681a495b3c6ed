"""Threads that help another one with a part of its work.

Python's executors take nothing more once the main thread has ended; what other threads then ask, or
what is done at exit, is to be answered all the same.
"""

from __future__ import annotations

import threading
from concurrent.futures import Future
from contextlib import suppress
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
        """Have it done; what comes of it, an error too, is the future's.

        Where this machine has no thread for it, it is done here and now.
        """
        future: Future[T] = Future()
        if len(self._threads) < self._count:
            self._begin()
        if self._threads:
            self._waiting.put((future, work))
        else:
            _do(future, work)
        return future

    def _begin(self) -> None:
        name = f"{self._name}_{len(self._threads)}"
        thread = threading.Thread(target=self._run, name=name, daemon=True)
        with suppress(RuntimeError, MemoryError):  # there may be one for what comes next
            thread.start()
            self._threads.append(thread)

    def shutdown(self) -> None:
        """End the threads once all is done."""
        for _ in self._threads:
            self._waiting.put(None)
        for one in self._threads:
            one.join()

    def _run(self) -> None:
        while (given := self._waiting.get()) is not None:
            _do(*given)


def _do(future: Future[T], work: Callable[[], T]) -> None:
    try:
        result = work()
    except Exception as error:  # noqa: BLE001 - it is raised again where it is waited for
        future.set_exception(error)
    else:
        future.set_result(result)
