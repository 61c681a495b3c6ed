"""What the parts of a node share: admission, spool, the writer and the sender of replies."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from mcshell import plugins
from mcshell.node.admission.approvals import Approvals
from mcshell.node.admission.controller import AdmissionController
from mcshell.node.admission.policy import Authorisation, Policies
from mcshell.node.admission.replay import ReplayGuard
from mcshell.node.audit.log import AuditLog
from mcshell.node.store.approval_table import ApprovalTable
from mcshell.values import dataclass
from mcshell.wire.documents.envelope import BodyLimits

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from mcshell.config import Settings
    from mcshell.node.agents.registry import AgentRegistry
    from mcshell.node.host import Host
    from mcshell.node.replies import ReplySender, ReplyWriter, Steps
    from mcshell.node.store.spool import Spool
    from mcshell.wire.documents.signatures import Signer, Verifier
    from mcshell.wire.stomp.transport import Transport

__all__ = ["Node", "NodeContext", "SecurityContext", "open_security"]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class SecurityContext:
    """What decides about requests and conversations alike, for all nodes of a process."""

    controller: AdmissionController
    verifier: Verifier
    authorisation: Authorisation
    audit: AuditLog
    replay_guard: ReplayGuard
    limits: BodyLimits
    approvals: Approvals


def open_security(
    settings: Settings, verifier: Verifier, served: AgentRegistry, state: Path
) -> SecurityContext:
    """Open the policies, the audit log and the claims of a state directory.

    Raises:
        PluginError: an authoriser or an audit sink does not load: nothing is allowed without it.
    """
    node = settings.node
    limits = BodyLimits(max_skew=node.max_skew, max_ttl=node.max_ttl)
    authorisers, sinks = plugins.find_all("authoriser"), plugins.find_all("audit")
    _name_plugins()
    policies = Policies(node.policies or state / "policies")
    authorisation = Authorisation(policies, authorisers)
    audit = AuditLog(
        node.audit or state / "audit.jsonl",
        sinks,
        max_bytes=node.audit_max,
        keep=node.audit_keep,
        every=node.audit_every,
    )
    table = ApprovalTable(state / "approvals.sqlite")
    approvals = Approvals(table, authorisation, verifier, limits, audit)
    controller = AdmissionController(
        verifier=verifier,
        limits=limits,
        authorisation=authorisation,
        served=served,
        audit=audit,
        approvals=approvals,
    )
    return SecurityContext(
        controller=controller,
        verifier=verifier,
        authorisation=authorisation,
        audit=audit,
        replay_guard=ReplayGuard(state / "replay.sqlite"),
        limits=limits,
        approvals=approvals,
    )


def _name_plugins() -> None:
    """Log which plugins of distributions this node obeys, and which it cannot know."""
    for plugin in plugins.installed():
        named = (plugin.distribution, plugin.kind, plugin.name)
        if plugin.kind in ("authoriser", "audit"):
            log.info("%s brings %s %s: in force", *named)
        elif plugin.kind not in plugins.KINDS:
            log.warning("%s brings %s %s: there is no such kind of plugin", *named)


@dataclass(frozen=True, slots=True)
class Node:
    """One identity: who it is, what signs for it, how its replies are written and sent."""

    host: Host
    signer: Signer
    writer: ReplyWriter
    reply_sender: ReplySender


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeContext:
    """The nodes that share a connection, by identity, and what their workers have in common."""

    nodes: Mapping[str, Node]
    transport: Transport
    controller: AdmissionController
    spool: Spool
    steps: Steps

    @property
    def names(self) -> tuple[str, str]:
        """The first and the last of the identities."""
        return min(self.nodes), max(self.nodes)
