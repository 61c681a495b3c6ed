"""Registrations, as an open client hears them: it remembers the nodes that register.

A registration is verified only where it tells something new: repeats within a second, and what
another process of this operator has already kept, are dropped unverified; more than so many a
second are not verified either (the next interval heals it).
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, TypeAlias

from mcshell.client.discovery.node_cache import registered
from mcshell.client.messaging.receive_buffer import ReceiveBuffer
from mcshell.client.messaging.rejections import Rejections
from mcshell.errors import Reason, Rejected, not_kept
from mcshell.wire import destinations
from mcshell.wire.documents.envelope import CERTIFICATE, SIGNATURE, BodyLimits
from mcshell.wire.documents.registration import open_registration, read_registration

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from mcshell.client.discovery.node_cache import CachedNode, NodeCache
    from mcshell.client.messaging.rejections import Rejection
    from mcshell.wire.documents.registration import Registration
    from mcshell.wire.documents.signatures import Verifier
    from mcshell.wire.stomp.transport import Delivery, Transport

__all__ = ["RegistrationFilter", "RegistrationListener"]

log = logging.getLogger(__name__)

Claim: TypeAlias = "tuple[Delivery, Registration]"
_GROUP = 200
_AGAIN = 1.0
_MOST = 500


class RegistrationFilter:
    """What is to be verified of the registrations that come in; for one thread.

    Args:
        verifier: by our CA.
        most: so many are verified a second.
        again: seconds after one that was believed in which its node's next are repeats.

    `counts` says what became of them: repeated, skipped, and refused by reason.
    """

    def __init__(self, verifier: Verifier, most: int, again: float = 0.0) -> None:
        self._verifier = verifier
        self._most = most
        self._again = again
        self._heard: dict[str, float] = {}
        self._second, self._spent = 0, 0
        self.refused = Rejections(verifier)
        self.counts: Counter[str] = Counter()

    def claims(
        self, group: Iterable[tuple[str, Delivery]], now: float
    ) -> dict[tuple[str, str], list[Claim]]:
        """What came over collectives' topics by (collective, name), the newest first; none believed.

        What is not signed at all claims nothing: it must not stand in the way of what is.
        """
        claims: dict[tuple[str, str], list[Claim]] = {}
        for collective, delivery in group:
            try:
                claim = read_registration(delivery.body, BodyLimits())
            except Rejected as refusal:
                self._refuse("", refusal)
                continue
            place = collective, claim.identity
            if self._repeated(claim.identity, now) or collective not in claim.collectives:
                self.counts["repeated"] += 1
            elif not {SIGNATURE, CERTIFICATE} <= delivery.headers.keys():
                self._refuse(claim.identity, Rejected(Reason.UNSIGNED, "no signature"))
            else:
                claims.setdefault(place, []).insert(0, (delivery, claim))
        for some in claims.values():
            some.sort(key=lambda one: one[1].created, reverse=True)
        return claims

    def newest(self, claims: Iterable[Claim], now: float) -> Claim | None:
        """The first of a node's claims whose signature holds; a forged one only costs a look."""
        for delivery, claim in claims:
            if (registration := self.verified(delivery, claim, now)) is not None:
                return delivery, registration
        return None

    def verified(self, delivery: Delivery, claim: Registration, now: float) -> Registration | None:
        """What one of them says, if its signature holds and there is time to look."""
        if not self._afford(now):
            return None
        name = claim.identity
        try:
            body, headers = delivery.body, delivery.headers
            registration = open_registration(body, headers, self._verifier, BodyLimits(), now)
        except Rejected as refusal:
            self._refuse(name, refusal)
            self.refused.note(name, delivery, refusal, now)
            return None
        self._heard[name] = now
        self.refused.forget(name)
        return registration

    def _afford(self, now: float) -> bool:
        """Whether one more may be verified in this second."""
        if int(now) != self._second:
            self._second, self._spent = int(now), 0
            self._heard = {
                name: at for name, at in self._heard.items() if self._repeated(name, now)
            }
        self._spent += 1
        if self._spent > self._most:
            self.counts["skipped"] += 1
            return False
        return True

    def _repeated(self, name: str, now: float) -> bool:
        """Whether a node was heard of just now; not where the clock has been put back since."""
        return 0.0 <= now - self._heard.get(name, -math.inf) < self._again

    def _refuse(self, name: str, refusal: Rejected) -> None:
        self.counts[refusal.reason.value] += 1
        log.info("a registration of %s is refused: %s", name or "nobody", refusal)


class RegistrationListener:
    """Keeps `known` up to date from the registrations of one collective, in a thread of its own.

    `counts` as of a `RegistrationFilter`, and how many were learned.
    """

    def __init__(
        self, transport: Transport, verifier: Verifier, known: NodeCache, collective: str
    ) -> None:
        self._transport = transport
        self._known = known
        self._collective = collective
        self._inbox = ReceiveBuffer()
        self._followers: list[Callable[[CachedNode], None]] = []
        self._filter = RegistrationFilter(verifier, _MOST, _AGAIN)
        self.counts = self._filter.counts
        self._thread = threading.Thread(target=self._run, name="mcshell-inventory", daemon=True)

    def start(self) -> None:
        """Subscribe and begin."""
        self._thread.start()
        topic = destinations.registration(self._collective)
        self._transport.subscribe(topic, self._inbox, ack="auto")

    def stop(self) -> None:
        """End the thread, once what has come is looked at."""
        self._inbox.end()
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
        return self._filter.refused.of(identity)

    def _run(self) -> None:
        while (group := self._inbox.take(_GROUP)) is not None:
            try:
                self._handle(group)
            except Exception as error:  # noqa: BLE001 - it is logged; the next ones may do
                not_kept(log, len(group), "registrations", error)

    def _handle(self, group: list[Delivery]) -> None:
        now = time.time()
        claims = self._filter.claims([(self._collective, one) for one in group], now)
        names = [name for _collective, name in claims]
        already = {} if self._followers else self._known.seen(self._collective, names)
        learned: list[CachedNode] = []
        for (_collective, name), some in claims.items():
            told = already.get(name, 0.0) + _AGAIN
            news = [one for one in some if one[1].seen(now) > told]
            self.counts["repeated"] += len(some) - len(news)
            if (newest := self._filter.newest(news, now)) is not None:
                learned.append(registered(newest[1], now))
        self._known.learn(self._collective, learned)
        self.counts["learned"] += len(learned)
        for node in learned:
            for follower in self._followers:
                follower(node)
