"""Who gets which message: queues with competing consumers, topics with wildcards."""

from __future__ import annotations

from collections import deque
from dataclasses import field
from typing import TYPE_CHECKING, NamedTuple, Protocol

from mcshell.errors import WireError
from mcshell.values import dataclass
from mcshell.wire.stomp.frame import Parser, dump_head

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mcshell.broker.store import MessageStore, StoredMessage

__all__ = ["Queue", "QueueSubscription", "Topics", "head_for", "is_wildcard"]

_ROUTES = 10_000


def head_for(head: bytes, version: str) -> bytes:
    """Rewrite a MESSAGE head of STOMP 1.2 for a consumer that speaks an older version."""
    if version == "1.2":
        return head
    # escapes have made it longer than what a client may send
    headers = Parser(max_header=len(head) + 1).feed(head + b"\n\0")[0].headers
    if version == "1.0":  # nothing is escaped there
        plain = str.maketrans({":": "_", "\n": " "})
        headers = {k.translate(plain): v.replace("\n", " ") for k, v in headers.items()}
    return dump_head("MESSAGE", headers, version)


class Consumer(Protocol):
    """A client's connection, as its subscriptions see it."""

    version: str
    closing: bool
    starved: set[Queue]
    subscriptions: dict[str, QueueSubscription]
    inflight: dict[str, QueueSubscription]

    def has_room(self) -> bool:
        """Whether a queue may give it more."""

    def backlog(self) -> int:
        """How many bytes are not sent yet."""

    def push(self, *pieces: bytes) -> None:
        """Have these bytes sent."""


@dataclass(slots=True, eq=False, kw_only=True)
class QueueSubscription:
    """One SUBSCRIBE; `line` is its header, `unacked` what it holds, in order of delivery."""

    connection: Consumer
    destination: str
    ack: str
    prefetch: int
    line: bytes
    unacked: dict[str, StoredMessage] = field(default_factory=dict)

    def wants_more(self, queue: Queue) -> bool:
        """Whether the queue may deliver now; a full connection asks again when it has room."""
        if self.ack != "auto" and len(self.unacked) >= self.prefetch:
            return False
        room = self.connection.has_room()
        if not room:
            self.connection.starved.add(queue)
        return room

    def deliver(self, message: StoredMessage, store: MessageStore) -> None:
        """Hand over a queue's message; in the mode auto it is done with."""
        name = str(message.id)
        message.tries += 1
        lines = f"message-id:{name}\ncontent-length:{len(message.body)}\n"
        if message.tries > 1:
            lines += "redelivered:true\n"
        if self.ack == "auto":
            store.delete(message)
        else:
            lines += f"ack:{name}\n"
            store.tried(message)
            self.unacked[name] = message
            self.connection.inflight[name] = self
        head = head_for(message.head, self.connection.version)
        self.connection.push(head, self.line, lines.encode(), b"\n", message.body, b"\0")

    def covers(self, name: str) -> list[str]:
        """Name what an ACK is for: in the mode client all before it too."""
        held = [*self.unacked] if self.ack == "client" else [name]
        return held[: held.index(name) + 1]

    def acknowledged(self, name: str) -> list[StoredMessage]:
        """Take what one ACK or NACK covers."""
        names = self.covers(name)
        for each in names:
            del self.connection.inflight[each]
        return [self.unacked.pop(each) for each in names]


@dataclass(slots=True, eq=False)
class Queue:
    """One queue: what is ready, and who consumes in turn."""

    name: str
    ready: deque[StoredMessage] = field(default_factory=deque)
    consumers: list[QueueSubscription] = field(default_factory=list)
    turn: int = 0

    def dispatch(self, store: MessageStore, now: float) -> None:
        """Deliver, round robin, while there are messages and consumers with room for them."""
        full = 0
        while self.ready and full < len(self.consumers):
            message = self.ready[0]
            if 0 < message.expires <= now:
                store.delete(self.ready.popleft())
                continue
            consumer = self.consumers[self.turn % len(self.consumers)]
            self.turn += 1
            if consumer.wants_more(self):
                consumer.deliver(self.ready.popleft(), store)
                full = 0
            else:
                full += 1

    def give_back(self, messages: Iterable[StoredMessage]) -> None:
        """Put undone messages back in front, each where it was."""
        back = list(messages)
        last = max((message.id for message in back), default=0)
        while self.ready and self.ready[0].id < last:
            back.append(self.ready.popleft())
        self.ready.extendleft(sorted(back, key=lambda message: message.id, reverse=True))

    def expire(self, store: MessageStore, now: float) -> None:
        """Drop what is too old, so that a queue that nobody reads does not keep it."""
        kept = deque(message for message in self.ready if not 0 < message.expires <= now)
        if len(kept) < len(self.ready):
            for message in self.ready:
                if 0 < message.expires <= now:
                    store.delete(message)
            self.ready = kept


def is_wildcard(destination: str) -> bool:
    """Whether it is a topic's name with `*` or `>` for words of it."""
    words = destination.split(".") if destination.startswith("/topic/") else []
    return any(word.removeprefix("/topic/") in ("*", ">") for word in words)


class WildcardSubscription(NamedTuple):
    """The words of a name to match, one by one: the cost is theirs, whatever a client writes."""

    words: list[str]
    further: bool
    subscription: QueueSubscription

    def matches(self, words: list[str]) -> bool:
        """Whether it is for a topic of these words; `*` is for one, a final `>` for all further."""
        if len(words) <= len(self.words) if self.further else len(words) != len(self.words):
            return False
        return all(
            mine == word or (mine == "*" and word != "")
            for mine, word in zip(self.words, words, strict=False)
        )


class Topics:
    """All topic subscriptions; `*` stands for one word of a name, `>` for all further ones."""

    def __init__(self) -> None:
        self._exact: dict[str, dict[QueueSubscription, None]] = {}
        self._wildcards: list[WildcardSubscription] = []
        self._routes: dict[str, list[QueueSubscription]] = {}

    def add(self, subscription: QueueSubscription) -> None:
        """Begin a subscription; raises WireError where `>` stands before the end."""
        name = subscription.destination
        if not is_wildcard(name):
            self._exact.setdefault(name, {})[subscription] = None
            self._routes.pop(name, None)
            return
        words = name.removeprefix("/topic/").split(".")
        further = words[-1] == ">"
        words = words[:-1] if further else words
        if ">" in words:
            raise WireError(f"{name[:80]!r}: > is for all further words, so the last one")
        self._wildcards.append(WildcardSubscription(words, further, subscription))
        self._routes.clear()

    def remove(self, subscription: QueueSubscription) -> None:
        """End a subscription."""
        name = subscription.destination
        if is_wildcard(name):
            self._wildcards = [one for one in self._wildcards if one[2] is not subscription]
            self._routes.clear()
            return
        del self._exact[name][subscription]
        if not self._exact[name]:
            del self._exact[name]
        self._routes.pop(name, None)

    def route(self, name: str) -> list[QueueSubscription]:
        """Who gets a message to this topic."""
        if name not in self._routes:
            if len(self._routes) >= _ROUTES:
                self._routes.clear()
            words = name.removeprefix("/topic/").split(".")
            found = [one.subscription for one in self._wildcards if one.matches(words)]
            self._routes[name] = [*self._exact.get(name, ()), *found]
        return self._routes[name]
