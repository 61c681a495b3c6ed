"""What the parts of one node share: admission, spool, the writer and the sender of replies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mcshell.node.admission.controller import AdmissionController
from mcshell.node.admission.policy import Policies
from mcshell.node.admission.replay import ReplayGuard
from mcshell.node.audit.log import AuditLog
from mcshell.wire.documents.envelope import BodyLimits

if TYPE_CHECKING:
    from pathlib import Path

    from mcshell.config import Settings
    from mcshell.node.agents.registry import AgentRegistry
    from mcshell.node.host import Host
    from mcshell.node.replies.sender import ReplySender, Steps
    from mcshell.node.replies.writer import ReplyWriter
    from mcshell.node.store.spool import Spool
    from mcshell.wire.documents.signatures import Verifier
    from mcshell.wire.stomp.transport import Transport

__all__ = ["NodeContext", "SecurityContext", "open_security"]


@dataclass(frozen=True, slots=True)
class SecurityContext:
    """What decides about requests and conversations alike, for all nodes of a process."""

    controller: AdmissionController
    verifier: Verifier
    policies: Policies
    audit: AuditLog
    replay_guard: ReplayGuard
    limits: BodyLimits


def open_security(
    settings: Settings, verifier: Verifier, served: AgentRegistry, state: Path
) -> SecurityContext:
    """Open the policies, the audit log and the claims of a state directory."""
    node = settings.node
    limits = BodyLimits(max_skew=node.max_skew, max_ttl=node.max_ttl)
    policies = Policies(node.policies or state / "policies")
    audit = AuditLog(node.audit or state / "audit.jsonl")
    controller = AdmissionController(
        verifier=verifier, limits=limits, policies=policies, served=served, audit=audit
    )
    return SecurityContext(
        controller, verifier, policies, audit, ReplayGuard(state / "claims.sqlite"), limits
    )


@dataclass(frozen=True, slots=True)
class NodeContext:
    """What the workers, queues and outbox of one node have in common."""

    host: Host
    controller: AdmissionController
    spool: Spool
    writer: ReplyWriter
    reply_sender: ReplySender
    transport: Transport
    steps: Steps
