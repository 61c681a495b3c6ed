"""The broker's confirmations that are still to come, kept for one connection.

stomp.py waits for a receipt for ever when the connection breaks. Here each one ends: confirmed,
or failed with the reason for which the connection broke.
"""

from __future__ import annotations

import itertools
import threading

from mcshell.errors import ConnectionLost, ReceiptTimeout

__all__ = ["PendingReceipt", "ReceiptTable"]


class PendingReceipt:
    """One confirmation to come (`transport.Receipt`); `what` names the frame in messages."""

    __slots__ = ("_event", "_failure", "id", "what")

    def __init__(self, number: str, what: str) -> None:
        self.id = number
        self.what = what
        self._event = threading.Event()
        self._failure = ""

    @property
    def done(self) -> bool:
        """Whether the broker has confirmed, or never will."""
        return self._event.is_set()

    def wait(self, timeout: float) -> None:
        """Wait (seconds) until it is confirmed; raises ReceiptTimeout or ConnectionLost."""
        if not self._event.wait(max(0.0, timeout)):
            raise ReceiptTimeout(self.what, timeout)
        if self._failure:
            raise ConnectionLost(self._failure)

    def resolve(self, failure: str = "") -> None:
        """Confirm it, or fail it with a reason."""
        self._failure = failure
        self._event.set()


class ReceiptTable:
    """All that one connection waits for; any thread may call."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._pending: dict[str, PendingReceipt] = {}
        self._ended = ""

    def __len__(self) -> int:
        return len(self._pending)

    def new(self, what: str) -> PendingReceipt:
        """Make one; on a connection that has ended it has failed already."""
        with self._lock:
            receipt = PendingReceipt(f"r{next(self._numbers)}", what)
            if self._ended:
                receipt.resolve(self._ended)
            else:
                self._pending[receipt.id] = receipt
        return receipt

    def confirm(self, number: str, failure: str = "") -> None:
        """Confirm one, or fail it; an unknown number is no harm."""
        with self._lock:
            receipt = self._pending.pop(number, None)
        if receipt is not None:
            receipt.resolve(failure)

    def end(self, reason: str) -> None:
        """Fail all that are left, and all that come."""
        with self._lock:
            self._ended = reason or "connection lost"
            left = list(self._pending.values())
            self._pending.clear()
        for receipt in left:
            receipt.resolve(self._ended)
