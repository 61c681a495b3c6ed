"""The built-in agent `discovery`: who is there, what does it know of a request, a newer CRL.

Every operator may ask it, whatever the policy: without it a node would be silent to those who
may do nothing on it, and they could not be told that they may not. A revocation list speaks for
itself: the CA has signed it, so it does not matter who carries it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mcshell.errors import Rejected
from mcshell.node.agent import Agent, AgentError
from mcshell.node.host import Host

if TYPE_CHECKING:
    from mcshell.node.agent import Call

__all__ = ["DISCOVERY", "DiscoveryAgent"]

_FLAWS = {"description": "What cannot be used here", "display_as": "Flaws", "type": "array"}
DISCOVERY: dict[str, Any] = {
    "metadata": {
        "name": "discovery",
        "description": "Who is there, and what does it know of a request",
        "author": "mcshell",
        "license": "Apache-2.0",
        "version": "1.0.0",
        "url": "",
        "timeout": 5,
    },
    "actions": [
        {
            "action": "ping",
            "description": "What the node says of itself",
            "display": "always",
            "input": {},
            "output": {
                "facts": {"description": "All facts", "display_as": "Facts", "type": "hash"},
                "classes": {"description": "Classes", "display_as": "Classes", "type": "array"},
                "agents": {"description": "Agents", "display_as": "Agents", "type": "array"},
                "collectives": {
                    "description": "Collectives",
                    "display_as": "Collectives",
                    "type": "array",
                },
                "version": {"description": "Version", "display_as": "Version", "type": "string"},
                "machine": {"description": "Machine", "display_as": "Machine", "type": "string"},
                "flaws": _FLAWS,
            },
        },
        {
            "action": "probe",
            "description": "What the node knows of a request",
            "display": "always",
            "input": {
                "requestid": {
                    "prompt": "Request",
                    "description": "The id of a request",
                    "type": "string",
                    "validation": "^[0-9a-f]{32}$",
                    "maxlength": 32,
                    "optional": False,
                }
            },
            "output": {
                "state": {"description": "Its state", "display_as": "State", "type": "string"},
                "reason": {"description": "Why", "display_as": "Reason", "type": "string"},
                **{
                    name: {"description": text, "display_as": text, "type": "float"}
                    for name, text in (
                        ("received", "Received"),
                        ("started", "Started"),
                        ("ended", "Ended"),
                        ("up", "Daemon started"),
                        ("reads", "Work queue read since"),
                    )
                },
                "place": {"description": "Before it", "display_as": "Place", "type": "integer"},
                "flaws": _FLAWS,
            },
        },
        {
            "action": "crl",
            "description": "Take a newer revocation list",
            "display": "always",
            "input": {
                "crl": {
                    "prompt": "CRL",
                    "description": "Revocation lists in PEM, signed by the CA",
                    "type": "string",
                    "validation": "-----BEGIN X509 CRL-----",
                    "maxlength": 1 << 20,
                    "optional": False,
                }
            },
            "output": {
                "crl": {"description": "In force now", "display_as": "CRL", "type": "integer"},
                "newer": {"description": "It was newer", "display_as": "New", "type": "boolean"},
            },
        },
    ],
}


class DiscoveryAgent(Agent):
    """Tells who this node is; answers at once, in the thread that reads from the broker."""

    name = "discovery"

    def ping(self, call: Call) -> dict[str, Any]:
        """Say who this node is: facts, classes, agents and their versions, collectives, version."""
        node = call.node
        assert isinstance(node, Host)
        return node.describe()

    def probe(self, call: Call) -> dict[str, Any]:
        """Say what became of a request here."""
        node = call.node
        assert isinstance(node, Host)
        return {**node.seen(call["requestid"]), "flaws": node.told_flaws()}

    def crl(self, call: Call) -> dict[str, Any]:
        """Put a newer revocation list in force; AgentError when our CA has not signed it."""
        node = call.node
        assert isinstance(node, Host)
        if node.revocation is None:
            raise AgentError("this node keeps no revocation list")
        try:
            newer = node.revocation.update(call["crl"].encode(), node.identity, call.caller)
        except Rejected as refusal:
            raise AgentError(str(refusal)) from refusal
        return {"crl": node.revocation.number, "newer": newer}
