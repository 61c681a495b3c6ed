"""From a message to a verdict: it is verified, its id is claimed, policy and DDL are asked.

One message may concern many nodes of one process (the emulator's): each verifies it for itself,
their claims are committed together, before anything runs.

What comes to a node's direct queue and is no request needs no right: a rule is signed by its author, a
revocation list by the CA and by whoever of the fleet brings it. There is no answer; the node's next
registration, which goes out at once, says what it has now.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Protocol

from mcshell.errors import MCShellError, Reason, Rejected
from mcshell.message import Via
from mcshell.node.verdicts import Refusal
from mcshell.wire.documents.envelope import RULE, RequestReader
from mcshell.wire.documents.rule import rule_digest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from mcshell.message import Request
    from mcshell.node.admission.controller import AdmissionController
    from mcshell.node.admission.replay import ReplayGuard
    from mcshell.node.host import Host
    from mcshell.node.verdicts import Admitted
    from mcshell.wire.documents.envelope import Arrival
    from mcshell.wire.stomp.transport import Delivery

__all__ = ["DirectDocuments", "MessageIntake"]


log = logging.getLogger(__name__)


class MessageIntake:
    """Takes messages for the nodes of one process; called from one thread."""

    def __init__(self, controller: AdmissionController, replay_guard: ReplayGuard) -> None:
        self._controller = controller
        self._replay_guard = replay_guard

    def admit(
        self,
        body: bytes,
        headers: Mapping[str, str],
        whom: Iterable[tuple[Host, Arrival]],
        now: float,
    ) -> Iterator[tuple[Host, Admitted | Refusal]]:
        """Yield a verdict for each node that it is for; the id is claimed on disk by then."""
        concerned: list[tuple[Host, Request, Refusal | None]] = []
        read = RequestReader()
        for host, arrival in whom:
            found = self._controller.open(body, headers, arrival, host, now, read)
            if isinstance(found, Refusal):
                concerned.append((host, found.request, found))
            elif found is not None:
                concerned.append((host, found, None))
        if not concerned:
            return
        try:
            claimed = self._replay_guard.claim_many(
                [(host.identity, one.id, max(one.expires, now)) for host, one, _ in concerned],
                min(now, max(one.created for _, one, _ in concerned)),
            )
        except MCShellError as error:
            for host, request, refusal in concerned:
                yield host, refusal or self._controller.unclaimed(request, host, error)
            return
        for (host, request, refusal), mine in zip(concerned, claimed, strict=True):
            if mine and refusal is not None:
                self._controller.misdated(refusal, host)
                yield host, refusal
                continue
            if not mine:
                self._controller.refuse(
                    host,
                    Reason.REPLAYED,
                    "this id ran here before",
                    request.id,
                    request.via,
                    request.caller,
                )
                continue
            host.journal.note(request.id, "received")
            yield host, self._controller.admit(request, host)


class RuleIntake(Protocol):
    """Who takes rules (`jobs.rules.RuleManager`)."""

    def accept(
        self, body: bytes, headers: Mapping[str, str], identity: str, collective: str
    ) -> None:
        """Accept a rule that somebody brought."""


class DirectDocuments:
    """Accepts them for the nodes of one process. `announce` is called with who has news to register."""

    def __init__(
        self, controller: AdmissionController, rules: RuleIntake, announce: Callable[[str], None]
    ) -> None:
        self._controller = controller
        self._rules = rules
        self._announce = announce

    def accept(self, kind: str, delivery: Delivery, collective: str, host: Host) -> None:
        """Accept a rule or a revocation list (`envelope.kind_of`), or audit why not."""
        body = delivery.body
        try:
            if kind == RULE:
                self._rules.accept(body, delivery.headers, host.identity, collective)
            elif host.revocation is not None:
                carried = self._controller.open_crl(body, delivery.headers, time.time())
                host.revocation.update_carried(carried.lists, host.identity, carried.carrier)
                self._announce(host.identity)
        except Rejected as refusal:
            digest = rule_digest(body)
            self._controller.refuse(host, refusal.reason, refusal.detail, digest, Via.DIRECT)
        except MCShellError as error:
            log.error("a %s could not be taken: %s", kind, error)  # noqa: TRY400 - said in full
