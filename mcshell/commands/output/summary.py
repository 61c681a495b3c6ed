"""What a reader is told of a request beside its rows: counts, who is missing, the DDL's sums."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcshell.message import State

if TYPE_CHECKING:
    from collections.abc import Collection

    from mcshell.client.rpc.replies import Replies

__all__ = ["summary_lines"]

_BAD = (State.FAILED, State.DENIED, State.INTERRUPTED)


def summary_lines(replies: Replies, shown: Collection[str]) -> list[str]:
    """The lines below the rows, whose senders are `shown`: whoever is not well and not there is named."""
    stats = dict(replies.stats)
    elapsed, targets = stats.pop("elapsed"), stats.pop("targets")
    counts = ", ".join(f"{number} {name}" for name, number in stats.items() if number)
    many = "target" if targets == 1 else "targets"
    lines = [
        f"{targets} {many}: {counts or 'none'}; {elapsed:.2f} s; request {replies.requestid[:8]}"
    ]
    found = [(entry.worker or entry.sender, entry.state) for entry in replies.entries()]
    if silent := [sender for sender, state in found if state.judged]:
        lines.append(f"no answer from {_folded(silent)}")
    for bad in _BAD:
        hidden = [one for one, state in found if state is bad and one not in shown]
        lines += [f"{bad}: {_folded(hidden)}"] if hidden else []
    for aggregate in replies.aggregates():
        lines += [f"{aggregate.title}:", *(f"  {line}" for line in aggregate.lines)]
    return lines


def _folded(names: list[str]) -> str:
    from mcshell.filters.nodes import fold  # noqa: PLC0415 - only when someone is missing

    return fold(names)
