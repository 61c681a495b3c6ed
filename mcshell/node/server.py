"""The nodes of one process at work: one in a daemon, thousands in an emulator.

One thread reads what the broker hands over and decides; other threads run actions and answer, work
off what is on disk, hold conversations, register. Nodes that share a process share these threads,
the policies, the audit file, one file of claims and one spool; each has an identity, a certificate
and a say of its own.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from queue import SimpleQueue
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias

from mcshell.errors import ConnectError
from mcshell.message import Via
from mcshell.node.admission.intake import DirectDocuments, MessageIntake
from mcshell.node.context import Node, NodeContext
from mcshell.node.execution.action import run_action
from mcshell.node.execution.audited import AuditedReplies
from mcshell.node.execution.threads import Task
from mcshell.node.registration import RegistrationThread, RegistrationWriter
from mcshell.node.replies import ReplySender, ReplyWriter, no_steps
from mcshell.node.verdicts import Admitted, refused
from mcshell.node.workers.services import DurableServices
from mcshell.wire import destinations
from mcshell.wire.credentials import connector
from mcshell.wire.documents.envelope import TURN, Arrival, kind_of
from mcshell.wire.stomp.transport import TaggedInbox

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from mcshell.config import Settings
    from mcshell.node.context import SecurityContext
    from mcshell.node.conversations import ConversationServer
    from mcshell.node.execution.runner import Runner
    from mcshell.node.execution.threads import ActionThreads
    from mcshell.node.host import Host
    from mcshell.node.replies import Steps
    from mcshell.node.store.spool import Spool
    from mcshell.wire.documents.signatures import Signer
    from mcshell.wire.stomp.connector import Connector
    from mcshell.wire.stomp.reconnect import ConnectionState
    from mcshell.wire.stomp.transport import Delivery, Inbox

__all__ = ["NodeServer"]

log = logging.getLogger(__name__)

PER_CONNECTION: Final = 2500
_SLOTS: Final = 16
_FIRST: Final = 50
_CHUNK: Final = 150
"""So many nodes at a time: the first replies leave soon, and the threads change seldom."""
_REGISTRATIONS: Final = 200
"""So many a second and connection: answers go before them."""
_AT_ONCE: Final = 5.0
"""Seconds that actions have which are run where requests are read."""


class Companion(Protocol):
    """What else serves for as long as the nodes do."""

    def start(self) -> None:
        """Begin."""

    def stop(self) -> None:
        """End."""


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
            caller.
        steps: told how far each queued or pool request is.
    """

    def __init__(
        self,
        settings: Settings,
        security: SecurityContext,
        spool: Spool,
        nodes: Sequence[tuple[Host, Signer]],
        runner: Runner,
        *,
        threads: Callable[[int, int | None], ActionThreads],
        steps: Steps = no_steps,
    ) -> None:
        self._settings = settings
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
        self._threads = threads(_SLOTS, settings.node.caller_threads or None)
        self._inbox: SimpleQueue[tuple[_Recipients, Delivery] | None] = SimpleQueue()
        self._stopping = False

    def _connection(
        self, number: int, spool: Spool, nodes: Sequence[tuple[Host, Signer]], of: int
    ) -> _Connection:
        transport = connector(
            self._settings,
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
        writer = ReplyWriter(signer, self._settings.node.max_reply)
        return Node(host, signer, writer, ReplySender(writer, transport, host))

    def _on_state(self, number: int, state: ConnectionState) -> None:
        if state.connected:
            self._services.connected(number)
            if (conversations := self._connections[number].conversations) is not None:
                conversations.again()

    # --- life ----------------------------------------------------------------------------------

    def stop(self) -> None:
        """End `serve`; may be called from a signal handler."""
        self._stopping = True
        self._inbox.put(None)
        for one in self._connections:
            one.transport.give_up()

    def serve(self, ready: Callable[[], None], companion: Companion | None = None) -> None:
        """Connect, call `ready` once the broker has confirmed every subscription, and work."""
        self._services.start()
        try:
            if self._connect():
                self._services.open()
                if companion is not None:
                    companion.start()
                self._services.speak()
                ready()
                self._registrar.start()
                self._work()
        finally:
            self._registrar.stop()
            if companion is not None:
                companion.stop()
            self._leave()
            self._security.replay_guard.close()
            self._services.close()
            self._security.audit.close()

    def _connect(self) -> bool:
        """Connect, however long it takes; False when we are stopped meanwhile."""
        try:
            for one in self._connections:
                one.transport.start(timeout=None)
        except ConnectError:
            return False
        for one in self._connections:
            one.transport.subscribe_all(self._wanted(one), ack="auto")
        return not self._stopping

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
        return TaggedInbox(self._inbox, (connection, whom))

    def _leave(self) -> None:
        for one in self._connections:
            if one.conversations is not None:
                one.conversations.stop("the node's daemon was stopped")
        self._threads.stop()
        self._services.stop()
        for one in self._connections:
            one.transport.close()

    # --- the thread that reads -----------------------------------------------------------------

    def _work(self) -> None:
        while (came := self._inbox.get()) is not None:
            (connection, whom), delivery = came
            try:
                self._handle(connection, whom, delivery)
            except Exception:
                log.exception("could not handle a message on %s", delivery.destination)

    def _handle(
        self, connection: _Connection, whom: Sequence[tuple[Node, Arrival]], delivery: Delivery
    ) -> None:
        node, arrival = whom[0]
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
                limit = self._settings.node.time_for(request.agent, verdict.action.timeout)
                sink = AuditedReplies(node.reply_sender, self._security.controller, host)
                tasks.append(Task(admitted=verdict, host=host, reply_sink=sink, timeout=limit))
        if tasks:
            self._threads.put(*tasks)

    def _conversations(self, connection: _Connection) -> ConversationServer:
        """Those of its nodes; only the thread that reads makes them."""
        if connection.conversations is None:
            from mcshell.node.conversations import ConversationServer  # noqa: PLC0415 - few nodes talk

            connection.conversations = ConversationServer(
                connection.context,
                self._security,
                self._settings.node.agents,
                self._settings.node.caller_conversations,
            )
        return connection.conversations
