"""The ledger that a session's replies come to, beside the one that its file has.

What the client itself has put there (when it sent, whom it called silent and why) no reply can show.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from mcshell.client.store.ledger import FOUND_LATE, LedgerEntry, step
from mcshell.message import State

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from mcshell.message import Reply

__all__ = ["miscounted", "unlike_replies"]

_BY_REPLIES: Final = ("received", "running", "done", "attempt", "worker")
_BY_THE_LAST: Final = ("sequence", "statuscode", "statusmsg", "trust")
_JUDGED: Final = (State.PENDING, State.SILENT, State.EXPIRED)
_ONES_OWN: Final = ("late", "duplicate", "unexpected")


def unlike_replies(
    targets: Sequence[Mapping[str, Any]], replies: Iterable[tuple[Reply, float]], pool: str | None
) -> Iterator[str]:
    """What the rows of one request's targets say that its replies (each with when it was kept) do not."""
    entries = {
        row["sender"]: LedgerEntry(
            sender=row["sender"], reason=FOUND_LATE if row["reason"] == FOUND_LATE else ""
        )
        for row in targets
    }
    for reply, kept in replies:
        own, of_pool = reply.sender, f"pool:{pool}"
        target = of_pool if pool is not None and own not in entries else own
        if target not in entries:
            yield f"{own} has answered, and is no row of the ledger"
            continue
        entries[target] = step(entries[target], reply, kept)
    for row in targets:
        entry = entries[row["sender"]]
        told = {name: getattr(entry, name) for name in _BY_REPLIES}
        told |= {name: getattr(entry.reply, name, None) for name in _BY_THE_LAST}
        wrong = [name for name, value in told.items() if row[name] != value]
        if not _state_fits(entry, row):
            wrong.insert(0, f"state {row['state']}")
        wrong += [name for name in _ONES_OWN if row[name] not in (0, 1)]
        if wrong:
            yield f"{row['sender']}: not what its replies come to: {', '.join(wrong)}"


def miscounted(targets: Iterable[Mapping[str, Any]], counts: Mapping[str, int]) -> bool:
    """Whether the numbers of targets in each state are others than those of their rows."""
    found = Counter("unexpected" if row["unexpected"] else row["state"] for row in targets)
    return +found != +Counter(counts)


def _state_fits(entry: LedgerEntry, row: Mapping[str, Any]) -> bool:
    if entry.reply is not None or row["state"] == entry.state:
        return bool(row["state"] == entry.state)
    judged = entry.state is State.PENDING and row["state"] in _JUDGED
    # Asked what became of it, a node has said how it ended; its last reply is not here.
    return judged or (row["state"] in tuple(State) and State(row["state"]).final and row["reason"])
