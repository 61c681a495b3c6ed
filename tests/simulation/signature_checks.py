"""A stand-in for `SignatureProcess`: there from the first reply on, and it dies now and then.

The real one is started by a backlog that no run has. What the receiver makes of one is its own: a
group waits for the answer while the next is opened, and what is not called good is checked by itself.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from mcshell.pki.check_main import check_all
from mcshell.wire.documents.envelope import CERTIFICATE, SIGNATURE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mcshell.wire.documents.signatures import Verifier
    from mcshell.wire.stomp.transport import Delivery
    from tests.simulation.green import Scheduler

__all__ = ["SignatureChecks"]

ASKED, DEAD = 0.3, 0.1


class SignatureChecks:
    """Checks a part of all groups; whether it is asked, and whether it has died, is the seed's."""

    def __init__(self, scheduler: Scheduler, verifier: Verifier) -> None:
        self._scheduler = scheduler
        self._verifier = verifier
        self._asked: deque[Sequence[Delivery]] = deque()

    def ask(self, group: Sequence[Delivery]) -> bool:
        """Whether there will be an answer about this group."""
        if not group or self._scheduler.dice.random() > ASKED:
            return False
        self._asked.append(group)
        return True

    def answer(self) -> bytes:
        """Of the first group that was asked about a byte for each delivery: 1 for a good signature."""
        group = self._asked.popleft()
        self._scheduler.point()
        if self._scheduler.dice.random() < DEAD:
            return bytes(len(group))
        return b"".join(map(self._check, group))

    def _check(self, one: Delivery) -> bytes:
        signature, certificate = one.headers.get(SIGNATURE, ""), one.headers.get(CERTIFICATE, "")
        claim = self._verifier.claim(one.body, signature, certificate)
        return bytes(1) if claim is None else check_all([claim])

    def close(self) -> None:
        """It ends."""
        self._asked.clear()
