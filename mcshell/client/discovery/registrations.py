"""Registrations, as an open client hears them: it remembers the nodes that register.

A registration is verified only where it tells something new: repeats within a second, and what
another process of this operator has already kept, are dropped unverified; more than `_MOST` a
second are not verified either (the next interval heals it).
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from mcshell.client.discovery.node_cache import registered
from mcshell.client.messaging.rejections import Rejections
from mcshell.errors import Rejected
from mcshell.wire import destinations
from mcshell.wire.documents.envelope import BodyLimits
from mcshell.wire.documents.registration import open_registration, read_registration

if TYPE_CHECKING:
    from collections.abc import Callable

    from mcshell.client.discovery.node_cache import CachedNode, NodeCache
    from mcshell.client.messaging.rejections import Rejection
    from mcshell.wire.documents.registration import Registration
    from mcshell.wire.documents.signatures import Verifier
    from mcshell.wire.stomp.transport import Delivery, Transport

__all__ = ["RegistrationListener"]

log = logging.getLogger(__name__)

_GROUP = 200
_AGAIN = 1.0
_MOST = 500


class RegistrationListener:
    """Keeps `known` up to date from the registrations of one collective, in a thread of its own.

    `counts` says what became of them: learned, repeated, skipped, and refused by reason.
    """

    def __init__(
        self, transport: Transport, verifier: Verifier, known: NodeCache, collective: str
    ) -> None:
        self._transport = transport
        self._verifier = verifier
        self._known = known
        self._collective = collective
        self._inbox: SimpleQueue[Delivery | None] = SimpleQueue()
        self._followers: list[Callable[[CachedNode], None]] = []
        self._heard: dict[str, float] = {}
        self._refused = Rejections(verifier)
        self._second, self._spent = 0, 0
        self.counts: Counter[str] = Counter()
        self._thread = threading.Thread(target=self._run, name="mcshell-inventory", daemon=True)

    def start(self) -> None:
        """Subscribe and begin."""
        self._thread.start()
        topic = destinations.registration(self._collective)
        self._transport.subscribe(topic, self._inbox, ack="auto")

    def stop(self) -> None:
        """End the thread; what has not been looked at is dropped."""
        self._inbox.put(None)
        if self._thread.is_alive():
            self._thread.join(timeout=5)

    def follow(self, follower: Callable[[CachedNode], None]) -> None:
        """Have each verified registration given to `follower`, in the thread that verifies."""
        self._followers = [*self._followers, follower]

    def unfollow(self, follower: Callable[[CachedNode], None]) -> None:
        """Take back `follow`."""
        self._followers = [one for one in self._followers if one is not follower]

    def refused(self, identity: str) -> Rejection | None:
        """Why the last registration in a node's name was refused."""
        return self._refused.of(identity)

    def _run(self) -> None:
        while (group := self._gather()) is not None:
            try:
                self._handle(group)
            except Exception:
                log.exception("could not keep %d registrations", len(group))

    def _gather(self) -> list[Delivery] | None:
        """Take what is there, at least one; None when it is time to end."""
        group: list[Delivery] = []
        item = self._inbox.get()
        while item is not None:
            group.append(item)
            if len(group) >= _GROUP:
                return group
            try:
                item = self._inbox.get_nowait()
            except Empty:
                return group
        return None

    def _handle(self, group: list[Delivery]) -> None:
        now = time.time()
        claims = self._claims(group, now)
        already = {} if self._followers else self._known.seen(self._collective, claims)
        learned: list[CachedNode] = []
        for name, (delivery, claim) in claims.items():
            if already.get(name, 0.0) >= claim.seen(now) - _AGAIN:
                self.counts["repeated"] += 1
            elif self._afford(now):
                node = self._open(delivery, now)
                learned += [] if node is None else [node]
        self._known.learn(self._collective, learned)
        self.counts["learned"] += len(learned)
        for node in learned:
            for follower in self._followers:
                follower(node)

    def _claims(
        self, group: list[Delivery], now: float
    ) -> dict[str, tuple[Delivery, Registration]]:
        """The newest of each node in the group, before anything is believed."""
        claims: dict[str, tuple[Delivery, Registration]] = {}
        for delivery in group:
            try:
                claim = read_registration(delivery.body, BodyLimits())
            except Rejected as refusal:
                self._refuse("", refusal)
                continue
            name = claim.identity
            if now - self._heard.get(name, 0.0) < _AGAIN or self._collective not in (
                claim.collectives
            ):
                self.counts["repeated"] += 1
                continue
            if name not in claims or claim.created >= claims[name][1].created:
                claims[name] = delivery, claim
        return claims

    def _afford(self, now: float) -> bool:
        """Whether one more may be verified in this second."""
        if int(now) != self._second:
            self._second, self._spent = int(now), 0
            self._heard = {name: at for name, at in self._heard.items() if now - at < _AGAIN}
        self._spent += 1
        if self._spent > _MOST:
            self.counts["skipped"] += 1
            return False
        return True

    def _open(self, delivery: Delivery, now: float) -> CachedNode | None:
        try:
            registration = open_registration(
                delivery.body, delivery.headers, self._verifier, BodyLimits(), now
            )
        except Rejected as refusal:
            name = read_registration(delivery.body, BodyLimits()).identity
            self._refuse(name, refusal)
            self._refused.note(name, delivery, refusal, now)
            return None
        self._heard[registration.identity] = now
        self._refused.forget(registration.identity)
        return registered(registration, now)

    def _refuse(self, name: str, refusal: Rejected) -> None:
        self.counts[refusal.reason.value] += 1
        log.debug("a registration of %s is refused: %s", name or "nobody", refusal)
