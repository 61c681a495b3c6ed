"""The agent of `plugins/mcollective/agent/rig.rb`, for our nodes; the same answers."""

from __future__ import annotations

import re
import time
from typing import Any

from mcshell.node.agent import Agent, AgentError, Call

KINDS: dict[str, Any] = {
    "integers": [
        *(0, -1, 2**30, 2**31, 2**32 + 1, -(2**35), 2**62, 2**63, 2**64, -(2**80), 10**40),
    ],
    "floats": [0.0, -0.5, 0.1, 1e-7, 1.0e22, 3.141592653589793, 1e300],
    "text": ["Zürich", "日本語", "\U0001f600", "", 'tab\tline\n"quoted"', "a\\b", "é" * 300],
    "nested": {"a": {"b": {"c": [1, [2, [3, {"d": None}]]]}}, "t": True, "f": False},
    "empty": {"list": [], "hash": {}, "nil": None, "text": ""},
    "symbols": {"a": "b", "list": ["x", "x"]},
}
RUBY = {str: "String", int: "Integer", float: "Float", bool: "TrueClass"}


class Rig(Agent):
    """Actions for comparing clients and nodes."""

    name = "rig"

    def echo(self, call: Call) -> dict[str, Any]:
        """Send back what was sent."""
        seen = dict(call.data)
        classes = [f"Symbol:{name}={_ruby(value)}" for name, value in seen.items()]
        return {
            "seen": seen,
            "classes": sorted(classes),
            "length": len(call.get("msg", "")),
            "bucket": _number(call) % 3,
        }

    def work(self, call: Call) -> dict[str, Any]:
        """Sleep, then give the status that was asked for."""
        time.sleep(call["seconds"])
        slept = {"slept": float(call["seconds"])}
        if call["code"] and (not call["odd"] or _number(call) % 2):
            if call["raise"]:
                raise AgentError("asked to raise", statuscode=5, data=slept)
            code = call["code"] if call["code"] in range(1, 6) else 5
            raise AgentError(f"asked to fail with {call['code']}", statuscode=code, data=slept)
        return slept

    def blob(self, call: Call) -> dict[str, Any]:
        """Send back so many bytes."""
        count = call["bytes"]
        binary = (bytes(range(256)) * (count // 256 + 1))[:count]
        return {"size": count, "blob": "é" * (count // 2) if call["text"] else binary}

    def values(self, call: Call) -> dict[str, Any]:
        """Send back values of a kind."""
        return {"values": KINDS[call["kind"]]}


def _ruby(value: Any) -> str:
    return "FalseClass" if value is False else RUBY[type(value)]


def _number(call: Call) -> int:
    found = re.search(r"\d+", call.node.identity)
    return int(found[0]) if found else 0
