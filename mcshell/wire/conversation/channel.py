"""One end of a conversation, as its application has it: send, receive, close.

The application's threads and the multiplexer's meet here, under one lock; nothing here sends.
"""

from __future__ import annotations

import math
import time
from dataclasses import field
from typing import TYPE_CHECKING, Any, Final

from mcshell.errors import ConversationError, TurnTimeout
from mcshell.interrupts import InterruptibleCondition
from mcshell.message import Turn
from mcshell.values import dataclass
from mcshell.wire.conversation.sliding_window import AT_ONCE, Packet, SlidingWindow
from mcshell.wire.documents.turn import ACK, CLOSE, OPEN, RESET, TURN, check_data

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = [
    "CLOSED",
    "DENIED",
    "FAILED",
    "INTERRUPTED",
    "LOST",
    "OPENED",
    "OPENING",
    "PATIENCE",
    "Channel",
    "ConversationId",
    "reset",
]

OPENING: Final = "opening"
OPENED: Final = "open"
CLOSED: Final = "closed"
DENIED: Final = "denied"
FAILED: Final = "failed"
INTERRUPTED: Final = "interrupted"
_ENDS: Final = frozenset({DENIED, FAILED, INTERRUPTED})

LOST: Final = 120.0
"""Seconds without a turn after which the other end counts as gone."""
PATIENCE: Final = 60.0
"""Seconds that a `send` waits for an end that takes nothing, where it is not told how long."""
_LONGEST: Final = 1000
"""Letters of the other end's reason, which is in audit lines and errors."""
LINGER: Final = 30.0
"""Seconds for which an ended one still answers what comes late."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversationId:
    """What is the same in all turns of a conversation.

    `nonce` is what the client's `id` is made of; `digest` that of the `open` that the node has got.
    """

    id: str
    protocol: str
    caller: str
    node: str
    collective: str
    session: str
    nonce: str = field(default="", compare=False)
    digest: str = field(default="", compare=False)

    def turn(self, word: str, packet: Packet[Any], data: Any = None) -> Turn:
        """Write one of its turns, now."""
        return Turn(
            id=self.id,
            protocol=self.protocol,
            caller=self.caller,
            node=self.node,
            collective=self.collective,
            session=self.session,
            word=word,
            sequence=packet.sequence,
            ack=packet.ack,
            limit=packet.limit,
            created=time.time(),
            data=data,
            nonce=self.nonce if word == OPEN else "",
            digest=self.digest,
        )

    def heads(self, turn: Turn) -> bool:
        """Whether a turn is one of this conversation."""
        return self == ConversationId(
            id=turn.id,
            protocol=turn.protocol,
            caller=turn.caller,
            node=turn.node,
            collective=turn.collective,
            session=turn.session,
        )


def reset(head: ConversationId, state: str, reason: str) -> Turn:
    """Write the turn that ends a conversation at once, and says why."""
    return head.turn(RESET, Packet(0, 0, 0), {"state": state, "reason": reason})


class Channel:
    """One end of a conversation. `state` is opening, open, closed, denied, failed or interrupted;
    `reason` why.

    `wake` tells the multiplexer that there is something to send. The end that `asks` (the
    client's) sees to it that the other is still there, and answers a close with its own.
    """

    def __init__(
        self, head: ConversationId, wake: Callable[[], None], now: float, *, asks: bool
    ) -> None:
        self.head = head
        self.opens: set[str] = set()
        """The digests of each `open` that we have sent: which the other end may answer."""
        self.unsent = ""
        """Why the newest turn of ours could not be sent; it is sent again."""
        self.state = OPENING
        self.reason = ""
        self.received = 0
        self._wake = wake
        self._asks = asks
        self._wakeup = InterruptibleCondition()
        self._ordered: SlidingWindow[tuple[str, Any]] = SlidingWindow(
            now, keepalive=10.0 if asks else None
        )
        self._theirs = False
        self._ours = False
        self._discards = False
        self._read_out = False
        self._forgotten = False
        self._done_at = math.inf
        self._tell = False

    # -- called by the application ----------------------------------------------------------------

    def put_open(self, data: Any) -> None:
        """Ask for the conversation, or agree to it."""
        check_data(data)
        with self._wakeup:
            if not self._asks and self.state == OPENING:
                self.state = OPENED
            self._ordered.put((OPEN, data))
        self._wake()

    def wait_open(self, timeout: float) -> None:
        """Wait until the other end agrees; ConversationError when it refuses, or says nothing."""
        with self._wakeup:
            self._wakeup.wait_for(lambda: self.state != OPENING, timeout)
            if self.state in _ENDS:
                raise ConversationError(self._why(), self.state)
            if self.state == OPENING:
                raise self._late(f"no answer from {self._other} within {timeout:g} s")

    def send(self, data: Any, timeout: float | None = PATIENCE) -> None:
        """Send one turn; waits (seconds; None: for ever) while the other end does not keep up.

        Raises:
            InputError: data that no turn can carry.
            TurnTimeout: the other end took nothing that long; the turn is not sent.
            ConversationError: it is over; what was not acknowledged may not have arrived.
        """
        check_data(data)
        with self._wakeup:
            self._wakeup.wait_for(lambda: self._deaf or not self._ordered.full, timeout)
            if self._deaf:
                raise ConversationError(self._why(), self.state)
            if self._ordered.full:
                raise self._late(f"{self._other} took nothing for {timeout:g} s")
            self._ordered.put((TURN, data))
        self._wake()

    def receive(self, timeout: float | None = None) -> Any:
        """Return the data of the next turn, waiting so many seconds for it.

        Raises:
            TurnTimeout: none came in time.
            ConversationError: it is over, and all that came was returned; `state` says how.
        """
        end = math.inf if timeout is None else time.monotonic() + timeout
        with self._wakeup:
            while True:
                item = self._take()
                if item is not None and item[0] == TURN:
                    self.received += 1
                    return item[1]
                if item is not None:
                    continue
                if self._read_out or self._discards or self.state in _ENDS:
                    raise ConversationError(self._why(), self.state)
                left = end - time.monotonic()
                if left <= 0:
                    raise self._late(f"no turn from {self._other} within {timeout:g} s")
                self._wakeup.wait(None if left == math.inf else left)

    def __iter__(self) -> Iterator[Any]:
        """Each turn as it comes, until the other end closes; raises when it is interrupted."""
        while True:
            try:
                data = self.receive()
            except ConversationError as over:
                if over.state in _ENDS:
                    raise
                return
            yield data

    def close(self, timeout: float = 0.0) -> bool:
        """Say that nothing more is sent or read; returns whether both ends agree by then."""
        with self._wakeup:
            self._put_close()
            self._discards = True
            self._drain()
            self._wakeup.notify_all()
        self._wake()
        with self._wakeup:
            return self._wakeup.wait_for(lambda: self._complete or self.state in _ENDS, timeout)

    def end(self, state: str, reason: str) -> None:
        """End it at once, and tell the other end why."""
        with self._wakeup:
            if self._end(state, reason):
                self._tell = True
        self._wake()

    # -- called by the multiplexer's thread -------------------------------------------------------

    def heard(self, turn: Turn, now: float) -> None:
        """Take in a turn of the other end."""
        with self._wakeup:
            self._take_in(turn, now)
        self._wake()

    def due(self, now: float) -> list[Turn]:
        """The turns that are to be sent now: new ones, acknowledgements, and what is sent again."""
        with self._wakeup:
            if now - self._ordered.heard_at > LOST and self._done_at == math.inf:
                self._tell = self._end(
                    INTERRUPTED, str(self._late(f"no word of {self._other} for {LOST:g} s"))
                )
            if self._tell:
                self._tell = False
                return [reset(self.head, self.state, self.reason)]
            if self.state in _ENDS or self._forgotten:
                return []
            turns = []
            for packet in self._ordered.due(now):
                word, data = packet.payload or (ACK, None)
                turns.append(self.head.turn(word, packet, data))
            return turns

    def wake(self) -> float:
        """When to call `due` next, if nothing happens before."""
        with self._wakeup:
            if self._tell:
                return AT_ONCE
            if self.state in _ENDS or self._forgotten:
                return self._done_at + LINGER
            return min(self._ordered.wake(), self._ordered.heard_at + LOST + 1)

    def again(self) -> None:
        """Have all that is not acknowledged sent again: the connection is a new one."""
        with self._wakeup:
            self._ordered.again()

    def over(self, now: float) -> bool:
        """Whether it may be forgotten: it ended `LINGER` seconds ago."""
        with self._wakeup:
            if self._done_at == math.inf and (self._complete or self.state in _ENDS):
                self._done_at = now
            return now >= self._done_at + LINGER

    @property
    def ended(self) -> bool:
        """Whether it is closed, by both ends, or was ended by one of them."""
        return self._complete or self.state in _ENDS

    # -- under the lock ---------------------------------------------------------------------------

    @property
    def _other(self) -> str:
        return self.head.node if self._asks else self.head.caller

    @property
    def _deaf(self) -> bool:
        """Whether nothing more is sent: this end has closed, or the conversation has ended."""
        return self._ours or self.state in _ENDS

    @property
    def _complete(self) -> bool:
        return self._forgotten or (self._ours and self._theirs and self._ordered.all_acknowledged)

    def _take(self) -> tuple[str, Any] | None:
        item = self._ordered.take()
        if item is not None and item[0] == CLOSE:
            self._read_out = True
        if item is not None and self._ordered.wake() == AT_ONCE:
            self._wake()
        return item

    def _drain(self) -> None:
        while self._take() is not None:
            pass

    def _take_in(self, turn: Turn, now: float) -> None:
        if turn.word == RESET:
            said = turn.data if isinstance(turn.data, dict) else {}
            state = str(said.get("state"))
            reason = str(said.get("reason", ""))[:_LONGEST]
            self._end(state if state in _ENDS else INTERRUPTED, reason)
            return
        if self.state in _ENDS:
            self._tell = True
            return
        payload = (turn.word, turn.data) if turn.word != ACK else None
        packet = Packet(turn.sequence, turn.ack, turn.limit, payload)
        for word, _data in self._ordered.heard(packet, now):
            if word == OPEN and self._asks and self.state == OPENING:
                self.state = OPENED
            self._theirs = self._theirs or word == CLOSE
        if self._theirs and self._asks:
            self._put_close()
        if self._discards:
            self._drain()
        self._wakeup.notify_all()

    def _put_close(self) -> None:
        if not self._deaf:
            self._ours = True
            self.state = CLOSED
            self._ordered.put((CLOSE, None))

    def _end(self, state: str, reason: str) -> bool:
        self._wakeup.notify_all()
        if self.state in _ENDS or self._complete:
            return False
        if self.state == CLOSED:
            self._forgotten = self._read_out = True
            return False
        self.state, self.reason = state, reason
        return True

    def _late(self, what: str) -> TurnTimeout:
        return TurnTimeout(f"{what} ({self.unsent})" if self.unsent else what, self.state)

    def _why(self) -> str:
        about = f"the conversation {self.head.protocol} with {self._other} is {self.state}"
        return f"{about}: {self.reason}" if self.reason else about
