"""The embedded broker: STOMP 1.0-1.2 on asyncio and SQLite, for a first try, tests and a lab.

It speaks ActiveMQ's dialect; tests/contract holds it to what it must do. All that one turn of the
event loop brought in is committed together; only then do its receipts and deliveries leave.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from functools import partial
from typing import TYPE_CHECKING

from mcshell.broker.queues import Queue, QueueSubscription, Topics, head_for, is_wildcard
from mcshell.broker.store import MessageStore, StoredMessage
from mcshell.errors import MCShellError, WireError
from mcshell.version import VERSION
from mcshell.wire.stomp.frame import dump_head
from mcshell.wire.stomp.server import ServerConnection, listen_on, number

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable
    from pathlib import Path

    from mcshell.broker.queues import Consumer
    from mcshell.wire.stomp.frame import Frame
    from mcshell.wire.stomp.server import Listener

__all__ = ["Broker", "BrokerConnection"]

SWEEP, EXPIRE = 0.5, 10  # seconds between looks at the heart-beats; each 10th at what is too old
# unsent bytes, and so many more a subscription, above which a connection loses topic messages
TOPIC_BACKLOG, TOPIC_BACKLOG_EACH, TOPIC_BACKLOG_MOST = 16 << 20, 64 << 10, 256 << 20
STORED = 2 << 30  # bytes in all queues above which SEND is refused
SUBSCRIPTIONS, WILDCARDS = 20_000, 100  # of one connection; an emulator's has thousands
IN_TRANSACTIONS = 64 << 20  # bytes that one connection may have begun and not ended
PREFETCH, DEAD_LETTERS, KINDS = "100", "/queue/DLQ", ("/queue/", "/topic/")
LONGEST = 1024  # characters of a destination, and of a subscription's id
NOT_PASSED_ON = {"receipt", "content-length", "subscription", "message-id", "ack", "redelivered"}


def size_of(frame: Frame) -> int:
    """What a frame that is kept costs, in bytes, roughly."""
    return 1024 + len(frame.body) + sum(map(len, frame.headers.values()))


def check_destination(name: str) -> None:
    """Raise WireError for what neither SEND nor SUBSCRIBE may name."""
    if len(name) > LONGEST:
        raise WireError(f"destination {name[:40]!r}… is longer than {LONGEST}")
    if not name.startswith(KINDS):
        raise WireError(f"destination {name!r} begins with neither /queue/ nor /topic/")


class BrokerConnection(ServerConnection):
    """One client: what its commands do, its subscriptions, its unfinished transactions."""

    most = SUBSCRIPTIONS
    """Subscriptions that it may have."""

    def __init__(
        self,
        broker: Broker,
        tls: ssl.SSLContext | None = None,
        greeting: dict[ServerConnection, None] | None = None,
    ) -> None:
        super().__init__(
            broker.name,
            broker.login,
            broker.has_output,
            broker.connections,
            broker.greeting if greeting is None else greeting,
            tls,
        )
        self.broker = broker
        self.subscriptions: dict[str, QueueSubscription] = {}
        self.inflight: dict[str, QueueSubscription] = {}
        self.starved: set[Queue] = set()
        self.transactions: dict[str, list[Frame]] = {}
        self.wildcards = self.uncommitted = 0

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone: what it has not acknowledged goes back."""
        super().connection_lost(exc)
        for subscription in self.subscriptions.values():
            self.broker.detach(subscription)
        self.subscriptions.clear()

    def has_room_again(self) -> None:
        """Have the queues that waited for this connection go on."""
        if self.starved:
            self.broker.again(self.starved)
            self.starved = set()

    def execute(self, frame: Frame) -> None:
        """Do one frame's command, or put it by for its transaction."""
        command, headers = frame.command, frame.headers
        if command in ("SEND", "ACK", "NACK") and "transaction" in headers:
            self.put_by(frame)
        elif command in ("SEND", "ACK", "NACK"):
            self.checked(frame, set())()
        elif command == "SUBSCRIBE":
            self.subscribe(headers)
        elif command == "UNSUBSCRIBE":
            id_ = headers.get("id") or headers.get("destination", "")
            if id_ not in self.subscriptions:
                raise WireError(f"there is no subscription {id_!r}")
            subscription = self.subscriptions.pop(id_)
            self.wildcards -= is_wildcard(subscription.destination)
            self.broker.detach(subscription)
        elif command in ("BEGIN", "COMMIT", "ABORT"):
            self.transact(command, headers)
        elif command != "DISCONNECT":
            raise WireError(f"{command} is not for a client to say here")

    def put_by(self, frame: Frame) -> None:
        """Keep a frame for its transaction's end."""
        name = frame.headers.pop("transaction")
        if name not in self.transactions:
            raise WireError(f"there is no transaction {name!r}")
        self.uncommitted += size_of(frame)
        if self.uncommitted > IN_TRANSACTIONS:
            raise WireError(f"more than {IN_TRANSACTIONS} bytes are not committed")
        self.transactions[name].append(frame)

    def transact(self, command: str, headers: dict[str, str]) -> None:
        """BEGIN, COMMIT or ABORT; what is committed falls into one turn, so into one commit."""
        name = headers.get("transaction", "")
        if (command == "BEGIN") == (name in self.transactions):
            raise WireError(f"{command}: transaction {name!r} has begun already, or never")
        frames = self.transactions.pop(name, [])
        self.uncommitted -= sum(map(size_of, frames))
        if command == "BEGIN":
            if len(self.transactions) >= WILDCARDS:
                raise WireError(f"more than {WILDCARDS} transactions have begun")
            self.transactions[name] = []
        if command == "COMMIT":
            named: set[str] = set()
            for do in [self.checked(frame, named) for frame in frames]:
                do()

    def subscribe(self, headers: dict[str, str]) -> None:
        """Begin a subscription."""
        destination, ack = headers.get("destination", ""), headers.get("ack", "auto")
        id_ = headers.get("id") or (destination if self.version == "1.0" else "")
        if not id_ or id_ in self.subscriptions:
            raise WireError(f"the subscription's id {id_!r} is missing or in use")
        if ack not in ("auto", "client", "client-individual"):
            raise WireError(f"the ack mode {ack!r} is unknown")
        check_destination(destination)
        if len(id_) > LONGEST:
            raise WireError(f"the subscription's id {id_[:40]!r}… is longer than {LONGEST}")
        if len(self.subscriptions) >= self.most:
            raise WireError(f"more than {self.most} subscriptions")
        if self.wildcards + is_wildcard(destination) > WILDCARDS:
            raise WireError(f"more than {WILDCARDS} subscriptions with wildcards")
        prefetch = max(1, number(headers, "activemq.prefetchSize", PREFETCH))
        line = dump_head("", {"subscription": id_}, self.version)[1:]
        subscription = QueueSubscription(
            connection=self, destination=destination, ack=ack, prefetch=prefetch, line=line
        )
        self.broker.attach(subscription)
        self.subscriptions[id_] = subscription
        self.wildcards += is_wildcard(destination)

    def checked(self, frame: Frame, named: set[str]) -> Callable[[], None]:
        """Read SEND, ACK or NACK, or raise WireError; what is returned does it, and cannot fail.

        `named` are the messages that those before it, in its transaction, acknowledge.
        """
        headers = frame.headers
        if frame.command == "SEND":
            return self.broker.checked(headers, frame.body)
        name = headers.get("id" if self.version == "1.2" else "message-id", "")
        if name not in self.inflight or name in named:
            raise WireError(f"no message {name!r} waits for an ACK here")
        named.update(self.inflight[name].covers(name))
        return partial(self.acknowledge, name, nack=frame.command == "NACK")

    def acknowledge(self, name: str, *, nack: bool) -> None:
        """ACK forgets messages, NACK sets them aside."""
        for message in self.inflight[name].acknowledged(name):
            self.broker.remove(message, nack=nack)


