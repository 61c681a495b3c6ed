"""The built-in agent `approval`: proposals and approvals are brought here, and looked at.

Who carries them does not matter, since they are signed; that somebody may is for the policy of this agent.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from mcshell.errors import MCShellError
from mcshell.node.agent import Agent, AgentError
from mcshell.wire.documents.authored import as_fields, of_fields

if TYPE_CHECKING:
    from collections.abc import Callable

    from mcshell.node.admission.approvals import Approvals
    from mcshell.node.agent import Call
    from mcshell.node.store.approval_table import KeptProposal

__all__ = ["ApprovalAgent", "no_approvals"]


def no_approvals() -> Approvals:
    """Those of a node that keeps none."""
    raise AgentError("this node keeps no approvals")


class ApprovalAgent(Agent):
    """Keeps what is brought; runs in the daemon, since the records are its own."""

    name = "approval"

    def __init__(self, approvals: Callable[[], Approvals] = no_approvals) -> None:
        self._approvals = approvals

    def propose(self, call: Call) -> dict[str, Any]:
        """Keep a proposal."""
        try:
            return {"proposal": self._approvals().bring_proposal(of_fields(call.data), time.time())}
        except MCShellError as error:
            raise AgentError(str(error), statuscode=4) from error

    def approve(self, call: Call) -> dict[str, Any]:
        """Keep an approval."""
        approvals = self._approvals()
        try:
            digest = approvals.bring_approval(of_fields(call.data), time.time()).proposal
        except MCShellError as error:
            raise AgentError(str(error), statuscode=4) from error
        found = approvals.table.find(digest, call.node.identity)
        return {"proposal": digest, "approvals": sum(len(one.approvals) for one in found)}

    def show(self, call: Call) -> dict[str, Any]:
        """One proposal with its approvals."""
        word = call["proposal"]
        found = self._approvals().table.find(word, call.node.identity)
        if len(found) != 1:
            raise AgentError(
                f"{'several proposals begin' if found else 'no proposal begins'} with {word}"
            )
        (one,) = found
        return {
            "proposal": as_fields(one.document.message),
            "digest": one.digest,
            "approvals": [as_fields(approval.message) for approval in one.approvals],
            "used": one.used,
        }

    def list(self, call: Call) -> dict[str, Any]:
        """Those that have not ended."""
        found = self._approvals().table.proposals(call.node.identity, time.time())
        return {"proposals": [_told(one) for one in found]}


def _told(one: KeptProposal) -> dict[str, Any]:
    return {"digest": one.digest, "approvals": len(one.approvals), "used": one.used}
