"""The supervisor: listens to registrations, brings nodes what they lack, and tells who asks.

It only carries, and has a node's certificate: it can sign no request, so whoever takes it over can
order nothing. Any number may run; none leads, since a node takes each rule once. One thread does
everything. `run` is what `mcshell supervisor` calls.
"""

from __future__ import annotations

import logging
import signal
import time
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Final

from mcshell.client.discovery.registrations import RegistrationFilter
from mcshell.enrolment.renewal import Renewal
from mcshell.errors import ConfigError, ConnectError, MCShellError, Rejected
from mcshell.metrics.file import MetricsFile
from mcshell.metrics.process import ProcessFigures
from mcshell.node.process.changes import SUPERVISOR, changed, taken_over
from mcshell.node.process.notify import ServiceManager, status_of
from mcshell.node.process.service import say_ready
from mcshell.node.process.watchdog import KeptPulse, Watchdog
from mcshell.private import make_folder, private_folder
from mcshell.supervisor.distributor import RuleDistributor
from mcshell.supervisor.inventory import HeardRegistration, Inventory
from mcshell.supervisor.inventory_pool import POOL, InventoryResponder
from mcshell.supervisor.metrics import SupervisorFigures, supervisor_text
from mcshell.supervisor.rule_folder import RuleFolder
from mcshell.wire import destinations
from mcshell.wire.credentials import connector, load_cas, load_credentials
from mcshell.wire.documents.envelope import CERTIFICATE, SIGNATURE
from mcshell.wire.stomp.transport import until_confirmed

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mcshell.config import Settings
    from mcshell.wire.credentials import Credentials
    from mcshell.wire.documents.enrolment import EnrolmentAnswer
    from mcshell.wire.stomp.reconnect import ConnectionState
    from mcshell.wire.stomp.transport import AckMode, Delivery

__all__ = ["Supervisor", "rules_folder", "run"]

log = logging.getLogger(__name__)

_GROUP: Final = 200
_LOOK: Final = 1.0
_FORGET: Final = 30 * 86_400.0
_MOST: Final = 1000
"""So many registrations are verified a second; what is missed is said again."""


def rules_folder(settings: Settings) -> Path:
    """Where the signed rules lie."""
    return settings.supervisor.rules or settings.state_dir / "supervisor" / "rules"


