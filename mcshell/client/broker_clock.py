"""Whether a broker takes for over what is not: then its clock is ahead of ours.

Brokers that are told a moment (`Dialect.expiry_relative` is False) drop, without a word, whatever is
over by their own clock. All that is asked of a node directly has an end, what is asked of all has none.
"""

from __future__ import annotations

import time
import uuid
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from mcshell.wire.stomp.transport import Delivery, Transport

__all__ = ["TRIAL", "early_end"]

TRIAL: Final = "mcs-trial"
"""The header of what is sent for this, and says nothing."""


def early_end(transport: Transport, topic: str, lasts: float, timeout: float) -> str:
    """What says that the broker takes for over what is good for so long (seconds); "" where it does not.

    `topic` is one that we may write to and read; who else reads it leaves alone what has the header.

    Raises:
        WireError: nothing can be sent there, or heard from there.
    """
    inbox: SimpleQueue[Delivery] = SimpleQueue()
    now, mark = time.time(), uuid.uuid4().hex
    ends = transport.dialect.send_headers(persistent=False, expires=now + lasts, now=now)
    number = transport.subscribe(topic, inbox, ack="auto")
    try:
        transport.send(topic, b"", {TRIAL: f"{mark} ends", **ends})
        transport.send(topic, b"", {TRIAL: f"{mark} stays"})
        said = _next(inbox, mark, timeout)
    finally:
        transport.unsubscribe(number)
    dropped = f"it dropped what is good for another {lasts:g} s, and brought what has no end"
    return dropped if said == "stays" else ""


def _next(inbox: SimpleQueue[Delivery], mark: str, timeout: float) -> str:
    """Which of our two came first; "" for none."""
    until = time.monotonic() + timeout
    try:
        while True:
            delivery = inbox.get(timeout=max(0.001, until - time.monotonic()))
            whose, _, said = delivery.headers.get(TRIAL, "").partition(" ")
            if whose == mark:
                return said
    except Empty:
        return ""
