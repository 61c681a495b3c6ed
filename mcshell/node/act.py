"""Runs one admitted action in this process and says how it came out."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mcshell.errors import AgentError
from mcshell.message import State, Status
from mcshell.node.agent import Call

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mcshell.node.agent import NodeView
    from mcshell.node.gate import Admitted, Refusal

__all__ = ["NotAllowed", "Outcome", "act", "refused"]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How it came out: the final word, before it is signed."""

    state: State
    statuscode: int
    statusmsg: str
    data: Mapping[str, Any] = field(default_factory=dict)


class NotAllowed(Exception):
    """Raised inside an action of the node's own that is refused; it is audited already."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.statusmsg)
        self.refusal = refusal


def act(
    admitted: Admitted, host: NodeView, deadline: float, cancelled: threading.Event | None = None
) -> Outcome:
    """Run the action; `deadline` is on the monotonic clock. Whatever it raises is an outcome."""
    call = Call(
        admitted.request,
        admitted.request.data,
        host,
        deadline,
        cancelled or threading.Event(),
    )
    method = getattr(admitted.service.agent, admitted.action.name)
    try:
        result = method(call)
    except NotAllowed as error:
        return refused(error.refusal)
    except AgentError as error:
        return Outcome(State.FAILED, error.statuscode, str(error), error.data)
    except (Exception, SystemExit) as error:  # sys.exit() ends the action, not our thread
        name = f"{admitted.request.agent}.{admitted.request.action}"
        log.exception("%s crashed", name)
        text = f"{name} crashed: {type(error).__name__}: {error}"
        return Outcome(State.FAILED, Status.UNKNOWN_ERROR, text)
    if not isinstance(result, dict):
        text = f"the agent returned {type(result).__name__}, a dict is meant"
        return Outcome(State.FAILED, Status.UNKNOWN_ERROR, text)
    return Outcome(State.OK, Status.OK, "OK", result)


def refused(refusal: Refusal) -> Outcome:
    """The final word about a request that may not run."""
    return Outcome(refusal.state, refusal.statuscode, refusal.statusmsg)
