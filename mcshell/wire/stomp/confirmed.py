"""What must arrive: signed messages that lie in a file are sent until the broker has confirmed them.

One thread. It sends a window of them with receipts, marks what is confirmed, and sends the rest
again when there is a connection: the same bytes, of which whoever gets a second drops it. When the
connection breaks the next windows are small, so that a message that breaks it (no right to that
destination) is found, set aside for a while, and does not keep back the others.

What was confirmed just before a break is sent again too: a broker may confirm a message some seconds
before it lies on its disk (RabbitMQ, of a queue that was just made), and what breaks the connection may
be that broker's end.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from mcshell.errors import ConnectionLost, MCShellError, ReceiptTimeout
from mcshell.wire.stomp.dialects import passing
from mcshell.wire.stomp.transport import RepeatedFailures

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mcshell.wire.stomp.transport import Receipt, Transport

__all__ = ["ConfirmedSender"]

log = logging.getLogger(__name__)

_WINDOW: Final = 250
_PATIENCE: Final = 30.0
_PAUSE: Final = 0.5
_LOOK: Final = 1.0
_STRIKES: Final = 3
_ASIDE: Final = 5.0
_ASIDE_AT_MOST: Final = 600.0
_UNSETTLED: Final = 5.0
"""Seconds in which what a broker has confirmed may not lie on its disk."""


M = TypeVar("M")
"""A message, as it lies in its file: a value with a hash."""


class ConfirmedSender(Generic[M]):
    """Sends the unconfirmed messages of a file; the subclass says which, and how each is sent.

    Its methods `unconfirmed`, `begin`, `not_begun`, `send`, `sent`, `confirmed`, `doubt` and `replaced` are
    called in the sender's thread.
    """

    def __init__(self, name: str, transport: Transport) -> None:
        self._transport = transport
        self._broken_at = transport.broken_at
        """The break after which confirmed messages were doubted last (epoch)."""
        self._wakeup = threading.Event()
        self._wakeup.set()
        self._stopped = threading.Event()
        self._window = _WINDOW
        self._strikes: Counter[M] = Counter()
        """How often each was alone on its way when the connection broke."""
        self._waits = RepeatedFailures()
        self._aside: dict[M, float] = {}
        """Messages over which the broker ended the connection, and until when (monotonic)."""
        self._late: dict[M, tuple[Receipt, float]] = {}
        """Receipts that did not come in time, and since when (monotonic) they are waited for.

        Over a slow line the message is still on its way: behind it another would be only later.
        """
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def unconfirmed(self, limit: int) -> Sequence[M]:
        """Up to `limit` messages of which the broker has said nothing, the oldest first."""
        raise NotImplementedError

    def begin(self, messages: Sequence[M], at: float) -> Mapping[M, float]:
        """Take note of what is about to be sent (epoch).

        Returns what is not to be sent now, each with how many seconds it is to wait.
        """
        del messages, at
        return {}

    def not_begun(self, messages: Sequence[M]) -> None:
        """Take note of what was about to be sent, and was not given to the connection."""

    def send(self, message: M) -> Receipt:
        """Send one, asking for a receipt; ConnectionLost when there is no connection."""
        raise NotImplementedError

    def sent(self, messages: Sequence[M], at: float) -> None:
        """Take note of what is under way since then (epoch); nobody knows yet whether it arrives."""

    def confirmed(self, messages: Sequence[M]) -> None:
        """Take note of what the broker has: it is not to be given again."""
        raise NotImplementedError

    def doubt(self, since: float) -> None:
        """Have sent again what was confirmed since then (epoch) and is not known to have arrived."""
        raise NotImplementedError

    def replaced(self, message: M) -> bool:
        """Put something else in the place of one over which each connection broke.

        False: it is set aside.
        """
        del message
        return False

    def start(self) -> None:
        """Begin, with what an earlier process left."""
        self._thread.start()

    @property
    def begun(self) -> bool:
        """Whether its thread was started, and perhaps has died since."""
        return self._thread.ident is not None

    def wake(self) -> None:
        """Say that there is something to send, or another broker."""
        self._wakeup.set()

    def stop(self) -> None:
        """Send what is there, if that takes no time, and end; the rest stays for the next process."""
        self._stopped.set()
        self._wakeup.set()
        if self._thread.is_alive():
            self._thread.join(5.0)

    def _run(self) -> None:
        while not self._stopped.is_set():
            self._wakeup.wait(self._until_next())
            self._wakeup.clear()
            try:
                while self._send_window():
                    pass
            except Exception as error:  # what it holds was promised: it never ends by itself
                if self._stopped.is_set():
                    return
                if isinstance(error, MCShellError):
                    level = logging.WARNING if self._waits.is_news(str(error)) else logging.DEBUG
                    log.log(level, "the outbox waits: %s", error)
                else:
                    log.exception("the outbox stumbled")
                self._stopped.wait(_PAUSE)
                self._wakeup.set()

    def _until_next(self) -> float | None:
        """Seconds until one that waits aside is to be tried again."""
        if not self._aside:
            return None
        left = max(0.0, min(self._aside.values()) - time.monotonic())
        return min(left, _LOOK) if self._late else left

    def _send_window(self) -> bool:
        """Send some messages; False when there were none.

        What is confirmed is marked, also when the connection breaks in the middle.
        """
        broken_at = self._transport.broken_at
        if broken_at != self._broken_at:
            self.doubt(broken_at - _UNSETTLED)
            self._broken_at = broken_at
        now = time.monotonic()
        come = self._look_at_late(now)
        self._aside = {
            message: until
            for message, until in self._aside.items()
            if until > now and message not in come
        }
        found = self.unconfirmed(self._window + len(self._aside))
        messages = [message for message in found if message not in self._aside][: self._window]
        if not found:
            self._strikes.clear()  # those that came to their end while they waited
            self._late.clear()
        if not messages:
            return False
        waiting = [(one, self._late[one][0]) for one in messages if one in self._late]
        messages = [one for one in messages if one not in self._late]
        under_way: list[tuple[M, Receipt]] = []
        at = time.time()
        later = self.begin(messages, at)
        self._aside.update((message, now + seconds) for message, seconds in later.items())
        messages = [message for message in messages if message not in later]
        begun = 0
        try:
            for begun, message in enumerate(messages, 1):  # noqa: B007 - also where it ends
                under_way.append((message, self.send(message)))
        except ConnectionLost as lost:
            begun -= lost.unsent
            raise
        finally:
            self.not_begun(messages[begun:])
            self.sent([message for message, _receipt in under_way], at)
            self._confirm([*waiting, *under_way])
        self._window = min(_WINDOW, self._window * 2)
        return True

    def _look_at_late(self, now: float) -> set[M]:
        """Which late receipts have come; those that will not are forgotten, to be sent again."""
        come: set[M] = set()
        for message, (receipt, since) in [*self._late.items()]:
            try:
                receipt.wait(0)
                come.add(message)
            except ReceiptTimeout:
                if now - since > _ASIDE_AT_MOST:
                    del self._late[message]
            except ConnectionLost:
                del self._late[message]
        return come

    def _confirm(self, under_way: Sequence[tuple[M, Receipt]]) -> None:
        """Wait for what was sent, and mark what the broker has."""
        confirmed: list[M] = []
        failures: Counter[str] = Counter()
        broke = False
        end = time.monotonic() + _PATIENCE
        for message, receipt in under_way:
            try:
                receipt.wait(end - time.monotonic())
                confirmed.append(message)
                self._late.pop(message, None)
            except (ConnectionLost, ReceiptTimeout) as error:
                failures[str(error)] += 1
                # a store that is full says nothing of this message
                broke = isinstance(error, ConnectionLost) and not passing(error.reason)
                if isinstance(error, ReceiptTimeout):
                    self._late.setdefault(message, (receipt, end - _PATIENCE))
        self.confirmed(confirmed)
        if confirmed:
            self._waits.forget()
        if self._strikes:
            for message in confirmed:
                self._strikes.pop(message, None)
        if failures:
            self._suspect([message for message, _receipt in under_way], broke=broke)
            reason, _count = failures.most_common(1)[0]
            raise ConnectionLost(f"{failures.total()} not confirmed: {reason}")

    def _suspect(self, messages: Sequence[M], *, broke: bool) -> None:
        """After a break: one that was alone on its way, again and again, is set aside.

        For a short while at first, for the breaks may have been the broker's own.
        """
        self._window = 1
        if len(messages) != 1:
            return
        (message,) = messages
        self._strikes[message] += 1
        more = self._strikes[message] - _STRIKES
        if more < 0:
            return
        if broke and self.replaced(message):
            del self._strikes[message]
            return
        seconds = min(_ASIDE_AT_MOST, _ASIDE * 2 ** min(more, 10))
        log.error("no broker takes %.200s: set aside for %.0f s", message, seconds)
        self._aside[message] = time.monotonic() + seconds
