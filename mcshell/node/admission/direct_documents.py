"""What comes to a node's direct queue and is no request: it speaks for itself, whoever brought it.

A rule is signed by its author, a revocation list by the CA. There is no answer: the node's next
registration, which goes out at once, says what it has now.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from mcshell.errors import MCShellError, Rejected
from mcshell.message import Via
from mcshell.wire.documents.envelope import BodyLimits
from mcshell.wire.documents.rule import RULE, digest_of, kind_of, read_crl

if TYPE_CHECKING:
    from mcshell.node.admission.controller import AdmissionController
    from mcshell.node.host import Host
    from mcshell.wire.documents.envelope import Arrival
    from mcshell.wire.stomp.transport import Delivery

__all__ = ["took"]

log = logging.getLogger(__name__)


def took(delivery: Delivery, arrival: Arrival, host: Host, controller: AdmissionController) -> bool:
    """Take a rule or a revocation list; False when the message is neither (so it is a request)."""
    if arrival.via is not Via.DIRECT or not (kind := kind_of(delivery.body)):
        return False
    try:
        if kind == RULE:
            if host.job_manager is not None:
                body, headers = delivery.body, delivery.headers
                host.job_manager.rules.take(body, headers, host.identity, arrival.collective)
        elif host.revocation is not None:
            host.revocation.take(read_crl(delivery.body, BodyLimits()), host.identity, "")
            host.announce()
    except Rejected as refusal:
        digest = digest_of(delivery.body)
        controller.refuse(host, refusal.reason, refusal.detail, digest, Via.DIRECT)
    except MCShellError as error:
        log.error("a %s could not be taken: %s", kind, error)  # noqa: TRY400 - said in full
    return True
