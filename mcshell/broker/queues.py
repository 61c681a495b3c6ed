"""Who gets which message: queues with competing consumers, topics with wildcards.

Nothing here does I/O. A `Subscription` hands bytes to its `Outlet`, the connection, which sends
them only after the turn's commit.
"""

from __future__ import annotations

import re
from collections import deque
from typing import TYPE_CHECKING, Protocol

from mcshell.wire.frame import Parser, dump_head

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mcshell.broker.store import Message, Store

__all__ = ["Outlet", "Queue", "Subscription", "Topics", "head_for"]

_ROUTES = 10_000
_WILDCARDS = {"*": r"[^.]+", ">": r".+"}


class Outlet(Protocol):
    """The connection, as far as deliveries care."""

    version: str
    starved: set[Queue]
    inflight: dict[str, Subscription]

    def push(self, *pieces: bytes) -> None:
        """Send these bytes at the end of the turn."""

    def has_room(self) -> bool:
        """Whether a queue may give it more: what is unsent is little."""

    def loses(self, publication: int) -> bool:
        """Whether it is too far behind to get this topic message."""


def head_for(head: bytes, version: str) -> bytes:
    """Rewrite a MESSAGE head of STOMP 1.2 for a consumer that speaks an older version."""
    if version == "1.2":
        return head
    headers = Parser().feed(head + b"\n\0")[0].headers
    if version == "1.0":  # nothing is escaped there
        headers = {k.replace(":", "_"): v.replace("\n", " ") for k, v in headers.items()}
    return dump_head("MESSAGE", headers, version)


class Subscription:
    """One SUBSCRIBE: its mode, its prefetch, and what it has not acknowledged yet, in order."""

    __slots__ = ("ack", "destination", "id", "line", "outlet", "prefetch", "unacked")

    def __init__(self, outlet: Outlet, id_: str, destination: str, ack: str, prefetch: int) -> None:
        self.outlet = outlet
        self.id = id_
        self.destination = destination
        self.ack = ack
        self.prefetch = prefetch
        self.line = dump_head("", {"subscription": id_}, outlet.version)[1:]
        self.unacked: dict[str, Message] = {}

    def wants_more(self, queue: Queue) -> bool:
        """Whether the queue may deliver now; a full connection asks again when it has room."""
        if self.ack != "auto" and len(self.unacked) >= self.prefetch:
            return False
        if self.outlet.has_room():
            return True
        self.outlet.starved.add(queue)
        return False

    def deliver(self, message: Message, store: Store) -> None:
        """Hand over a queue's message; in the mode auto it is done with."""
        name = str(message.id)
        message.tries += 1
        line = b"%smessage-id:%d\n" % (self.line, message.id)
        if self.ack == "auto":
            store.delete(message)
        else:
            store.tried(message)
            self.unacked[name] = message
            self.outlet.inflight[name] = self
            line += b"ack:%d\n" % message.id
        if message.tries > 1:
            line += b"redelivered:true\n"
        end = b"content-length:%d\n\n" % len(message.body)
        self.outlet.push(
            head_for(message.head, self.outlet.version), line, end, message.body, b"\0"
        )

    def acknowledged(self, name: str) -> list[Message]:
        """Take what one ACK or NACK covers out of `unacked`: in the mode client all before it."""
        if self.ack == "client":
            names = list(self.unacked)
            names = names[: names.index(name) + 1]
        else:
            names = [name]
        for each in names:
            del self.outlet.inflight[each]
        return [self.unacked.pop(each) for each in names]


class Queue:
    """One queue: what is ready, and who consumes in turn."""

    __slots__ = ("consumers", "name", "ready", "turn")

    def __init__(self, name: str) -> None:
        self.name = name
        self.ready: deque[Message] = deque()
        self.consumers: list[Subscription] = []
        self.turn = 0

    def dispatch(self, store: Store, now: float) -> None:
        """Deliver, round robin, while there are messages and consumers with room for them."""
        while self.ready and self.consumers:
            consumer = self._next_consumer()
            if consumer is None:
                return
            message = self.ready.popleft()
            if message.expires and message.expires <= now:
                store.delete(message)
            else:
                consumer.deliver(message, store)

    def _next_consumer(self) -> Subscription | None:
        count = len(self.consumers)
        for step in range(count):
            place = (self.turn + step) % count
            if self.consumers[place].wants_more(self):
                self.turn = place + 1
                return self.consumers[place]
        return None

    def give_back(self, messages: Iterable[Message]) -> None:
        """Put undone messages back in front, each where it was."""
        back = sorted(messages, key=lambda message: message.id)
        while back and self.ready and self.ready[0].id < back[-1].id:
            back.append(self.ready.popleft())
        self.ready.extendleft(sorted(back, key=lambda message: message.id, reverse=True))

    def expire(self, store: Store, now: float) -> None:
        """Drop what is too old, so that a queue that nobody reads does not keep it."""
        old = [message for message in self.ready if message.expires and message.expires <= now]
        for message in old:
            store.delete(message)
        if old:
            self.ready = deque(m for m in self.ready if not m.expires or m.expires > now)


class Topics:
    """All topic subscriptions; `*` stands for one word of a name, `>` for all further ones."""

    def __init__(self) -> None:
        self._exact: dict[str, dict[Subscription, None]] = {}
        self._wild: dict[Subscription, re.Pattern[str]] = {}
        self._routes: dict[str, list[Subscription]] = {}

    def add(self, subscription: Subscription) -> None:
        """Begin a subscription."""
        name = subscription.destination
        self._routes.clear()
        if "*" in name or ">" in name:
            words = name.removeprefix("/topic/").split(".")
            pattern = r"\.".join(_WILDCARDS.get(word) or re.escape(word) for word in words)
            self._wild[subscription] = re.compile(f"/topic/{pattern}")
        else:
            self._exact.setdefault(name, {})[subscription] = None

    def remove(self, subscription: Subscription) -> None:
        """End a subscription."""
        self._routes.clear()
        self._wild.pop(subscription, None)
        exact = self._exact.get(subscription.destination, {})
        exact.pop(subscription, None)
        if not exact:
            self._exact.pop(subscription.destination, None)

    def route(self, name: str) -> list[Subscription]:
        """Who gets a message to this topic."""
        route = self._routes.get(name)
        if route is None:
            if len(self._routes) >= _ROUTES:
                self._routes.clear()
            wild = [sub for sub, pattern in self._wild.items() if pattern.fullmatch(name)]
            route = self._routes[name] = [*self._exact.get(name, ()), *wild]
        return route
