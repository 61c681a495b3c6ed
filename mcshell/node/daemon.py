"""The node daemon: the machine that it runs on as a node. `run` is what `mcshell node` calls."""

from __future__ import annotations

import logging
import signal
import threading
from contextlib import suppress
from functools import partial
from queue import Empty
from typing import TYPE_CHECKING, Final

from mcshell.interrupts import take
from mcshell.metrics.file import MetricsThread
from mcshell.node.audit.history import AuditHistory
from mcshell.node.context import open_security
from mcshell.node.execution.shims import ShimRunner
from mcshell.node.execution.threads import ActionThreads
from mcshell.node.facts.machine_id import machine_id
from mcshell.node.files.obeyed import obeyed_paths, secret_paths
from mcshell.node.host import Host
from mcshell.node.metrics.figures import node_text
from mcshell.node.metrics.gather import gather
from mcshell.node.process.notify import ServiceManager, status_of
from mcshell.node.process.service import hold_state_directory, say_ready
from mcshell.node.process.watchdog import Watchdog
from mcshell.node.reload import Reloader, SelfKnowledge, identity_of, read_agents
from mcshell.node.replies import no_steps
from mcshell.node.revocation import Revocation
from mcshell.node.server import STOP, NodeServer
from mcshell.node.store.spool import Spool
from mcshell.private import private_folder
from mcshell.storage import has_room
from mcshell.wire.credentials import load_cas, load_credentials

if TYPE_CHECKING:
    from collections.abc import Callable
    from queue import SimpleQueue

    from mcshell.config import Settings
    from mcshell.enrolment.renewal import Renewal
    from mcshell.node.agents.registry import AgentRegistry
    from mcshell.node.context import SecurityContext
    from mcshell.node.mcollective import MCollectiveServer
    from mcshell.node.replies import Steps
    from mcshell.wire.credentials import Credentials
    from mcshell.wire.documents.enrolment import EnrolmentAnswer
    from mcshell.wire.stomp.reconnect import ConnectionState

__all__ = ["Daemon", "run"]

log = logging.getLogger(__name__)

_LOOK: Final = 2.0
_RELOAD: Final = "reload"


class Daemon:
    """One real node. `steps` is told how far each queued or pool request is.

    On a disk that takes nothing it answers, and refuses work; `again` says that it has ended
    because there is room now, and wants to be made anew.
    """

    def __init__(
        self,
        settings: Settings,
        steps: Steps = no_steps,
        *,
        manager: ServiceManager | None = None,
        reread: Callable[[], Settings] | None = None,
    ) -> None:
        credentials = load_credentials(settings.pki)
        identity = identity_of(settings, credentials)
        self._manager = ServiceManager() if manager is None else manager
        state = private_folder(settings.state_dir / "node")
        self._lock = hold_state_directory(state)
        served = read_agents(settings, lambda: self.server.jobs, lambda: security.approvals)
        security = open_security(settings, credentials.verifier, served, state)
        spool = Spool(state / "work.sqlite")
        host = _host(identity, settings, credentials, served, security, spool)
        self._host, self._served = host, served
        self.server = NodeServer(
            settings,
            security,
            spool,
            [(host, credentials.signer)],
            ShimRunner(state / "work", settings.node),
            threads=ActionThreads,
            steps=steps,
            notice=self._notice,
        )
        self._member = _member(settings, host, security)
        self._metrics = MetricsThread(
            settings.node,
            lambda: node_text(gather(host, credentials.signer, security, spool, self.server)),
        )
        self._verifier = credentials.verifier
        self._renewal = _renewal(settings, credentials, self._renewed)
        self.again = False
        self._serves = False
        self._watchdog = Watchdog(self._manager, self.server.pulses)
        self._reloader = Reloader(
            settings,
            credentials,
            (lambda: settings) if reread is None else reread,
            manager=self._manager,
            security=security,
            served=served,
            host=host,
            server=self.server,
        )
        self._ended = threading.Event()
        self._state = state
        self._hindered = spool.hindered or security.replay_guard.hindered

    @property
    def settings(self) -> Settings:
        """Those in force: a reload changes them."""
        return self._reloader.settings

    def stop(self) -> None:
        """End `serve`; may be called from a signal handler."""
        self.server.stop()

    def reload(self) -> None:
        """Read the configuration again, once it serves; may be called from a signal handler."""
        self.server.orders.put(_RELOAD)

    def serve(self, ready: Callable[[], None]) -> None:
        """Connect, call `ready` once the broker has confirmed every subscription, and work."""
        if self._hindered:
            log.error("%s: until there is room, all but discovery is refused", self._state)
            threading.Thread(target=self._look_for_room, name="mcshell-room", daemon=True).start()
        self._served.activate(self._host, self._agent_known)
        self._metrics.start()
        if self._renewal is not None:
            self._renewal.start()
        try:
            self.server.serve(
                partial(self._ready, ready),
                self._member,
                work=not self._served.pending,
                attend=self._attend,
            )
        finally:
            self._ended.set()
            self._served.stop()
            self._metrics.stop()
            if self._renewal is not None:
                self._renewal.stop()
            self._lock.close()

    def _ready(self, ready: Callable[[], None]) -> None:
        self._serves = True
        ready()
        self._manager.ready()

    def _notice(self, state: ConnectionState | None) -> None:
        """How the connection is; until we serve, each new try for one is a sign of life as well."""
        if not self._serves:
            self._manager.alive()
        if state is not None:
            self._manager.status(status_of(state))

    def _attend(self, orders: SimpleQueue[str]) -> None:
        """Do as we are told until that is to end; meanwhile see that every thread lives."""
        while True:
            with suppress(Empty):
                if take(orders, self._watchdog.pause) == STOP:
                    break
                self._reloader.begin()
            self._watchdog.look()
        if not self.again:
            self._manager.stopping()
        self._reloader.stop()

    def _renewed(self, answer: EnrolmentAnswer) -> None:
        """There is a new certificate: others hear of it, and the CAs and the list that came with it count."""
        self._verifier.use_cas(load_cas(self._reloader.settings.pki))
        if self._host.revocation is not None:
            self._host.revocation.update(answer.crl, self._host.identity, "renewal")
        self.server.announce(self._host.identity)

    def _look_for_room(self) -> None:
        while not self._ended.wait(_LOOK):
            if has_room(self._state):
                log.warning("%s: there is room again: the node begins anew", self._state)
                self.again = True
                self.server.stop()
                return

    def _agent_known(self) -> None:
        """An external agent has said whether it serves this machine."""
        if not self._served.pending:
            self.server.work()
        self.server.announce(self._host.identity)


