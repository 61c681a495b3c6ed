"""The ledger: each target of a request in exactly one state, from its replies alone.

`step` and `judge` are pure: an `LedgerEntry` and what happened give the next `LedgerEntry`. The
`Ledger` keeps one entry a target, and those of senders that were no target, apart. It does no I/O,
knows no clock and holds no lock: whoever owns it passes the time in. See mcshell/README.md §5.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import field
from typing import TYPE_CHECKING, Final, NamedTuple

from mcshell.message import ReplySequence, State
from mcshell.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mcshell.message import Reply

__all__ = ["FOUND_LATE", "UNHEARD", "UNSENT", "Ledger", "LedgerEntry", "Stats", "judge", "step"]

UNHEARD: Final = (
    "not asked: no answer, and nothing known of it, so nobody can tell whether it matches"
)
"""Why one that was named beside a filter is not asked."""
UNSENT: Final = "not sent: "
"""How the reason of a target begins that nothing was sent to."""

FOUND_LATE: Final = "found late"
"""The reason of a target that was none before it answered: it matched, and was not known to."""


class LedgerEntry(NamedTuple):
    """Where one target stands. Times are seconds since the epoch, None until they happen.

    `reply` is the final reply that counts. `reason` says why, where the state alone does not.
    `worker` is who took it, where the target is a pool. (A named tuple: they are made by the hundred
    thousand, and a dataclass costs four times as much.)
    """

    sender: str
    state: State = State.PENDING
    late: bool = False
    duplicate: bool = False
    unexpected: bool = False
    sent: float | None = None
    received: float | None = None
    running: float | None = None
    done: float | None = None
    attempt: int = 1
    reason: str = ""
    reply: Reply | None = None
    worker: str = ""

    @property
    def found_late(self) -> bool:
        """Whether it became a target by its answer."""
        return self.reason == FOUND_LATE

    @property
    def unsent(self) -> bool:
        """Whether nothing went out to it, and nothing will."""
        return self.reason.startswith(UNSENT)

    @property
    def left_out(self) -> bool:
        """Whether it was named, and not asked, since nobody can tell whether it matches."""
        return self.state is State.SILENT and self.reason == UNHEARD

    @property
    def asked(self) -> bool:
        """Whether it is a target that was sent to, or will be: neither `unexpected` nor `left_out`."""
        return not (self.unexpected or self.left_out)

    def disputes(self, expires: float) -> bool:
        """Whether the node says that it expired before it did by our clock: the two disagree."""
        reply, done = self.reply, self.done
        if reply is None or done is None or reply.state is not State.EXPIRED:
            return False
        return reply.statusmsg.startswith("expired ") and done < expires

    @property
    def lag(self) -> float | None:
        """Seconds from our SEND to the final reply's arrival, None while either is missing."""
        return None if self.sent is None or self.done is None else self.done - self.sent


def two_machines(machines: Iterable[str]) -> str:
    """The line about a name under which several machines answer; nothing where it is one."""
    known = sorted(set(filter(None, machines)))
    if len(known) <= 1:
        return ""
    return f"duplicate: {len(known)} machines answer under this name: {', '.join(known)}"


