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
from mcshell.errors import ConfigError, ConnectError, MCShellError, Rejected
from mcshell.metrics.file import MetricsFile
from mcshell.metrics.process import ProcessFigures
from mcshell.node.process import say_ready
from mcshell.private import private_folder
from mcshell.supervisor.distributor import RuleDistributor
from mcshell.supervisor.inventory import HeardRegistration, Inventory
from mcshell.supervisor.inventory_pool import POOL, InventoryResponder
from mcshell.supervisor.metrics import SupervisorFigures, supervisor_text
from mcshell.supervisor.rule_folder import RuleFolder
from mcshell.wire import destinations
from mcshell.wire.credentials import connector, load_credentials
from mcshell.wire.documents.envelope import CERTIFICATE, SIGNATURE
from mcshell.wire.stomp.transport import until_confirmed

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mcshell.config import Settings
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

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._credentials = load_credentials(settings.pki)
        identity = self._credentials.signer.identity
        if identity.kind != "node":
            raise ConfigError(
                f"{settings.pki.cert} is the certificate of an {identity.kind}: a supervisor only"
                " carries, and has a node's (mcshell pki issue NAME --kind node)",
                "pki.cert",
            )
        state = private_folder(settings.state_dir / "supervisor")
        self._verifier = self._credentials.verifier
        self._filter = RegistrationFilter(self._verifier, _MOST)
        self._folder = RuleFolder(private_folder(rules_folder(settings)), self._verifier)
        self._inventory = Inventory(state / "registrations.sqlite", self._credentials.realm)
        self._transport = connector(settings, verifier=self._verifier)
        self._carrier = RuleDistributor(
            self._transport, self._verifier, self._credentials.signer, self._folder
        )
        self._counter = InventoryResponder(
            self._transport, self._credentials, self._inventory, settings.node.max_reply
        )
        self._inbox: SimpleQueue[Delivery | None] = SimpleQueue()
        self._topics: dict[str, str] = {}
        self._pools: dict[str, str] = {}
        self._stopping = False
        self._looked = float("-inf")
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

    def serve(self, ready: Callable[[], None]) -> None:
        """Connect, call `ready` once the broker has confirmed the subscriptions, and work."""
        self._tell(time.monotonic())  # also while no broker is there
        try:
            if self._connect():
                ready()
                while not self._stopping:
                    self._turn()
        finally:
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

        until_confirmed(subscribe, lambda: self._stopping)

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
            self._inventory.keep(found)
        for heard in found:
            self._carrier.look(heard, now, time.monotonic())

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
                self._crl = stamp
                self._verifier.update_crl(path.read_bytes())
        except OSError as error:
            log.debug("%s: %s", path, error.strerror)
        except Rejected as refusal:
            log.warning("%s is not used: %s", path, refusal)


def run(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT; says `ready` on standard error once it does."""
    supervisor = Supervisor(settings)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: supervisor.stop())
    supervisor.serve(say_ready)
