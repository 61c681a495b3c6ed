"""A plan as a signed document: written by the operator who runs it, kept in the session file.

Whoever takes the session up again, on this machine or another, goes on with these very bytes: all
request ids of the plan come from their hash.
"""

from __future__ import annotations

import hashlib
import json
import re
from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING, Any, Final

from mcshell.errors import Reason, Rejected
from mcshell.message import Plan, Step
from mcshell.wire.documents import fields, strict_json
from mcshell.wire.documents.authored import open_authored, seal_authored

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mcshell.wire.documents.envelope import BodyLimits, SealedMessage
    from mcshell.wire.documents.signatures import Signer, Verifier

__all__ = [
    "MAX_PLAN",
    "REVISIONS",
    "open_plan",
    "plan_id",
    "read_plan",
    "seal_plan",
    "targets_digest",
    "wave_nonce",
]

_KIND: Final = "plan"
MAX_PLAN: Final = 1 << 24
REVISIONS: Final = 1_000_000
_STEPS: Final = 200
_NODES: Final = 100_000
_WAVES: Final = 100
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
_SHARE: Final = re.compile(r"(?=.*[1-9])\d{1,6}%?")
_NEED: Final = re.compile(r"ok|done|(?:100|[1-9]\d?)%")


def plan_id(body: bytes) -> str:
    """The name of one run of a plan: a hash of its signed bytes."""
    return hashlib.sha256(body).hexdigest()[:32]


def targets_digest(waves: Mapping[str, Sequence[Sequence[str]]]) -> str:
    """The SHA-256 of whom each wave of each step is for, as the signed plan names it."""
    return hashlib.sha256(json.dumps(waves, sort_keys=True).encode()).hexdigest()


def wave_nonce(plan: str, revision: int, step: str, wave: int) -> str:
    """What the request id of one wave of a step is made of, so that it goes out once.

    Under version 1 of the wire it was the id itself.
    """
    return hashlib.sha256(f"{plan}/{revision}/{step}/{wave}".encode()).hexdigest()[:32]


def seal_plan(plan: Plan, signer: Signer) -> SealedMessage:
    """Write and sign a plan.

    Raises:
        InputError: an input that JSON cannot carry.
        UsageError: what could not be read again; steps that wait for each other in a circle.
    """
    document = {
        "name": plan.name,
        "revision": plan.revision,
        "author": plan.author,
        "collective": plan.collective,
        "created": plan.created,
        "steps": [_written(step) for step in plan.steps],
        "targets": plan.targets or None,
        "run": plan.run or None,
    }
    return seal_authored(_KIND, document, _plan, signer, f"plan {plan.name[:60]}")


def open_plan(
    body: bytes, headers: Mapping[str, str], verifier: Verifier, limits: BodyLimits, now: float
) -> Plan:
    """Check a plan that a session has kept; `now` (epoch) is when to judge the certificate's dates.

    Raises:
        Rejected: as `open_authored`.
    """
    return open_authored(_KIND, _plan, body, headers, verifier, limits, now, stored=True)


def read_plan(body: bytes) -> Plan:
    """What a plan says whose signature was looked at; raises Rejected for what is of no such form."""
    document = strict_json.loads(body)
    if not isinstance(document, dict) or document.get("kind") != _KIND:
        raise Rejected(Reason.WRONG_KIND, "no plan")
    return _plan(document)


def _written(step: Step) -> dict[str, Any]:
    return {
        "name": step.name,
        "agent": step.agent,
        "action": step.action,
        "data": step.data,
        "filter": step.filter.as_dict(),
        "nodes": None if step.nodes is None else list(step.nodes),
        "waves": list(step.waves),
        "stop": step.stop,
        "ttl": step.ttl,
        "gates": [list(gate) for gate in step.gates],
    }


