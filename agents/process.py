"""Processes of a node: list them, signal them by their exact name.

psutil is imported by the first call, not by the daemon's start.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from typing import TYPE_CHECKING, Any

from mcshell.node.agent import Agent, AgentError, Call, NodeView, Unavailable, found_in

if TYPE_CHECKING:
    from collections.abc import Callable

    import psutil

FIELDS = [
    "pid",
    "ppid",
    "username",
    "name",
    "cmdline",
    "memory_info",
    "cpu_times",
    "status",
    "create_time",
    "uids",
]
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

    def activate(self, node: NodeView) -> None:
        """Linux only: the actions read /proc."""
        del node
        if not sys.platform.startswith("linux"):
            raise Unavailable(f"process needs Linux's /proc, this is {sys.platform}")

    def list(self, call: Call) -> dict[str, Any]:
        """The processes that match, the largest first; `count` and the sums are of all of them."""
        rows = _matching(call.get("pattern"), call.get("user"))
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
        import psutil  # noqa: PLC0415 - by the first call, not by the daemon's start

        command, only = call["command"], call.get("pid")
        number = signal.Signals[f"SIG{call.get('signal', 'TERM')}"]
        protected = _own(call)
        if only is not None and only in protected:
            raise AgentError(f"pid {only} is never signalled: it is init or the daemon's own")
        if only is not None and not psutil.pid_exists(only):
            raise AgentError(f"no process {only}")
        pids = [only] if only is not None else psutil.pids()
        named = [pid for pid in pids if _command(psutil.Process, pid) == command]
        if not named:
            where = f"process {only} is not" if only is not None else "no process is"
            raise AgentError(f"{where} named {command!r}")
        sent = [pid for pid in named if pid not in protected and _send(pid, command, number)]
        result = {
            "signal": number.name,
            "pids": sent,
            "count": len(sent),
            "spared": [pid for pid in named if pid in protected],
        }
        if not sent:
            raise AgentError(f"nothing named {command!r} that may be signalled", data=result)
        return result


def _table() -> list[Row]:
    import psutil  # noqa: PLC0415 - by the first call, not by the daemon's start

    rows = []
    for process in psutil.process_iter(FIELDS):
        info = process.info
        memory, times, uids = info["memory_info"], info["cpu_times"], info["uids"]
        rows.append(
            {
                "pid": info["pid"],
                "ppid": info["ppid"] or 0,
                "user": info["username"] or "",
                "command": info["name"] or "",
                "args": info["cmdline"] or [],
                "rss_bytes": memory.rss if memory else 0,
                "cpu_seconds": round(times.user + times.system, 2) if times else 0.0,
                "state": info["status"] or "",
                "started": round(info["create_time"] or 0.0, 2),
                "uid": uids.real if uids else None,
            }
        )
    return rows


def _matching(pattern: str | None, user: str | None) -> list[Row]:
    rows = [row for row in _table() if user in (None, row["user"], str(row["uid"]))]
    if not pattern:
        return rows
    found = found_in(pattern, [text for row in rows for text in _searched(row)])
    return [row for row, *hits in zip(rows, found[::2], found[1::2], strict=True) if any(hits)]


def _searched(row: Row) -> tuple[str, str]:
    return row["command"], " ".join(row["args"])


def _own(call: Call) -> set[int]:
    """Pids that are never signalled: init, this process, and the daemon when we are its shim."""
    daemon = call.node.stats().get("pid")
    return {1, os.getpid(), os.getppid(), *([int(daemon)] if daemon else [])}


def _command(process: type[psutil.Process], pid: int) -> str | None:
    import psutil  # noqa: PLC0415 - by the first call, not by the daemon's start

    try:
        return process(pid).name()
    except psutil.Error:
        return None


def _send(pid: int, command: str, number: signal.Signals) -> bool:
    """Signal the process if it still has the name; False when it is gone."""
    import psutil  # noqa: PLC0415 - by the first call, not by the daemon's start

    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return False
    except OSError as error:
        raise AgentError(f"cannot reach process {pid}: {error.strerror}") from None
    try:
        if _command(psutil.Process, pid) != command:
            return False
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(handle, number)
            return True
    except PermissionError:
        raise AgentError(f"not allowed to signal process {pid}") from None
    finally:
        os.close(handle)
    return False


def _human(size: float) -> str:
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:  # noqa: PLR2004 - bytes in a KiB
            return f"{size:.0f} {unit}"
        size /= 1024
    return f"{size:.1f} GiB"
