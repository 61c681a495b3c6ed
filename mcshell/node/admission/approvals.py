"""Whether what is about to begin was approved by those who have to: asked of documents that are here.

Nothing that anybody says counts but what he has signed: the author's proposal, and the approvals of
others. All of it is verified again at each start, as whoever signed may be revoked since; and asked of
this node as it is now: its facts, its schema, its `AGENT.approvals`.

A proposal is good for one request on each node, or one job with all its runs, whichever began first.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any, Final, TypeVar

from mcshell.errors import FilterError, InputError, MCShellError, Rejected
from mcshell.filters import compile_filter
from mcshell.message import Via
from mcshell.node.store.approval_table import Emergency, KeptDocument
from mcshell.wire.documents import strict_json
from mcshell.wire.documents.approval import open_approval, open_proposal
from mcshell.wire.documents.envelope import digest_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mcshell import ddl
    from mcshell.message import Approval, Proposal, Request
    from mcshell.node.admission.policy import ApprovalDemand, Authorisation
    from mcshell.node.audit.log import AuditLog
    from mcshell.node.host import Host
    from mcshell.node.store.approval_table import ApprovalTable, KeptProposal
    from mcshell.wire.documents.envelope import BodyLimits, SealedMessage
    from mcshell.wire.documents.signatures import Verifier

__all__ = ["Approvals"]

log = logging.getLogger(__name__)

_WEEK: Final = 7 * 86_400.0
_TOLD: Final = 5
T = TypeVar("T")


class Approvals:
    """Asks what a start wants of approvals, for all nodes of a process. Any thread may call."""

    def __init__(
        self,
        table: ApprovalTable,
        authorisation: Authorisation,
        verifier: Verifier,
        limits: BodyLimits,
        audit: AuditLog,
    ) -> None:
        self.table = table
        self._authorisation = authorisation
        self._verifier = verifier
        self._limits = limits
        self._audit = audit

    def bring_proposal(self, message: SealedMessage, now: float) -> str:
        """Keep a proposal, whoever carries it; its digest.

        Raises:
            Rejected: it is none, or none of an operator's.
            UsageError: no more are kept.
            StorageError: the disk takes nothing.
        """
        kept = KeptDocument(message=message, received=now)
        proposal, digest = self._opened(kept, open_proposal), digest_of(message.body)
        self.table.add_proposal(digest, proposal, kept)
        return digest

    def bring_approval(self, message: SealedMessage, now: float) -> Approval:
        """Keep an approval, whoever carries it; what it says. Raises as `bring_proposal`."""
        kept = KeptDocument(message=message, received=now)
        approval = self._opened(kept, open_approval)
        self.table.add_approval(approval.proposal, approval.author, kept)
        return approval

    def lacking(
        self, request: Request, host: Host, action: ddl.Action, data: Mapping[str, Any]
    ) -> str | None:
        """Why a request may not begin now; None when it may. `data` are its inputs, checked."""
        demand = self._authorisation.demand(host, request.caller, request.agent, request.action)
        if demand is None:
            return None
        wanted = str(demand)
        if demand.error:
            return f"denied: {wanted}"
        if request.emergency:
            return self._emergency(request, host, demand, wanted)
        if request.via is Via.BROADCAST:
            return f"denied: {wanted}, and a broadcast names no nodes: ask by name"
        now = time.time()
        of = (request.caller, request.agent, request.action)
        why = "nobody has proposed it"
        try:
            for kept in self.table.proposals(host.identity, now, of):
                missing = self._unfit(kept, request, host, action, data, demand, now)
                if missing is None:
                    missing = self._use(kept, request, host)
                if missing is None:
                    return None
                why = f"proposal {kept.digest[:12]}: {missing}"
        except MCShellError as error:
            why = f"they cannot be looked up: {error}"
        return f"denied: {wanted}: {why}"

    def _use(self, kept: KeptProposal, request: Request, host: Host) -> str | None:
        used = self.table.use(kept.digest, host.identity, _user(request))
        return None if used == _user(request) else f"{used} has used it"

    def _unfit(
        self,
        kept: KeptProposal,
        request: Request,
        host: Host,
        action: ddl.Action,
        data: Mapping[str, Any],
        demand: ApprovalDemand,
        now: float,
    ) -> str | None:
        """Why a proposal is no reason to begin; None when it is one."""
        try:
            found = self._opened(kept.document, open_proposal)
        except Rejected as refusal:
            return str(refusal)
        for wrong, why in (
            (found.author != request.caller, f"it is {found.author}'s"),
            (found.collective != request.collective, f"it is for {found.collective}"),
            (now > found.expires, "it has ended"),
            (kept.used not in ("", _user(request)), f"{kept.used} has used it"),
            (host.identity not in found.nodes, f"{host.identity} is not among its nodes"),
            (found.schema != action.digest, "the schema here is another than was approved"),
            (not _same(action, found.data, data), "it is for other inputs"),
        ):
            if wrong:
                return why
        try:
            if not compile_filter(found.filter).matches(host):
                return "its filter does not match here any more"
        except FilterError as error:
            return f"its filter: {error}"
        lacking = (self._too_few(kept, found, one) for one in (demand, *demand.also))
        return next(filter(None, lacking), None)

    def _too_few(self, kept: KeptProposal, found: Proposal, demand: ApprovalDemand) -> str | None:
        """Whether approvals are missing, and what is wrong with those that do not count."""
        assert demand.approvers is not None, "who wants approvals says whose"
        counted: set[str] = set()
        others: list[str] = []
        for one in kept.approvals:
            try:
                approval = self._opened(one, open_approval)
            except Rejected as refusal:
                others.append(refusal.reason.value)
                continue
            if approval.author == found.author:
                others.append("its author's own")
            elif not demand.approvers.include(approval.author, allow=True):
                others.append(f"{approval.author} may not approve it")
            elif approval.proposal != kept.digest or approval.created > found.expires:
                others.append(f"{approval.author}'s is not for it")
            else:
                counted.add(approval.author)
        if len(counted) >= demand.count:
            return None
        told = f"; not counted: {', '.join(sorted(set(others))[:_TOLD])}" if others else ""
        return f"{len(counted)} of {demand.count}{told}"

    def _opened(self, kept: KeptDocument, read: Callable[..., T]) -> T:
        """Read a document and verify it, again if it was kept; dates as of when it came in."""
        message = kept.message
        return read(message.body, message.headers, self._verifier, self._limits, kept.received)

    def _emergency(
        self, request: Request, host: Host, demand: ApprovalDemand, wanted: str
    ) -> str | None:
        """Let one in who may break the glass, and tell everybody."""
        if not demand.emergency:
            return f"denied: {wanted}; break-glass: no line names {request.caller} for it"
        text = f"{request.caller} {request.agent}.{request.action}: {request.emergency}"
        event = {
            "event": "break_glass",
            "identity": host.identity,
            "caller": request.caller,
            "agent": request.agent,
            "action": request.action,
            "requestid": request.id,
            "reason": request.emergency,
        }
        if why := self._audit.write(event, vital=True):
            return f"denied: break-glass: the audit log cannot be written ({why})"
        log.warning("%s: break-glass: %s", host.identity, text)
        now = time.time()
        try:
            self.table.note_emergency(
                Emergency(identity=host.identity, at=now, request=request.id, text=text)
            )
        except MCShellError as error:
            return f"denied: break-glass: it cannot be told: {error}"
        return None

    def flaws(self, identity: str) -> list[str]:
        """What glass was broken here in the last week, a line each: for the registration."""
        now = time.time()
        try:
            found = self.table.emergencies(now - _WEEK)
        except MCShellError as error:
            return [f"approvals: {error}"]
        return [
            f"break-glass at {time.strftime('%F %TZ', time.gmtime(one.at))}: {one.text}"
            for one in found
            if one.identity == identity
        ][:_TOLD]


def _user(request: Request) -> str:
    """What a proposal is used by: a request, or the job whose run it is."""
    return request.job or request.id


def _same(action: ddl.Action, approved: Mapping[str, Any], data: Mapping[str, Any]) -> bool:
    """Whether two sets of inputs are one, once typed and with their defaults; true is not 1."""
    try:
        return strict_json.canonical(action.check(approved)) == strict_json.canonical(data)
    except InputError:
        return False
