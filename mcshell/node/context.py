"""What the parts of one node share: who judges, where its work is kept, how it speaks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mcshell.node.admission.controller import Gate
from mcshell.node.admission.policy import Policies
from mcshell.node.admission.replay import Claims
from mcshell.node.audit.log import AuditLog
from mcshell.wire.documents.envelope import Limits

if TYPE_CHECKING:
    from pathlib import Path

    from mcshell.config import Settings
    from mcshell.node.agents.registry import Served
    from mcshell.node.host import Host
    from mcshell.node.replies.sender import Speaker, Steps
    from mcshell.node.replies.writer import Words
    from mcshell.node.store.spool import Spool
    from mcshell.wire.documents.signatures import Verifier
    from mcshell.wire.stomp.transport import Transport

__all__ = ["Judges", "Station", "appoint"]


@dataclass(frozen=True, slots=True)
class Judges:
    """What decides about requests and conversations alike, for all nodes of a process."""

    gate: Gate
    verifier: Verifier
    policies: Policies
    audit: AuditLog
    claims: Claims
    limits: Limits


def appoint(settings: Settings, verifier: Verifier, served: Served, state: Path) -> Judges:
    """Open the policies, the audit log and the claims of a state directory."""
    node = settings.node
    limits = Limits(max_skew=node.max_skew, max_ttl=node.max_ttl)
    policies = Policies(node.policies or state / "policies")
    audit = AuditLog(node.audit or state / "audit.jsonl")
    gate = Gate(verifier=verifier, limits=limits, policies=policies, served=served, audit=audit)
    return Judges(gate, verifier, policies, audit, Claims(state / "claims.sqlite"), limits)


@dataclass(frozen=True, slots=True)
class Station:
    """One node at its work: what its lanes and queues have in common."""

    host: Host
    gate: Gate
    spool: Spool
    words: Words
    speaker: Speaker
    transport: Transport
    steps: Steps
