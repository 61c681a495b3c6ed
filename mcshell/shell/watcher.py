"""What goes on in the sessions while the operator types: counts for the toolbar, and notices.

One thread looks once a second. It reads the session's file, never the network.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING, Any

from mcshell.errors import MCShellError
from mcshell.message import State
from mcshell.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mcshell.client.client import Client
    from mcshell.client.store.records import RequestRecord
    from mcshell.commands.context import Context

__all__ = ["RequestWatcher", "SessionStatus", "answered"]

log = logging.getLogger(__name__)

_EVERY = 1.0
_QUESTIONS = "job"
_WAITING = (State.PENDING, State.RECEIVED, State.RUNNING)


@dataclass(frozen=True, slots=True)
class SessionStatus:
    """The session as of the last look: open requests, and replies that were not shown yet."""

    session: str = ""
    open: int = 0
    unseen: int = 0


class RequestWatcher:
    """Looks after the requests of the current session.

    `tell` is given a line when a request of which the operator has not seen the end completes, and
    when an answer comes after the end.
    """

    def __init__(self, context: Context, tell: Callable[[str], None]) -> None:
        self.status = SessionStatus()
        self._context = context
        self._tell = tell
        self._lock = threading.Lock()
        self._session = ""
        self._seen: dict[str, int] = {}
        self._open: set[str] = set()
        self._told: dict[str, int] = {}
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="mcshell-watcher", daemon=True)

    def start(self) -> None:
        """Begin to look once a second."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join(timeout=5)

    def shown(self, requestid: str, count: int) -> None:
        """Note that the operator has seen so many answers of a request."""
        with self._lock:
            self._seen[requestid] = self._told[requestid] = count
            self._open.discard(requestid)

    def look(self) -> None:
        """Look once: take the counts, and tell of what has completed since the last look."""
        client = self._context.current()
        if client is None:
            self.status = SessionStatus(self._context.session or "")
            return
        try:
            history = client.requests()
        except MCShellError as error:
            log.debug("no look at the session: %s", error)
            return
        told = self._news(client, history)
        for line in (*self._context.notices(), *told):
            self._tell(line)

    def _news(
        self, client: Client, history: list[tuple[RequestRecord, dict[str, int]]]
    ) -> list[str]:
        told: list[str] = []
        unseen = 0
        with self._lock:
            if client.session.name != self._session:
                # What was there before this prompt came is known to the operator.
                self._session = client.session.name
                self._seen = {record.id: answered(counts) for record, counts in history}
                self._told = dict(self._seen)
                self._open.clear()
            waiting: set[str] = set()
            for record, counts in history:
                if record.agent == _QUESTIONS and not record.via.durable:
                    continue  # what the line that has asked shows: where jobs stand, what will start
                count = answered(counts)
                unseen += max(0, count - self._seen.setdefault(record.id, 0))
                if _is_open(client, record, counts):
                    waiting.add(record.id)
                    continue
                late = count - self._told.setdefault(record.id, count)
                self._told[record.id] = max(count, self._told[record.id])
                if record.id in self._open:
                    told.append(_news_of(record, "is complete", counts))
                elif late > 0:
                    told.append(_news_of(record, f"has {late} late", counts))
            self._open = waiting
            self.status = SessionStatus(self._session, len(waiting), unseen)
        return told

    def _run(self) -> None:
        while not self._stopped.wait(_EVERY):
            self.look()


def _is_open(client: Client, record: RequestRecord, counts: Mapping[str, int]) -> bool:
    """Whether something is still to come; what an interactive request did not send is not."""
    if not any(counts.get(state, 0) for state in _WAITING):
        return False
    if record.via.durable:
        return True
    return time.time() < record.expires and not client.replies(record.id).done


def answered(counts: Mapping[str, Any]) -> int:
    """How many have said how it went, by the counts of the states."""
    return sum(int(counts.get(state, 0)) for state in State if state.final)


def _news_of(record: RequestRecord, news: str, counts: Mapping[str, int]) -> str:
    found = ", ".join(f"{counts[state]} {state}" for state in State if counts.get(state))
    return f"request {record.id[:8]} ({record.agent} {record.action}) {news}: {found}"
