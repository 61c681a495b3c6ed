"""Runs one admitted action in this process and says how it came out."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from mcshell.errors import AgentError
from mcshell.message import State, StatusCode
from mcshell.node.agent import Call
from mcshell.node.verdicts import NotAllowed, Outcome, refused

if TYPE_CHECKING:
    from mcshell.node.agent import NodeView
    from mcshell.node.verdicts import Admitted

__all__ = ["run_action"]

log = logging.getLogger(__name__)


def run_action(admitted: Admitted, host: NodeView, deadline: float, **more: Any) -> Outcome:
    """Run the action; `deadline` is on the monotonic clock, `more` what else a `Call` has.

    Whatever it raises is an outcome.
    """
    call = Call(admitted.request, dict(admitted.request.data), host, deadline, **more)
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
        return Outcome(State.FAILED, StatusCode.UNKNOWN_ERROR, text)
    if not isinstance(result, dict):
        text = f"the agent returned {type(result).__name__}, a dict is meant"
        return Outcome(State.FAILED, StatusCode.UNKNOWN_ERROR, text)
    return Outcome(State.OK, StatusCode.OK, "OK", result)