class Supervisor:
    """One supervisor: its connection, its rules, its inventory; `serve` until `stop`."""

    def __init__(
        self,
        settings: Settings,
        *,
        manager: ServiceManager | None = None,
        reread: Callable[[], Settings] | None = None,
    ) -> None:
        self._settings = settings
        self._reread: Callable[[], Settings] = (lambda: settings) if reread is None else reread
        self._manager = ServiceManager() if manager is None else manager
        self._credentials = _credentials(settings)
        state = private_folder(settings.state_dir / "supervisor")
        self._verifier = self._credentials.verifier
        self._filter = RegistrationFilter(self._verifier, _MOST)
        self._folder = RuleFolder(make_folder(rules_folder(settings)), self._verifier)
        self._inventory = Inventory(state / "registrations.sqlite", self._credentials.realm)
        self._transport = connector(settings, self._notice, verifier=self._verifier)
        self._watchdog = Watchdog(
            self._manager, lambda: [KeptPulse("the connection", self._transport)]
        )
        self._look_at = 0.0
        """When (monotonic) the watchdog is to look."""
        self._carrier = RuleDistributor(
            self._transport, self._verifier, self._credentials.signer, self._folder
        )
        self._counter = InventoryResponder(
            self._transport, self._credentials, self._inventory, settings.node.max_reply
        )
        self._renewal = Renewal(settings, self._credentials.signer, self._renewed)
        self._inbox: SimpleQueue[Delivery | None] = SimpleQueue()
        self._topics: dict[str, str] = {}
        self._pools: dict[str, str] = {}
        self._stopping = self._serves = self._reload_wanted = False
        self._looked = float("-inf")
        self._unkept = ""
        """Why registrations were not kept last; empty where they were."""
        self._crl: object = None
        self._started = time.time()
        file = settings.supervisor.metrics
        readers = settings.supervisor.metrics_readers
        self._metrics = None if file is None else MetricsFile(file, readers)
        self._metrics_at = float("-inf")

    def stop(self) -> None:
        """End `serve`; may be called from a signal handler."""
        self._stopping = True
        self._inbox.put(None)
        self._transport.give_up()

    def reload(self) -> None:
        """Read the configuration again, once it serves; may be called from a signal handler."""
        self._reload_wanted = True
        self._inbox.put(None)

    def serve(self, ready: Callable[[], None]) -> None:
        """Connect, call `ready` once the broker has confirmed the subscriptions, and work."""
        self._tell(time.monotonic())  # also while no broker is there
        if self._settings.pki.enrolment:
            self._renewal.start()
        try:
            if self._connect():
                self._serves = True
                ready()
                self._manager.ready()
                while not self._stopping:
                    self._turn()
                    self._attend()
                self._manager.stopping()
        finally:
            self._renewal.stop()
            self._transport.close()
            self._inventory.close()

    def _connect(self) -> bool:
        """Connect, however long it takes; False when it is stopped meanwhile."""
        try:
            self._transport.start(timeout=None)
        except ConnectError:
            return False
        self._listen()
        return not self._stopping

    def _listen(self) -> None:
        name = self._credentials.signer.identity.name
        serves = self._settings.serves(POOL, name)
        if not serves:
            log.warning("pools.%s.members does not name %s: it answers nobody", POOL, name)
        for collective in self._settings.collective.member:
            self._subscribe(self._topics, collective, destinations.registration(collective), "auto")
            if serves:
                queue = destinations.pool(collective, POOL)
                self._subscribe(self._pools, collective, queue, "client-individual")

    def _subscribe(
        self, kept: dict[str, str], collective: str, destination: str, ack: AckMode
    ) -> None:
        def subscribe() -> None:
            kept[self._transport.subscribe(destination, self._inbox, ack=ack)] = collective

        until_confirmed(subscribe, self._stopped)

    def _stopped(self) -> bool:
        self._notice(None)
        return self._stopping

    # --- the one thread ------------------------------------------------------------------------

    def _turn(self) -> None:
        try:
            group = self._gather()
            now = time.time()
            self._hear([one for one in group if one.subscription in self._topics], now)
            for one in group:
                if one.subscription in self._pools:
                    self._counter.answer(one, self._pools[one.subscription], now)
            self._look(now)
        except MCShellError as error:
            log.error("%s", error)  # noqa: TRY400 - said in full
        except Exception:
            log.exception("a turn of the supervisor failed")

    def _notice(self, state: ConnectionState | None) -> None:
        """How the connection is; until we serve, each new try for one is a sign of life as well."""
        if not self._serves:
            self._manager.alive()
        if state is not None:
            self._manager.status(status_of(state))

    def _attend(self) -> None:
        """After a turn: say that we live, when it is time; read the configuration again, when told."""
        if self._watchdog.pause is not None and (now := time.monotonic()) >= self._look_at:
            self._look_at = now + self._watchdog.pause
            self._watchdog.look()
        if self._reload_wanted:
            self._reload_wanted = False
            self._manager.reloading()
            try:
                self._reload()
            except (MCShellError, OSError) as error:
                why = " ".join(str(error).split())
                log.error("not reloaded, all stays as it was: %s", why)  # noqa: TRY400 - said in full
            finally:
                self._manager.ready()

    def _reload(self) -> None:
        new = self._reread()
        credentials = _credentials(new)
        rules = make_folder(rules_folder(new))
        at_once, later = changed(self._settings, new, SUPERVISOR)
        if credentials.signer.certificate != self._credentials.signer.certificate:
            later.append("the certificate")
        if "pki.ca" not in later:
            self._verifier.use_cas(load_cas(new.pki))
        self._settings = taken_over(self._settings, new, at_once)
        self._folder.move(rules if "state" not in later else rules_folder(self._settings))
        self._crl, self._looked = None, float("-inf")
        log.info("reloaded: rules, revocation list; %s", ", ".join(at_once) or "as before")
        if later:
            log.warning("only after a restart: %s", ", ".join(later))

    def _renewed(self, answer: EnrolmentAnswer) -> None:
        """There is a new certificate: the CAs and the list that came with it count."""
        self._verifier.use_cas(load_cas(self._settings.pki))
        self._verifier.update_crl(answer.crl)

    def _gather(self) -> list[Delivery]:
        """Take what is there; nothing when it is only time to look around."""
        group: list[Delivery] = []
        try:
            item = self._inbox.get(timeout=_LOOK)
            while item is not None:
                group.append(item)
                if len(group) >= _GROUP:
                    break
                item = self._inbox.get_nowait()
        except Empty:
            pass
        return group

    def _hear(self, group: list[Delivery], now: float) -> None:
        """Verify the newest registration of each node, keep them, and bring what is lacking."""
        claims = self._filter.claims([(self._topics[one.subscription], one) for one in group], now)
        found = [
            HeardRegistration(
                collective=collective,
                registration=registration,
                heard=now,
                body=delivery.body,
                signature=delivery.headers[SIGNATURE],
                certificate=delivery.headers[CERTIFICATE],
            )
            for (collective, _name), some in claims.items()
            if (newest := self._filter.newest(some, now)) is not None
            for delivery, registration in [newest]
        ]
        if found:
            self._keep(found)
        for heard in found:
            self._carrier.look(heard, now, time.monotonic())

    def _keep(self, found: list[HeardRegistration]) -> None:
        """Keep registrations; where the disk takes none, that is said once, and all else is done."""
        try:
            self._inventory.keep(found)
        except MCShellError as error:
            if str(error) != self._unkept:
                log.error("registrations are not kept: %s", error)  # noqa: TRY400 - said in full
            self._unkept = str(error)
        else:
            if self._unkept:
                log.warning("registrations are kept again")
            self._unkept = ""

    def _look(self, now: float) -> None:
        """Once a second: are there other rules, or a newer revocation list? Is it time for the metrics?"""
        clock = time.monotonic()
        if clock < self._looked + _LOOK:
            return
        self._looked = clock
        self._carry(now, clock)
        self._tell(clock)

    def _carry(self, now: float, clock: float) -> None:
        """Where there are other rules, or a newer list, look at every machine."""
        before = self._verifier.crl_number
        self._read_crl()
        if self._folder.refresh(now) or self._verifier.crl_number != before:
            self._inventory.forget(now - _FORGET)
            self._carrier.machines.clear()
            for heard in self._inventory.all():
                self._carrier.look(heard, now, clock)

    def _tell(self, clock: float) -> None:
        """Write the metrics, when that is due."""
        # A look is a little after its second: the next one would be too late.
        every = self._settings.supervisor.metrics_every - _LOOK / 2
        if self._metrics is not None and clock >= self._metrics_at + every:
            self._metrics_at = clock
            self._metrics.write(lambda: supervisor_text(self._figures(time.time())))

    def _figures(self, now: float) -> SupervisorFigures:
        signer = self._credentials.signer.identity
        machines, jobs = self._carrier.machines.counts(now)
        return SupervisorFigures(
            process=ProcessFigures.of(
                self._transport,
                self._verifier,
                about={"identity": signer.name},
                now=now,
                started=self._started,
                certificate_end=signer.not_after,
            ),
            machines=machines,
            jobs=jobs,
            rules=len(self._folder.rules),
            carried=self._carrier.carried,
        )

    def _read_crl(self) -> None:
        path = self._settings.pki.crl
        if path is None:
            return
        try:
            status = path.stat()
            stamp = status.st_mtime_ns, status.st_size, status.st_ino
            if stamp != self._crl:
                text = path.read_bytes()
                self._crl = stamp  # one that cannot be read now is looked at again
                self._verifier.update_crl(text)
        except OSError as error:
            log.debug("%s: %s", path, error.strerror)
        except Rejected as refusal:
            log.warning("%s is not used: %s", path, refusal)


def _credentials(settings: Settings) -> Credentials:
    """Those of a node: a supervisor signs no request.

    Raises:
        ConfigError: a file cannot be used, or is another's.
    """
    credentials = load_credentials(settings.pki)
    identity = credentials.signer.identity
    if identity.kind != "node":
        raise ConfigError(
            f"{settings.pki.cert} is the certificate of an {identity.kind}: a supervisor only"
            " carries, and has a node's (mcshell pki issue NAME --kind node)",
            "pki.cert",
        )
    return credentials


def run(settings: Settings, reread: Callable[[], Settings] | None = None) -> None:
    """Serve until SIGTERM or SIGINT; says `ready` on standard error once it does.

    On SIGHUP `reread` reads the settings again.
    """
    supervisor = Supervisor(settings, manager=ServiceManager.take(), reread=reread)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: supervisor.stop())
    if getattr(signal.signal(signal.SIGHUP, lambda *_: supervisor.reload()), "heard", False):
        supervisor.reload()  # it came while this was loaded
    supervisor.serve(say_ready)
