"""A node's place in an MCollective network: connection, subscriptions, registration.

One thread reads what the broker hands over and decides; actions run in threads of their own. When
the old wire's broker is away, the node serves its own wire all the same.
"""

from __future__ import annotations

import logging
import threading
import time
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from mcshell.errors import ConfigError, ConnectError, ConnectionLost, ReceiptTimeout, UnknownBroker
from mcshell.message import Request, Via, new_nonce
from mcshell.node.execution.threads import ActionThreads, AuditedReplies, Task
from mcshell.node.mcollective.admission import MCollectiveAdmission
from mcshell.node.mcollective.host import MCollectiveHost
from mcshell.node.mcollective.replies import MCollectiveReplies
from mcshell.node.verdicts import Admitted, refused
from mcshell.wire.mcollective.layouts import REGISTRATION, Stamp
from mcshell.wire.mcollective.messages import write_registration
from mcshell.wire.mcollective.setup import connector, layout_for, open_wire

if TYPE_CHECKING:
    from mcshell.config import Settings
    from mcshell.node.admission.controller import AdmissionController
    from mcshell.node.admission.replay import ReplayGuard
    from mcshell.node.host import Host
    from mcshell.node.mcollective.admission import Asked
    from mcshell.wire.mcollective.layouts import Layout
    from mcshell.wire.stomp.reconnect import ConnectionState
    from mcshell.wire.stomp.transport import Delivery

__all__ = ["MCollectiveServer"]

log = logging.getLogger(__name__)

_AGAIN = 5.0
_PATIENCE = 10.0


