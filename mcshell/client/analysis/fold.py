"""`fold`: nodes with equal answers as one line, `web[001-412,420]: 6.1.0`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from mcshell.client.analysis.answers import frozen
from mcshell.client.rpc.outputs import columns_for
from mcshell.filters.nodes import fold as ranges
from mcshell.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mcshell.client.analysis.answers import Answers

__all__ = ["KINDS", "Fold", "columns_of", "fold", "rows"]

KINDS: Final = {"nodes": "string", "count": "Int64", "state": "string"}
"""The dtypes of the first columns, whatever stands in them."""


@dataclass(frozen=True, slots=True)
class Fold:
    """Nodes that are in the same state and gave the same values."""

    nodes: str
    senders: tuple[str, ...]
    state: str | None
    cells: tuple[Any, ...]


def fold(answers: Answers, names: Sequence[str] = ()) -> list[Fold]:
    """Group the nodes by their answers in the columns `names` (all outputs), largest group first.

    Nodes in different states are never one group: who is silent has not answered "nothing".

    Raises:
        UsageError: there is no such column.
    """
    wanted = columns_of(answers, names)
    columns = [answers.column(name) for name in wanted]
    states = answers.columns.get("state") or [None] * len(answers.senders)
    groups: dict[Any, tuple[dict[str, None], str | None, tuple[Any, ...]]] = {}
    for place, sender in enumerate(answers.senders):
        values = tuple(column[place] for column in columns)
        key = (states[place], *map(frozen, values))
        groups.setdefault(key, ({}, states[place], values))[0][sender] = None
    found = [
        Fold(ranges(senders), tuple(senders), state, values)
        for senders, state, values in groups.values()
    ]
    return sorted(found, key=lambda one: (-len(one.senders), one.nodes))


def columns_of(answers: Answers, names: Sequence[str]) -> list[str]:
    """The columns that are folded: those named, or all outputs."""
    return list(dict.fromkeys(names)) or answers.outputs


def rows(
    answers: Answers, names: Sequence[str] = ()
) -> tuple[tuple[str, ...], list[tuple[Any, ...]]]:
    """The table of a fold: `nodes, count, state`, then the columns folded."""
    wanted = [name for name in columns_of(answers, names) if name not in ("state", "sender")]
    groups = fold(answers, wanted or ["state"])
    return (*KINDS, *columns_for(wanted, tuple(KINDS)).values()), [
        (one.nodes, len(one.senders), one.state, *(one.cells if wanted else ())) for one in groups
    ]
