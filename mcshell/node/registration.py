"""Registration: a node says that it is there, at its start and on a splayed interval.

It goes to a topic, not persistent: it repeats, so one that was missed heals by itself. The splay is
a hash of the identity, so that a fleet that came up together does not speak together, and a node
keeps its second over restarts (mcshell/README.md §9).
"""

from __future__ import annotations

import hashlib
import heapq
import logging
import threading
import time
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Final

from mcshell.errors import AgentError, ConnectionLost
from mcshell.node.process.watchdog import ThreadPulse
from mcshell.wire import destinations
from mcshell.wire.documents.registration import Registration, seal_registration

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from mcshell.node.audit.chain import Head
    from mcshell.node.host import Host
    from mcshell.wire.documents.envelope import SealedMessage
    from mcshell.wire.documents.signatures import Signer
    from mcshell.wire.stomp.transport import Transport

__all__ = ["RegistrationThread", "RegistrationWriter", "next_turn"]

log = logging.getLogger(__name__)

_SOON: Final = 1.0


def next_turn(identity: str, interval: float, now: float) -> float:
    """When a node's next turn is (epoch): the same second of every interval, for each its own."""
    share = int.from_bytes(hashlib.sha256(identity.encode()).digest()[:8], "big") / 2**64
    offset = share * interval
    return ((now - offset) // interval + 1) * interval + offset


class RegistrationWriter:
    """Writes one node's registrations and sends them over its connection; `interval` in seconds.

    `audit_head` tells where the node's audit log ends on the disk.
    """

    def __init__(
        self,
        host: Host,
        signer: Signer,
        interval: float,
        transport: Transport,
        audit_head: Callable[[], Head | None],
    ) -> None:
        self.host = host
        self.interval = interval
        self._signer = signer
        self._transport = transport
        self._audit_head = audit_head

    def write(self) -> SealedMessage:
        """The registration as of now; AgentError when a fact cannot be sent."""
        about = self.host.describe()
        now, head = time.time(), self._audit_head()
        return seal_registration(
            Registration(
                identity=self.host.identity,
                created=now,
                interval=self.interval,
                facts=about["facts"],
                classes=tuple(about["classes"]),
                agents=tuple(about["agents"]),
                collectives=tuple(about["collectives"]),
                pools=tuple(about["pools"]),
                version=about["version"],
                started=about["started"],
                crl=about["crl"],
                machine=self.host.machine,
                rules=self.host.rules(),
                audit=None if head is None else (head.count, head.hash),
                flaws=tuple(about["flaws"]),
                agent_versions=about["agent_versions"],
                refused=tuple(self.host.journal.refused_lately()),
            ),
            self._signer,
        )

    def send(self) -> bool:
        """Register in every collective, good for two intervals; False where nothing is connected, or is off.

        Raises:
            ConnectionLost: it has just been lost.
            AgentError: a fact or class that cannot be written.
        """
        if not (self._transport.connected and self.host.up):
            return False
        registration = self.write()
        for collective in self.host.collectives:
            self._transport.send(
                destinations.registration(collective),
                registration.body,
                registration.headers,
            )
        return True


class RegistrationThread:
    """Registers the nodes of a process from a thread of its own; `start` when they serve.

    An interval of 0 registers nowhere. `pace`: so many a second at most, for answers go before.
    """

    def __init__(self, writers: Iterable[RegistrationWriter], pace: float) -> None:
        self._writers = {one.host.identity: one for one in writers if one.interval > 0}
        self._pause = 1 / pace
        self._stopped = False
        self._news: SimpleQueue[str | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="mcshell-register", daemon=True)
        self.pulse = ThreadPulse("registration", lambda: self._news.put(None))

    def start(self) -> None:
        """Register all now, and from now on each at its turns."""
        if self._writers:
            self._thread.start()

    def again(self, identity: str) -> None:
        """Register a node now, out of turn: there is something new to say."""
        if identity in self._writers:
            self._news.put(identity)

    @property
    def begun(self) -> bool:
        """Whether its thread was started, and perhaps has died since."""
        return self._thread.ident is not None

    def stop(self) -> None:
        """Register no more."""
        self._stopped = True
        self._news.put(None)

    def _run(self) -> None:
        now = time.time()
        due = [(now, name) for name in self._writers]
        while not self._stopped:
            self.pulse.beat()
            when, name = due[0]
            try:
                early = self._news.get(timeout=max(0.0, when - time.time()))
            except Empty:
                now = time.time()
                again = next_turn(name, self._writers[name].interval, now)
                heapq.heapreplace(due, (again if self._register(name) else now + _SOON, name))
            else:
                if early is not None:
                    self._register(early)
            time.sleep(self._pause)

    def _register(self, name: str) -> bool:
        """Whether it is done with, for good or ill; False where it is to be tried again soon."""
        try:
            return self._writers[name].send()
        except ConnectionLost as error:
            log.info("not registered: %s", error)
        except AgentError as error:
            log.warning("%s", error)
        except Exception:
            log.exception("could not register")
        return True
