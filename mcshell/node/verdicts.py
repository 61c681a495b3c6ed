"""What is decided about a request, and how it came out: plain values."""

from __future__ import annotations

from dataclasses import field
from typing import TYPE_CHECKING, Any

from mcshell.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mcshell.ddl import Action
    from mcshell.message import Request, State
    from mcshell.node.agents.registry import ServedAgent

__all__ = ["Admitted", "NotAllowed", "Outcome", "Refusal", "refused"]


@dataclass(frozen=True, slots=True)
class Admitted:
    """A request that may run here: its inputs are checked, defaults are filled in."""

    request: Request
    service: ServedAgent
    action: Action
    max_runtime: float | None = None
    """What the job allows it, in seconds, in place of the DDL's timeout."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A verified request that may not run here, with the answer it gets."""

    request: Request
    state: State
    statuscode: int
    statusmsg: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an action came out, or why it did not run: the final reply, before it is signed."""

    state: State
    statuscode: int
    statusmsg: str
    data: Mapping[str, Any] = field(default_factory=dict)


class NotAllowed(Exception):
    """Raised inside an action of the node's own that is refused; it is audited already."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.statusmsg)
        self.refusal = refusal


def refused(refusal: Refusal) -> Outcome:
    """The final reply about a request that may not run."""
    return Outcome(refusal.state, refusal.statuscode, refusal.statusmsg)
