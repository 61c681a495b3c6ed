"""From this node's work queues at the broker into its spool: verify, commit, acknowledge, say so.

When the spool is full the node stops reading, and the rest waits in the broker. What was under way
when it stopped is still taken in. Two brokers take such messages back, and hand them out again
later, when they are known here already; RabbitMQ waits for their acknowledgement, which it can only
be given under the same subscription: so it gets it when reading goes on.
"""

from __future__ import annotations

import logging
import threading
import time
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Final

from mcshell.errors import MCShellError, WireError
from mcshell.message import State, Via
from mcshell.node.queue.intake import QueueIntake, QueueItem
from mcshell.node.replies.sender import no_steps
from mcshell.wire import destinations
from mcshell.wire.documents.envelope import Arrival

if TYPE_CHECKING:
    from collections.abc import Callable

    from mcshell.node.context import NodeContext
    from mcshell.wire.stomp.transport import Delivery

__all__ = ["QueueConsumer"]

log = logging.getLogger(__name__)

_SETTLED: Final = 0.5
_PATIENCE: Final = 10.0
_PREFETCH: Final = 20
_GROUP: Final = 100
_RESUME: Final = 0.9
_LOOK: Final = 0.5
_TROUBLE: Final = 5.0


class QueueConsumer:
    """One thread that reads the work queues of one node.

    Args:
        taken: called when there is new work, and when there are new replies in the outbox.
        most: rows in the spool above which it stops reading.
    """

    def __init__(self, context: NodeContext, taken: Callable[[], None], most: int) -> None:
        self._context = context
        self._spool = context.spool
        self._transport = context.transport
        self._taken = taken
        self._most = most
        self._admission = QueueIntake(context.controller, context.spool)
        self._inbox: SimpleQueue[Delivery | None] = SimpleQueue()
        self._arrivals: dict[str, Arrival] = {}
        self._paused_until: float | None = 0.0
        """Not before then (monotonic) it reads again; None while it reads."""
        self._owed: list[Delivery] = []
        self._since = self._taken_at = time.monotonic()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="mcshell-work", daemon=True)

    @property
    def reading(self) -> bool:
        """Whether it is subscribed to the work queues now."""
        return self._paused_until is None

    def settled(self) -> bool:
        """Whether what had waited for this node is in: work of its own may begin.

        A job that is long due must not begin before its edit, which waits behind it. Without a
        broker, or where there is no end of messages, it is held up for a few seconds only.
        """
        now = time.monotonic()
        if now - self._since > _PATIENCE:
            return True
        return self.reading and now - max(self._since, self._taken_at) > _SETTLED

    def begun(self) -> None:
        """A connection stands: what has waited meanwhile comes now."""
        self._since = time.monotonic()

    def start(self) -> None:
        """Subscribe, unless the spool is full already, and begin.

        Raises:
            WireError: there is no connection, or the broker refuses.
        """
        if self._spool.waiting(self._context.host.identity) < self._most:
            self._resume()
        self._thread.start()

    def stop(self) -> None:
        """End once the messages in hand are committed."""
        self._stopping = True
        self._inbox.put(None)
        if self._thread.is_alive():
            self._thread.join(5.0)

    def _run(self) -> None:
        while not self._stopping:
            group = self._gather()
            try:
                if group:
                    self._take(group)
                self._regulate()
            except (MCShellError, OSError) as error:
                log.error("work cannot be taken in: %s", error)  # noqa: TRY400 - said in full
                self._later(group)
            except Exception:
                log.exception("work cannot be taken in")
                self._one_by_one(group)

    def _one_by_one(self, group: list[Delivery]) -> None:
        """Find the message that we fail at: it is dropped, so that it does not stop the others."""
        if len(group) > 1:
            for delivery in group:
                try:
                    self._take([delivery])
                except MCShellError:
                    self._inbox.put(delivery)
                except Exception:
                    log.exception("a message of the work queue is dropped")
                    self._transport.ack(delivery)
        else:
            self._transport.ack(group[0])

    def _later(self, group: list[Delivery]) -> None:
        """Read no more for a while, and then try these again: nothing of them is committed."""
        self._pause(_TROUBLE)
        time.sleep(_LOOK)
        for delivery in group:
            self._inbox.put(delivery)

    def _gather(self) -> list[Delivery]:
        """Wait for messages, for a moment only while paused, and take what is there."""
        group: list[Delivery] = []
        try:
            first = self._inbox.get(timeout=None if self.reading else _LOOK)
            while first is not None:
                if first.subscription in self._arrivals:
                    group.append(first)
                if len(group) >= _GROUP:
                    break
                first = self._inbox.get_nowait()
        except Empty:
            pass
        return group

    def _take(self, group: list[Delivery]) -> None:
        host, messages = self._context.host, self._context.writer
        items = [QueueItem(host, messages, self._arrivals[one.subscription], one) for one in group]
        self._tell("received", items)
        taken = self._admission.take(items, time.time())
        self._tell("committed", items)
        if self.reading:
            for delivery in group:
                self._transport.ack(delivery)
        else:
            self._owed += group
        self._tell("acked", items)
        for one in taken:
            self._context.reply_sender.working(one.request, State.RECEIVED)
        self._taken_at = time.monotonic()
        self._taken()

    def _tell(self, step: str, items: list[QueueItem]) -> None:
        if self._context.steps is not no_steps:
            for item in items:
                self._context.steps(step, item.delivery.headers.get("message-id", ""))

    def _regulate(self) -> None:
        """Stop reading when the spool is full; read again when there is room."""
        if self._stopping:
            return
        if self.reading:
            if self._spool.waiting(self._context.host.identity) >= self._most:
                log.warning("the spool is full (%d): no work is read", self._most)
                self._pause(0.0)
        elif (
            self._transport.connected
            and time.monotonic() >= (self._paused_until or 0.0)
            and self._spool.waiting(self._context.host.identity) < self._most * _RESUME
        ):
            try:
                self._resume()
            except WireError as error:
                log.warning("work cannot be read: %s", error)
                self._pause(_TROUBLE)

    def _pause(self, seconds: float) -> None:
        paused, self._paused_until = not self.reading, time.monotonic() + seconds
        if paused:
            return
        for subscription in self._arrivals:
            self._transport.pause(subscription)

    def _resume(self) -> None:
        owed, self._owed = self._owed, []
        if self._arrivals:
            for subscription in self._arrivals:
                self._transport.resume(subscription)
        else:
            self._subscribe()
        self._paused_until = None
        self.begun()
        if self._transport.dialect.keeps_unacked:
            for delivery in owed:
                self._transport.ack(delivery)

    def _subscribe(self) -> None:
        host = self._context.host
        for collective in host.collectives:
            destination = destinations.work(collective, host.identity)
            arrival = Arrival(collective, Via.QUEUE, host.identity)
            subscription = self._transport.subscribe(destination, self._inbox, prefetch=_PREFETCH)
            self._arrivals[subscription] = arrival
