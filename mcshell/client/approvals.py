"""Proposals from the operators' side: `client.approvals` makes them, approves them, and has them done.

The nodes that they are for keep them: a proposal is brought to each of its nodes through its queue, an
approval likewise, and who is to approve asks the nodes what there is. What comes back is believed for its
author's signature alone, and a proposal is called by the digest of its bytes.
"""

from __future__ import annotations

import re
import time
from dataclasses import field
from itertools import chain
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from mcshell import interrupts, table
from mcshell.client.arguments import Duration, checks_methods, seconds_of
from mcshell.client.discovery.targeting import (
    RequestOptions,
    Targeting,
    takes_inputs,
    targeting_of,
)
from mcshell.errors import NoTargets, Reason, Rejected, UsageError
from mcshell.message import Approval, Proposal, Via, new_nonce
from mcshell.values import dataclass
from mcshell.wire.documents.approval import (
    open_approval,
    open_proposal,
    seal_approval,
    seal_proposal,
)
from mcshell.wire.documents.authored import as_fields, of_fields
from mcshell.wire.documents.envelope import BodyLimits, digest_of

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterator, Mapping, Sequence

    import pandas as pd

    from mcshell.client.discovery.methods import Finder
    from mcshell.client.rpc.replies import Replies
    from mcshell.client.rpc.requester import Preview, Requester
    from mcshell.config import Settings
    from mcshell.ddl.ddl_library import Library
    from mcshell.wire.credentials import Credentials
    from mcshell.wire.documents.envelope import SealedMessage

__all__ = ["ApprovalManager", "ProposalStatus"]

_Having: TypeAlias = "dict[str, dict[str, list[str]]]"
"""Of each proposal, by collective, the nodes that name it."""
_TTL: Final = 86_400.0
_AGENT: Final = "approval"
_DIGITS: Final = 8
_SHOWN: Final = 12
_DIGEST: Final = re.compile("[0-9a-f]{64}")
_MOST_ASKED: Final = 20
_MOST_NAMED: Final = 500
"""Proposals that a node is believed to have."""
_ENDED: Final = frozenset(
    {
        Reason.EXPIRED,
        Reason.CERT_EXPIRED,
        Reason.REVOKED,
        Reason.STALE_CRL,
        Reason.FOREIGN_CA,
    }
)
"""What has come over a proposal that was its author's: no fault of the node that shows it."""
_SAID: Final = "which proposal? the first digits of its digest are meant, 8 at least"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProposalStatus:
    """A proposal and who has approved it, as a node told it; `replies` are those to bringing it."""

    digest: str
    proposal: Proposal
    approvals: tuple[Approval, ...] = ()
    replies: Replies | None = field(default=None, repr=False)

    @property
    def approvers(self) -> tuple[str, ...]:
        """The callers who have signed their yes, the author's own left out."""
        callers = {one.author for one in self.approvals} - {self.proposal.author}
        return tuple(sorted(callers))


