"""A node's way in with all that it asks: a CA, policies, agents, the audit log; and who asks it."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from mcshell.message import Filter, Request, Via, made_id, new_nonce
from mcshell.node.admission.approvals import Approvals
from mcshell.node.admission.controller import AdmissionController
from mcshell.node.admission.intake import MessageIntake
from mcshell.node.admission.policy import Authorisation, Policies
from mcshell.node.admission.replay import ReplayGuard
from mcshell.node.agents.registry import load_agents
from mcshell.node.audit.log import AuditLog
from mcshell.node.builtin import builtin_agents
from mcshell.node.host import Host
from mcshell.node.store.approval_table import ApprovalTable
from mcshell.pki import Authority
from mcshell.wire.documents.envelope import Arrival, BodyLimits, SealedMessage, seal_request
from mcshell.wire.documents.signatures import Signer, Verifier
from tests.peers.workbench import AGENTS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from mcshell.plugins import Authoriser

__all__ = ["COUNTED", "AdmissionBench"]

POLICY = """policy default deny
allow\tcert=alice\t*\t*\t*
allow\tcert=bob\tagain\t*\t*
"""
COUNTED = ("time", "epoch", "n", "prev")


class AdmissionBench:
    """One node, `web1`, whose policies allow alice all and bob `again`; signers by name."""

    def __init__(
        self,
        folder: Path,
        *,
        policy: str = POLICY,
        limits: BodyLimits | None = None,
        authorisers: Mapping[str, Authoriser] | None = None,
        operators: Sequence[str] = ("alice", "bob"),
    ) -> None:
        self.folder = folder
        self.authority = Authority.init(folder / "ca")
        self.signers = {
            name: Signer.from_pem(*self.authority.issue_pem(name, "operator")) for name in operators
        }
        self.node_signer = Signer.from_pem(*self.authority.issue_pem("web1", "node"))
        (folder / "policies").mkdir()
        (folder / "policies" / "default.policy").write_text(policy)
        self.verifier = Verifier(self.authority.ca_pem)
        self.audit = AuditLog(folder / "audit.jsonl", every=0.0)
        self.served = load_agents([AGENTS], builtin_agents())
        authorisation = Authorisation(Policies(folder / "policies"), authorisers or {})
        self.approvals = Approvals(
            ApprovalTable(folder / "approvals.sqlite"),
            authorisation,
            self.verifier,
            limits or BodyLimits(),
            self.audit,
        )
        self.controller = AdmissionController(
            verifier=self.verifier,
            limits=limits or BodyLimits(),
            authorisation=authorisation,
            served=self.served,
            audit=self.audit,
            approvals=self.approvals,
        )
        self.facts = {"os": "Debian"}
        self.hosts = {name: self._host(name) for name in ("web1", "web2")}
        self.host = self.hosts["web1"]
        self.replay_guard = ReplayGuard(folder / "replay.sqlite")
        self.intake = MessageIntake(self.controller, self.replay_guard)

    def _host(self, name: str) -> Host:
        return Host(
            name, facts=lambda: {**self.facts, "name": name}, classes=["web"], served=self.served
        )

    def close(self) -> None:
        """Close its files."""
        self.replay_guard.close()
        self.approvals.table.close()
        self.audit.close()

    def request(self, action: str = "once", *, caller: str = "alice", **more: Any) -> Request:
        """A request of now to the agent `mark`, by broadcast."""
        now = time.time()
        fields = {
            "agent": "mark",
            "action": action,
            "collective": "mcs",
            "via": Via.BROADCAST,
            "session": "s",
            "created": now,
            "expires": now + 60,
            "data": {"file": "marks"},
            "filter": Filter(),
            "nonce": new_nonce(),
        } | more
        callerid = f"cert={caller}"
        made = made_id("request", callerid, str(fields["nonce"]))
        return Request(**{"id": made, "caller": callerid} | fields)

    def sealed(self, request: Request) -> SealedMessage:
        """The request as its caller signs it."""
        return seal_request(request, self.signers[request.caller.removeprefix("cert=")])

    def arrival(self, request: Request, host: str = "web1") -> Arrival:
        """How it comes to a node."""
        return Arrival(collective="mcs", via=request.via, identity=host, pool=request.pool)

    def open(self, request: Request, host: str = "web1", now: float | None = None) -> Any:
        """What the node makes of its message."""
        sealed = self.sealed(request)
        at = time.time() if now is None else now
        return self.controller.open(
            sealed.body, sealed.headers, self.arrival(request, host), self.hosts[host], at
        )

    def take(
        self,
        request: Request,
        *hosts: str,
        now: float | None = None,
        sealed: SealedMessage | None = None,
    ) -> list[Any]:
        """The verdicts that its intake gives, for each node that has one."""
        signed = sealed or self.sealed(request)
        whom = [(self.hosts[name], self.arrival(request, name)) for name in hosts or ("web1",)]
        at = time.time() if now is None else now
        return [
            (host.identity, verdict)
            for host, verdict in self.intake.admit(signed.body, signed.headers, whom, at)
        ]

    def lines(self) -> list[dict[str, Any]]:
        """What the audit has, without times and chain."""
        text = (self.folder / "audit.jsonl").read_text().splitlines()
        events = [json.loads(line) for line in text]
        return [
            {key: value for key, value in event.items() if key not in COUNTED}
            for event in events
            if event["event"] != "file"
        ]

    def direct(self, request: Request) -> Request:
        """The same, to web1 alone."""
        return replace(request, via=Via.DIRECT, identity="web1")
