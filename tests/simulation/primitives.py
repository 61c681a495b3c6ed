"""What threads wait at, for loops that are none: locks and queues that hand over to the scheduler.

The standard library makes its events, conditions and semaphores of these locks.
"""

from __future__ import annotations

from collections import deque
from queue import Empty
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from tests.simulation.green import Scheduler, Thread

__all__ = ["made_for"]


def made_for(scheduler: Scheduler) -> tuple[type[Lock], type[RLock], type[Queue]]:
    """Lock, RLock and SimpleQueue whose waits are this scheduler's."""
    own = {"scheduler": scheduler}
    return type("Lock", (Lock,), own), type("RLock", (RLock,), own), type("Queue", (Queue,), own)


class _Waited:
    """What threads wait for, in their order; `timeout` in seconds, below 0 or None without end."""

    scheduler: ClassVar[Scheduler]

    def __init__(self) -> None:
        self._waiting: deque[Thread] = deque()

    def _deadline(self, timeout: float | None) -> float | None:
        return None if timeout is None or timeout < 0 else self.scheduler.now + timeout

    def _wait(self, deadline: float | None) -> bool:
        """Wait to be woken; False when it is too late."""
        thread = self.scheduler.current
        assert thread is not None, "only a thread of a process can wait"
        left = None if deadline is None else deadline - self.scheduler.now
        if left is not None and left <= 0:
            return False
        self._waiting.append(thread)
        woken = self.scheduler.pause(left)
        if not woken and thread in self._waiting:
            self._waiting.remove(thread)
        return woken

    def _wake_one(self) -> None:
        while self._waiting:
            thread = self._waiting.popleft()
            if thread.process.alive and not thread.done:
                self.scheduler.wake(thread)
                return


class Lock(_Waited):
    """As `threading.Lock`."""

    def __init__(self) -> None:
        super().__init__()
        self._held = False

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:  # noqa: FBT001, FBT002
        """Take it."""
        deadline = self._deadline(timeout)
        while self._held:
            if not blocking or (not self._wait(deadline) and self._held):
                return False
        self._held = True
        return True

    def release(self) -> None:
        """Give it back."""
        if not self._held:
            raise RuntimeError("release unlocked lock")
        self._held = False
        self._wake_one()

    def locked(self) -> bool:
        """Whether somebody has it."""
        return self._held

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()


class RLock(_Waited):
    """As `threading.RLock`."""

    def __init__(self) -> None:
        super().__init__()
        self._owner: object = None
        self._count = 0

    @property
    def _me(self) -> object:
        return self.scheduler.current or self.scheduler

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:  # noqa: FBT001, FBT002
        """Take it, once more if we have it."""
        deadline = self._deadline(timeout)
        while self._count and self._owner is not self._me:
            if not blocking or (not self._wait(deadline) and self._count):
                return False
        self._owner = self._me
        self._count += 1
        return True

    def release(self) -> None:
        """Give it back, as often as it was taken."""
        if self._owner is not self._me:
            raise RuntimeError("cannot release un-acquired lock")
        self._count -= 1
        if not self._count:
            self._owner = None
            self._wake_one()

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()

    # what `threading.Condition` asks of it

    def _is_owned(self) -> bool:
        return self._owner is self._me

    def _release_save(self) -> tuple[int, object]:
        state = (self._count, self._owner)
        self._count, self._owner = 0, None
        self._wake_one()
        return state

    def _acquire_restore(self, state: tuple[int, object]) -> None:
        self.acquire()
        self._count, self._owner = state


class Queue(_Waited):
    """As `queue.SimpleQueue`."""

    def __init__(self) -> None:
        super().__init__()
        self._items: deque[Any] = deque()

    def put(self, item: Any) -> None:
        """Put something behind the others."""
        self._items.append(item)
        self._wake_one()

    def get(self, block: bool = True, timeout: float | None = None) -> Any:  # noqa: FBT001, FBT002
        """Take the first; raises Empty."""
        deadline = self._deadline(timeout)
        while not self._items:
            if not block or (not self._wait(deadline) and not self._items):
                raise Empty
        return self._items.popleft()

    def get_nowait(self) -> Any:
        """Take the first, if there is one."""
        return self.get(block=False)

    def empty(self) -> bool:
        """Whether nothing is there."""
        return not self._items

    def qsize(self) -> int:
        """How much is there."""
        return len(self._items)
