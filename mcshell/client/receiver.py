"""From the reply queue into the session file and the ledgers: one thread, in this order.

Verify, commit, acknowledge, enter. What arrives together is committed together. Words about
discovery go to whoever waits for them and are not kept; junk is counted and dropped.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Protocol

from mcshell.client.store import StoredReply
from mcshell.errors import Rejected
from mcshell.wire.envelope import CERTIFICATE, SIGNATURE, open_reply

if TYPE_CHECKING:
    from collections.abc import Container, Iterable

    from mcshell.client.store import Store
    from mcshell.message import Reply
    from mcshell.wire.envelope import Limits
    from mcshell.wire.security import Verifier
    from mcshell.wire.transport import Delivery, Transport

__all__ = ["Receiver", "Sink"]

log = logging.getLogger(__name__)

_GROUP = 200
_PREFETCH = 200


class Sink(Protocol):
    """Whoever waits for the words about one request. `durable`: they are kept in the file."""

    @property
    def durable(self) -> bool:
        """Whether the words are kept in the session file."""

    @property
    def expected(self) -> Container[str]:
        """The senders that were asked."""

    def words(self, replies: Iterable[tuple[Reply, float]]) -> None:
        """Take words, each with the time at which it was kept."""


class Receiver:
    """Owns the session's reply queue. `junk` counts what was refused, by reason."""

    def __init__(
        self, transport: Transport, store: Store, verifier: Verifier, limits: Limits
    ) -> None:
        self._transport = transport
        self._store = store
        self._verifier = verifier
        self._limits = limits
        self._inbox: SimpleQueue[Delivery | None] = SimpleQueue()
        self._sinks: dict[str, Sink] = {}
        self.junk: Counter[str] = Counter()
        self._handling = False
        self._handled = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="mcshell-receiver", daemon=True)

    def start(self, queue: str) -> None:
        """Subscribe to the reply queue and begin."""
        self._thread.start()
        self._transport.subscribe(queue, self._inbox, prefetch=_PREFETCH)

    def stop(self) -> None:
        """End the thread once what has arrived is kept."""
        self._inbox.put(None)
        if self._thread.is_alive():
            self._thread.join(timeout=5)

    def watch(self, requestid: str, sink: Sink) -> None:
        """Have the words about a request entered into `sink` from now on."""
        self._sinks[requestid] = sink

    def sink(self, requestid: str) -> Sink | None:
        """Whoever takes the words about a request now."""
        return self._sinks.get(requestid)

    def unwatch(self, requestid: str) -> None:
        """Stop entering them; those of a kept request still go into the file."""
        self._sinks.pop(requestid, None)

    def quiet_since(self) -> float:
        """Since when (monotonic) nothing has come in; now, while there is something to do."""
        if self._handling or not self._inbox.empty():
            return time.monotonic()
        return self._handled

    def _run(self) -> None:
        while (group := self._gather()) is not None:
            self._handling = True
            try:
                self._handle(group)
            except Exception:
                # Not acknowledged: the broker hands these messages out again after a reconnect.
                log.exception("could not keep %d replies", len(group))
            finally:
                self._handled = time.monotonic()
                self._handling = False

    def _gather(self) -> list[Delivery] | None:
        """Take what is there, at least one; None when it is time to end."""
        first = self._inbox.get()
        group = []
        while first is not None:
            group.append(first)
            if len(group) >= _GROUP:
                break
            try:
                first = self._inbox.get_nowait()
            except Empty:
                break
        else:
            if not group:
                return None
            self._inbox.put(None)
        return group

    def _handle(self, group: list[Delivery]) -> None:
        now = time.time()
        rows: list[StoredReply] = []
        news: dict[str, list[tuple[Reply, float]]] = {}
        for delivery in group:
            reply = self._open(delivery, now)
            if reply is None:
                continue
            sink = self._sinks.get(reply.requestid)
            if sink is None or sink.durable:
                rows.append(_row(reply, delivery, now))
            news.setdefault(reply.requestid, []).append((reply, now))
        if rows:
            self._store.add_replies(rows)
        for delivery in group:
            self._transport.ack(delivery)
        for requestid, words in news.items():
            sink = self._sinks.get(requestid)
            if sink is not None:
                sink.words(words)

    def _open(self, delivery: Delivery, now: float) -> Reply | None:
        try:
            opened = open_reply(
                delivery.body,
                delivery.headers,
                self._verifier,
                self._limits,
                now=now,
                expected=self._expected,
            )
        except Rejected as refusal:
            self.junk[refusal.reason.value] += 1
            log.debug("junk on %s: %s", delivery.destination, refusal)
            return None
        return opened.reply

    def _expected(self, requestid: str) -> Container[str] | None:
        """The targets of a request of this session, live or from an earlier process."""
        sink = self._sinks.get(requestid)
        if sink is not None:
            return sink.expected
        if self._store.find_request(requestid) is None:
            return None
        return {sender for sender, *_ in self._store.targets(requestid)}


def _row(reply: Reply, delivery: Delivery, now: float) -> StoredReply:
    return StoredReply(
        reply.requestid,
        reply.sender,
        reply.sequence,
        now,
        delivery.body,
        delivery.headers[SIGNATURE],
        delivery.headers[CERTIFICATE],
    )
