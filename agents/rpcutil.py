"""What a node is, has and knows of itself: MCollective's rpcutil, and `seen` for explain."""

from __future__ import annotations

import os
import threading
import time
from typing import Any, ClassVar

from mcshell.node.agent import VERSION, Agent, Call, lookup

# MCollective's counters → what a node may call them.
COUNTERS = {
    "validated": ("validated", "verified"),
    "unvalidated": ("unvalidated", "refused"),
    "passed": ("passed",),
    "filtered": ("filtered",),
    "total": ("total", "received", "messages"),
    "replies": ("replies", "replied"),
    "ttlexpired": ("ttlexpired", "expired"),
    "running": ("running",),
    "spooled": ("spooled",),
    "outbox": ("outbox",),
}


class RpcUtil(Agent):
    """General actions that every node answers."""

    name = "rpcutil"
    settings: ClassVar = {}

    def ping(self, call: Call) -> dict[str, Any]:
        """The node's clock, in whole seconds as MCollective gives it."""
        del call
        return {"pong": int(time.time())}

    def inventory(self, call: Call) -> dict[str, Any]:
        """All that discovery can match: agents, facts, classes, collectives."""
        node = call.node
        return {
            "agents": sorted(node.agents),
            "facts": dict(node.facts),
            "classes": sorted(node.classes),
            "version": VERSION,
            "data_plugins": sorted(node.stats().get("data_plugins", ())),
            **self.collective_info(call),
        }

    def get_fact(self, call: Call) -> dict[str, Any]:
        """One fact by its dotted path; null when the node has none, as in MCollective."""
        return {"fact": call["fact"], "value": lookup(call.node.facts, call["fact"], None)}

    def get_facts(self, call: Call) -> dict[str, Any]:
        """Several facts, named with commas between them."""
        names = [name.strip() for name in call["facts"].split(",")]
        return {"values": {name: lookup(call.node.facts, name, None) for name in names}}

    def agent_inventory(self, call: Call) -> dict[str, Any]:
        """The metadata of all active agents."""
        return {"agents": call.node.inventory()}

    def daemon_stats(self, call: Call) -> dict[str, Any]:
        """The daemon's counters under MCollective's names; null for one that it does not keep."""
        stats = call.node.stats()
        times = os.times()
        return {
            "threads": stats.get("threads", [thread.name for thread in threading.enumerate()]),
            "agents": sorted(call.node.agents),
            "pid": stats.get("pid", os.getpid()),
            "times": {
                "utime": times.user,
                "stime": times.system,
                "cutime": times.children_user,
                "cstime": times.children_system,
            },
            "starttime": int(stats.get("starttime", stats.get("started", 0))),
            "configfile": str(stats.get("configfile", "")),
            "version": VERSION,
            "rss_bytes": _resident(),
            **{
                name: next((int(stats[word]) for word in words if word in stats), None)
                for name, words in COUNTERS.items()
            },
        }

    def collective_info(self, call: Call) -> dict[str, Any]:
        """The collectives the node listens to."""
        collectives = list(call.node.collectives)
        return {
            "main_collective": collectives[0] if collectives else "",
            "collectives": collectives,
        }

    def seen(self, call: Call) -> dict[str, Any]:
        """What the node's own records say of a request: the evidence for `explain`."""
        requestid = call["requestid"].lower()
        known = call.node.seen(requestid)
        state = known.get("state", "unknown")
        times = ("received", "started", "ended")
        return {
            "requestid": requestid,
            "seen": state != "unknown",
            "state": state,
            "reason": known.get("reason"),
            **{field: known.get(field) for field in times},
        }


def _resident() -> int:
    """Resident memory of this process in bytes (proc(5), statm)."""
    with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123 - a kernel file
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
