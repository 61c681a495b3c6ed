"""The values of the spool: a row of work, a reply in the outbox, an end. No I/O here.

The states of a row move only along these arrows:

    queued → running → ok | failed | interrupted        running → queued (a further attempt)
    queued → denied | failed | expired | cancelled
"""

from __future__ import annotations

from typing import Any, Final

from mcshell.values import dataclass

__all__ = [
    "CANCELLED",
    "FINAL",
    "INTERRUPTED",
    "QUEUED",
    "RUNNING",
    "Key",
    "OutboxMessage",
    "WorkItem",
    "WorkResult",
]

Key = tuple[str, str]
"""(identity, request id): the name of a row."""

QUEUED: Final = "queued"
RUNNING: Final = "running"
CANCELLED: Final = "cancelled"
INTERRUPTED: Final = "interrupted"
FINAL: Final = frozenset({"ok", "failed", "denied", INTERRUPTED, "expired", CANCELLED})


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkItem:
    """One row: a request with its envelope as it came, and where it stands.

    Times are seconds since the epoch; `due` is when it may start. `attempt` counts its starts.
    One of kind "job" is a run of the job `job`, its start's name is `run`; its body is the job's
    document, and `received` is when that was accepted.
    """

    identity: str
    id: str
    via: str
    collective: str
    agent: str
    action: str
    caller: str
    session: str
    created: float
    expires: float
    due: float
    received: float
    pool: str | None = None
    body: bytes | None = None
    signature: str | None = None
    certificate: str | None = None
    kind: str = "request"
    state: str = QUEUED
    attempt: int = 0
    started: float | None = None
    ended: float | None = None
    statuscode: int | None = None
    statusmsg: str = ""
    job: str | None = None
    run: str = ""
    number: int | None = None

    @property
    def key(self) -> Key:
        """Its key in the spool: identity and id."""
        return self.identity, self.id

    def evidence(self) -> dict[str, Any]:
        """What is known of it, under the keys that `explain` reads."""
        known: dict[str, Any] = {
            "requestid": self.id,
            "state": self.state,
            "received": self.received,
            "started": self.started,
            "ended": self.ended,
            "attempt": self.attempt,
            "statuscode": self.statuscode,
        }
        if self.state == RUNNING:
            known["reason"] = "runs"
        elif self.statusmsg and self.state != "ok":
            known["reason"] = self.statusmsg
        return known


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxMessage:
    """A signed reply that waits in the outbox; `number` is its place there."""

    identity: str
    request: str
    sequence: int
    destination: str
    body: bytes
    signature: str
    certificate: str
    number: int | None = None

    def __str__(self) -> str:
        return f"the reply of {self.identity} to {self.request[:8]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkResult:
    """How a row ends, with the reply that says so; the last three as in `WorkItem`."""

    key: Key
    state: str
    statuscode: int | None
    statusmsg: str
    ended: float
    message: OutboxMessage | None = None
    job: str | None = None
    started: float | None = None
    attempt: int = 0
