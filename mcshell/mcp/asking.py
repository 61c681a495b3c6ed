"""The tools that ask: `call` for what changes nothing, `propose` for all else.

`call` sends by the nodes' queues, so that a request and its replies outlive this process: its id is the
handle by which another one takes it up.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from mcshell.client.arguments import seconds_of
from mcshell.client.discovery.targeting import RequestOptions
from mcshell.errors import UsageError
from mcshell.mcp.reading import refusal, replies_document, targeting, when
from mcshell.mcp.results import one_line, part
from mcshell.message import State, Via
from mcshell.values import dataclass
from mcshell.wire.documents.fields import MAX_LINE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mcshell.client.rpc.replies import Replies
    from mcshell.commands.context import Context

__all__ = ["WHY", "FleetCall", "call", "propose"]

TTL: Final = 600.0
"""Seconds that a call may wait for nodes that are down."""
WAIT: Final = 10.0
_BRINGING: Final = 20.0
_BY: Final = "[an assistant's, by mcp]"
"""Who approves a proposal is to know that no operator has thought of it."""
_KEPT: Final = (
    "Nothing was done. Another operator looks at it and signs it, in a shell, with"
    " `mcshell approve {}`; then its author has it done, in a shell."
)
_NOT_KEPT: Final = (
    "Nothing was done, and no node has said yet that it keeps it: `says` has what they say."
)
WHY: Final = 450
"""Characters of a reason, so that it is a line together with that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetCall:
    """A request that went out, with what of its answer is wanted."""

    replies: Replies
    given: Mapping[str, Any]

    def document(self) -> dict[str, Any]:
        """How it stands now."""
        found = replies_document(self.replies, self.given)
        if not self.replies.done:
            later = f"not complete: `replies` with request={self.replies.requestid} has what comes"
            found["cut"] = "; ".join(filter(None, (found["cut"], later)))
        return found


def call(context: Context, given: Mapping[str, Any]) -> FleetCall:
    """Have nodes do what changes nothing; waits for their replies for a while.

    Raises:
        UsageError: it changes nodes, or does not say that it changes none; no such agent or action;
            a bad input or filter.
        NoTargets: no node matches.
    """
    agent, action = given["agent"], given["action"]
    _check(context, agent)
    if context.ddls.joint(agent, action).changes:
        raise UsageError(
            f"{agent}.{action} changes nodes, or its schema does not say that it does not: nothing "
            "was sent. It has to be proposed, and others decide: that is the tool `propose`"
        )
    replies = context.client().ask(
        RequestOptions(
            agent=agent,
            action=action,
            data=given.get("inputs", {}),
            targeting=targeting(given),
            via=Via.QUEUE,
            ttl=seconds_of(given.get("ttl", TTL)),
            timeout=WAIT,
            wait=False,
        ),
        lambda _changing: False,  # once more, by the schemas that the request has at its targets
    )
    replies.wait(given.get("wait", WAIT))
    return FleetCall(replies=replies, given=given)


def propose(context: Context, given: Mapping[str, Any]) -> dict[str, Any]:
    """Put an action before those who have to approve it: nothing is done."""
    agent, action = given["agent"], given["action"]
    _check(context, agent)
    if not given["why"].strip():
        raise UsageError("why: it is blank, and those who decide go by it")
    status = context.client().approvals.propose(
        agent,
        action,
        ttl=given.get("ttl"),
        why=f"{_BY} {one_line(given['why'], WHY)}"[
            :MAX_LINE
        ],  # escapes take more than they stand for
        timeout=_BRINGING,
        inputs=given.get("inputs", {}),
        targeting=targeting(given),
    )
    assert status.replies is not None, "it was brought"
    found = part(
        status.replies.rows(),
        lambda row: {"sender": row.sender, "state": str(row.state), "says": row.statusmsg},
    )
    kept = any(row.state is State.OK for row in status.replies.rows())
    return {
        "proposal": status.digest,
        "author": status.proposal.author,
        "expires": when(status.proposal.expires),
        "next": _KEPT.format(status.digest[:12]) if kept else _NOT_KEPT,
    } | found.document("nodes")


def _check(context: Context, agent: str) -> None:
    """UsageError for an agent that is not for tools to ask: who carries approvals, or is left out."""
    if complaint := refusal(context, agent):
        raise UsageError(complaint)
