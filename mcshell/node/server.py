"""The nodes of one process at work: one in a daemon, thousands in an emulator.

Threads take turns at reading what the broker hands over: one at a time decides, and then runs what it
has admitted, and answers (`execution/threads`). Others work off what is on disk, hold conversations,
register. Nodes that share a process share these threads,
the policies, the audit file, one file of claims and one spool; each has an identity, a certificate
and a say of its own.
"""

from __future__ import annotations

import logging
import threading
import time
from functools import partial
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol, TypeAlias

from mcshell.errors import ConnectError, MCShellError, StorageError
from mcshell.interrupts import take
from mcshell.message import Via
from mcshell.node.admission.intake import DirectDocuments, MessageIntake
from mcshell.node.context import Node, NodeContext
from mcshell.node.execution.action import run_action
from mcshell.node.execution.threads import AuditedReplies, Task
from mcshell.node.process.watchdog import KeptPulse, ThreadPulse
from mcshell.node.registration import RegistrationThread, RegistrationWriter
from mcshell.node.replies import ReplySender, ReplyWriter, no_steps
from mcshell.node.verdicts import Admitted, refused
from mcshell.node.workers.services import DurableServices
from mcshell.values import dataclass
from mcshell.wire import destinations
from mcshell.wire.chunk import is_chunk
from mcshell.wire.credentials import connector
from mcshell.wire.documents.envelope import TURN, Arrival, kind_of
from mcshell.wire.stomp.transport import TaggedInbox, until_confirmed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from mcshell.config import Settings
    from mcshell.node.context import SecurityContext
    from mcshell.node.conversations import ConversationServer
    from mcshell.node.execution.runner import Runner
    from mcshell.node.execution.threads import ActionThreads, ThreadLoad
    from mcshell.node.host import Host
    from mcshell.node.process.watchdog import Pulse
    from mcshell.node.replies import Steps
    from mcshell.node.store.spool import Spool
    from mcshell.wire.documents.signatures import Signer
    from mcshell.wire.stomp.connector import Connector
    from mcshell.wire.stomp.reconnect import ConnectionState
    from mcshell.wire.stomp.transport import Delivery, Inbox

__all__ = ["STOP", "NodeServer"]

log = logging.getLogger(__name__)

PER_CONNECTION: Final = 2500
STOP: Final = "stop"
"""The order to end."""
_SLOTS: Final = 16
_FIRST: Final = 50
_CHUNK: Final = 150
"""So many nodes at a time: the first replies leave soon, and the threads change seldom."""
_REGISTRATIONS: Final = 200
"""So many a second and connection: answers go before them."""
_AGAIN: Final = 1.0
_TELL_EVERY: Final = 10.0
_AT_ONCE: Final = 5.0
"""Seconds that actions have which are run where requests are read."""


class Companion(Protocol):
    """What else serves for as long as the nodes do."""

    def start(self) -> None:
        """Begin."""

    def stop(self) -> None:
        """End."""


class MakeThreads(Protocol):
    """Makes threads; `handle` as `ActionThreads` has it."""

    def __call__(
        self, slots: int, each: int | None, /, *, handle: Callable[[Any], None] | None = None
    ) -> ActionThreads:
        """Make them."""


@dataclass(slots=True, eq=False)
class _Connection:
    """One connection, the nodes that speak over it, and their conversations once there are any."""

    transport: Connector
    context: NodeContext
    conversations: ConversationServer | None = None


_Recipients: TypeAlias = "tuple[_Connection, list[tuple[Node, Arrival]]]"


