"""Order and flow of one end of a conversation: numbers, acknowledgements, a window. No I/O, no clock.

Each end numbers what it sends, from 1, and acknowledges what it has got without a gap. What is
not acknowledged in time is sent again, what comes twice is dropped, what comes early waits for
what is missing. `limit` is the number up to which the other may send: it grows as the application
takes what has come, so that a slow one is not drowned.

The timer of resending is TCP's (RFC 6298), over a broker instead of a wire.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Final, Generic, TypeVar

from mcshell.values import dataclass

__all__ = ["WINDOW", "Packet", "SlidingWindow"]

T = TypeVar("T")

WINDOW: Final = 32
"""How many may be on their way, and how many may wait for the application."""
FIRST_WAIT: Final = 1.0
LEAST_WAIT: Final = 0.2
MOST_WAIT: Final = 8.0
LAZY: Final = 0.03
"""Seconds for which an acknowledgement waits for something to travel with."""
AT_ONCE: Final = -math.inf


@dataclass(frozen=True, slots=True)
class Packet(Generic[T]):
    """One message of the window; `sequence` 0 carries nothing but `ack` and `limit`."""

    sequence: int
    ack: int
    limit: int
    payload: T | None = None


@dataclass(slots=True)
class _Sent(Generic[T]):
    payload: T
    at: float
    again: bool = False


class SlidingWindow(Generic[T]):
    """One end of a conversation. `now` is any clock that only goes forward, in seconds.

    `keepalive`: after so many seconds without a packet the other end is made to answer; None: it is
    for the other end to ask.
    """

    def __init__(self, now: float, *, window: int = WINDOW, keepalive: float | None = None) -> None:
        self._window = window
        self._keepalive = keepalive
        self.heard_at = now
        """When the other end was heard last."""
        self._queue: deque[tuple[int, T]] = deque()
        self._flying: dict[int, _Sent[T]] = {}
        self._numbered = 0
        self._newest: tuple[int, T] | None = None
        """The newest that was acknowledged: sent again, it makes the other end answer."""
        self._acked = 0
        self._peer_limit = 1
        self._probed_at = now
        self._wait = FIRST_WAIT
        self._backoff = 0
        self._smooth: tuple[float, float] | None = None
        self._ready: deque[T] = deque()
        self._early: dict[int, T] = {}
        self._got = 0
        self._taken = 0
        self._ack_at: float | None = None
        self._told = (0, 0)

    # -- the application's side -----------------------------------------------------------------

    @property
    def full(self) -> bool:
        """Whether what is to be sent has to wait: the other end does not keep up."""
        return len(self._queue) + len(self._flying) >= self._window

    @property
    def all_acknowledged(self) -> bool:
        """Whether all that was put is acknowledged."""
        return not self._queue and not self._flying

    def put(self, payload: T) -> int:
        """Number a payload and have it sent, as soon as the window has room for it."""
        self._numbered += 1
        self._queue.append((self._numbered, payload))
        return self._numbered

    def take(self) -> T | None:
        """The next that has come, in order; None when there is none."""
        if not self._ready:
            return None
        self._taken += 1
        if self._limit - self._told[1] >= self._window // 2:
            self._ack_at = AT_ONCE
        return self._ready.popleft()

    # -- the wire's side ------------------------------------------------------------------------

    def heard(self, packet: Packet[T], now: float) -> list[T]:
        """Take in what the other end said; returns what has become ready by it, in order.

        A packet that acknowledges what was never sent is dropped whole.
        """
        sent = self._numbered - len(self._queue)
        if packet.ack > sent:
            return []
        self.heard_at = now
        self._acknowledged(packet.ack, now)
        self._peer_limit = max(self._peer_limit, packet.limit)
        if packet.payload is None:
            return []
        return self._came(packet.sequence, packet.payload, now)

    def _came(self, sequence: int, payload: T, now: float) -> list[T]:
        if not self._got < sequence <= self._limit or sequence in self._early:
            self._ack_at = AT_ONCE  # it was lost that we have it, or that it has to wait
            return []
        self._early[sequence] = payload
        ready: list[T] = []
        while (following := self._got + 1) in self._early:
            ready.append(self._early.pop(following))
            self._got = following
        self._ready.extend(ready)
        hurry = bool(self._early) or self._got - self._told[0] >= self._window // 4
        due = AT_ONCE if hurry else now + LAZY
        self._ack_at = due if self._ack_at is None else min(self._ack_at, due)
        return ready

    def _acknowledged(self, ack: int, now: float) -> None:
        if ack <= self._acked:
            return
        for number in range(self._acked + 1, ack + 1):
            sent = self._flying.pop(number)
            self._newest = number, sent.payload
        if not sent.again:
            self._measure(now - sent.at)
        self._acked = ack
        self._backoff = 0

    def _measure(self, took: float) -> None:
        if self._smooth is None:
            smooth, spread = took, took / 2
        else:
            smooth, spread = self._smooth
            spread = 0.75 * spread + 0.25 * abs(smooth - took)
            smooth = 0.875 * smooth + 0.125 * took
        self._smooth = smooth, spread
        self._wait = min(MOST_WAIT, max(LEAST_WAIT, smooth + 4 * spread + LAZY))

    def again(self) -> None:
        """The connection is a new one: all that is on its way may be lost."""
        self._backoff = 0
        for sent in self._flying.values():
            sent.at, sent.again = AT_ONCE, True
        self._ack_at = AT_ONCE

    def due(self, now: float) -> list[Packet[T]]:
        """The packets to be sent now: new ones, acknowledgements, and what is sent again."""
        packets = self._overdue(now)
        while self._may_send():
            number, payload = self._queue.popleft()
            self._flying[number] = _Sent(payload, now)
            packets.append(self._packet(number, payload))
        if not packets and now >= self._probe_at() and self._newest is not None:
            self._probed_at = now
            packets.append(self._packet(*self._newest))
        if not packets and self._ack_at is not None and now >= self._ack_at:
            packets.append(self._packet(0, None))
        return packets

    def wake(self) -> float:
        """When `due` will have something to send, if nothing comes in before; may be infinite."""
        if self._may_send():
            return AT_ONCE
        resend = min((sent.at for sent in self._flying.values()), default=math.inf)
        ack = math.inf if self._ack_at is None else self._ack_at
        probe = math.inf if self._newest is None else self._probe_at()
        return min(resend + self._patience, ack, probe)

    @property
    def _limit(self) -> int:
        return self._taken + self._window

    @property
    def _patience(self) -> float:
        return min(MOST_WAIT, self._wait * 2.0**self._backoff)

    def _may_send(self) -> bool:
        return (
            bool(self._queue)
            and self._queue[0][0] <= self._peer_limit
            and len(self._flying) < self._window
        )

    def _overdue(self, now: float) -> list[Packet[T]]:
        late = [one for one in self._flying.items() if one[1].at + self._patience <= now]
        if any(sent.at > AT_ONCE for _number, sent in late):
            self._backoff += 1
        for _number, sent in late:
            sent.at, sent.again = now, True
        return [self._packet(number, sent.payload) for number, sent in late]

    def _probe_at(self) -> float:
        """When the other end is asked whether it is there, or whether there is room again."""
        quiet = max(self.heard_at, self._probed_at)
        if self._flying:
            return math.inf
        if self._queue:
            return quiet + FIRST_WAIT
        return math.inf if self._keepalive is None else quiet + self._keepalive

    def _packet(self, sequence: int, payload: T | None) -> Packet[T]:
        self._ack_at = None
        self._told = self._got, self._limit
        return Packet(sequence, self._got, self._limit, payload)
