"""A request under way: its ledger behind a lock, and a bell for whoever waits for it.

The receiver enters words, the pilot enters sends and judgements, anyone takes snapshots.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from mcshell.client.ledger import Entry, Ledger, Stats
from mcshell.message import State

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Sequence

    from mcshell.client.store import Record
    from mcshell.message import Reply

__all__ = ["Flight"]


class Flight:
    """One request and its ledger, safe for all threads.

    `discovered` says whether the network was asked for the targets, or they were only named.
    """

    durable = True

    def __init__(self, record: Record, targets: Sequence[str]) -> None:
        self.record = record
        verdict = State.EXPIRED if record.via.durable else State.SILENT
        self._ledger = Ledger(targets, verdict=verdict)
        self._bell = threading.Condition()
        self._revision = 0
        self.began = time.monotonic()
        self.ended: float | None = None
        self.last_word = self.began
        self.finished = False
        self.interrupted = False
        self.discovered = True

    @property
    def expected(self) -> Container[str]:
        """The targets; a set that never changes, so it is read without the lock."""
        return self._ledger.targets

    @property
    def revision(self) -> int:
        """A number that grows with every change."""
        return self._revision

    def words(self, replies: Iterable[tuple[Reply, float]]) -> None:
        """Enter words of nodes, each with the time at which it was kept."""
        with self._bell:
            for reply, at in replies:
                self._ledger.word(reply, at)
            self.last_word = time.monotonic()
            self._changed()

    def sent(self, names: Iterable[str], at: float) -> None:
        """Note that the request is on its way to these targets."""
        with self._bell:
            self._ledger.sent(names, at)
            self.last_word = time.monotonic()
            self._changed()

    def judge(self, names: Iterable[str], reason: str) -> None:
        """Judge those of `names` of which there is still no word."""
        with self._bell:
            self._ledger.judge(names, reason)
            self._changed()

    def excuse(self, name: str, state: State, reason: str) -> None:
        """Note that a probe found the target busy with the request."""
        with self._bell:
            self._ledger.excuse(name, state, reason)
            self._changed()

    def note(self, names: Iterable[str], reason: str) -> None:
        """Say why these targets stand where they stand."""
        with self._bell:
            self._ledger.note(names, reason)
            self._changed()

    def finish(self) -> None:
        """Note that nothing more is done for this request; late words still enter."""
        with self._bell:
            self.finished = True
            self.ended = time.monotonic()
            self._changed()

    def wait(self, until: Callable[[Ledger], bool], timeout: float) -> bool:
        """Wait (seconds) until the ledger looks so; False when it did not in time."""
        with self._bell:
            return self._bell.wait_for(lambda: until(self._ledger), max(0.0, timeout))

    def wait_finished(self, timeout: float | None) -> bool:
        """Wait (seconds, None for ever) until the pilot is done with it."""
        with self._bell:
            return self._bell.wait_for(lambda: self.finished, timeout)

    def wait_news(self, revision: int, timeout: float) -> bool:
        """Wait (seconds) until something changes after `revision`."""
        with self._bell:
            return self._bell.wait_for(lambda: self._revision != revision, max(0.0, timeout))

    def entries(self) -> list[Entry]:
        """A snapshot of all entries, targets first."""
        with self._bell:
            return list(self._ledger)

    def pending(self, among: Iterable[str]) -> list[str]:
        """Those of `among` of which there was no word yet."""
        with self._bell:
            pending = set(self._ledger.pending())
        return [name for name in among if name in pending]

    def wait_count(self) -> int:
        """How many targets were sent to and are not closed."""
        with self._bell:
            return self._ledger.outstanding

    def ring(self) -> None:
        """Wake whoever waits, though nothing has changed in the ledger."""
        with self._bell:
            self._changed()

    def stats(self) -> Stats:
        """A snapshot of the counts; `elapsed` in seconds since the request was made."""
        with self._bell:
            end = time.monotonic() if self.ended is None else self.ended
            return self._ledger.stats(end - self.began)

    def _changed(self) -> None:
        self._revision += 1
        self._bell.notify_all()
