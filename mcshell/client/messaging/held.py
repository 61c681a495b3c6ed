"""Replies that have outlived their senders' certificates: held, until the nodes show newer ones.

A node renews its certificate for the key that it has, and what it signed before stays under the old
one. Who comes back later finds replies under certificates that have ended. Dates are judged as of when
a message came in, for only its sender says when he wrote it; but whoever has an old certificate's key
has that of the one in its place. So such a reply is kept, as the strays are, its node is asked, and
what it answers shows the newer certificate, under which the reply is entered.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING, Final, NamedTuple

from mcshell.client.session.strays import enter_held
from mcshell.errors import MCShellError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from mcshell.client.messaging.queries import NodeQueries
    from mcshell.client.messaging.receiver import Listeners
    from mcshell.client.session.session import Session
    from mcshell.client.store.records import Members, ReplyRecord
    from mcshell.wire.documents.signatures import Verifier

__all__ = ["HeldReplies"]

log = logging.getLogger(__name__)

_FIRST: Final = 3.0
"""Seconds until those that have not answered are asked again, and told of; each time twice as long."""
_LONGEST: Final = 300.0
_GOODBYE: Final = 5.0
_SHOWN: Final = 3


class _Doubt(NamedTuple):
    """What to ask a node about, and in which collective."""

    collective: str
    request: str


class HeldReplies:
    """Of whom a session holds replies; asks them, and enters what they show to be theirs.

    Receivers say what comes in (`hold`, `heard`), in their own threads. `tell` is given a line about
    those that do not answer.
    """

    def __init__(
        self,
        session: Session,
        verifier: Verifier,
        members: Members,
        listeners: Listeners,
        tell: Callable[[str], None],
    ) -> None:
        self._session = session
        self._verifier = verifier
        self._members = members
        self._listeners = listeners
        self._tell = tell
        self._waiting: set[str] = set()
        self._told: set[str] = set()
        self._shown: dict[str, str] = {}
        self._questions: list[str] = []
        self._lock = threading.Lock()
        self._woken = threading.Event()
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self._queries: NodeQueries | None = None

    def start(self, queries: NodeQueries) -> None:
        """Ask from now on; first about what an earlier process has held."""
        self._queries = queries
        held = self._session.store.strays.held()
        for name, since, *_ in held:
            queries.refused.hold(name, since)
        if held:
            names = [name for name, *_ in held]
            self._say(names)
            self.hold(names)

    def stop(self) -> None:
        """Ask no more; what is held stays in the file."""
        self._ended.set()
        self._woken.set()
        if self._thread is not None:
            self._thread.join(_GOODBYE)

    def hold(self, senders: Iterable[str]) -> None:
        """Replies of these are in the file, to be entered once a good certificate is known."""
        with self._lock:
            self._waiting.update(senders)
            if self._thread is None and self._queries is not None:
                thread = threading.Thread(target=self._run, name="mcshell-held", daemon=True)
                thread.start()
                self._thread = thread
        self._woken.set()

    def heard(self, replies: Iterable[ReplyRecord]) -> None:
        """Take note of the certificates on verified replies, where something is held."""
        if not self._waiting:
            return
        with self._lock:
            shown = {
                one.reply.sender: one.certificate
                for one in replies
                if one.reply.sender in self._waiting and one.certificate
            }
            self._shown.update(shown)
        if shown:
            self._woken.set()

    def _run(self) -> None:
        asked: set[str] = set()
        pause, due = _FIRST, 0.0
        while not self._ended.is_set():
            self._woken.clear()
            try:
                left = self._enter()
                late = time.monotonic() >= due
                fresh = {name: one for name, one in left.items() if late or name not in asked}
                if late:
                    self._forget()
                    if silent := sorted(asked & left.keys()):
                        self._say(silent)
                        pause = min(2 * pause, _LONGEST)
                    due = time.monotonic() + pause
                asked = set(left)
                if self._session.holds:
                    self._ask(fresh)
            except MCShellError as error:
                log.info("of held replies: %s", error)
                due = time.monotonic() + pause
            if not self._waiting:
                self._forget()
                pause, due = _FIRST, 0.0
            self._woken.wait(max(0.0, due - time.monotonic()) if self._waiting else None)
        self._forget()

    def _enter(self) -> dict[str, _Doubt]:
        """Enter what can be; returns of whom something is held still, and what to ask them."""
        with self._lock:
            shown, self._shown = self._shown, {}
        store = self._session.store
        if shown:
            with self._listeners.keeping:
                self._listeners.enter(enter_held(store, shown, self._verifier, self._members))
        with self._lock:
            main = store.meta("collective") or ""
            left = {
                name: _Doubt(collective or main, request)
                for name, _since, request, collective in store.strays.held()
            }
            self._waiting = set(left)
        for name in shown.keys() - left.keys():
            self._asking.refused.forget(name)
        return left

    def _ask(self, names: Mapping[str, _Doubt]) -> None:
        """Put a small question to each, by collective; the answers come to `heard`."""
        by_collective: dict[str, list[str]] = {}
        for name, doubt in sorted(names.items()):
            by_collective.setdefault(doubt.collective, []).append(name)
        for collective, some in by_collective.items():
            about = names[some[0]].request
            question, _answers = self._asking.probe(collective, some, about, lambda: None)
            self._questions.append(question)

    @property
    def _asking(self) -> NodeQueries:
        assert self._queries is not None, "it is not started before"
        return self._queries

    def _forget(self) -> None:
        for question in self._questions:
            self._asking.forget(question)
        self._questions.clear()

    def _say(self, names: Sequence[str]) -> None:
        """Tell of whom something is held, once of each."""
        names = [name for name in names if name not in self._told]
        if names:
            self._told.update(names)
            some = ", ".join(names[:_SHOWN]) + (", …" if len(names) > _SHOWN else "")
            self._tell(
                f"session {self._session.name}: replies of {some} have outlived their certificates: they "
                "are kept until a newer one of the same key is seen"
            )
