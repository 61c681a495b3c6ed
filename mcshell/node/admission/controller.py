"""The way in: is this message to be believed, is it for this node, may it, and does it make sense.

In this order (mcshell/README.md §6): size, signature, kind, expiry and skew; the filter; replay (by
the caller, between `open` and `admit`); policy and authorisers; DDL. Every refusal is audited. What
cannot be verified gets no answer; what is verified and refused gets one that says why. That holds too
where nothing but a date is wrong: one of two clocks is off then, and who asked can compare them.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from mcshell.errors import (
    FilterError,
    InputError,
    MCShellError,
    Reason,
    Rejected,
    StorageError,
    UsageError,
)
from mcshell.filters import compile_filter
from mcshell.message import State, StatusCode, Via
from mcshell.node.journal import claimed_id
from mcshell.node.verdicts import Admitted, Refusal
from mcshell.wire.documents.crl import open_crl
from mcshell.wire.documents.envelope import (
    Arrival,
    BodyLimits,
    RequestReader,
    open_request,
    read_request,
    verified,
)
from mcshell.wire.documents.job import open_job
from mcshell.wire.documents.rule import open_rule, rule_digest, signed_part

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mcshell.message import Job, Request, Rule
    from mcshell.node.admission.approvals import Approvals
    from mcshell.node.admission.policy import Authorisation
    from mcshell.node.agents.registry import AgentRegistry, ServedAgent
    from mcshell.node.audit.log import AuditLog
    from mcshell.node.host import Host
    from mcshell.node.verdicts import Outcome
    from mcshell.wire.documents.crl import CarriedLists
    from mcshell.wire.documents.signatures import Verifier

__all__ = ["AdmissionController"]

log = logging.getLogger(__name__)


class AdmissionController:
    """Decides what the nodes of one process take; each question is about one of them (`host`)."""

    def __init__(
        self,
        *,
        verifier: Verifier,
        limits: BodyLimits,
        authorisation: Authorisation,
        served: AgentRegistry,
        audit: AuditLog,
        approvals: Approvals | None = None,
    ) -> None:
        self._verifier = verifier
        self.limits = limits
        self._authorisation = authorisation
        self._served = served
        self._audit = audit
        self._approvals = approvals

    def open(
        self,
        body: bytes,
        headers: Mapping[str, str],
        arrival: Arrival,
        host: Host,
        now: float,
        read: RequestReader | None = None,
    ) -> Request | Refusal | None:
        """Verify a message and see whether it is for this node; None when it is not.

        A refusal is of one whose only fault is its date. `read`: the message's, where it is for several nodes.
        """
        try:
            found = self._dated(body, headers, arrival, host, now, read)
            request = found.request if isinstance(found, Refusal) else found
            if request.via is Via.BROADCAST and not compile_filter(request.filter).matches(host):
                host.journal.passed(request.id)
                return None
        except Rejected as refusal:
            self.refuse(host, refusal.reason, refusal.detail, claimed_id(body), arrival.via)
            return None
        except FilterError as error:
            self.refuse(host, Reason.MALFORMED, str(error), claimed_id(body), arrival.via)
            return None
        return found

    def _dated(
        self,
        body: bytes,
        headers: Mapping[str, str],
        arrival: Arrival,
        host: Host,
        now: float,
        read: RequestReader | None = None,
    ) -> Request | Refusal:
        """Verify; what is refused for its date alone is a refusal that can be answered."""
        try:
            return self._opened(body, headers, arrival, host, now, read)
        except Rejected as refusal:
            # The dates come last: all else about it was found right.
            if refusal.reason is Reason.EXPIRED:
                state, text = State.EXPIRED, f"expired {refusal.detail}"
            elif refusal.reason is Reason.FROM_FUTURE:
                state, text = State.FAILED, refusal.detail
            else:
                raise
            return Refusal(read_request(body), state, StatusCode.UNKNOWN_ERROR, text)

    def misdated(self, refusal: Refusal, host: Host) -> None:
        """Audit a request that is refused for its date."""
        reason = Reason.EXPIRED if refusal.state is State.EXPIRED else Reason.FROM_FUTURE
        request = refusal.request
        detail = refusal.statusmsg.removeprefix("expired ")
        self.refuse(host, reason, detail, request.id, request.via, request.caller)

    def _opened(
        self,
        body: bytes,
        headers: Mapping[str, str],
        arrival: Arrival,
        host: Host,
        now: float,
        read: RequestReader | None = None,
    ) -> Request:
        """Verify; under a stale revocation list, once more with the newer one that it carries."""
        try:
            return open_request(body, headers, self._verifier, arrival, self.limits, now, read=read)
        except Rejected as refusal:
            lists = host.revocation if refusal.reason is Reason.STALE_CRL else None
            if lists is None:
                raise
            brings = open_request(
                body, headers, self._verifier, arrival, self.limits, now, stale=True
            )
            if not lists.carried(brings, host.identity):
                raise
        return open_request(body, headers, self._verifier, arrival, self.limits, now=now)

    def open_work(
        self, body: bytes, headers: Mapping[str, str], arrival: Arrival, host: Host, now: float
    ) -> Request | Refusal | None:
        """Verify a message from a queue; None when it gets no answer."""
        try:
            found = self._dated(body, headers, arrival, host, now)
        except Rejected as refusal:
            self.refuse(host, refusal.reason, refusal.detail, claimed_id(body), arrival.via)
            return None
        if isinstance(found, Refusal):
            self.misdated(found, host)
        return found

    def still_trusted(
        self,
        body: bytes,
        headers: Mapping[str, str],
        received: float,
        host: Host,
        request: Request,
    ) -> Refusal | None:
        """Verify a stored request again before it starts: its author may be revoked since.

        Dates are judged as of `received`, when it was accepted.
        """
        try:
            verified(signed_part(body), headers, self._verifier, received, stored=True)
        except Rejected as refusal:
            return self.deny(request, host, f"denied: {refusal}")
        return None

    def deny(self, request: Request, host: Host, why: str) -> Refusal:
        """Refuse a verified request as `denied`, for the reason `why`; audited."""
        return self._refusal(request, host, State.DENIED, StatusCode.FAILED, why)

    def open_job(
        self, body: bytes, headers: Mapping[str, str], host: Host, request: Request, now: float
    ) -> Job | Refusal:
        """Verify the document of a job that a request has brought, and that they fit together."""
        try:
            job = open_job(body, headers, self._verifier, self.limits, now)
        except Rejected as refusal:
            return self.deny(request, host, f"denied: the job's document: {refusal}")
        if job.author != request.caller:
            return self.deny(request, host, f"denied: a job of {job.author}, not of the caller")
        if job.collective != request.collective:
            return self.deny(request, host, f"denied: a job for the collective {job.collective}")
        return job

    def open_crl(self, body: bytes, headers: Mapping[str, str], now: float) -> CarriedLists:
        """Verify who has brought revocation lists; raises Rejected."""
        return open_crl(body, headers, self._verifier, self.limits, now)

    def open_rule(
        self, body: bytes, headers: Mapping[str, str], host: Host, collective: str, now: float
    ) -> Rule | None:
        """Verify a rule that came over a collective; None, and audited, when it is refused."""
        try:
            return open_rule(body, headers, self._verifier, self.limits, now, collective)
        except Rejected as refusal:
            self.refuse(host, refusal.reason, refusal.detail, rule_digest(body), Via.DIRECT)
            return None

    def may(self, request: Request, host: Host) -> Refusal | None:
        """Whether the caller may do this here; DDL and inputs are another question."""
        why = self._authorisation.denied(
            host, request.caller, request.agent, request.action, request.data
        )
        return None if why is None else self.deny(request, host, why)

    def ruled(self, host: Host, rule: Rule, digest: str, jobs: int) -> None:
        """Audit that a rule was taken, with how many new jobs."""
        self._audit.write(
            {
                "event": "rule",
                "identity": host.identity,
                "requestid": digest,
                "caller": rule.author,
                "rule": rule.name,
                "revision": rule.revision,
                "jobs": jobs,
            }
        )

    def may_touch(self, request: Request, host: Host, owner: str) -> Refusal | None:
        """Whether the caller may change a job of another: by a rule for `job.edit` with `owner`."""
        why = self._authorisation.denied(host, request.caller, "job", "edit", request.data, owner)
        return None if why is None else self.deny(request, host, f"{why}: it is a job of {owner}")

    def may_cancel(self, host: Host, callers: str, job: str, owner: str) -> bool:
        """Whether one of these callers (with spaces) may end what is `owner`'s."""
        return any(
            one == owner
            or not self._authorisation.denied(host, one, "job", "edit", {"job": job}, owner)
            for one in callers.split()
        )

    def refuse(
        self, host: Host, reason: Reason, detail: str, requestid: str, via: Via, caller: str = ""
    ) -> None:
        """Note a message that gets no answer, and count it in the audit; `caller` when verified."""
        host.journal.refuse(requestid, reason.value, detail)
        event = {
            "event": "refused",
            "identity": host.identity,
            "reason": reason.value,
            "detail": detail,
            "requestid": requestid,
            "via": via.value,
        }
        self._audit.count({**event, "caller": caller} if caller else event)

    def admit(self, request: Request, host: Host, event: str = "accepted") -> Admitted | Refusal:
        """Decide what becomes of a verified request that this node has claimed.

        `event` is what the audit calls it when it may run. A fault of ours costs this request, and not those
        that wait behind it.
        """
        try:
            return self._judged(request, host, event)
        except StorageError:  # the disk may take it later: whoever asks tries again
            raise
        except Exception as error:
            log.exception("%s: request %s could not be judged", host.identity, request.id)
            text = f"refused: internal error: {type(error).__name__} (the node's log has more)"
            return self._refusal(request, host, State.FAILED, StatusCode.UNKNOWN_ERROR, text)

    def _judged(self, request: Request, host: Host, event: str) -> Admitted | Refusal:
        service = self._served.get(request.agent)
        if service is None:
            return self._refusal(
                request,
                host,
                State.FAILED,
                StatusCode.UNKNOWN_ACTION,
                f"no agent {request.agent!r}{self._why_not(request.agent)}",
                counted=True,
            )
        if not service.exempt and (refusal := self.may(request, host)) is not None:
            return refusal
        return self._check(request, host, service, event)

    def _why_not(self, agent: str) -> str:
        why = self._served.inactive.get(agent)
        return f": {why}" if why else ""

    def unclaimed(self, request: Request, host: Host, why: MCShellError) -> Admitted | Refusal:
        """Decide about a request whose id cannot be claimed: discovery may run twice."""
        service = self._served.get(request.agent)
        if service is not None and service.exempt:
            return self._check(request, host, service, "")
        return self.no_room(request, host, why)

    def no_room(self, found: Request | Refusal, host: Host, why: MCShellError) -> Refusal:
        """Refuse a verified request of which nothing can be kept here."""
        if isinstance(found, Refusal):
            return found
        text = f"refused: nothing can be kept here: {why}"
        return self._refusal(
            found, host, State.FAILED, StatusCode.UNKNOWN_ERROR, text, counted=True
        )

    def _check(
        self, request: Request, host: Host, service: ServedAgent, event: str
    ) -> Admitted | Refusal:
        try:
            action = service.ddl.action(request.action)
        except UsageError as error:
            return self._invalid(request, host, service, StatusCode.UNKNOWN_ACTION, str(error))
        try:
            data = action.check(request.data)
        except InputError as error:
            return self._invalid(request, host, service, error.statuscode, str(error))
        if service.exempt:
            self.discovered(request, host)
        elif (
            self._approvals is not None
            and _begins(request, event)
            and (lacking := self._approvals.lacking(request, host, action, data)) is not None
        ):
            return self.deny(request, host, lacking)
        elif (
            why := self._audit.write(
                _about(event, request, host, inputs=action.redact(data)), vital=action.changes
            )
        ) and action.changes:
            text = f"the audit log cannot be written ({why}), and {action.name} changes the machine"
            host.journal.count("refused")
            return Refusal(request, State.FAILED, StatusCode.UNKNOWN_ERROR, f"refused: {text}")
        # Most have no inputs; of others some are typed, or filled in.
        checked = replace(request, data=data) if data or request.data else request
        return Admitted(checked, service, action)

    def _invalid(
        self, request: Request, host: Host, service: ServedAgent, statuscode: int, message: str
    ) -> Refusal:
        """Refuse what the DDL does not take."""
        return self._refusal(
            request, host, State.FAILED, statuscode, message, counted=service.exempt
        )

    def discovered(self, request: Request, host: Host) -> None:
        """Count a request that needs no right."""
        self._audit.count(
            {
                "event": "discovery",
                "identity": host.identity,
                "caller": request.caller,
                "agent": request.agent,
                "action": request.action,
                "via": request.via.value,
            },
            at_once=False,
        )

    def finished(
        self, request: Request, host: Host, outcome: Outcome, event: str = "finished", **more: Any
    ) -> None:
        """Audit how a request came out that had passed policy; or (`event`) what became of it."""
        service = self._served.get(request.agent)
        action = None if service is None else service.ddl.actions.get(request.action)
        about = _about(
            event,
            request,
            host,
            state=outcome.state.value,
            statuscode=outcome.statuscode,
            reason=outcome.statusmsg,
            **more,
        )
        vital = action is not None and action.changes and outcome.state is not State.DENIED
        self._audit.write(about, vital=vital)

    def _refusal(
        self,
        request: Request,
        host: Host,
        state: State,
        statuscode: int,
        message: str,
        *,
        counted: bool = False,
    ) -> Refusal:
        """Refuse a verified request; `counted` where no policy was asked about it."""
        denied = state is State.DENIED
        name = "denied" if denied else "refused"
        event = _about(name, request, host, statuscode=statuscode, reason=message)
        if counted:
            self._audit.count(event)
        else:
            self._audit.write(event)
        if not denied:  # that is a final state, which its reply counts
            host.journal.count(name)
        return Refusal(request, state, statuscode, message)


def _begins(request: Request, event: str) -> bool:
    """Whether what is admitted begins now: what came by its queue is asked about again at its start."""
    return event == "started" or (event == "accepted" and request.via is not Via.QUEUE)


def _about(event: str, request: Request, host: Host, **more: Any) -> dict[str, Any]:
    """What the audit says of a request."""
    return {
        "event": event,
        "identity": host.identity,
        "requestid": request.id,
        "caller": request.caller,
        "agent": request.agent,
        "action": request.action,
        "via": request.via.value,
        **more,
    }
