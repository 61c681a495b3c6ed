"""A machine asks its CA over a broker, and waits for the answer.

It logs in where that needs no certificate, and says the same request again until there is an answer: the
CA's service may be down, or somebody has to look first. All who ask hear all answers; whose one is, its
digest says, and whether to believe it is `machine`'s question. Until the machine has its CA it cannot
tell one broker from another: who stands in between can keep an answer from it, and no more.
"""

from __future__ import annotations

import logging
import time
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Final

from mcshell.errors import ConnectionLost, Rejected
from mcshell.wire import destinations
from mcshell.wire.destinations import ENROL_LOGIN, ENROLMENT_VHOST
from mcshell.wire.documents.enrolment import EnrolmentMessage
from mcshell.wire.stomp.connector import Connector
from mcshell.wire.stomp.endpoint import TLSFiles

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from mcshell.wire.stomp.transport import Delivery

__all__ = ["ask"]

log = logging.getLogger(__name__)

_AGAIN: Final = 5.0
"""Seconds after which the same request is said again."""


def ask(
    urls: Sequence[str],
    collective: str,
    request: EnrolmentMessage,
    take: Callable[[EnrolmentMessage], bool],
    *,
    ca: Path | None = None,
    timeout: float = 60.0,
) -> bool:
    """Ask until `take` says that an answer is the last word; False when there was none in time.

    `take` may raise Rejected for an answer that is not to be believed: the next may be.

    Args:
        urls: the listeners for machines without a certificate.
        collective: whose CA is asked.
        request: what is asked.
        take: told of each answer.
        ca: the CAs that the broker's certificate must come from (PEM), where they are known.
        timeout: seconds.

    Raises:
        ConnectError: no broker can be reached.
        ConnectionLost: it refuses what is asked of it.
    """
    until = time.monotonic() + timeout
    heard: SimpleQueue[Delivery] = SimpleQueue()
    told: set[str] = set()
    link = Connector(
        urls, user=ENROL_LOGIN, passcode=ENROL_LOGIN, tls=TLSFiles(ca), vhost=ENROLMENT_VHOST
    )
    with link:
        link.start(min(timeout, _AGAIN * 2))
        link.subscribe(destinations.enrolled(collective), heard, ack="auto")
        while (left := until - time.monotonic()) > 0:
            try:
                link.send(destinations.enrolment(collective), request.dump())
            except ConnectionLost as why:
                if why.refused:
                    raise
                continue  # a broker that takes over new rights may run anew for it
            if _heard(heard, request, take, told, min(_AGAIN, left)):
                return True
    return False


def _heard(
    inbox: SimpleQueue[Delivery],
    request: EnrolmentMessage,
    take: Callable[[EnrolmentMessage], bool],
    told: set[str],
    patience: float,
) -> bool:
    """Whether the answer has come within so many seconds; each flaw of one is `told` once."""
    until = time.monotonic() + patience
    ours = request.digest.encode()
    while (left := until - time.monotonic()) > 0:
        try:
            delivery = inbox.get(timeout=left)
        except Empty:
            break
        if ours not in delivery.body:
            continue
        try:
            if take(EnrolmentMessage.load(delivery.body)):
                return True
        except Rejected as why:
            if (said := str(why)) not in told:
                told.add(said)
                log.warning("an answer to our request is not taken: %s", said)
    return False
