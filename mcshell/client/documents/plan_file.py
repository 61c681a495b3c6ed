"""A plan as its author writes it: YAML, one table a step.

::

    plan: patch-friday
    steps:
      - step: db
        ask: package.update
        inputs: {name: openssl}
        where: role=db            # or nodes: db[1-3]
        waves: [1, 10%, rest]     # a canary, then 10 %, then the rest
        stop: 20%                 # so many failures stop the plan (by default the first)
        ttl: 1h                   # how long a node may be down
      - step: web
        ask: service.restart
        inputs: {name: nginx}
        where: {classes: web}
        after: {db: ok}           # or done, or 90%; by default: the step before, ok
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from mcshell.client.documents.reader import load
from mcshell.filters.nodes import no_groups
from mcshell.message import Filter, Plan, Step

if TYPE_CHECKING:
    from mcshell.client.documents.reader import Section
    from mcshell.ddl.ddl_library import Library
    from mcshell.filters.nodes import GroupLookup

__all__ = ["TTL", "read_plan"]

_PLAN: Final = ("plan", "revision", "collective", "steps")
_STEP: Final = ("step", "ask", "inputs", "where", "nodes", "after", "waves", "stop", "ttl")
_NEEDS: Final = re.compile(r"ok|done|(?:100|[1-9]\d?)%")
_SHARE: Final = re.compile(r"(?=.*[1-9])\d{1,6}%?")
_REST: Final = "rest"
TTL: Final = 3600.0


def read_plan(
    text: str,
    origin: str,
    ddls: Library,
    *,
    author: str,
    collective: str,
    now: float,
    groups: GroupLookup = no_groups,
    ttl: float = TTL,
) -> Plan:
    """Read a plan; `origin` is the file's name, for messages; `groups` gives the nodes of an
    `@GROUP`, which are signed by name; `ttl` is that of a step that says none.

    Raises:
        UsageError: what is no plan, with its place; an unknown action or input (InputError).
    """
    document = load(text, origin, _PLAN, groups)
    steps: list[Step] = []
    for part in document.parts("steps", _STEP):
        steps.append(_step(part, ddls, steps, ttl))
    if not steps:
        raise document.wrong("steps", "there are none")
    return Plan(
        name=document.text("plan"),
        revision=document.whole("revision", 1, 1),
        author=author,
        collective=document.text("collective", collective),
        created=now,
        steps=tuple(steps),
    )


def _step(part: Section, ddls: Library, before: list[Step], ttl: float) -> Step:
    if ("where" in part) == ("nodes" in part):
        raise part.wrong("where", "who is meant? Either where (a filter) or nodes (names)")
    agent, action, data = part.asked(ddls)
    return Step(
        name=part.text("step"),
        agent=agent,
        action=action,
        data=data,
        filter=part.matching("where") if "where" in part else Filter(),
        nodes=part.names("nodes"),
        waves=_waves(part),
        stop=_stop(part),
        ttl=part.seconds("ttl", ttl),
        gates=_gates(part, before),
    )


def _waves(part: Section) -> tuple[str, ...]:
    words = part.words("waves") or ()
    for word in words[:-1] if words[-1:] == (_REST,) else words:
        if not _SHARE.fullmatch(word):
            raise part.wrong("waves", f"{word!r}: a number, a percentage, or rest as the last")
    return words if words[-1:] == (_REST,) else (*words, _REST)


def _stop(part: Section) -> str:
    word = part.text("stop", "1")
    if not _SHARE.fullmatch(word):
        raise part.wrong("stop", f"{word!r}: a number or a percentage above 0 is meant")
    return word


def _gates(part: Section, before: list[Step]) -> tuple[tuple[str, str], ...]:
    if "after" not in part:
        return ((before[-1].name, "ok"),) if before else ()
    gates = part.after()
    for name, need in gates.items():
        if not isinstance(need, str) or not _NEEDS.fullmatch(need):
            raise part.wrong("after", f"{name}: ok, done or a percentage is meant, not {need!r}")
    return tuple(gates.items())