def _host(
    identity: str,
    settings: Settings,
    credentials: Credentials,
    served: AgentRegistry,
    security: SecurityContext,
    spool: Spool,
) -> Host:
    """Who this node is, and what it knows of itself."""
    known, state = SelfKnowledge.read(settings), settings.state_dir / "node"
    for line in known.unread:
        log.warning("%s", line)
    return Host(
        identity,
        facts=known.facts.facts,
        served=served,
        classes=known.classes,
        collectives=settings.collective.member or (settings.collective.main,),
        private=(*secret_paths(settings), state),
        obeyed=obeyed_paths(settings),
        settings=served.configure(settings.agents),
        pools=settings.node.serve,
        revocation=Revocation(credentials.verifier, state / "crl.pem", security.audit),
        audit_history=AuditHistory(security.audit.path),
        records=spool,
        machine=machine_id(state),
        flaws=lambda: (
            *security.approvals.flaws(identity),
            *security.authorisation.flaws(),
            *known.flaws(),
        ),
        state=state,
        tells_all_files=settings.node.tell_files == "all",
    )


def _member(settings: Settings, host: Host, security: SecurityContext) -> MCollectiveServer | None:
    """The node's place in an MCollective network, where it is wanted."""
    if not settings.mcollective.enabled:
        return None
    from mcshell.node.mcollective import MCollectiveServer  # noqa: PLC0415 - nothing of it is loaded while it is off

    return MCollectiveServer(settings, host, security.controller, security.replay_guard)


def _renewal(
    settings: Settings, credentials: Credentials, done: Callable[[EnrolmentAnswer], None]
) -> Renewal | None:
    """What renews the certificate, where the settings say at which brokers."""
    if not settings.pki.enrolment:
        return None
    from mcshell.enrolment.renewal import Renewal  # noqa: PLC0415 - nothing of it is loaded without it

    return Renewal(settings, credentials.signer, done)


def run(settings: Settings, reread: Callable[[], Settings] | None = None) -> None:
    """Serve until SIGTERM or SIGINT; says `ready` on standard error once it does.

    On SIGHUP `reread` reads the settings again.
    """
    stopped = threading.Event()
    manager = ServiceManager.take()
    again = True
    while again:
        daemon = Daemon(settings, manager=manager, reread=reread)

        def stop(*_: object, daemon: Daemon = daemon) -> None:
            stopped.set()
            daemon.stop()

        def reload(*_: object, daemon: Daemon = daemon) -> None:
            daemon.reload()

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, stop)
        if getattr(signal.signal(signal.SIGHUP, reload), "heard", False):
            reload()  # it came while this was loaded
        if stopped.is_set():
            daemon.stop()
        daemon.serve(say_ready)
        settings = daemon.settings
        again = daemon.again and not stopped.is_set()
