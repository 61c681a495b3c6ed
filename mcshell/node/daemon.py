"""The node daemon: the machine that it runs on as a node. `run` is what `mcshell node` calls."""

from __future__ import annotations

import logging
import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mcshell.ddl.library import shipped_dir
from mcshell.errors import ConfigError
from mcshell.metrics.file import MetricsThread
from mcshell.node.agents.registry import load_agents
from mcshell.node.audit.history import AuditHistory
from mcshell.node.builtin import builtin_agents
from mcshell.node.context import open_security
from mcshell.node.execution.shims import ShimRunner
from mcshell.node.execution.threads import ActionThreads
from mcshell.node.facts.classes import read_classes
from mcshell.node.facts.machine_id import machine_id
from mcshell.node.facts.source import FactSource
from mcshell.node.host import Host
from mcshell.node.metrics.figures import node_text
from mcshell.node.metrics.gather import gather
from mcshell.node.process import hold_state_directory, say_ready
from mcshell.node.replies import no_steps
from mcshell.node.revocation import Revocation
from mcshell.node.server import NodeServer
from mcshell.node.store.spool import Spool
from mcshell.private import private_folder
from mcshell.storage import has_room
from mcshell.wire.credentials import Credentials, load_credentials

if TYPE_CHECKING:
    from collections.abc import Callable

    from mcshell.config import Settings
    from mcshell.node.agents.registry import AgentRegistry
    from mcshell.node.context import SecurityContext
    from mcshell.node.mcollective import MCollectiveServer
    from mcshell.node.replies import Steps

__all__ = ["Daemon", "run"]

log = logging.getLogger(__name__)

_LOOK: Final = 2.0


class Daemon:
    """One real node. `steps` is told how far each queued or pool request is.

    On a disk that takes nothing it answers, and refuses work; `again` says that it has ended
    because there is room now, and wants to be made anew.
    """

    def __init__(self, settings: Settings, steps: Steps = no_steps) -> None:
        credentials = load_credentials(settings.pki)
        state = private_folder(settings.state_dir / "node")
        self._lock = hold_state_directory(state)
        served = load_agents(
            [*settings.node.agents, shipped_dir()],
            builtin_agents(lambda: self.server.jobs),
            lenient=settings.node.unknown_validators == "warn",
        )
        security = open_security(settings, credentials.verifier, served, state)
        spool = Spool(state / "work.sqlite")
        host = _host(settings, credentials, served, security, spool, state)
        self._host, self._served = host, served
        self.server = NodeServer(
            settings,
            security,
            spool,
            [(host, credentials.signer)],
            ShimRunner(state / "work", settings.node),
            threads=ActionThreads,
            steps=steps,
        )
        self._member = _member(settings, host, security)
        self._metrics = MetricsThread(
            settings.node,
            lambda: node_text(gather(host, credentials.signer, security, spool, self.server)),
        )
        self.again = False
        self._ended = threading.Event()
        self._state = state
        self._hindered = spool.hindered or security.replay_guard.hindered

    def stop(self) -> None:
        """End `serve`; may be called from a signal handler."""
        self.server.stop()

    def serve(self, ready: Callable[[], None]) -> None:
        """Connect, call `ready` once the broker has confirmed every subscription, and work."""
        if self._hindered:
            log.error("%s: until there is room, all but discovery is refused", self._state)
            threading.Thread(target=self._look_for_room, name="mcshell-room", daemon=True).start()
        self._served.activate(self._host, self._agent_known)
        self._metrics.start()
        try:
            self.server.serve(ready, self._member, work=not self._served.pending)
        finally:
            self._ended.set()
            self._served.stop()
            self._metrics.stop()
            self._lock.close()

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
    settings: Settings,
    credentials: Credentials,
    served: AgentRegistry,
    security: SecurityContext,
    spool: Spool,
    state: Path,
) -> Host:
    """Who this node is, and what it knows of itself."""
    node = settings.node
    facts = FactSource([str(path) for path in node.facts], state, room=node.fact_room)
    facts.facts()  # read, and said what is left out, before anybody waits for them
    classes, unread = read_classes(node.classes, node.class_room)
    for line in unread:
        log.warning("%s", line)
    return Host(
        _identity(settings, credentials),
        facts=facts.facts,
        served=served,
        classes=classes,
        collectives=settings.collective.member or (settings.collective.main,),
        private=[
            path
            for path in (settings.pki.key, settings.broker.key, state)
            if isinstance(path, Path)
        ],
        settings=settings.agents,
        pools=node.serve,
        revocation=Revocation(credentials.verifier, state / "crl.pem", security.audit),
        audit_history=AuditHistory(security.audit.path),
        records=spool,
        machine=machine_id(state),
        flaws=lambda: (*security.authorisation.flaws(), *unread, *facts.flaws()),
        state=state,
        tells_all_files=node.tell_files == "all",
    )


def _member(settings: Settings, host: Host, security: SecurityContext) -> MCollectiveServer | None:
    """The node's place in an MCollective network, where it is wanted."""
    if not settings.mcollective.enabled:
        return None
    from mcshell.node.mcollective import MCollectiveServer  # noqa: PLC0415 - nothing of it is loaded while it is off

    return MCollectiveServer(settings, host, security.controller, security.replay_guard)


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
    stopped = threading.Event()
    again = True
    while again:
        daemon = Daemon(settings)

        def stop(*_: object, daemon: Daemon = daemon) -> None:
            stopped.set()
            daemon.stop()

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, stop)
        if stopped.is_set():
            daemon.stop()
        daemon.serve(say_ready)
        again = daemon.again and not stopped.is_set()