class MCollectiveServer:
    """Answers for one node there; `start` once the node serves, `stop` when it ends."""

    def __init__(
        self,
        settings: Settings,
        host: Host,
        controller: AdmissionController,
        replay_guard: ReplayGuard,
    ) -> None:
        self._settings = settings
        self._wire = open_wire(settings.mcollective, "node", sender=host.identity)
        self._transport = connector(settings, self._on_state)
        own = settings.mcollective
        self._mco_host = MCollectiveHost(
            host, self._wire.sender, own.collectives, str(settings.path or "")
        )
        self._admission = MCollectiveAdmission(self._wire, self._mco_host, controller, replay_guard)
        self._replies = MCollectiveReplies(
            self._wire, self._transport, self._mco_host, settings.node.max_reply
        )
        self._audited = AuditedReplies(self._replies, controller, self._mco_host.host)
        self._threads = ActionThreads(each=settings.node.caller_threads or None)
        self._inbox: SimpleQueue[Delivery | None] = SimpleQueue()
        self._places: dict[str, tuple[str, bool]] = {}
        self._layout: Layout | None = None
        self._stopped = threading.Event()
        self._tried = threading.Event()
        """Set when it has joined, or could not at once."""
        self._failure: ConfigError | UnknownBroker | None = None
        self._registered = 0.0
        self._thread = threading.Thread(target=self._run, name="mcshell-mco", daemon=True)

    def start(self) -> None:
        """Join, if the broker is there; else the thread goes on trying.

        Raises:
            ConfigError: the broker is there, and cannot be used as the settings say.
        """
        self._thread.start()
        self._tried.wait(_PATIENCE)
        if self._failure is not None:
            raise self._failure

    def stop(self) -> None:
        """Leave the network: what runs is given a moment to answer, then the connection ends."""
        self._stopped.set()
        self._inbox.put(None)
        self._transport.give_up()
        if self._thread.is_alive():
            self._thread.join(timeout=10)
        self._threads.stop()
        self._transport.close()

    def _on_state(self, state: ConnectionState) -> None:
        if not state.connected:
            self._tried.set()

    def _join(self) -> bool:
        """Connect and subscribe, however long it takes; False when it is stopped meanwhile."""
        try:
            self._transport.start(timeout=None)
        except ConnectError:
            return False
        while not self._stopped.is_set():
            try:
                self._layout = layout_for(self._settings.mcollective, self._transport.dialect)
                self._subscribe(self._layout)
            except (ConnectionLost, ReceiptTimeout) as error:
                log.warning("the old wire: %s; next try in %g s", error, _AGAIN)
                self._tried.set()
                for subscription in self._places:
                    self._transport.unsubscribe(subscription)
                self._places.clear()
                self._stopped.wait(_AGAIN)
            else:
                where, sender = self._transport.url, self._wire.sender
                log.info("the old wire: connected to %s as %s", where, sender)
                return True
        return False

    def _subscribe(self, layout: Layout) -> None:
        settings = self._settings.mcollective
        agents = sorted(self._mco_host.agents)
        for collective in settings.collectives:
            for place in layout.node([collective], agents, self._wire.sender):
                direct = place.id.endswith("_directed_to_identity")
                if direct and not settings.direct_addressing:
                    continue
                subscription = self._transport.subscribe(
                    place.destination, self._inbox, ack="auto", headers=place.headers
                )
                self._places[subscription] = (collective, direct)

    def _run(self) -> None:
        try:
            joined = self._join()
        except (ConfigError, UnknownBroker) as error:
            log.error("the old wire: %s", error)  # noqa: TRY400 - said in full
            self._failure = error
            joined = False
        self._tried.set()
        while joined and not self._stopped.is_set():
            self._register()
            try:
                delivery = self._inbox.get(timeout=self._until_registration())
            except Empty:
                continue
            if delivery is None:
                return
            try:
                self._handle(delivery)
            except Exception:
                log.exception("could not handle a message on %s", delivery.destination)

    def _handle(self, delivery: Delivery) -> None:
        assert self._layout is not None, "it came over a subscription"
        self._mco_host.journal.count("messages")
        collective, direct = self._places[delivery.subscription]
        now = time.time()
        asked = self._admission.admit(delivery, self._layout, collective, direct=direct, now=now)
        if asked is None:
            return
        self._admit(asked, self._layout)

    def _admit(self, asked: Asked, layout: Layout) -> None:
        verdict = asked.verdict
        if verdict is None:
            self._replies.pong(asked, layout)
            return
        self._replies.expect(asked, layout)
        if not isinstance(verdict, Admitted):
            self._replies.final(verdict.request, refused(verdict))
            return
        limit = self._settings.node.limits.get(verdict.request.agent)
        timeout = verdict.action.timeout
        if limit is not None and limit.timeout is not None:
            timeout = limit.timeout
        self._threads.put(
            Task(admitted=verdict, host=self._mco_host, reply_sink=self._audited, timeout=timeout)
        )

    # -- registration

    def _until_registration(self) -> float | None:
        every = self._settings.mcollective.register_every
        return max(0.0, self._registered + every - time.monotonic()) if every else None

    def _register(self) -> None:
        """Say which agents we have, when it is time."""
        settings = self._settings.mcollective
        if not settings.register_every or self._until_registration() or self._layout is None:
            return
        self._registered = time.monotonic()
        now = time.time()
        request = Request(
            id=new_nonce(),
            agent=REGISTRATION,
            action="",
            caller=self._wire.security.callerid,
            collective=settings.main,
            via=Via.BROADCAST,
            session="",
            created=now,
            expires=now + settings.ttl,
        )
        agents = sorted(self._mco_host.agents)
        envelope = write_registration(
            agents, request=request, callerid=request.caller, sender=self._wire.sender
        )
        body = self._wire.wrapped(self._wire.security.seal_request(envelope))
        reply_to = self._layout.reply_to(settings.main, REGISTRATION, self._wire.sender, 0)
        stamp = Stamp(self._wire.sender, envelope.ttl, now, reply_to)
        target = self._layout.broadcast(settings.main, REGISTRATION, stamp)
        try:
            self._transport.send(target.destination, body, target.headers)
        except ConnectionLost as error:
            log.warning("the old wire: not registered: %s", error)
