"""Whether a history kept the promises. Pure: events in, violations out; it knows nothing of mcshell.

| violation | what it says |
|---|---|
| lost | it was confirmed, ran nowhere, and nothing says why: no row, or one that only gave up waiting |
| twice | an attempt ran more than once, and the action is not `rerun_safe` |
| unasked | an effect, or a row, of something that nobody asked, or of a node that was no target |
| unnamed | a target without a row, where the request has a ledger or was promised one |
| unfinished | a row that is not final although all is over (of an interactive request `received` and `running` are ends: that is what was heard last) |
| false | the row and the effects disagree: `ok` and it never ran; it ran, and its row denies that |
| unsaid | a row has a last reply that its node has not made (where the history tells what nodes said) |
| changed | a node's last reply was shown, and another state later |
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.history.events import Asked, Confirmed, Ended, Ran, Row, Said

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tests.history.events import Event

__all__ = ["Violation", "check", "report"]

ANSWERED = frozenset({"ok", "failed", "denied", "interrupted"})
JUDGED = frozenset({"silent", "expired"})
UNDER_WAY = frozenset({"received", "running"})
DURABLE = frozenset({"queue", "pool", "job"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """One promise that was broken: which (see the table above), where, and in words."""

    kind: str
    request: str
    node: str
    text: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.request} on {self.node or 'any node'}: {self.text}"


class _Told:
    """What a history says, by what it is about."""

    def __init__(self, history: Iterable[Event]) -> None:
        self.asked: dict[str, Asked] = {}
        self.confirmed: dict[str, float] = {}
        self.ran: defaultdict[str, list[Ran]] = defaultdict(list)
        self.said: set[tuple[str, str, str]] = set()
        self.rows: defaultdict[str, list[Row]] = defaultdict(list)
        self.ended = False
        for event in history:
            match event:
                case Asked():
                    self.asked[event.request] = event
                case Confirmed():
                    self.confirmed.setdefault(event.request, event.at)
                case Ran():
                    self.ran[event.request].append(event)
                case Said():
                    self.said.add((event.request, event.node, event.state))
                case Row():
                    self.rows[event.request].append(event)
                case Ended():
                    self.ended = True

    def effects(self, asked: Asked, target: str) -> list[Ran]:
        """What ran of a request for one of its targets; of a pool: on any node."""
        ran = self.ran[asked.request]
        return ran if asked.via == "pool" else [one for one in ran if one.node == target]

    def runs(self, asked: Asked) -> list[Ran]:
        """What ran of a request; of a job that recurs, which ends as its last start did: of its starts."""
        own = self.ran[asked.request]
        if asked.via != "job":
            return own
        starts = [ran for name, ran in self.ran.items() if name.startswith(f"{asked.request}/")]
        return [one for ran in [own, *starts] for one in ran]

    def last_row(self, asked: Asked, target: str) -> Row | None:
        """The row that a target was left with; of a pool: that of whoever took it."""
        rows = [
            row for row in self.rows[asked.request] if asked.via == "pool" or row.node == target
        ]
        return rows[-1] if rows else None


def check(history: Iterable[Event]) -> list[Violation]:
    """Return all violations, in the order of the requests; nothing where every promise was kept."""
    told = _Told(history)
    found = list(_unasked(told))
    for asked in told.asked.values():
        found += _twice(told, asked)
        found += _changed(told, asked)
        found += _unsaid(told, asked)
        found += _never_ran(told, asked)
        if told.ended:
            found += _at_the_end(told, asked)
    return found


def report(violations: Iterable[Violation]) -> str:
    """The violations in words, a line each."""
    return "\n".join(map(str, violations))


def _unasked(told: _Told) -> Iterator[Violation]:
    shown = [event for rows in told.rows.values() for event in rows]
    for event in [*(one for ran in told.ran.values() for one in ran), *shown]:
        what = "an effect" if isinstance(event, Ran) else "a row"
        asked = told.asked.get(event.request)
        if asked is None:
            text = f"{what} at {event.at:.3f} of what nobody asked"
        elif asked.via in {"pool", "broadcast"} or event.node in asked.targets:
            continue  # which nodes serve a pool, or hear a broadcast, the asker need not know
        else:
            text = f"{what} at {event.at:.3f} of a node that was no target"
        yield Violation(kind="unasked", request=event.request, node=event.node, text=text)


def _twice(told: _Told, asked: Asked) -> Iterator[Violation]:
    if asked.rerun_safe:
        return
    runs = Counter(
        ("" if asked.via == "pool" else one.node, one.attempt) for one in told.ran[asked.request]
    )
    for (node, attempt), times in runs.items():
        if times > 1:
            text = f"attempt {attempt} ran {times} times, and is not rerun_safe"
            yield Violation(kind="twice", request=asked.request, node=node, text=text)


def _changed(told: _Told, asked: Asked) -> Iterator[Violation]:
    before: dict[str, Row] = {}
    for row in told.rows[asked.request]:
        place = "" if asked.via == "pool" else row.node
        earlier = before.get(place)
        # a worker of a pool that has a copy knows only that another may have begun it
        fixed = ANSWERED - {"interrupted"} if asked.via == "pool" else ANSWERED
        if earlier and earlier.state in fixed and row.state != earlier.state:
            text = f"{earlier.state} at {earlier.at:.3f}, {row.state} at {row.at:.3f}"
            yield Violation(kind="changed", request=asked.request, node=row.node, text=text)
        before[place] = row


def _unsaid(told: _Told, asked: Asked) -> Iterator[Violation]:
    """Only where the history tells what nodes said: a real process's replies are not seen."""
    for row in told.rows[asked.request] if told.said else ():
        if row.state in ANSWERED and (row.request, row.node, row.state) not in told.said:
            text = f"the row has {row.state}, which the node has not said"
            yield Violation(kind="unsaid", request=asked.request, node=row.node, text=text)


