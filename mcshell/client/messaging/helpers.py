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
    """So many threads of this name, from the first work on; one thread gives it to them."""

    def __init__(self, count: int, name: str) -> None:
        self._waiting: SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = SimpleQueue()
        self._threads = [
            threading.Thread(target=self._run, name=f"{name}_{number}", daemon=True)
            for number in range(count)
        ]

    def submit(self, work: Callable[[], T]) -> Future[T]:
        """Have it done; what comes of it, an error too, is the future's."""
        for one in self._threads:
            if one.ident is None:
                one.start()
        future: Future[T] = Future()
        self._waiting.put((future, work))
        return future

    def shutdown(self) -> None:
        """End the threads once all is done."""
        for _ in self._threads:
            self._waiting.put(None)
        for one in self._threads:
            if one.ident is not None:
                one.join()

    def _run(self) -> None:
        while (given := self._waiting.get()) is not None:
            future, work = given
            try:
                future.set_result(work())
            except BaseException as error:  # noqa: BLE001 - it is raised where the result is waited for
                future.set_exception(error)
