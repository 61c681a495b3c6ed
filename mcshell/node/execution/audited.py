"""Replies of which the audit is told first: what the actions of broadcast and direct requests say."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcshell.values import dataclass

if TYPE_CHECKING:
    from mcshell.message import Request, State
    from mcshell.node.admission.controller import AdmissionController
    from mcshell.node.execution.threads import ReplySink
    from mcshell.node.host import Host
    from mcshell.node.verdicts import Outcome

__all__ = ["AuditedReplies"]


@dataclass(frozen=True, slots=True)
class AuditedReplies:
    """A `ReplySink` of a node in front of another."""

    replies: ReplySink
    controller: AdmissionController
    host: Host

    def working(self, request: Request, state: State) -> None:
        """Say that the request was received or is running."""
        self.replies.working(request, state)

    def final(self, request: Request, outcome: Outcome) -> None:
        """Audit how it came out, and say so."""
        self.controller.finished(request, self.host, outcome)
        self.replies.final(request, outcome)