@checks_methods
class ApprovalManager:
    """The proposals of a fleet, as one client sees them."""

    def __init__(
        self,
        settings: Settings,
        credentials: Credentials,
        discovery: Finder,
        ddls: Library,
        requester: Requester,
    ) -> None:
        self._settings = settings
        self._signer = credentials.signer
        self._verifier = credentials.verifier
        self._discovery = discovery
        self._ddls = ddls
        self._requester = requester
        self._limits = BodyLimits(max_ttl=settings.node.max_ttl)

    @property
    def _caller(self) -> str:
        return self._signer.identity.callerid

    @interrupts.call()
    @takes_inputs()
    def propose(
        self,
        agent: str,
        action: str,
        /,
        *,
        ttl: Duration | None = None,
        why: str = "",
        timeout: Duration | None = None,
        inputs: Mapping[str, Any] | None = None,
        targeting: Targeting | None = None,
        **others: Any,
    ) -> ProposalStatus:
        """Propose an action on nodes, for others to approve; brings it to each of them.

        Args:
            agent: the agent.
            action: its action.
            ttl: until when it may begin (seconds, or text like "2d"; 1 d).
            why: a line for those who are to approve.
            timeout: how long to wait for the nodes to have it.
            inputs: the action's inputs, for those whose names are taken by arguments.
            targeting: its nodes; or by the targeting arguments of `Client.rpc` among `others`.
            others: those, and the action's inputs.

        Raises:
            UsageError: an unknown agent, action or input; a bad filter; more than nodes take; no such ttl.
            NoTargets: no node matches.
        """
        from mcshell.client.jobs.finder import targeting_in  # noqa: PLC0415 - with pandas, for this alone

        meant = targeting if targeting is not None else targeting_in(others)
        seconds = self._requester.ttl_of(seconds_of(ttl), _TTL)
        schema = self._ddls.get(agent).action(action)
        data = schema.check({**(inputs or {}), **others})
        meant = self._discovery.meant(meant)
        found = self._discovery.find(meant, agent)
        if not found.names:
            raise UsageError("no node matches: nobody to propose it for")
        now = time.time()
        proposal = Proposal(
            author=self._caller,
            collective=meant.collective or self._settings.collective.main,
            agent=agent,
            action=action,
            data=data,
            nodes=tuple(sorted(found.names)),
            filter=meant.filter,
            schema=schema.digest,
            created=now,
            expires=now + (seconds or 0.0),
            nonce=new_nonce(),
            why=why,
        )
        sealed = seal_proposal(proposal, self._signer)
        replies = self._bring("propose", sealed, proposal, timeout)
        return ProposalStatus(digest=digest_of(sealed.body), proposal=proposal, replies=replies)

    @interrupts.call()
    def approve(
        self,
        digest: str,
        *,
        confirm: Callable[[ProposalStatus], bool] | None = None,
        timeout: Duration | None = None,
    ) -> ProposalStatus:
        """Sign a yes to a proposal, and bring it to its nodes; `confirm` is shown it before.

        Raises:
            UsageError: no node has it, it is one's own, or it has ended; not confirmed.
        """
        known = self.show(digest, timeout=timeout)
        if known.proposal.author == self._caller:
            raise UsageError("it is your own proposal: others have to approve it")
        if known.proposal.expires < time.time():
            raise UsageError("it has ended")
        if confirm is not None and not confirm(known):
            raise UsageError("not confirmed: nothing was signed")
        approval = Approval(author=self._caller, proposal=known.digest, created=time.time())
        sealed = seal_approval(approval, self._signer)
        replies = self._bring("approve", sealed, known.proposal, timeout)
        return ProposalStatus(
            digest=known.digest,
            proposal=known.proposal,
            approvals=(*known.approvals, approval),
            replies=replies,
        )

    def run(
        self,
        digest: str,
        *,
        via: str = "queue",
        timeout: Duration | None = None,
        confirm: Callable[[Preview], bool] | None = None,
    ) -> Replies:
        """Ask for what was proposed, of its nodes, as its author.

        Raises:
            UsageError: no node has it, or it is another's.
        """
        known = self.show(digest, timeout=timeout).proposal
        if known.author != self._caller:
            raise UsageError(f"it is {known.author}'s proposal, and for nobody else to run")
        return self._requester.ask(
            RequestOptions(
                agent=known.agent,
                action=known.action,
                data=known.data,
                via=Via(via),
                targeting=Targeting(nodes=known.nodes, collective=known.collective),
                timeout=seconds_of(timeout),
                ttl=max(known.expires - time.time(), 1.0) if via == "queue" else None,
            ),
            confirm,
        )

    def show(self, digest: str, *, timeout: Duration | None = None) -> ProposalStatus:
        """One proposal, by the first digits of its digest.

        Raises:
            UsageError: they are too few, no node has it, or several begin so.
        """
        if len(digest) < _DIGITS or set(digest) - set("0123456789abcdef"):
            raise UsageError(_SAID)
        meant = {one: nodes for one, nodes in self._kept(timeout).items() if one.startswith(digest)}
        if not meant:
            raise UsageError(f"no node that answers has a proposal {digest}")
        if len(meant) > 1:
            raise UsageError(f"several proposals begin with {digest}: say more of it")
        ((whole, having),) = meant.items()
        found = self._fetch(whole, having, timeout)
        if isinstance(found, str):
            raise UsageError(f"proposal {whole[:_SHOWN]}: {found}")
        return found

    def statuses(self, *, timeout: Duration | None = None) -> Sequence[ProposalStatus]:
        """The proposals that have not ended, the oldest first; raises as `told` does."""
        return self.told(timeout=timeout)[0]

    def told(
        self, *, timeout: Duration | None = None
    ) -> tuple[Sequence[ProposalStatus], Sequence[str]]:
        """The same, and a line for whatever nodes name and is left out: nobody's, or no more its author's.

        A node that shows no document of that digest is not asked again, so that no number of proposals
        that it names keeps anybody waiting.
        """
        false: set[str] = set()
        found, left = [], []
        for digest, having in sorted(self._kept(timeout).items()):
            one = self._fetch(digest, having, timeout, false)
            if not isinstance(one, str):
                found.append(one)
            elif not false.issuperset(chain.from_iterable(having.values())):
                left.append(f"proposal {digest[:_SHOWN]}: {one}")
        left += [f"{name} names proposals that it does not show" for name in sorted(false)]
        return sorted(found, key=lambda one: one.proposal.created), left

    def list(self, *, timeout: Duration | None = None) -> pd.DataFrame:
        """The same, a row each."""
        found = self.statuses(timeout=timeout)
        return table.frame(
            {
                "proposal": ("string", [one.digest for one in found]),
                "author": ("string", [one.proposal.author for one in found]),
                "agent": ("string", [one.proposal.agent for one in found]),
                "action": ("string", [one.proposal.action for one in found]),
                "nodes": ("Int64", [len(one.proposal.nodes) for one in found]),
                "approved": ("object", [list(one.approvers) for one in found]),
                "expires": (table.TIME, [one.proposal.expires for one in found]),
                "why": ("string", [one.proposal.why for one in found]),
            }
        )

    def _bring(
        self,
        action: str,
        sealed: SealedMessage,
        about: Proposal,
        timeout: Duration | None,
    ) -> Replies:
        return self._requester.ask(
            RequestOptions(
                agent=_AGENT,
                action=action,
                data=as_fields(sealed),
                via=Via.QUEUE,
                targeting=Targeting(nodes=about.nodes, collective=about.collective),
                timeout=seconds_of(timeout),
            )
        )

    def _kept(self, timeout: Duration | None) -> _Having:
        """Which proposals the nodes have, with who has each; raises NoTargets, where there are none."""
        having: _Having = {}
        nobody: list[NoTargets] = []
        collectives = self._settings.collective.member
        for collective in collectives:
            try:
                replies = self._requester.ask(
                    RequestOptions(
                        agent=_AGENT,
                        action="list",
                        targeting=targeting_of(agents=_AGENT, collective=collective),
                        timeout=seconds_of(timeout),
                    )
                )
            except NoTargets as none:
                nobody.append(none)
                continue
            for sender, digest in _named(replies):
                having.setdefault(digest, {}).setdefault(collective, []).append(sender)
        if len(nobody) == len(collectives):
            raise nobody[0]
        return having

    def _fetch(
        self,
        digest: str,
        having: Mapping[str, Sequence[str]],
        timeout: Duration | None,
        false: set[str] | None = None,
    ) -> ProposalStatus | str:
        """One proposal from any of these nodes that shows it truly, or why none does.

        `false` takes the nodes that show no such thing. One is asked, then several at once.
        """
        why = "none of its nodes answers"
        false = set() if false is None else false
        for collective, asked in _in_turn(having, false):
            replies = self._requester.ask(
                RequestOptions(
                    agent=_AGENT,
                    action="show",
                    data={"proposal": digest},
                    targeting=Targeting(nodes=tuple(asked), collective=collective),
                    timeout=seconds_of(timeout),
                )
            )
            for row in replies.entries():
                try:
                    if row.reply is not None and row.reply.final and not row.reply.statuscode:
                        return self._read(digest, row.reply.data)
                    why = row.reason or (row.reply.statusmsg if row.reply is not None else why)
                    false.add(row.sender)
                except Rejected as refusal:
                    why = f"{row.sender} tells none of its author's: {refusal}"
                    if refusal.reason not in _ENDED:
                        false.add(row.sender)
        return why

    def _read(self, digest: str, data: Mapping[str, Any]) -> ProposalStatus:
        """What a node tells, believed for the signatures alone; raises Rejected."""
        now = time.time()
        said = _document(data.get("proposal"))
        if digest_of(said.body) != digest:
            raise Rejected(Reason.MALFORMED, "another proposal than was asked for")
        proposal = open_proposal(said.body, said.headers, self._verifier, self._limits, now)
        approvals = []
        told = data.get("approvals")
        for one in told if isinstance(told, list) else ():
            try:
                said = _document(one)
                approval = open_approval(said.body, said.headers, self._verifier, self._limits, now)
            except Rejected:
                continue  # the nodes judge for themselves, too
            if approval.proposal == digest:
                approvals.append(approval)
        return ProposalStatus(digest=digest, proposal=proposal, approvals=tuple(approvals))


