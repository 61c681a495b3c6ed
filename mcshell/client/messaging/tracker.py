"""A request under way: its ledger behind a lock, which wakes whoever waits for a change.

The receiver enters replies, `InteractiveRun` enters sends and judgements, anyone takes snapshots. A
durable request has no such run: it is finished when its ledger is closed, and what is pending when
its time is over has expired.
"""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from mcshell.client.store.ledger import Ledger, LedgerEntry, Stats
from mcshell.errors import ClientClosed
from mcshell.interrupts import InterruptibleCondition
from mcshell.message import State

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Sequence

    from mcshell.client.store.records import RequestRecord

__all__ = ["CLOCK_LOOK", "RequestTracker"]

_LOOK = 0.2
"""Seconds after which an event loop wakes up by itself: ipykernel's hears of Ctrl-C only then."""
CLOCK_LOOK: Final = 10.0
"""Seconds after which whoever waits for a moment looks whether the clock has leapt, as over a sleep."""


class RequestTracker:
    """One request and its ledger, safe for all threads.

    `discovered` says whether the network was asked for the targets, or they were only named.
    `elapsed` is how many seconds it took, where this is a picture of it that never changes.
    """

    def __init__(
        self,
        record: RequestRecord,
        targets: Sequence[str] = (),
        entries: Sequence[LedgerEntry] | None = None,
        *,
        discovered: bool = True,
        elapsed: float | None = None,
    ) -> None:
        self.record = record
        self._ledger = Ledger(targets) if entries is None else Ledger.of(entries)
        self._wakeup = InterruptibleCondition()
        self._revision = 0
        self._watchers: list[Callable[[], None]] = []
        self._over = False
        self._abandoned = False
        self.began = time.monotonic()
        self.ended: float | None = None
        self.last_reply = self.began
        self.interrupted = False
        self.discovered = discovered
        self._picture = elapsed
        self.live = elapsed is None
        """Whether replies may enter; a picture of a request is what somebody has kept of it."""
        self.expected: Container[str] = self._ledger.targets
        """The targets; a set that never changes, so it is read without the lock."""

    @property
    def revision(self) -> int:
        """A number that grows with every change."""
        return self._revision

    @property
    def finished(self) -> bool:
        """Whether nothing more is waited for; late replies still enter."""
        with self._wakeup:
            return self._finished()

    def _finished(self) -> bool:
        if not self.live:
            return True
        if self.record.via.durable:
            self._lapse()
            return self._ledger.closed
        return self._over

    def _lapse(self) -> None:
        """Judge what is pending past the request's time."""
        if self.live and self.record.via.durable and time.time() > self.record.expires:
            pending = self._ledger.pending()
            if pending:
                self._ledger.judge(pending, State.EXPIRED, "no reply before it expired")
                self._changed()

    def enter(self, entries: Iterable[LedgerEntry], *, heard: bool = True) -> None:
        """Take over entries as they are kept: what replies, or (not `heard`) judgements made them."""
        with self._wakeup:
            for entry in entries:
                self._ledger.enter(entry)
            if heard:
                self.last_reply = time.monotonic()
            self._changed()

    def sent(self, names: Iterable[str], at: float) -> None:
        """Note that the request is on its way to these targets."""
        with self._wakeup:
            self._ledger.sent(names, at)
            self.last_reply = time.monotonic()
            self._changed()

    def note(self, names: Iterable[str], reason: str) -> None:
        """Say why these targets stand where they stand."""
        with self._wakeup:
            self._ledger.note(names, reason)
            self._changed()

    def finish(self) -> None:
        """Note that nothing more is done for this request; late replies still enter."""
        with self._wakeup:
            self._over = True
            self.ended = time.monotonic()
            self._changed()

    def wake(self) -> None:
        """Wake whoever waits, though nothing has changed in the ledger."""
        with self._wakeup:
            self._changed()

    def abandon(self) -> None:
        """The client is closed: nothing more enters, and whoever waits, or comes to wait, is told so."""
        with self._wakeup:
            self._abandoned = True
            self._changed()

    def _check_live(self) -> None:
        if self._abandoned:
            raise ClientClosed

    def wait(self, until: Callable[[Ledger], bool], timeout: float) -> bool:
        """Wait (seconds) until the ledger looks so; False when it did not in time.

        This and the other waits raise ClientClosed where what is waited for cannot come any more.
        """
        end = time.monotonic() + timeout
        with self._wakeup:
            while not until(self._ledger):
                if (left := end - time.monotonic()) <= 0:
                    return False
                self._check_live()
                self._wakeup.wait(left)
            return True

    def wait_finished(self, timeout: float | None) -> bool:
        """Wait (seconds, None for ever) until nothing more is waited for."""
        end = None if timeout is None else time.monotonic() + timeout
        with self._wakeup:
            while not self._finished():
                left = 3600.0 if end is None else end - time.monotonic()
                if left <= 0:
                    return False
                self._check_live()
                self._wakeup.wait(min(left, self._until_lapse()))
            return True

    def wait_news(self, revision: int, timeout: float) -> bool:
        """Wait (seconds) until something changes after `revision`."""
        end = time.monotonic() + timeout
        with self._wakeup:
            self._lapse()
            while self._revision == revision:
                if (left := end - time.monotonic()) <= 0:
                    return False
                self._check_live()
                self._wakeup.wait(min(left, self._until_lapse()))
                self._lapse()
            return True

    async def changed(self, revision: int, patience: float | None = None) -> bool:
        """Wait (seconds) as `wait_news` does, without holding up the event loop."""
        import asyncio  # noqa: PLC0415 - a command line has none

        loop = asyncio.get_running_loop()
        told = asyncio.Event()

        def tell() -> None:
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(told.set)

        with self._wakeup:
            if self._revision != revision:
                return True
            self._check_live()
            self._watchers.append(tell)
        end = None if patience is None else time.monotonic() + patience
        try:
            while not told.is_set():
                left = 3600.0 if end is None else end - time.monotonic()
                if left <= 0:
                    return False
                with suppress(TimeoutError):
                    await asyncio.wait_for(told.wait(), min(left, self._until_lapse(), _LOOK))
                with self._wakeup:
                    self._lapse()
        finally:
            with self._wakeup:
                self._watchers.remove(tell)
        return True

    def _until_lapse(self) -> float:
        """Seconds until a durable request's time may be over, or a long time."""
        left = self.record.expires - time.time()
        if not self.record.via.durable or left < -1.0:
            return CLOCK_LOOK
        return min(CLOCK_LOOK, max(0.05, left))

    def wait_count(self) -> int:
        """How many targets were sent to and are not closed."""
        with self._wakeup:
            return self._ledger.outstanding

    def outstanding(self) -> frozenset[str]:
        """The targets that were sent to and are not closed."""
        with self._wakeup:
            return self._ledger.outstanding_among(self._ledger.targets)

    def entries(self) -> list[LedgerEntry]:
        """A snapshot of all entries, targets first."""
        with self._wakeup:
            self._lapse()
            return list(self._ledger)

    def pending(self, among: Iterable[str]) -> list[str]:
        """Those of `among` of which there was no reply yet."""
        with self._wakeup:
            pending = set(self._ledger.pending())
        return [name for name in among if name in pending]

    def unheard(self) -> int:
        """How many targets are pending."""
        with self._wakeup:
            return self._ledger.unheard

    def stats(self) -> Stats:
        """A snapshot of the counts; `elapsed` in seconds since the request was made."""
        with self._wakeup:
            self._lapse()
            return self._ledger.stats(self._elapsed())

    @property
    def elapsed(self) -> float:
        """Seconds since the request was made, or until it was done."""
        with self._wakeup:
            return self._elapsed()

    def _elapsed(self) -> float:
        if self._picture is not None:
            return self._picture
        if self.record.via.durable:
            done = [e.done for e in self._ledger.targets.values() if e.done is not None]
            end = max(done) if done and self._ledger.closed else time.time()
            return max(0.0, end - self.record.created)
        return (time.monotonic() if self.ended is None else self.ended) - self.began

    def _changed(self) -> None:
        self._revision += 1
        self._wakeup.notify_all()
        for tell in self._watchers:
            tell()
