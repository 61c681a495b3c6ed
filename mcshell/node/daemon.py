"""The node daemon: connect, verify, admit, run, sign, reply.

One thread reads what the broker hands over and decides; `ActionThreads` run what is admitted and
answer. `run` is what `mcshell node` calls.
"""

from __future__ import annotations

import logging
import signal
import time
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING

from mcshell.ddl.library import shipped_dir
from mcshell.errors import ConfigError, ConnectError
from mcshell.message import Via
from mcshell.node.admission.direct_documents import took
from mcshell.node.admission.intake import MessageIntake
from mcshell.node.agents.registry import load_agents
from mcshell.node.audit.history import AuditHistory
from mcshell.node.builtin import builtin_agents
from mcshell.node.context import NodeContext, open_security
from mcshell.node.execution.action import run_action
from mcshell.node.execution.threads import ActionThreads
from mcshell.node.facts.machine_id import machine_id
from mcshell.node.facts.source import FactSource
from mcshell.node.host import Host, read_classes
from mcshell.node.process import hold_state_directory, say_ready
from mcshell.node.registration import RegistrationThread, RegistrationWriter
from mcshell.node.replies.sender import ReplySender, no_steps
from mcshell.node.replies.writer import ReplyWriter
from mcshell.node.revocation import Revocation
from mcshell.node.store.spool import Spool
from mcshell.node.verdicts import Admitted, refused
from mcshell.node.workers.services import DurableServices
from mcshell.private import private_folder
from mcshell.wire import destinations
from mcshell.wire.credentials import Credentials, connector, load_credentials
from mcshell.wire.documents.envelope import Arrival
from mcshell.wire.documents.turn import is_turn

if TYPE_CHECKING:
    from collections.abc import Callable

    from mcshell.config import Settings
    from mcshell.node.admission.controller import AdmissionController
    from mcshell.node.admission.replay import ReplayGuard
    from mcshell.node.agents.registry import AgentRegistry
    from mcshell.node.audit.log import AuditLog
    from mcshell.node.conversations import ConversationServer
    from mcshell.node.mcollective import MCollectiveServer
    from mcshell.node.replies.sender import Steps
    from mcshell.node.verdicts import Refusal
    from mcshell.wire.stomp.reconnect import ConnectionState
    from mcshell.wire.stomp.transport import Delivery

__all__ = ["Daemon", "run"]

log = logging.getLogger(__name__)


