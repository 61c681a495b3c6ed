"""Processes of a node: list them, signal them by their exact name."""

from __future__ import annotations

import signal
import sys
from typing import TYPE_CHECKING, Any, ClassVar

from mcshell.node.agent import Agent, AgentError, Call, NodeView, Unavailable, found_in

if TYPE_CHECKING:
    from collections.abc import Callable

Row = dict[str, Any]
SORTS: dict[str, Callable[[Row], Any]] = {
    "memory": lambda row: -row["rss_bytes"],
    "cpu": lambda row: -row["cpu_seconds"],
    "pid": lambda row: row["pid"],
    "started": lambda row: -row["started"],
}


class Process(Agent):
    """The process table and signals."""

    name = "process"
    settings: ClassVar = {}

    def activate(self, node: NodeView) -> None:
        """Linux only: the actions read /proc."""
        del node
        if not sys.platform.startswith("linux"):
            raise Unavailable(f"process needs Linux's /proc, this is {sys.platform}")

    def list(self, call: Call) -> dict[str, Any]:
        """The processes that match, the largest first; `count` and the sums are of all of them."""
        rows = _matching(call)
        rows.sort(key=SORTS[call.get("sort", "memory")])
        limit = call.get("limit", 50)
        if limit < 0:
            raise AgentError("limit is negative: 0 lists all", statuscode=4)
        shown = rows[:limit] if limit else rows
        for row in shown:
            del row["uid"]
        return {
            "count": len(rows),
            "top": ", ".join(f"{row['command']} {_human(row['rss_bytes'])}" for row in shown[:3]),
            "rss_bytes": sum(row["rss_bytes"] for row in rows),
            "cpu_seconds": round(sum(row["cpu_seconds"] for row in rows), 2),
            "processes": shown,
        }

    def signal(self, call: Call) -> dict[str, Any]:
        """Signal every process of exactly this name, or the one with this pid if it has the name.

        The name is a guard: the same pid is another process on another node, and soon another one
        on this node too. A pidfd is held from the check to the signal, so it cannot be re-used.
        """
        command, only, system = call["command"], call.get("pid"), call.node.system
        number = signal.Signals[f"SIG{call.get('signal', 'TERM')}"]
        protected = _protected(call)
        if only is not None and only in protected:
            raise AgentError(f"pid {only} is never signalled: it is init or the daemon's own")
        pids = system.pids()
        if only is not None and only not in pids:
            raise AgentError(f"no process {only}")
        pids = pids if only is None else [only]
        named = [pid for pid in pids if system.command(pid) == command]
        if not named:
            where = f"process {only} is not" if only is not None else "no process is"
            raise AgentError(f"{where} named {command!r}")
        sent = [
            pid for pid in named if pid not in protected and system.signal(pid, command, number)
        ]
        result = {
            "signal": number.name,
            "pids": sent,
            "count": len(sent),
            "spared": [pid for pid in named if pid in protected],
        }
        if not sent:
            raise AgentError(f"nothing named {command!r} that may be signalled", data=result)
        return result


def _matching(call: Call) -> list[Row]:
    pattern, user = call.get("pattern"), call.get("user")
    rows = [
        row for row in call.node.system.processes() if user in (None, row["user"], str(row["uid"]))
    ]
    if not pattern:
        return rows
    found = found_in(pattern, [text for row in rows for text in _searched(row)])
    return [row for row, *hits in zip(rows, found[::2], found[1::2], strict=True) if any(hits)]


def _searched(row: Row) -> tuple[str, str]:
    return row["command"], " ".join(row["args"])


def _protected(call: Call) -> frozenset[int]:
    daemon = call.node.stats().get("pid")
    return call.node.system.spared | ({int(daemon)} if daemon else set())


def _human(size: float) -> str:
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:  # noqa: PLR2004 - bytes in a KiB
            return f"{size:.0f} {unit}"
        size /= 1024
    return f"{size:.1f} GiB"
