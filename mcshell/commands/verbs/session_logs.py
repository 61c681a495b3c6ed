"""Audit logs of nodes beside the replies of a session: has the node written down what it answered?"""

from __future__ import annotations

import json
import sqlite3
from typing import TYPE_CHECKING, Any, Final

from mcshell.errors import UsageError
from mcshell.message import State
from mcshell.node.audit.files import log_files
from mcshell.node.audit.verify import verify
from mcshell.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from mcshell.client.session.evidence import RequestEvidence
    from mcshell.message import Reply

__all__ = ["NodeLogs", "read_logs"]

_OUTCOMES: Final = ("finished", "not_started", "denied", "refused")


@dataclass(slots=True, kw_only=True)
class NodeLogs:
    """What audit logs say of requests: each outcome by (node, request), as (state, statuscode).

    `nodes` are those whose logs are whole, each with how many lines a head vouches for; `problems` are
    what is wrong with a log.
    """

    nodes: dict[str, int]
    outcomes: dict[tuple[str, str], set[tuple[str | None, int | None]]]
    callers: dict[str, set[str]]
    problems: list[str]

    def unlike(self, one: RequestEvidence) -> Iterator[str]:
        """What the last replies to a request say and the logs of their nodes do not."""
        for reply in self._compared(one):
            found = self.outcomes.get((reply.sender, one.id), set())
            if not any(_same(reply, state, code) for state, code in found):
                wrote = ", ".join(sorted(str(state) for state, _ in found)) or "nothing of it"
                yield (f"{reply.sender} answered {reply.state}, and its audit log has {wrote}")

    def logged(self, one: RequestEvidence) -> int:
        """How many of its last replies the logs of their nodes bear out."""
        found = (
            (reply, self.outcomes.get((reply.sender, one.id), set()))
            for reply in self._compared(one)
        )
        return sum(any(_same(reply, *said) for said in outcomes) for reply, outcomes in found)

    def _compared(self, one: RequestEvidence) -> list[Reply]:
        return [reply for reply, _ in one.replies if reply.final and reply.sender in self.nodes]


def _same(reply: Reply, state: str | None, code: int | None) -> bool:
    said = state is None or state == reply.state
    return said and (code is None or code == reply.statuscode)


def read_logs(paths: Iterable[Path], heads: Callable[[set[str]], dict[int, set[str]]]) -> NodeLogs:
    """Go through audit logs, each with its rotated files; `heads` gives those of some identities.

    Raises:
        UsageError: one cannot be read.
    """
    logs = NodeLogs(nodes={}, outcomes={}, callers={}, problems=[])
    for path in paths:
        if not path.is_file():
            raise UsageError(f"audit verify: there is no {path}")
        try:
            found = verify(log_files(path), {})
            found = verify(log_files(path), heads(found.whose))
            for _, lines in log_files(path):
                _note(logs, lines)
        except (OSError, EOFError, sqlite3.Error) as error:
            raise UsageError(f"audit verify: {error}") from error
        if found.broken is not None:
            broken = found.broken
            logs.problems.append(f"{broken.file}:{broken.line}: {broken.what}")
        for name in found.whose:
            logs.nodes[name] = max(logs.nodes.get(name, 0), found.head.count - found.unanchored)
    return logs


def _note(logs: NodeLogs, lines: Iterable[bytes]) -> None:
    for line in lines:
        try:
            event: Any = json.loads(line)
        except (ValueError, RecursionError):
            continue  # a torn line, of which the chain tells
        if not isinstance(event, dict) or event.get("event") not in _OUTCOMES:
            continue
        state = event.get("state")
        if state is None and event["event"] in ("denied", "refused"):
            state = State.DENIED if event["event"] == "denied" else State.FAILED
        where = str(event.get("identity")), str(event.get("requestid"))
        code = event.get("statuscode")
        logs.outcomes.setdefault(where, set()).add(
            (None if state is None else str(state), code if isinstance(code, int) else None)
        )
        logs.callers.setdefault(where[1], set()).add(str(event.get("caller")))
