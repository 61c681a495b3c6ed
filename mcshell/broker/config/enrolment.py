"""What the enrolment listeners of all brokers share: who logs in, and what limits there are.

A machine that has no certificate yet asks for one here, under a login that everybody knows: whoever
reaches the port may ask, and documents carry HMACs of their own. Who serves the CA logs in with a
passcode, as it has no certificate of a kind that a broker would take for this. Both have two topics
(`destinations.enrolment`, `enrolled`), and nothing else.
"""

from __future__ import annotations

from typing import Final

from mcshell.values import dataclass

__all__ = [
    "ANSWER",
    "CONNECTIONS",
    "KEPT",
    "PASSCODE_FILE",
    "EnrolmentAccess",
]

PASSCODE_FILE: Final = "enrolment.passcode"
"""Beside the broker's configuration, for its owner alone."""

KEPT: Final = 60.0
"""Seconds for which a request or an answer is kept, and a queue that nobody reads: who asked, asks again."""

ANSWER: Final = 1 << 20
"""Bytes of the largest answer: a certificate, the CA's, and its revocation list."""

CONNECTIONS: Final = 100
"""Machines that are connected at once. Each may make the broker hold a frame of the largest size."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EnrolmentAccess:
    """Where machines without a certificate ask for one, and the passcode of who answers them."""

    port: int
    passcode: str
