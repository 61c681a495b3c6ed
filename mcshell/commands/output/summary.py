"""What a reader is told of a request beside its rows: counts, who is missing, the DDL's sums."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcshell.message import State

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    from mcshell.client.rpc.replies import Replies
    from mcshell.client.store.ledger import LedgerEntry

__all__ = ["absent_lines", "summary_lines"]

_BAD = (State.FAILED, State.DENIED, State.INTERRUPTED)


def summary_lines(replies: Replies, shown: Collection[str], *, sums: bool = True) -> list[str]:
    """The lines below the rows, whose senders are `shown`: whoever is not well and not there is named.

    `sums`: whether those of the DDL are wanted.
    """
    stats = dict(replies.stats)
    elapsed, targets = stats.pop("elapsed"), stats.pop("targets")
    counts = ", ".join(f"{number} {name}" for name, number in stats.items() if number)
    many = "target" if targets == 1 else "targets"
    lines = [
        f"{targets} {many}: {counts or 'none'}; {elapsed:.2f} s; request {replies.requestid[:8]}"
    ]
    found = [(entry.worker or entry.sender, entry.state) for entry in replies.entries()]
    lines += absent_lines(replies.entries(), _folded)
    lines += _cut_lines(replies)
    for bad in _BAD:
        hidden = [one for one, state in found if state is bad and one not in shown]
        lines += [f"{bad}: {_folded(hidden)}"] if hidden else []
    for aggregate in replies.aggregates() if sums else ():
        lines += [f"{aggregate.title}:", *(f"  {line}" for line in aggregate.lines)]
    return lines


def _cut_lines(replies: Replies) -> list[str]:
    """Of whom an output was cut short: the DDLs' boolean `truncated` says so."""
    if replies.schema is None or "truncated" not in replies.schema.outputs:
        return []
    cut = [
        reply.sender
        for entry in replies.entries()
        if (reply := entry.reply) is not None and reply.data.get("truncated") is True
    ]
    return [f"truncated: {_folded(cut)} ({len(cut)} of {len(replies)})"] if cut else []


def absent_lines(
    entries: Iterable[LedgerEntry], folded: Callable[[Sequence[str]], str]
) -> list[str]:
    """Who was asked and gave no answer, and who was never asked: a line each, if there is any."""
    absent = [(entry.worker or entry.sender, entry) for entry in entries if not entry.unexpected]
    silent = [name for name, entry in absent if entry.state.judged and not entry.unsent]
    unsent = [name for name, entry in absent if not entry.state.final and entry.unsent]
    lines = [f"no answer from {folded(silent)}"] if silent else []
    return [*lines, f"not sent to {folded(unsent)}"] if unsent else lines


def _folded(names: Sequence[str]) -> str:
    from mcshell.filters.nodes import fold  # noqa: PLC0415 - only when someone is missing

    return fold(names)