def step(entry: LedgerEntry, reply: Reply, at: float) -> LedgerEntry:
    """Return what a node's reply makes of its entry; `at` is when the reply was kept.

    The first final reply wins, a second marks `duplicate`; a reply after a judgement replaces the
    judgement, and what a node has only said of its end, and marks `late`. What a worker of a pool has
    done counts for more than that another, who had a copy, could only say `interrupted`.
    """
    if entry.done is not None and not reply.final:  # the node's own `expired` is an end, too
        return entry
    if entry.done is not None and entry.state.final:
        another = entry.worker not in ("", reply.sender)  # of the pool's
        if another and reply.state is State.INTERRUPTED:
            return entry
        if not another or entry.state is not State.INTERRUPTED:
            return entry._replace(duplicate=True)
    if reply.sender != entry.sender:
        entry = entry._replace(worker=reply.sender)
    attempt = max(entry.attempt, reply.sequence // ReplySequence.STEP + 1)
    late = entry.late or entry.state.closed
    reason = FOUND_LATE if entry.found_late else ""
    if reply.final:
        return entry._replace(
            state=reply.state, late=late, done=at, attempt=attempt, reason=reason, reply=reply
        )
    if reply.sequence % ReplySequence.STEP == ReplySequence.RUNNING:
        since = at if entry.running is None else entry.running
        return entry._replace(
            state=State.RUNNING, late=late, running=since, attempt=attempt, reason=reason
        )
    since = at if entry.received is None else entry.received
    state = entry.state if entry.state is State.RUNNING else State.RECEIVED
    return entry._replace(state=state, late=late, received=since, attempt=attempt, reason=reason)


def judge(entry: LedgerEntry, verdict: State, reason: str) -> LedgerEntry:
    """Return the entry judged, `silent`, `expired` or what a probe saw; only `pending` can be.

    How it has ended, as the node said when it was asked, stands until its last reply is here.
    """
    if entry.state.closed if verdict.final else entry.state is not State.PENDING:
        return entry
    return entry._replace(state=verdict, reason=reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stats:
    """Counts at one instant: `targets`, one for each state, and the oddities."""

    targets: int
    states: dict[State, int] = field(default_factory=dict)
    late: int = 0
    duplicate: int = 0
    unexpected: int = 0
    elapsed: float = 0.0

    def as_dict(self) -> dict[str, int | float]:
        """The `stats` of the JSON document (§3)."""
        counts: dict[str, int | float] = {"targets": self.targets}
        counts.update({state.value: self.states.get(state, 0) for state in State})
        counts.update(late=self.late, duplicate=self.duplicate, unexpected=self.unexpected)
        counts["elapsed"] = round(self.elapsed, 3)
        return counts


class Ledger:
    """The entries of one request, by sender.

    Targets are fixed before SEND; only who is found late becomes one. `outstanding` counts those
    that the request is known to have reached, or was sent to, and that are not closed, `unheard` those
    that are pending.
    """

    def __init__(self, targets: Iterable[str]) -> None:
        self.targets: dict[str, LedgerEntry] = {name: LedgerEntry(sender=name) for name in targets}
        self.strangers: dict[str, LedgerEntry] = {}
        self._open = len(self.targets)
        self.unheard = len(self.targets)
        self.outstanding = 0

    @classmethod
    def of(cls, entries: Iterable[LedgerEntry]) -> Ledger:
        """Take up a ledger where it was left."""
        kept = list(entries)
        ledger = cls(entry.sender for entry in kept if not entry.unexpected)
        for entry in kept:
            ledger.enter(entry)
        return ledger

    def __iter__(self) -> Iterator[LedgerEntry]:
        """All entries, targets first, in the order they were named."""
        yield from self.targets.values()
        yield from self.strangers.values()

    def entry(self, sender: str) -> LedgerEntry | None:
        """The entry of a sender, target or stranger."""
        return self.targets.get(sender) or self.strangers.get(sender)

    @property
    def closed(self) -> bool:
        """Whether every target has its last reply or a judgement."""
        return self._open == 0

    def pending(self) -> list[str]:
        """The targets of which there was no reply at all."""
        return [name for name, e in self.targets.items() if e.state is State.PENDING]

    def outstanding_among(self, names: Iterable[str]) -> frozenset[str]:
        """Those of the targets `names` that are outstanding."""
        return frozenset(name for name in names if _outstanding(self.targets[name]))

    def sent(self, names: Iterable[str], at: float) -> None:
        """Note that the request went out to these targets."""
        for name in names:
            self._put(self.targets[name]._replace(sent=at))

    def enter(self, entry: LedgerEntry) -> None:
        """Take over what a reply or a judgement made of an entry, where it was kept.

        There it may not yet be written when it was sent, nor that its time was over, and of the
        reply that counts not what it said.
        """
        if entry.unexpected:
            self.strangers[entry.sender] = entry
            return
        if entry.found_late and entry.sender not in self.targets:
            self.targets[entry.sender] = LedgerEntry(sender=entry.sender)
            self._open += 1
            self.unheard += 1
        before = self.targets[entry.sender]
        late = before.late or (before.state.judged and not entry.state.judged)
        self._put(
            entry._replace(
                sent=before.sent or entry.sent,
                late=late or entry.late,
                reply=before.reply or entry.reply,
            )
        )

    def judge(self, names: Iterable[str], verdict: State, reason: str) -> None:
        """Judge those of `names` that are still pending."""
        for name in names:
            self._put(judge(self.targets[name], verdict, reason))

    def note(self, names: Iterable[str], reason: str) -> None:
        """Say why these targets stand where they stand."""
        for name in names:
            self._put(self.targets[name]._replace(reason=reason))

    def stats(self, elapsed: float = 0.0) -> Stats:
        """Count the entries; strangers are counted apart, never as anyone's answer."""
        states = Counter(entry.state for entry in self.targets.values())
        return Stats(
            targets=len(self.targets),
            states=dict(states),
            late=sum(entry.late for entry in self.targets.values()),
            duplicate=sum(entry.duplicate for entry in self),
            unexpected=len(self.strangers),
            elapsed=elapsed,
        )

    def _put(self, entry: LedgerEntry) -> None:
        before = self.targets[entry.sender]
        self._open += before.state.closed - entry.state.closed
        self.unheard += (entry.state is State.PENDING) - (before.state is State.PENDING)
        self.outstanding += _outstanding(entry) - _outstanding(before)
        self.targets[entry.sender] = entry


def _outstanding(entry: LedgerEntry) -> bool:
    return (entry.sent is not None or entry.found_late) and not entry.state.closed
