"""What other processes decide of the requests that they have put in this session.

Replies come to whoever has the queue. That a target is silent is decided by the process that waits for
it, and stands in the file alone: it is read from there, for as long as that process may wait.
"""

from __future__ import annotations

import threading
import time
import weakref
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from mcshell.client.messaging.tracker import RequestTracker
    from mcshell.client.store.store import SessionStore

__all__ = ["OthersRequests"]

_EVERY: Final = 0.5


class OthersRequests:
    """The live ledgers of interactive requests that this process has not put.

    Each is finished when all its targets are closed, or its time is over. `keeping` is as
    `Listeners` has it.
    """

    def __init__(self, store: SessionStore, keeping: threading.RLock) -> None:
        self._store = store
        self._keeping = keeping
        self._taken_up: weakref.WeakSet[RequestTracker] = weakref.WeakSet()
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def take_up(self, tracker: RequestTracker) -> None:
        """Keep a ledger, which was read from the file, as the file has it; `keeping` is held."""
        self._taken_up.add(tracker)
        if not self._closes(tracker) and self._thread is None:
            thread = threading.Thread(target=self._run, name="mcshell-others", daemon=True)
            thread.start()
            self._thread = thread

    def look(self, tracker: RequestTracker) -> None:
        """Enter what was decided since; nothing where this process has put the request itself."""
        with self._keeping:
            if tracker not in self._taken_up:
                return
            request, heard = tracker.record.id, self._store.heard
            # Each half a second, for as long as it is open: of many targets few have changed.
            if heard.pending(request) != tracker.unheard():
                pending = tracker.pending(entry.sender for entry in tracker.entries())
                tracker.enter(heard.among(request, pending), heard=False)
            self._closes(tracker)

    def stop(self) -> None:
        """Look no more."""
        self._stopped.set()
        if (thread := self._thread) is not None:
            thread.join(timeout=5)

    def _run(self) -> None:
        while not self._stopped.wait(_EVERY) and self._some_are_open():
            pass

    def _some_are_open(self) -> bool:
        """Look at each, and have none in hand in between: a ledger lives while somebody has it."""
        with self._keeping:
            waited_for = [one for one in list(self._taken_up) if not one.finished]
            for tracker in waited_for:
                self.look(tracker)
            if not waited_for:
                self._thread = None
            return bool(waited_for)

    def _closes(self, tracker: RequestTracker) -> bool:
        """Finish it where nothing more is to come."""
        if tracker.finished:  # when it ended is noted once
            return True
        over = tracker.record.expires < time.time()
        if over or tracker.wait(lambda ledger: ledger.closed, 0):
            tracker.finish()
        return tracker.finished
