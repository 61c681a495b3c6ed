"""Proposals and approvals as signed documents: what one operator would do, and the yes of others.

A proposal is known by the SHA-256 of its bytes, so that nobody can have another one approved in its
place. Both speak for themselves, whoever carries them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from mcshell.errors import Reason, Rejected
from mcshell.message import Approval, Proposal
from mcshell.wire.documents import fields
from mcshell.wire.documents.authored import open_authored, seal_authored

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mcshell.wire.documents.envelope import BodyLimits, SealedMessage
    from mcshell.wire.documents.signatures import Signer, Verifier

__all__ = ["open_approval", "open_proposal", "seal_approval", "seal_proposal"]

_PROPOSAL: Final = "proposal"
_APPROVAL: Final = "approval"
_MOST_NODES: Final = 100_000
_NONCE: Final = "nonce"


def seal_proposal(proposal: Proposal, signer: Signer) -> SealedMessage:
    """Write and sign a proposal.

    Raises:
        InputError: an input that JSON cannot carry.
        UsageError: what no node would take.
    """
    document = {
        "author": proposal.author,
        "collective": proposal.collective,
        "agent": proposal.agent,
        "action": proposal.action,
        "data": proposal.data,
        "nodes": list(proposal.nodes),
        "filter": proposal.filter.as_dict(),
        "schema": proposal.schema,
        "created": proposal.created,
        "expires": proposal.expires,
        _NONCE: proposal.nonce,
        "why": proposal.why or None,
    }
    return seal_authored(_PROPOSAL, document, _proposal, signer, "the proposal")


def seal_approval(approval: Approval, signer: Signer) -> SealedMessage:
    """Write and sign an approval; raises UsageError for one in another's name."""
    document = {
        "author": approval.author,
        "proposal": approval.proposal,
        "created": approval.created,
    }
    return seal_authored(_APPROVAL, document, _approval, signer, "the approval")


def open_proposal(
    body: bytes,
    headers: Mapping[str, str],
    verifier: Verifier,
    limits: BodyLimits,
    now: float,
) -> Proposal:
    """Check a proposal and return it; `now` (epoch) is when it came in.

    Raises:
        Rejected: as `open_authored`; EXPIRED, FROM_FUTURE.
    """
    found = open_authored(_PROPOSAL, _proposal, body, headers, verifier, limits, now)
    _refuse_ahead(found.created, limits, now)
    if now > found.expires:
        raise Rejected(Reason.EXPIRED, f"{now - found.expires:.0f} s ago")
    if found.expires - found.created > limits.max_ttl:
        raise Rejected(Reason.MALFORMED, f"it is good for longer than {limits.max_ttl:.0f} s")
    return found


def open_approval(
    body: bytes,
    headers: Mapping[str, str],
    verifier: Verifier,
    limits: BodyLimits,
    now: float,
) -> Approval:
    """Check an approval and return it; raises Rejected as `open_proposal` does."""
    found = open_authored(_APPROVAL, _approval, body, headers, verifier, limits, now)
    _refuse_ahead(found.created, limits, now)
    return found


def _refuse_ahead(created: float, limits: BodyLimits, now: float) -> None:
    if created > now + limits.max_skew:
        ahead = created - now
        raise Rejected(Reason.FROM_FUTURE, f"made {ahead:.0f} s ahead: compare the clocks")


def _proposal(document: Mapping[str, Any]) -> Proposal:
    return Proposal(
        author=fields.name(document, "author"),
        collective=fields.word(document, "collective"),
        agent=fields.word(document, "agent"),
        action=fields.action(document),
        data=fields.mapping(document, "data"),
        nodes=_nodes(document),
        filter=fields.filter_of(document),
        schema=fields.digest(document, "schema"),
        created=fields.moment(document, "created"),
        expires=fields.moment(document, "expires"),
        nonce=fields.nonce(document, _NONCE),
        why=fields.optional(document, "why", fields.line) or "",
    )


def _approval(document: Mapping[str, Any]) -> Approval:
    return Approval(
        author=fields.name(document, "author"),
        proposal=fields.digest(document, "proposal"),
        created=fields.moment(document, "created"),
    )


def _nodes(document: Mapping[str, Any]) -> tuple[str, ...]:
    """The targets: names, each once, in their order."""
    found = document.get("nodes")
    if not isinstance(found, list) or not 0 < len(found) <= _MOST_NODES:
        raise Rejected(Reason.MALFORMED, f"nodes: 1 to {_MOST_NODES} names are meant")
    names = tuple(fields.name({"nodes": one}, "nodes") for one in found)
    if list(names) != sorted(set(names)):
        raise Rejected(Reason.MALFORMED, "nodes: each name once, in their order")
    return names