def _plan(document: Mapping[str, Any]) -> Plan:
    steps = document.get("steps")
    if not isinstance(steps, list) or not 0 < len(steps) <= _STEPS:
        raise Rejected(Reason.MALFORMED, f"steps: from 1 to {_STEPS} are meant")
    plan = Plan(
        name=_matching(document, "name", _NAME),
        revision=fields.whole(document, "revision", REVISIONS),
        author=fields.name(document, "author"),
        collective=fields.word(document, "collective"),
        created=fields.moment(document, "created"),
        steps=tuple(map(_step, steps)),
        targets=fields.optional(document, "targets", fields.digest) or "",
        run=fields.optional(document, "run", fields.nonce) or "",
    )
    _check_order(plan.steps)
    return plan


def _step(document: Any) -> Step:
    if not isinstance(document, dict):
        raise Rejected(Reason.MALFORMED, "steps: one is no object")
    step = Step(
        name=_matching(document, "name", _NAME),
        agent=fields.word(document, "agent"),
        action=fields.action(document),
        data=fields.mapping(document, "data"),
        filter=fields.filter_of(document),
        nodes=None if document.get("nodes") is None else _texts(document, "nodes", _NODES),
        waves=_texts(document, "waves", _WAVES),
        stop=_matching(document, "stop", _SHARE),
        ttl=fields.moment(document, "ttl"),
        gates=_gates(document),
    )
    for wave in step.waves[:-1]:
        if not _SHARE.fullmatch(wave):
            raise Rejected(Reason.MALFORMED, f"waves of {step.name}: no share: {wave[:40]!r}")
    if step.waves[-1:] != ("rest",):
        raise Rejected(Reason.MALFORMED, f"waves of {step.name}: the last one is the rest")
    if step.ttl <= 0:
        raise Rejected(Reason.MALFORMED, f"ttl of {step.name}: no length of time")
    return step


def _gates(document: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    value = document.get("gates")
    if not isinstance(value, list) or len(value) > _STEPS:
        raise Rejected(Reason.MALFORMED, "gates: no list")
    found = []
    for one in value:
        if not isinstance(one, list) or len(one) != 2 or not all(isinstance(w, str) for w in one):  # noqa: PLR2004 - a step and what it takes
            raise Rejected(Reason.MALFORMED, f"gates: a step and what it takes: {str(one)[:60]}")
        if not _NEED.fullmatch(one[1]):
            raise Rejected(
                Reason.MALFORMED, f"after {one[0][:40]}: ok, done or a percentage: {one[1][:40]!r}"
            )
        found.append((one[0], one[1]))
    return tuple(found)


def _check_order(steps: tuple[Step, ...]) -> None:
    """Each step has a name of its own, and waits only for steps that are there, in no circle."""
    names = [step.name for step in steps]
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise Rejected(Reason.MALFORMED, f"two steps are called {twice!r}")
    for step in steps:
        for before, _need in step.gates:
            if before not in names:
                raise Rejected(
                    Reason.MALFORMED, f"{step.name} comes after {before[:40]!r}, which is no step"
                )
    try:
        TopologicalSorter({step.name: [one for one, _ in step.gates] for step in steps}).prepare()
    except CycleError as error:
        circle = " after ".join(reversed(error.args[1]))
        raise Rejected(Reason.MALFORMED, f"a circle: {circle}") from None


def _texts(document: Mapping[str, Any], key: str, most: int) -> tuple[str, ...]:
    value = document.get(key)
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise Rejected(Reason.MALFORMED, f"{key}: no list of words")
    if not 0 < len(value) <= most:
        raise Rejected(Reason.MALFORMED, f"{key}: from 1 to {most} are meant")
    return tuple(value)


def _matching(document: Mapping[str, Any], key: str, pattern: re.Pattern[str]) -> str:
    value = fields.text(document, key)
    if not pattern.fullmatch(value):
        raise Rejected(Reason.MALFORMED, f"{key}: not of its form: {value[:60]!r}")
    return value