class Broker:
    """The broker; all of it belongs to the loop that `start` runs in.

    `data` is the directory of its one file. CONNECT must say `user` and `passcode`, if there is a
    user. `failed` is done, with the reason, when the broker cannot go on.
    """

    loop: asyncio.AbstractEventLoop
    failed: asyncio.Future[str]

    def __init__(self, data: Path, *, user: str = "", passcode: str = "") -> None:
        self.connections: set[ServerConnection] = set()
        self.greeting: dict[ServerConnection, None] = {}
        self.strangers: dict[ServerConnection, None] = {}
        """Who has not logged in yet where machines without a certificate may: they crowd nobody out."""
        self.name = f"mcshell/{VERSION}"
        self.login = (user, passcode)
        self._data = data
        self._listeners: list[Listener] = []
        self._awake = False
        self._unsent: list[ServerConnection] = []
        self._dirty: set[Queue] = set()
        self._queues: dict[str, Queue] = {}
        self._topics = Topics()

    async def start(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        tls: ssl.SSLContext | None = None,
        connection: Callable[[Broker, ssl.SSLContext | None], BrokerConnection] = BrokerConnection,
    ) -> tuple[str, int]:
        """Serve here (too), or raise ConfigError; returns the address, with the real port for 0."""
        self.loop = asyncio.get_running_loop()
        listener = await listen_on(lambda: connection(self, tls), host, port, tls=tls is not None)
        if not self._listeners:
            self.failed = self.loop.create_future()
            self._store = MessageStore(self._data)
            newest = 0
            for message in self._store.load():
                self._queue(message.queue).ready.append(message)
                newest = message.id
            # from the clock: an id that was never written does not come again after a restart;
            # behind what was written while the clock was ahead of now
            self._ids = itertools.count(max(int(time.time() * 1e6), newest + 1))
            self._sweeper = self.loop.create_task(self._sweep())
        self._listeners.append(listener)
        listener.start()
        host, port, *_ = listener.sockets[0].getsockname()
        return host, port

    async def stop(self) -> None:
        """Commit, send what can be sent, and disconnect everybody."""
        self._sweeper.cancel()
        for listener in self._listeners:
            listener.close()
        self._turn()
        self._awake = True  # there are no more turns
        for connection in self.connections:
            connection.closing = True
            connection.transport.close()
        await asyncio.sleep(0)
        self._store.close()

    def checked(self, headers: dict[str, str], body: bytes) -> Callable[[], None]:
        """Read a message that a client sent, or raise WireError; what is returned hands it on."""
        destination, until = headers.get("destination", ""), number(headers, "expires") / 1000
        check_destination(destination)
        passed_on = {name: headers[name] for name in headers if name not in NOT_PASSED_ON}
        head = dump_head("MESSAGE", passed_on)
        if destination.startswith("/topic/"):
            return partial(self._fan_out, destination, head, body, until)
        if self._store.held + len(head) + len(body) > STORED:
            raise WireError(f"the broker is full: it holds {STORED} bytes")
        message = StoredMessage(
            id=next(self._ids),
            queue=destination,
            head=head,
            body=body,
            expires=until,
            persistent=headers.get("persistent") == "true",
        )
        return partial(self._enqueue, message)

    def _enqueue(self, message: StoredMessage) -> None:
        self._queue(message.queue).ready.append(message)
        self._store.put(message)

    def _queue(self, name: str) -> Queue:
        """Find or make a queue that has something to do in this turn."""
        queue = self._queues.get(name) or self._queues.setdefault(name, Queue(name))
        self._dirty.add(queue)
        self.wake()
        return queue

    def _fan_out(self, destination: str, head: bytes, body: bytes, until: float) -> None:
        """Give a topic's message to all who listen, if it isn't too old (epoch; 0 for never).

        Who is too far behind loses it.
        """
        if 0 < until <= time.time():
            return
        id_ = next(self._ids)
        tail = b"message-id:%d\ncontent-length:%d\n\n%s\0" % (id_, len(body), body)
        heads: dict[Consumer, bytes] = {}
        for subscription in self._topics.route(destination):
            connection = subscription.connection
            if connection not in heads:
                each = TOPIC_BACKLOG_EACH * len(connection.subscriptions)
                limit = min(TOPIC_BACKLOG + each, TOPIC_BACKLOG_MOST)
                loses = connection.closing or connection.backlog() > limit
                heads[connection] = b"" if loses else head_for(head, connection.version)
            if heads[connection]:
                connection.push(heads[connection], subscription.line, tail)

    def attach(self, subscription: QueueSubscription) -> None:
        """Begin to deliver."""
        if subscription.destination.startswith("/topic/"):
            self._topics.add(subscription)
        else:
            self._queue(subscription.destination).consumers.append(subscription)

    def detach(self, subscription: QueueSubscription) -> None:
        """End delivery; what was not acknowledged goes back to its place, for others."""
        if subscription.destination.startswith("/topic/"):
            self._topics.remove(subscription)
            return
        for name in subscription.unacked:
            del subscription.connection.inflight[name]
        queue = self._queue(subscription.destination)
        queue.consumers.remove(subscription)
        queue.give_back(subscription.unacked.values())

    def remove(self, message: StoredMessage, *, nack: bool) -> None:
        """Be done with a message; a persistent one that was refused is set aside."""
        self._store.delete(message)
        if nack and message.persistent:
            self._enqueue(
                StoredMessage(
                    id=next(self._ids),
                    queue=DEAD_LETTERS,
                    head=message.head,
                    body=message.body,
                    expires=0.0,
                )
            )
        self._queue(message.queue)

    def again(self, queues: set[Queue]) -> None:
        """Have these queues, which waited for a connection, go on."""
        self._dirty |= queues
        self.wake()

    def has_output(self, connection: ServerConnection) -> None:
        """Send what is collected for a connection at the end of the turn, after its commit."""
        self._unsent.append(connection)
        self.wake()

    def wake(self) -> None:
        """Have a turn once the loop has read all sockets that are ready now."""
        if not self._awake:
            self._awake = True
            self.loop.call_soon(self._turn)

    def _turn(self) -> None:
        """Dispatch, commit, send: nothing leaves before it is on the disk."""
        self._awake = False
        dirty, self._dirty = self._dirty, set()
        now = time.time()
        for queue in dirty:
            queue.dispatch(self._store, now)
            if not (queue.ready or queue.consumers) and self._queues.get(queue.name) is queue:
                del self._queues[queue.name]
        try:
            self._store.commit()
        except MCShellError as error:  # without a disk nothing may be confirmed
            self._awake = True
            self.failed.set_result(f"the broker's disk: {error}")
            return
        unsent, self._unsent = self._unsent, []
        for connection in unsent:
            connection.flush()

    async def _sweep(self) -> None:
        """Send heart-beats, close who is silent, expire what nobody reads."""
        for beat in itertools.count(1):
            due = self.loop.time() + SWEEP
            await asyncio.sleep(SWEEP)
            late = self.loop.time() - due > SWEEP  # we were busy: what clients sent is unread
            for connection in list(self.connections):
                connection.beat(late=late)
            if beat % EXPIRE == 0:
                for queue in self._queues.values():
                    queue.expire(self._store, time.time())
                self._dirty.update(self._queues.values())  # what is empty now is forgotten
                self.wake()
