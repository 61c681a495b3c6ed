"""All conversations of one process: one thread that hears, sends, and sends again.

It starts with the first conversation. What comes in is put into its inbox by whoever reads from
the broker, so that nobody else waits for a turn's signature. It looks only at channels that
may have something to send.
"""

from __future__ import annotations

import heapq
import logging
import math
import threading
import time
from functools import partial
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from mcshell.errors import ConnectionLost, MCShellError, Rejected
from mcshell.wire.conversation.channel import INTERRUPTED, Channel
from mcshell.wire.documents.turn import RESET, seal_turn

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mcshell.message import Turn
    from mcshell.wire.conversation.channel import ConversationId
    from mcshell.wire.documents.envelope import SealedMessage
    from mcshell.wire.documents.signatures import Signer
    from mcshell.wire.stomp.transport import Transport

__all__ = ["Multiplexer"]

log = logging.getLogger(__name__)

M = TypeVar("M")

_TTL: Final = 60.0
_TOGETHER: Final = 100
_LONGEST: Final = 5.0
_UNCONNECTED: Final = 0.2


class _SendDue(str):
    """Put into the inbox when the channel of this key may have something to send."""

    __slots__ = ()


class _Reconnected:
    """Put into the inbox when the connection is a new one."""


class Multiplexer(Generic[M]):
    """The thread and its channels; a subclass opens messages (`M`) and finds their channel."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._inbox: SimpleQueue[M | _SendDue | _Reconnected | None] = SimpleQueue()
        self._channels: dict[str, Channel] = {}
        self._due: list[tuple[float, str]] = []
        """When to look at which: a heap; what counts is in `_due_at`."""
        self._due_at: dict[str, float] = {}
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None

    def hear(self, message: M) -> None:
        """Called within the thread: open a message and give it to its channel; Rejected if junk."""
        raise NotImplementedError

    def refuse(self, message: M, refusal: Rejected) -> None:
        """Called within the thread: take note of junk."""
        raise NotImplementedError

    def destination(self, turn: Turn) -> str:
        """Where a turn of ours goes."""
        raise NotImplementedError

    def signer(self, turn: Turn) -> Signer:
        """Who signs it."""
        raise NotImplementedError

    def seal(self, turn: Turn) -> SealedMessage:
        """Sign a turn of ours."""
        return seal_turn(turn, self.signer(turn))

    def look(self, channel: Channel, now: float) -> None:
        """Called within the thread, every few seconds: end the channel if it may not go on."""

    # -- called by any thread ---------------------------------------------------------------------

    def put(self, message: M) -> None:
        """Take a message that came in: whoever reads from the broker hands it over here."""
        self._begin()
        self._inbox.put(message)

    def channel(self, key: str, head: ConversationId, now: float, *, asks: bool) -> Channel:
        """Make one."""
        channel = Channel(head, partial(self._wake, _SendDue(key)), now, asks=asks)
        self._channels[key] = channel
        return channel

    def _wake(self, channel: _SendDue) -> None:
        """Have the thread look at it."""
        self._begin()
        self._inbox.put(channel)

    def again(self) -> None:
        """Send again what may have been lost with the connection."""
        if self._thread is not None:
            self._inbox.put(_Reconnected())

    def stop(self, reason: str) -> None:
        """Interrupt all conversations, tell the other ends, and end the thread."""
        with self._starting:
            thread = self._thread
        if thread is None:
            return
        for channel in list(self._channels.values()):
            channel.end(INTERRUPTED, reason)
        self._inbox.put(None)
        thread.join(timeout=5)

    def _begin(self) -> None:
        if self._thread is None:
            with self._starting:
                if self._thread is None:
                    thread = threading.Thread(
                        target=self._run, name="mcshell-converse", daemon=True
                    )
                    thread.start()  # there may be none for it now, and one later
                    self._thread = thread

    # -- the thread -------------------------------------------------------------------------------

    def _run(self) -> None:
        look_at = 0.0
        going = True
        while going:
            items = self._gather()
            going = None not in items
            keys = self._take(items)
            now = time.monotonic()
            while self._due and self._due[0][0] <= now:
                at, key = heapq.heappop(self._due)
                if self._due_at.get(key) == at:
                    del self._due_at[key]
                    keys.add(key)
            if now >= look_at:
                look_at = now + _LONGEST
                for channel in list(self._channels.values()):
                    self.look(channel, time.time())
            for key in keys:
                self._flush(key, now)

    def _take(self, items: Iterable[M | _SendDue | _Reconnected | None]) -> set[str]:
        """Take what came in; which channels to look at."""
        keys: set[str] = set()
        for item in items:
            if isinstance(item, _SendDue):
                keys.add(item)
            elif isinstance(item, _Reconnected):
                channels = dict(self._channels)
                keys.update(channels)
                for channel in channels.values():
                    channel.again()
            elif item is not None:
                self._hear(item)
        return keys

    def _gather(self) -> list[M | _SendDue | _Reconnected | None]:
        try:
            items = [self._inbox.get(timeout=self._pause())]
        except Empty:
            return []
        while len(items) < _TOGETHER:
            try:
                items.append(self._inbox.get_nowait())
            except Empty:
                break
        return items

    def _pause(self) -> float | None:
        return max(0.001, self._due[0][0] - time.monotonic()) if self._due else None

    def _hear(self, message: M) -> None:
        try:
            self.hear(message)
        except Rejected as refusal:
            self.refuse(message, refusal)
        except Exception:
            log.exception("could not take a turn")

    def _flush(self, key: str, now: float) -> None:
        """Send what is due, and note when to look again."""
        channel = self._channels.get(key)
        if channel is None:
            return
        if channel.over(now):
            del self._channels[key]
            self._due_at.pop(key, None)
            return
        connected = self._transport.connected
        for turn in channel.due(now) if connected else ():
            channel.unsent = self.say(turn)
            if channel.unsent:
                break  # the others would fail as well; all are sent again
        at = channel.wake() if connected else now + _UNCONNECTED
        at = min(max(at, now + 0.001), now + _LONGEST)
        if at < self._due_at.get(key, math.inf):
            self._due_at[key] = at
            heapq.heappush(self._due, (at, key))

    def say(self, turn: Turn) -> str:
        """Called within the thread: sign and send one turn; returns why that failed, "" when it has not."""
        try:
            sealed = self.seal(turn)
            self._transport.send(
                self.destination(turn), sealed.body, sealed.headers, expires=turn.created + _TTL
            )
        except MCShellError as error:  # a key may be away, as a connection may
            passing = isinstance(error, ConnectionLost) and turn.word != RESET
            level = logging.DEBUG if passing else logging.WARNING
            log.log(level, "a turn of %s is not sent: %s", turn.id, error)
            return str(error)
        return ""
