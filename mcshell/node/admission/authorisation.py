"""Whether a caller may: the node's policy must say yes, and no authoriser may say no.

Authorisers are plugins of that kind (`mcshell.plugins`). They are asked in the order of their
names once the policy has said yes, so none can allow what the policy denies.
"""

from __future__ import annotations

import logging
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from mcshell.plugins import AuthorisationQuestion

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mcshell.node.admission.policy import Policies
    from mcshell.node.host import Host
    from mcshell.plugins import Authoriser

__all__ = ["Authorisation"]

log = logging.getLogger(__name__)

_MOST = 500
"""Characters of a reason."""


class Authorisation:
    """The policies of a process and its authorisers by name; may be asked from any thread."""

    def __init__(self, policies: Policies, authorisers: Mapping[str, Authoriser]) -> None:
        self._policies = policies
        self._authorisers = authorisers

    def denied(
        self,
        host: Host,
        caller: str,
        agent: str,
        action: str,
        data: Mapping[str, Any] | None = None,
        owner: str | None = None,
    ) -> str | None:
        """Why `caller` may not have `agent.action` done on this node; None when he may.

        With `owner` it is about what belongs to another caller (`Policies.decide`).
        """
        facts, classes = host.facts, host.classes
        decision = self._policies.decide(caller, agent, action, facts, classes, owner)
        if not decision.allowed:
            return f"denied by policy: {decision.why}"
        if not self._authorisers:
            return None
        question = AuthorisationQuestion(
            identity=host.identity,
            facts=facts,
            classes=classes,
            caller=caller,
            agent=agent,
            action=action,
            data=MappingProxyType(data or {}),  # the request's own: to look at
            owner=owner,
        )
        for name, authoriser in self._authorisers.items():
            reason = _reason(name, authoriser, question)
            if reason is not None:
                return f"denied by the authoriser {name}: {reason}"
        return None


def _reason(name: str, authoriser: Authoriser, question: AuthorisationQuestion) -> str | None:
    """What an authoriser has against it; whatever it says but None is a no."""
    try:
        answer: object = authoriser(question)
    except Exception as error:
        log.exception("the authoriser %s failed: denied", name)
        return f"it failed: {type(error).__name__}"
    if answer is None:
        return None
    if not isinstance(answer, str):
        log.error("the authoriser %s answered %r, not with a reason or None: denied", name, answer)
        return "it gave no reason"
    return " ".join(answer.split())[:_MOST] or "it gave no reason"
