"""Registration: a node says that it is there, at its start and on a splayed interval.

It goes to a topic, not persistent, and expires after two intervals: it repeats, so one that was
missed heals by itself. The splay is a hash of the identity, so that a fleet that came up together
does not speak together, and a node keeps its second over restarts (mcshell/README.md §9).
"""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from typing import TYPE_CHECKING, Protocol

from mcshell.errors import AgentError, ConnectionLost
from mcshell.wire import destinations
from mcshell.wire.documents.registration import Registration, seal_registration

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mcshell.node.host import Host
    from mcshell.wire.documents.envelope import SealedMessage
    from mcshell.wire.documents.signatures import Signer
    from mcshell.wire.stomp.transport import Transport

__all__ = ["RegistrationThread", "RegistrationWriter", "next_turn"]

log = logging.getLogger(__name__)


def next_turn(identity: str, interval: float, now: float) -> float:
    """When a node's next turn is (epoch): the same second of every interval, for each its own."""
    share = int.from_bytes(hashlib.sha256(identity.encode()).digest()[:8], "big") / 2**64
    offset = share * interval
    return ((now - offset) // interval + 1) * interval + offset


class RegistrationLink(Protocol):
    """A connection that takes messages: the node's, or one of the emulator's."""

    def send(
        self,
        destination: str,
        body: bytes,
        headers: Mapping[str, str] | None = None,
        *,
        expires: float | None = None,
    ) -> object:
        """SEND one message."""


class RegistrationWriter:
    """Writes one node's registrations; `interval` in seconds."""

    def __init__(self, host: Host, signer: Signer, interval: float) -> None:
        self.host = host
        self.interval = interval
        self._signer = signer

    def write(self) -> SealedMessage:
        """The registration as of now; AgentError when a fact cannot be sent."""
        about = self.host.describe()
        now = time.time()
        return seal_registration(
            Registration(
                self.host.identity,
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
            ),
            self._signer,
        )

    def send(self, post: RegistrationLink) -> None:
        """Register in every collective, over a connection; good for two intervals.

        Raises:
            ConnectionLost: there is none.
            AgentError: a fact or class that cannot be written.
        """
        registration = self.write()
        expires = time.time() + 2 * self.interval
        for collective in self.host.collectives:
            post.send(
                destinations.registration(collective),
                registration.body,
                registration.headers,
                expires=expires,
            )


class RegistrationThread:
    """Registers one real node from a thread of its own; `start` when it serves, `stop` at the end.

    An interval of 0 registers nowhere.
    """

    def __init__(self, announcer: RegistrationWriter, transport: Transport) -> None:
        self._announcer = announcer
        self._transport = transport
        self._stopped = False
        self._wakeup = threading.Event()
        self._thread = threading.Thread(target=self._run, name="mcshell-register", daemon=True)

    def start(self) -> None:
        """Register now, and from now on."""
        if self._announcer.interval > 0:
            self._thread.start()

    def again(self) -> None:
        """Register now, out of turn: there is something new to say."""
        self._wakeup.set()

    def stop(self) -> None:
        """Register no more."""
        self._stopped = True
        self._wakeup.set()

    def _run(self) -> None:
        announcer = self._announcer
        while True:
            self._register()
            now = time.time()
            turn = next_turn(announcer.host.identity, announcer.interval, now)
            self._wakeup.wait(max(0.0, turn - now))
            self._wakeup.clear()
            if self._stopped:
                return

    def _register(self) -> None:
        try:
            self._announcer.send(self._transport)
        except ConnectionLost as error:
            log.info("not registered: %s", error)
        except AgentError as error:
            log.warning("%s", error)
        except Exception:
            log.exception("could not register")