class NodeServer:
    """Serves the nodes of one process.

    Args:
        settings: theirs.
        security: what decides about their requests.
        spool: the file that they share.
        nodes: who they are, each with what signs for it.
        runner: what executes queued requests.
        threads: makes the threads for actions, from the numbers that one node does at a time, and of one
            caller, and (`handle`) what handles messages.
        steps: told how far each queued or pool request is.
        notice: told when a connection stands or is gone, and of each new try before the nodes serve.
    """

    def __init__(
        self,
        settings: Settings,
        security: SecurityContext,
        spool: Spool,
        nodes: Sequence[tuple[Host, Signer]],
        runner: Runner,
        *,
        threads: MakeThreads,
        steps: Steps = no_steps,
        notice: Callable[[ConnectionState | None], None] = lambda _state: None,
    ) -> None:
        self.settings = settings
        self._notice = notice
        self._runner = runner
        self._security = security
        self._steps = steps
        self._connections = [
            self._connection(number, spool, nodes[start : start + PER_CONNECTION], len(nodes))
            for number, start in enumerate(range(0, len(nodes), PER_CONNECTION))
        ]
        every = settings.node.register_every
        self._registrar = RegistrationThread(
            [
                RegistrationWriter(
                    node.host, node.signer, every, one.transport, security.audit.head
                )
                for one in self._connections
                for node in one.context.nodes.values()
            ],
            _REGISTRATIONS * len(self._connections),
        )
        self._services = DurableServices(
            [one.context for one in self._connections],
            settings,
            runner,
            pool_threads=threads,
            announce=self._registrar.again,
        )
        self.jobs = self._services.jobs
        self._documents = DirectDocuments(
            security.controller, self.jobs.rules, self._registrar.again
        )
        self._intake = MessageIntake(security.controller, security.replay_guard)
        self._threads = threads(_SLOTS, settings.node.caller_threads or None, handle=self._take)
        self.orders: SimpleQueue[str] = SimpleQueue()
        """What whoever attends to `serve` is told to do, such as STOP: a signal handler may put it there."""
        self.pulse = ThreadPulse("the reader of messages", partial(self._threads.hand, "pulse"))
        self._told: dict[str, float] = {}
        """When (monotonic) a node last registered out of turn because it had refused something."""
        self._beginning = threading.Lock()
        self._begun = self._opened = False
        """Whether queued work is done: what is here, and what waits in the broker."""
        self._stopping = False

    def _connection(
        self, number: int, spool: Spool, nodes: Sequence[tuple[Host, Signer]], of: int
    ) -> _Connection:
        transport = connector(
            self.settings,
            lambda state: self._on_state(number, state),
            verifier=self._security.verifier,
            many=of > 1,
        )
        context = NodeContext(
            nodes={host.identity: self._node(host, signer, transport) for host, signer in nodes},
            transport=transport,
            controller=self._security.controller,
            spool=spool,
            steps=self._steps,
        )
        return _Connection(transport, context)

    def _node(self, host: Host, signer: Signer, transport: Connector) -> Node:
        writer = ReplyWriter(signer, self.settings.node.max_reply, host.machine)
        return Node(host, signer, writer, ReplySender(writer, transport, host))

    def _on_state(self, number: int, state: ConnectionState) -> None:
        self._notice(state)
        if state.connected:
            self._services.connected(number)
            if (conversations := self._connections[number].conversations) is not None:
                conversations.again()
            for node in self._connections[number].context.nodes.values():
                node.reply_sender.again()

    # --- life ----------------------------------------------------------------------------------

    def stop(self) -> None:
        """End `serve`; may be called from a signal handler."""
        self._stopping = True
        self.orders.put(STOP)
        for one in self._connections:
            one.transport.give_up()

    def work(self) -> None:
        """Do queued work, too, from now on: any thread may say so, and more than once."""
        with self._beginning:
            if self._begun or self._stopping:
                return
            self._services.start()
            self._begun = True
        self._threads.hand("open")

    @property
    def connections(self) -> list[Connector]:
        """Its connections to a broker: a daemon's node has one."""
        return [one.transport for one in self._connections]

    @property
    def load(self) -> ThreadLoad:
        """What the threads for interactive requests have to do."""
        return self._threads.load

    @property
    def pool_loads(self) -> list[ThreadLoad]:
        """What the pools' threads have to do, of each connection."""
        return self._services.pool_loads

    def use(self, settings: Settings) -> None:
        """Work by other settings from now on, in what is asked for each request: limits, handlers."""
        self.settings = settings
        self._runner.settings = settings.node
        self._services.use(settings.node)
        for one in self._connections:
            if one.conversations is not None:
                one.conversations.folders = settings.node.agents

    def pulses(self) -> Iterator[Pulse]:
        """Those of the threads that have begun, for a watchdog."""
        yield self.pulse
        yield from self._services.pulses()
        if self._registrar.begun:
            yield self._registrar.pulse
        yield from (KeptPulse("the connection", one.transport) for one in self._connections)

    def announce(self, identity: str) -> None:
        """Register a node out of turn: there is something new to say."""
        self._registrar.again(identity)

    def serve(
        self,
        ready: Callable[[], None],
        companion: Companion | None = None,
        *,
        work: bool = True,
        attend: Callable[[SimpleQueue[str]], object] = take,
    ) -> None:
        """Connect, call `ready` once the broker has confirmed every subscription, and work.

        Without `work`, what is queued waits where it is until `work` is called. It ends when `attend`
        does, which is called with `orders` once the nodes serve.
        """
        if work:
            self.work()
        try:
            if self._connect():
                if self._begun:
                    self._begin_work()
                if companion is not None:
                    companion.start()
                ready()
                self._registrar.start()
                self._threads.read()
                attend(self.orders)
        finally:
            self._registrar.stop()
            if companion is not None:
                companion.stop()
            self._leave()
            self._security.replay_guard.close()
            self._security.approvals.table.close()
            self._services.close()
            self._security.audit.close()

    def _open(self) -> None:
        """Take in what waits in the broker, and send the replies that wait here."""
        if not self._opened:
            self._services.open()
            self._services.speak()
            self._opened = True

    def _begin_work(self) -> None:
        """Open what is queued; on a disk that takes nothing later, and all else is served."""
        try:
            until_confirmed(self._open, self._stopped)
        except StorageError as error:
            log.error("queued work waits for room: %s", error)  # noqa: TRY400 - said in full
            self._threads.hand("open")

    def _connect(self) -> bool:
        """Connect, however long it takes; False when we are stopped meanwhile."""
        try:
            for one in self._connections:
                one.transport.start(timeout=None)
        except ConnectError:
            return False
        for one in self._connections:
            until_confirmed(partial(self._subscribe, one), self._stopped)
        return not self._stopping

    def _stopped(self) -> bool:
        self._notice(None)
        return self._stopping

    def _subscribe(self, connection: _Connection) -> None:
        connection.transport.subscribe_all(self._wanted(connection), ack="auto")

    def _wanted(self, connection: _Connection) -> Iterator[tuple[str, Inbox]]:
        """Each destination, and where its messages belong."""
        nodes = connection.context.nodes
        by_collective: dict[str, list[Node]] = {}
        for node in nodes.values():
            for collective in node.host.collectives:
                by_collective.setdefault(collective, []).append(node)
        for collective, members in by_collective.items():
            everyone = [
                (node, Arrival(collective, Via.BROADCAST, node.host.identity)) for node in members
            ]
            yield destinations.broadcast(collective), self._into(connection, everyone)
            for node in members:
                identity = node.host.identity
                alone = [(node, Arrival(collective, Via.DIRECT, identity))]
                yield destinations.node(collective, identity), self._into(connection, alone)

    def _into(self, connection: _Connection, whom: list[tuple[Node, Arrival]]) -> Inbox:
        return TaggedInbox(self._threads.hand, (connection, whom))

    def _leave(self) -> None:
        for one in self._connections:
            if one.conversations is not None:
                one.conversations.stop("the node's daemon was stopped")
        self._threads.stop()
        self._services.stop()
        for one in self._connections:
            one.transport.close()

    # --- the thread whose turn it is to read -----------------------------------------------------

    def _take(self, came: tuple[_Recipients, Delivery] | Literal["open", "pulse"]) -> None:
        if came == "open":
            self._open_later()
            return
        if came == "pulse":
            self.pulse.beat()
            return
        (connection, whom), delivery = came
        try:
            self._handle(connection, whom, delivery)
        except Exception:
            log.exception("could not handle a message on %s", delivery.destination)

    def _open_later(self) -> None:
        try:
            self._open()
        except MCShellError as error:
            log.warning("work cannot be read: %s", error)
            again = threading.Timer(_AGAIN, self._threads.hand, ("open",))
            again.daemon = True
            again.start()

    def _handle(
        self, connection: _Connection, whom: Sequence[tuple[Node, Arrival]], delivery: Delivery
    ) -> None:
        whom = [one for one in whom if one[0].host.up]
        if not whom:
            return
        node, arrival = whom[0]
        if is_chunk(delivery.body):
            for one, _arrival in whom if arrival.via is Via.BROADCAST else ():
                one.host.system.transfers.take(delivery.body)
            return
        kind = kind_of(delivery.body) if arrival.via is Via.DIRECT else ""
        if kind == TURN:
            node.host.journal.count("messages")
            self._conversations(connection).put((node, arrival.collective, delivery))
        elif kind:
            node.host.journal.count("messages")
            self._documents.accept(kind, delivery, arrival.collective, node.host)
        else:
            self._admit(whom[:_FIRST], delivery)
            for start in range(_FIRST, len(whom), _CHUNK):
                self._threads.wait_room()
                self._admit(whom[start : start + _CHUNK], delivery)

    def _admit(self, whom: Sequence[tuple[Node, Arrival]], delivery: Delivery) -> None:
        """Decide for some of the nodes that a message is for, and have done what they may."""
        nodes = {}
        for node, _arrival in whom:
            node.host.journal.count("messages")
            nodes[node.host.identity] = node
        hosts = [(node.host, arrival) for node, arrival in whom]
        before = hosts[0][0].journal.counts["refused"]
        tasks = []
        for host, verdict in self._intake.admit(
            delivery.body, delivery.headers, hosts, time.time()
        ):
            node, request = nodes[host.identity], verdict.request
            if not isinstance(verdict, Admitted):
                node.reply_sender.final(request, refused(verdict))
            elif verdict.service.exempt:
                outcome = run_action(verdict, host, time.monotonic() + _AT_ONCE)
                node.reply_sender.final(request, outcome)
            else:
                limit = self.settings.node.time_for(request.agent, verdict.action.timeout)
                sink = AuditedReplies(node.reply_sender, self._security.controller, host)
                tasks.append(Task(admitted=verdict, host=host, reply_sink=sink, timeout=limit))
                if request.emergency:
                    self._tell_soon(host.identity)
        if tasks:
            self._threads.put(*tasks)
        if hosts[0][1].via is Via.DIRECT and hosts[0][0].journal.counts["refused"] > before:
            self._tell_soon(hosts[0][0].identity)

    def _tell_soon(self, identity: str) -> None:
        """Register: what gets no answer is told there, for `explain`, and glass that was broken."""
        now = time.monotonic()
        if now - self._told.get(identity, -_TELL_EVERY) >= _TELL_EVERY:
            self._told[identity] = now
            self._registrar.again(identity)

    def _conversations(self, connection: _Connection) -> ConversationServer:
        """Those of its nodes; only who reads makes them."""
        if connection.conversations is None:
            from mcshell.node.conversations import ConversationServer  # noqa: PLC0415 - few nodes talk

            connection.conversations = ConversationServer(
                connection.context,
                self._security,
                self.settings.node.agents,
                self.settings.node.caller_conversations,
            )
        return connection.conversations