def _named(replies: Replies) -> Iterator[tuple[str, str]]:
    """Each node and digest of the answers to `list`."""
    for row in replies.entries():
        told = row.reply.data.get("proposals") if row.reply is not None else None
        for one in told[:_MOST_NAMED] if isinstance(told, list) else ():
            digest = one.get("digest") if isinstance(one, dict) else None
            if isinstance(digest, str) and _DIGEST.fullmatch(digest):
                yield row.sender, digest


def _in_turn(
    having: Mapping[str, Sequence[str]], false: Container[str]
) -> Iterator[tuple[str, Sequence[str]]]:
    """Whom to ask, in which collective: one, then several; nobody who is `false`."""
    for collective, nodes in having.items():
        meant = [name for name in nodes if name not in false]
        for asked in (meant[:1], meant[1:_MOST_ASKED]):
            if asked:
                yield collective, asked


def _document(told: Any) -> SealedMessage:
    """A signed document as `authored.as_fields` has it; raises Rejected."""
    names = ("document", "signature", "certificate")
    if not isinstance(told, dict) or not all(isinstance(told.get(name), str) for name in names):
        raise Rejected(Reason.MALFORMED, "no signed document")
    try:
        return of_fields(told)
    except UnicodeEncodeError as error:
        raise Rejected(Reason.MALFORMED, f"no signed document: {error}") from None
