"""The way in from the old wire: what a message of MCollective's comes to on this node.

In order: size, hash or signature, dates, collective, where the answer may go; the filter; replay;
policy; DDL. Callers are prefixed (`mco-psk:uid=0`), so that no native rule is about them. The ids of
this wire are of anyone's choice: they are claimed apart, so that they stand in no native request's
way; what has come over the native wire is not run again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mcshell.errors import FilterError, Reason, Rejected
from mcshell.filters import compile_filter
from mcshell.message import Via
from mcshell.values import dataclass
from mcshell.wire.mcollective.layouts import Stamp
from mcshell.wire.mcollective.messages import DISCOVERY, read_request

if TYPE_CHECKING:
    from mcshell.message import Request
    from mcshell.node.admission.controller import AdmissionController
    from mcshell.node.admission.replay import ReplayGuard
    from mcshell.node.mcollective.host import MCollectiveHost
    from mcshell.node.verdicts import Admitted, Refusal
    from mcshell.wire.mcollective.layouts import Layout
    from mcshell.wire.mcollective.messages import Incoming
    from mcshell.wire.mcollective.setup import Wire
    from mcshell.wire.stomp.transport import Delivery

__all__ = ["Asked", "MCollectiveAdmission"]

_LONG: Final = 30 * 86400.0
"""Seconds for which a one-time key of aes is remembered: whoever has one could use it for ever."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that is for this node. `verdict` is None for a discovery, which needs none."""

    incoming: Incoming
    reply_to: str
    verdict: Admitted | Refusal | None

    @property
    def request(self) -> Request:
        """The request, as our own wire would have brought it."""
        return self.incoming.request


class MCollectiveAdmission:
    """Decides about messages of that network, for one node; called from one thread."""

    def __init__(
        self,
        wire: Wire,
        mco_host: MCollectiveHost,
        controller: AdmissionController,
        replay_guard: ReplayGuard,
    ) -> None:
        self._wire = wire
        self._mco_host = mco_host
        self._host = mco_host.host
        self._controller = controller
        self._replay_guard = replay_guard

    def admit(
        self, delivery: Delivery, layout: Layout, collective: str, *, direct: bool, now: float
    ) -> Asked | None:
        """Verify and decide; None when the message is not for this node, or refused (audited)."""
        via = Via.DIRECT if direct else Via.BROADCAST
        self._mco_host.count("total")
        try:
            asked = self._open(delivery, layout, collective, now, direct=direct)
        except Rejected as refusal:
            if refusal.reason is Reason.EXPIRED:
                self._mco_host.count("ttlexpired")
            self._refuse(refusal.reason, refusal.detail, "", via)
            return None
        except FilterError as error:
            self._refuse(Reason.MALFORMED, str(error), "", via)
            return None
        if asked is None or not self._claim(asked.incoming, via, now):
            return None
        request = asked.request
        if request.agent == DISCOVERY:
            self._controller.discovered(request, self._host)
            return asked
        self._host.journal.note(request.id, "received")
        verdict = self._controller.admit(request, self._host)
        return Asked(asked.incoming, asked.reply_to, verdict)

    def _open(
        self, delivery: Delivery, layout: Layout, collective: str, now: float, *, direct: bool
    ) -> Asked | None:
        wire = self._wire
        opened = wire.security.open_request(wire.unwrapped(delivery.body), wire.limits, now)
        me = wire.sender if direct else None
        incoming = read_request(opened, wire.security.name, identity=me)
        self._mco_host.count("validated")
        request = incoming.request
        if request.collective != collective:
            raise Rejected(
                Reason.WRONG_COLLECTIVE, f"for {request.collective}, came in over {collective}"
            )
        reply_to = delivery.headers.get("reply-to", "")
        if incoming.answer:
            layout.reply(reply_to, Stamp(wire.sender, 1, now))
        # MCollective's nodes, too, say nothing of an agent that they have not.
        here = self._mco_host.service(request.agent) is not None
        if not here or not compile_filter(request.filter, versions=False).matches(self._mco_host):
            self._host.journal.passed(request.id)
            self._mco_host.count("filtered")
            return None
        self._mco_host.count("passed")
        return Asked(incoming, reply_to, None)

    def _claim(self, incoming: Incoming, via: Via, now: float) -> bool:
        """Take it, if it is no replay. A ping does nothing, and may come over both wires.

        What is signed is taken once, too: under ssl the body (a ping, which has no action, may be
        the same within a second), under aes the one-time key.
        """
        request, name = incoming.request, f"mco:{self._host.identity}"
        pinged = request.agent == DISCOVERY
        wanted = [(name, request.id, request.expires)]
        if self._wire.security.name == "aes":
            wanted.append((name, incoming.once, now + _LONG))
        elif incoming.once != request.id and not pinged:
            wanted.append((name, incoming.once, request.expires))
        mine = all(self._replay_guard.claim_many(wanted, min(now, request.created)))
        if mine and (pinged or not self._replay_guard.claimed(self._host.identity, request.id)):
            return True
        self._refuse(Reason.REPLAYED, "this ran here before", request.id, via, request.caller)
        return False

    def _refuse(
        self, reason: Reason, detail: str, requestid: str, via: Via, caller: str = ""
    ) -> None:
        self._mco_host.count("unvalidated")
        self._controller.refuse(self._host, reason, f"old wire: {detail}", requestid, via, caller)
