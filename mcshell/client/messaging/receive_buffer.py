"""What has come in and is not yet verified: bounded by its size.

A broker is told how many messages it may send ahead, not how large they may be. So the thread that
reads from it waits while the `ReceiveBuffer` is full; the connection's own window then holds the
broker back, and memory stays bounded whatever the nodes answer.
"""

from __future__ import annotations

import threading
import time
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from mcshell.wire.stomp.transport import Delivery

__all__ = ["ReceiveBuffer"]

_ROOM: Final = 32 << 20
_SIZE: Final = 4 << 20
_PATIENCE: Final = 2.0  # seconds; the same thread keeps the heart-beats


class ReceiveBuffer:
    """A queue from the one thread that fills it to the one that empties it.

    Args:
        room: bytes of bodies that it holds before it makes the filling thread wait.
    """

    def __init__(self, room: int = _ROOM) -> None:
        self._queue: SimpleQueue[Delivery | None] = SimpleQueue()
        self._room = room
        self._space = threading.Event()
        self._space.set()
        # Each is written by one thread only, so neither needs a lock.
        self._filled = 0
        self._emptied = 0
        self._waits = True

    def put(self, item: Delivery, /) -> None:
        """Take a delivery, when there is room for more.

        Nobody waits twice for one who empties nothing: then it grows, and the connection lives.
        """
        if self._filled - self._emptied <= self._room:
            self._waits = True
        elif self._waits:
            self._waits = self._wait()
        self._filled += len(item.body)
        self._queue.put(item)

    def end(self) -> None:
        """Have None come out after what is there."""
        self._queue.put(None)

    def take(
        self, most: int, size: int = _SIZE, *, few: int = 0, pause: float = 0.0
    ) -> list[Delivery] | None:
        """Take what is there, at least one, up to `most` deliveries or some `size` bytes.

        Returns None at the end. Waits as long as there is nothing, and where there are no more than
        `few` once more for `pause` seconds.
        """
        group: list[Delivery] = []
        begun = self._emptied
        item = self._queue.get()
        while item is not None:
            group.append(item)
            self._emptied += len(item.body)
            if len(group) >= most or self._emptied - begun >= size:
                break
            if pause and self._queue.empty() and len(group) <= few:
                self._space.set()
                time.sleep(pause)
                pause = 0.0
            try:
                item = self._queue.get_nowait()
            except Empty:
                break
        self._space.set()
        if item is None and group:
            self.end()
        return group or None

    def empty(self) -> bool:
        """Whether nothing is there."""
        return self._queue.empty()

    def _wait(self) -> bool:
        """Wait for room; False when nothing was taken out in all that time."""
        self._space.clear()
        return self._filled - self._emptied <= self._room or self._space.wait(_PATIENCE)
