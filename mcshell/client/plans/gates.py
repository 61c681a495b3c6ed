"""What decides how a plan goes on: waves cut, failures counted, gates opened. Pure.

Whoever ended otherwise than `ok` has failed, also who gave no reply in time; who may still say
something is open.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from mcshell.filters.nodes import fold
from mcshell.message import State
from mcshell.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mcshell.message import Step

__all__ = ["NodeResult", "cut", "gate", "in_order", "named", "said", "stopped"]

_NAMED: Final = 3


@dataclass(frozen=True, slots=True)
class NodeResult:
    """How one node stands with a step, and what it said."""

    sender: str
    state: State
    reason: str = ""

    @property
    def failed(self) -> bool:
        """Whether it has come to an end that is not `ok`."""
        return self.state.closed and self.state is not State.OK


def in_order(steps: Sequence[Step]) -> list[Step]:
    """The steps, each after those it waits for, else as they are written."""
    left, done = list(steps), list[str]()
    while left:
        step = next(one for one in left if all(name in done for name, _ in one.gates))
        left.remove(step)
        done.append(step.name)
    places = {name: place for place, name in enumerate(done)}
    return sorted(steps, key=lambda step: places[step.name])


def cut(names: Sequence[str], waves: Sequence[str]) -> list[tuple[str, ...]]:
    """Cut the nodes of a step into its waves; percentages are of all of them. None is empty."""
    found: list[tuple[str, ...]] = []
    start = 0
    for wave in waves:
        size = len(names) - start if wave == "rest" else count(wave, len(names))
        part = tuple(names[start : start + size])
        found += [part] if part else []
        start += size
    return found


def count(share: str, total: int) -> int:
    """Read "12" or "10%" of `total`, at least 1."""
    if share.endswith("%"):
        return max(1, math.ceil(total * int(share[:-1]) / 100))
    return max(1, int(share))


def stopped(step: Step, results: Sequence[NodeResult], total: int) -> str:
    """Why a step has too many failures to go on; nothing when it has not."""
    failed = [one for one in results if one.failed]
    limit = count(step.stop, total)
    if len(failed) < limit:
        return ""
    allowed = f"it stops at {step.stop}" if step.stop != "1" else "the first one stops it"
    return f"{step.name}: {_many(failed, total)} failed, {allowed}: {named(failed)}"


def gate(step: Step, ends: Mapping[str, Sequence[NodeResult]]) -> str:
    """Why a step may not begin, after the results of those before it; nothing when it may."""
    for name, need in step.gates:
        results = ends[name]
        bad = [one for one in results if one.state is not State.OK]
        if need == "done":
            bad = [one for one in results if not one.state.closed]
        elif need != "ok" and len(results) - len(bad) >= count(need, len(results)):
            continue
        if bad:
            what = {"ok": "all ok", "done": "all done"}.get(need, f"{need} ok")
            return (
                f"{step.name} wants {name} {what}, but {_many(bad, len(results))} "
                f"{'is' if len(bad) == 1 else 'are'} not: {named(bad)}"
            )
    return ""


def _many(some: Sequence[NodeResult], total: int) -> str:
    return f"{len(some)} of {total}"


def named(results: Sequence[NodeResult]) -> str:
    """Nodes with what they said; where there are many, their names and the first one's reply."""
    if len(results) > _NAMED:
        first = results[0]
        return f"{fold(one.sender for one in results)} ({first.sender}: {said(first)})"
    return ", ".join(f"{one.sender} ({said(one)})" for one in results)


def said(result: NodeResult) -> str:
    """How a node stands, and its replies."""
    return f"{result.state}{': ' if result.reason else ''}{result.reason[:200]}"