def _never_ran(told: _Told, asked: Asked) -> Iterator[Violation]:
    """A row that is ok, at whatever time it is seen, comes after its effect."""
    for row in told.rows[asked.request]:
        if row.state == "ok" and not any(one.node == row.node for one in told.runs(asked)):
            text = f"ok at {row.at:.3f}, and it never ran there"
            yield Violation(kind="false", request=asked.request, node=row.node, text=text)
            return


def _at_the_end(told: _Told, asked: Asked) -> Iterator[Violation]:
    heard = tuple(row.node for row in told.rows[asked.request] if asked.via == "broadcast")
    for target in dict.fromkeys(asked.targets + heard):
        ran, row = told.effects(asked, target), told.last_row(asked, target)
        found = _without_row(told, asked, ran) if row is None else _with_row(asked, ran, row)
        if row is not None and found and found[0] == "lost":
            found = ("lost", f"{found[1]} ({_promised(told, asked)})")
        if found:
            yield Violation(kind=found[0], request=asked.request, node=target, text=found[1])


def _without_row(told: _Told, asked: Asked, ran: list[Ran]) -> tuple[str, str] | None:
    """Whoever died while asking may have kept nothing; then nothing may have come of it.

    An interactive request is not promised to survive a power cut: it may be gone as a whole.
    """
    if asked.via not in DURABLE and not told.rows[asked.request]:
        return None
    if not ran and asked.request in told.confirmed:
        return "lost", f"no effect and no row ({_promised(told, asked)})"
    if ran:
        return "unnamed", f"it ran at {ran[0].at:.3f}, and the ledger has no row"
    if told.rows[asked.request]:
        return "unnamed", "the ledger has rows of other targets, of this one none"
    return None


def _with_row(asked: Asked, ran: list[Ran], row: Row) -> tuple[str, str] | None:
    ends = ANSWERED | JUDGED | (frozenset() if asked.via in DURABLE else UNDER_WAY)
    if row.state not in ends:
        return "unfinished", f"all is over, and the row is {row.state}"
    if row.state == "denied" and ran:
        return "false", f"denied, and it ran at {ran[0].at:.3f}"
    if asked.via not in DURABLE or row.state in ANSWERED:
        return None
    return _not_answered(asked, ran, row)


def _not_answered(asked: Asked, ran: list[Ran], row: Row) -> tuple[str, str] | None:
    """Whether giving up waiting for something that was kept was honest."""
    if ran:
        return "false", f"{row.state}, and it ran at {ran[0].at:.3f}: its reply was lost"
    if row.state == "silent":
        return "false", "silent is no state of what the broker keeps"
    if not asked.may_expire:
        return "lost", f"{row.state}: it ran nowhere, though it had time"
    return None


def _promised(told: _Told, asked: Asked) -> str:
    at = told.confirmed.get(asked.request)
    return "kept, never confirmed" if at is None else f"confirmed at {at:.3f}"
