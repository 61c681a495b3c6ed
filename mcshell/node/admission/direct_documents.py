"""What comes to a node's direct queue and is no request: it speaks for itself, whoever brought it.

A rule is signed by its author, a revocation list by the CA. There is no answer: the node's next
registration, which goes out at once, says what it has now.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Protocol

from mcshell.errors import MCShellError, Rejected
from mcshell.message import Via
from mcshell.wire.documents.envelope import BodyLimits
from mcshell.wire.documents.rule import RULE, digest_of, kind_of, read_crl

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mcshell.node.admission.controller import AdmissionController
    from mcshell.node.host import Host
    from mcshell.wire.documents.envelope import Arrival
    from mcshell.wire.stomp.transport import Delivery

__all__ = ["DirectDocuments"]

log = logging.getLogger(__name__)


class RuleIntake(Protocol):
    """Who takes rules (`jobs.rules.RuleManager`)."""

    def take(self, body: bytes, headers: Mapping[str, str], identity: str, collective: str) -> None:
        """Take a rule that somebody brought."""


class DirectDocuments:
    """Takes them for the nodes of one process. `announce` is called with who has news to register."""

    def __init__(
        self, controller: AdmissionController, rules: RuleIntake, announce: Callable[[str], None]
    ) -> None:
        self._controller = controller
        self._rules = rules
        self._announce = announce

    def take(self, delivery: Delivery, arrival: Arrival, host: Host) -> bool:
        """Take a rule or a revocation list; False when the message is neither (so it is a request)."""
        if arrival.via is not Via.DIRECT or not (kind := kind_of(delivery.body)):
            return False
        body, headers = delivery.body, delivery.headers
        try:
            if kind == RULE:
                self._rules.take(body, headers, host.identity, arrival.collective)
            elif host.revocation is not None:
                host.revocation.take(read_crl(body, BodyLimits()), host.identity, "")
                self._announce(host.identity)
        except Rejected as refusal:
            digest = digest_of(body)
            self._controller.refuse(host, refusal.reason, refusal.detail, digest, Via.DIRECT)
        except MCShellError as error:
            log.error("a %s could not be taken: %s", kind, error)  # noqa: TRY400 - said in full
        return True