class Daemon:
    """One real node: its host, its admission, its workers and its connection."""

    def __init__(self, settings: Settings, steps: Steps = no_steps) -> None:
        self.settings = settings
        credentials = load_credentials(settings.pki)
        state = private_folder(settings.state_dir / "node")
        self._lock = hold_state_directory(state)
        served = load_agents([*settings.node.agents, shipped_dir()], builtin_agents())
        security = open_security(settings, credentials.verifier, served, state)
        self.host = _host(settings, credentials, served, security.audit, state)
        served.activate(self.host)
        self._controller, self._replay_guard = security.controller, security.replay_guard
        self._intake = MessageIntake(self._controller, self._replay_guard)
        self._inbox: SimpleQueue[Delivery | None] = SimpleQueue()
        self._transport = connector(settings, self._on_state)
        writer = ReplyWriter(credentials.signer, settings.node.max_reply)
        self._reply_sender = ReplySender(writer, self._transport, self.host)
        self._lane = ActionThreads(self.host, self._reply_sender)
        spool = Spool(state / "work.sqlite")
        context = NodeContext(
            self.host, self._controller, spool, writer, self._reply_sender, self._transport, steps
        )
        self._services = DurableServices(context, settings, state)
        announcer = RegistrationWriter(self.host, credentials.signer, settings.node.register_every)
        self._registrar = RegistrationThread(announcer, self._transport)
        self.host.announce = self._registrar.again
        self._security, self._signer = security, credentials.signer
        self._talks: ConversationServer | None = None
        self._member = _member(settings, self.host, self._controller, self._replay_guard)
        self._arrivals: dict[str, Arrival] = {}
        self._stopping = False

    def stop(self) -> None:
        """End `serve`; may be called from a signal handler."""
        self._stopping = True
        self._inbox.put(None)
        self._transport.give_up()

    def serve(self, ready: Callable[[], None]) -> None:
        """Connect, call `ready` once the broker has confirmed every subscription, and work."""
        self._services.start()
        try:
            if self._connect():
                self._services.open()
                if self._member is not None:
                    self._member.start()
                self._services.speak()
                ready()
                self._registrar.start()
                self._work()
        finally:
            self._registrar.stop()
            if self._member is not None:
                self._member.stop()
            if self._talks is not None:
                self._talks.stop("the node's daemon was stopped")
            self._lane.stop()
            self._services.stop()
            self._transport.close()
            self._replay_guard.close()
            self._services.close()
            self._security.audit.close()
            self._lock.close()

    def _connect(self) -> bool:
        """Connect, however long it takes; False when the daemon is stopped meanwhile."""
        try:
            self._transport.start(timeout=None)
        except ConnectError:
            return False
        for collective in self.host.collectives:
            self._listen(destinations.broadcast(collective), collective, Via.BROADCAST)
            self._listen(destinations.node(collective, self.host.identity), collective, Via.DIRECT)
        return not self._stopping

    def _listen(self, destination: str, collective: str, via: Via) -> None:
        arrival = Arrival(collective, via, self.host.identity)
        subscription = self._transport.subscribe(destination, self._inbox, ack="auto")
        self._arrivals[subscription] = arrival

    def _work(self) -> None:
        while (delivery := self._inbox.get()) is not None:
            try:
                self._handle(delivery)
            except Exception:
                log.exception("could not handle a message on %s", delivery.destination)

    def _handle(self, delivery: Delivery) -> None:
        self.host.journal.count("messages")
        arrival = self._arrivals[delivery.subscription]
        if arrival.via is Via.DIRECT and is_turn(delivery.body):
            self._conversations().put((delivery, arrival.collective))
            return
        if took(delivery, arrival, self.host, self._controller):
            return
        whom = [(self.host, arrival)]
        for host, verdict in self._intake.take(delivery.body, delivery.headers, whom, time.time()):
            self._admit(host, verdict)

    def _conversations(self) -> ConversationServer:
        """All of this node; only the thread that reads makes them."""
        if self._talks is None:
            from mcshell.node.conversations import ConversationServer  # noqa: PLC0415 - few nodes talk

            agents = self.settings.node.agents
            self._talks = ConversationServer(
                self.host, self._security, self._signer, self._transport, agents
            )
        return self._talks

    def _admit(self, host: Host, verdict: Admitted | Refusal) -> None:
        request = verdict.request
        if not isinstance(verdict, Admitted):
            self._reply_sender.final(request, refused(verdict))
        elif verdict.service.exempt:
            self._reply_sender.final(request, run_action(verdict, host, time.monotonic() + 5.0))
        else:
            time_for = self.settings.node.time_for
            self._lane.put(verdict, time_for(request.agent, verdict.action.timeout))

    def _on_state(self, state: ConnectionState) -> None:
        if state.connected:
            self._services.connected()
            if self._talks is not None:
                self._talks.again()


def _host(
    settings: Settings,
    credentials: Credentials,
    served: AgentRegistry,
    audit: AuditLog,
    state: Path,
) -> Host:
    """Who this node is, and what it knows of itself."""
    node = settings.node
    return Host(
        _identity(settings, credentials),
        facts=FactSource([str(path) for path in node.facts], state).facts,
        served=served,
        classes=read_classes(node.classes),
        collectives=settings.collective.member or (settings.collective.main,),
        private=[path for path in (settings.pki.key, state) if isinstance(path, Path)],
        settings=settings.agents,
        pools=node.serve,
        revocation=Revocation(credentials.verifier, state / "crl.pem", audit),
        audit_history=AuditHistory(audit.path),
        machine=machine_id(state),
    )


def _member(
    settings: Settings, host: Host, controller: AdmissionController, replay_guard: ReplayGuard
) -> MCollectiveServer | None:
    """The node's place in an MCollective network, where it is wanted."""
    if not settings.mcollective.enabled:
        return None
    from mcshell.node.mcollective import MCollectiveServer  # noqa: PLC0415 - nothing of it is loaded while it is off

    return MCollectiveServer(settings, host, controller, replay_guard)


def _identity(settings: Settings, credentials: Credentials) -> str:
    identity = credentials.signer.identity
    if identity.kind != "node":
        raise ConfigError(
            f"{settings.pki.cert} is the certificate of an {identity.kind}: a node needs one of "
            "its own (mcshell pki issue NAME --kind node)",
            "pki.cert",
        )
    wanted = settings.node.identity
    if wanted is not None and wanted.lower() != identity.name:
        raise ConfigError(
            f"node.identity is {wanted!r}, but the certificate is that of {identity.name!r}",
            "node.identity",
        )
    return identity.name


def run(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT; says `ready` on standard error once it does."""
    daemon = Daemon(settings)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: daemon.stop())
    daemon.serve(say_ready)
