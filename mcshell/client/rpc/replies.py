"""What a request gives back: a handle on replies that may still be coming in.

Everything it hands out is a snapshot that never changes; a later reply shows in the next one.
"""

from __future__ import annotations

import time
from contextlib import contextmanager, suppress
from copy import copy
from dataclasses import field, replace
from typing import TYPE_CHECKING, Any, Final, Self, SupportsIndex, overload

from mcshell import interrupts, table
from mcshell.client.arguments import checks_methods, patience_of
from mcshell.client.messaging.tracker import RequestTracker
from mcshell.client.rpc.outputs import outputs_of
from mcshell.errors import Stopped
from mcshell.message import State
from mcshell.values import dataclass

if TYPE_CHECKING:
    from collections.abc import (
        AsyncIterator,
        Callable,
        Generator,
        Iterator,
        Mapping,
        Sequence,
    )

    import pandas as pd

    from mcshell.client.arguments import Duration
    from mcshell.client.messaging.outbox import Outbox
    from mcshell.client.rpc.outputs import Outputs
    from mcshell.client.store.ledger import LedgerEntry
    from mcshell.client.store.records import RequestRecord
    from mcshell.ddl import Action, Aggregate
    from mcshell.message import Via

__all__ = ["Arrivals", "Replies", "Row"]

_JUDGING: Final = 5.0
"""Seconds in which a request in the background says what is left open."""

_DISPUTED: Final = ", but not by our clock: the clocks disagree"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One target's row: its state, and the outputs once it answered. `lag` in seconds."""

    sender: str
    state: State
    statuscode: int | None
    statusmsg: str
    data: Mapping[str, Any] = field(default_factory=dict)
    lag: float | None = None
    late: bool = False
    trust: str = ""
    requestid: str = ""


@checks_methods
class Replies:
    """The replies to one request: complete, timed out, or still coming in.

    `stop` has an interactive request send no further batch. `patience` is how long (seconds) a
    queued request is waited for; None where the wait ends itself. `client` is whose they are: it
    stays open for as long as somebody has them.

    `await replies` waits until they are done, without holding up the event loop.
    """

    def __init__(
        self,
        tracker: RequestTracker,
        action: Action | None,
        stop: Callable[[], None] | None = None,
        outbox: Outbox | None = None,
        names: Sequence[str] | None = None,
        patience: float | None = None,
        client: object = None,
    ) -> None:
        self._tracker = tracker
        self._action = action
        self._stop = stop
        self._outbox = outbox
        self._names = names
        self.patience = patience
        self.client = client
        self._interrupted = False

    def narrowed(self, names: Sequence[str]) -> Self:
        """The same request with only the rows of these senders, in this order.

        Its counts and aggregates are those of all targets.
        """
        narrowed = copy(self)
        narrowed._names = tuple(names)  # noqa: SLF001 - of its own class
        return narrowed

    def __copy__(self) -> Self:
        """Another handle on the same."""
        other = object.__new__(type(self))
        vars(other).update(vars(self))
        return other

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel as they stand now: a pickle has no session, and nothing comes to it any more.

        What it holds is what somebody has written, evidence and no proof: whoever acts on it goes by
        the request's id, which is looked up in the session (`Client.replies`, `df.mco.retry`).
        """
        tracker = self._tracker
        entries = [
            entry._replace(reply=entry.reply and replace(entry.reply, data=dict(row.data)))
            for entry, row in zip(tracker.entries(), self._every(), strict=True)
        ]
        schema = self._action and _without_rules(self._action)
        return _unpickled, (tracker.record, entries, tracker.elapsed, schema, self._names)

    @property
    def requestid(self) -> str:
        """The request's id, 32 hexadecimal digits."""
        return self._tracker.record.id

    @property
    def tracker(self) -> RequestTracker:
        """The request as it was kept, and its ledger."""
        return self._tracker

    @property
    def schema(self) -> Action | None:
        """What the DDL says of the action; None where there is none."""
        return self._action

    @property
    def agent(self) -> str:
        """The agent asked."""
        return self._tracker.record.agent

    @property
    def action(self) -> str:
        """The action asked for."""
        return self._tracker.record.action

    @property
    def via(self) -> Via:
        """The way the request went."""
        return self._tracker.record.via

    @property
    def created(self) -> float:
        """When it was made, seconds since the epoch."""
        return self._tracker.record.created

    @property
    def expires(self) -> float:
        """When it runs nowhere any more, seconds since the epoch."""
        return self._tracker.record.expires

    @property
    def done(self) -> bool:
        """Whether nothing more is waited for. A later reply still joins the table."""
        return self._tracker.finished

    @property
    def interrupted(self) -> bool:
        """Whether the wait was broken off with Ctrl-C."""
        return self._interrupted

    @contextmanager
    def stopping(self) -> Iterator[None]:
        """What is done inside waits for this request: Ctrl-C stops it, and is raised as `Stopped`."""
        try:
            with interrupts.call():
                try:
                    yield
                    interrupts.check()
                except KeyboardInterrupt:
                    self._stopped()
                    raise Stopped(self) from None
        except Stopped as stop:
            if stop.replies is not None:
                raise
            self._stopped()  # a thread that was halted as it began to wait: the request is there
            raise Stopped(self) from None

    def _stopped(self) -> None:
        """Nobody waits any more: have those of whom nothing was heard judged (`InteractiveRun`)."""
        self._interrupted = self._tracker.interrupted = True
        self.cancel()
        if self._stop is not None and not self.via.durable:
            with suppress(KeyboardInterrupt):  # a second one
                self._tracker.wait_finished(_JUDGING)

    def wait(self, timeout: Duration | None = None) -> Self:
        """Wait (seconds, or text like "30s") until it is done; the timeout returns what has arrived.

        Raises:
            Stopped: Ctrl-C, with what has arrived. An interactive request is then over: what was
                not sent is not, who has not answered is silent. A queued one goes on.
        """
        patience = patience_of(timeout)
        with self.stopping():
            self._tracker.wait_finished(patience)
        return self

    def wait_last(self, timeout: float) -> Self:
        """Wait (seconds) as `wait`, and for the last replies of those who were at it when it was over.

        So for what was interrupted, or whose process is gone: what still comes is waited for.
        """
        end = time.monotonic() + timeout
        self.wait(timeout)
        if self._tracker.live:
            with self.stopping():
                self._tracker.wait(lambda ledger: ledger.closed, end - time.monotonic())
        return self

    def __await__(self) -> Generator[Any, None, Self]:
        """Wait until it is done. A task that is cancelled meanwhile stops it, as Ctrl-C does."""
        return self._awaited().__await__()

    async def _awaited(self) -> Self:
        async for _ in self.changes():
            pass
        return self

    async def changes(self, patience: float | None = None) -> AsyncIterator[bool]:
        """Whether it is done: once now and after each change, until it is.

        With `patience` it ends when nothing has changed for so many seconds.
        """
        import asyncio  # noqa: PLC0415 - a command line has none

        while True:
            revision, done = self._tracker.revision, self._tracker.finished
            yield done
            if done:
                return
            try:
                if not await self._tracker.changed(revision, patience):
                    return
            except asyncio.CancelledError:
                self._interrupted = self._tracker.interrupted = True
                self.cancel()
                raise

    def wait_confirmed(self, timeout: float) -> bool:
        """Wait (seconds) until the broker has confirmed every SEND of a durable request.

        Raises:
            Stopped: Ctrl-C; what is not sent yet goes out all the same.
        """
        if self._outbox is None:
            return True
        with self.stopping():
            return self._outbox.wait(self.requestid, timeout)

    @property
    def confirmed(self) -> bool:
        """Whether the broker has confirmed every SEND; a request that is not durable needs none."""
        return self.wait_confirmed(0)

    def cancel(self) -> None:
        """Send no further batch and stop waiting; what is on its way still comes back."""
        if self._stop is not None:
            self._stop()
            self._tracker.wake()

    @property
    def stats(self) -> dict[str, int | float]:
        """Counts by state, the oddities, and `elapsed` seconds."""
        return self._tracker.stats().as_dict()

    def rows(self) -> list[Row]:
        """One row a target in the order of the targets, then the unexpected senders."""
        return self._chosen(self._every())

    def _every(self) -> list[Row]:
        return [_row(entry, self._tracker.record) for entry in self._tracker.entries()]

    def _chosen(self, every: list[Row]) -> list[Row]:
        if self._names is None:
            return every
        found = {row.sender: row for row in every}
        return [found[name] for name in self._names if name in found]

    def arrivals(self, timeout: Duration | None = None) -> Arrivals:
        """Each row as it gets its last reply, then those that never got one.

        For `for` and `async for`. With `timeout` it ends when nothing has come for so many seconds.
        Ctrl-C is raised as by `wait`.
        """
        return Arrivals(self, patience_of(timeout))

    def news(self, seen: set[str], *, done: bool) -> list[Row]:
        """The rows that are not `seen` yet and will not change, or all of them when it is `done`."""
        rows = [row for row in self.rows() if row.sender not in seen and (done or row.state.closed)]
        seen.update(row.sender for row in rows)
        return rows

    def frame(self) -> pd.DataFrame:
        """The reply table (§4), one row a target; outputs in the DDL's order."""
        every = self._every()
        return table.frame(
            _columns(self._chosen(every), outputs_of(self._action, (row.data for row in every)))
        )

    def ledger(self) -> pd.DataFrame:
        """One row a target: states and times."""
        entries = self._tracker.entries()
        if self._names is not None:
            by_sender = {entry.worker or entry.sender: entry for entry in entries}
            entries = [by_sender[name] for name in self._names if name in by_sender]
        return table.frame(ledger_columns(entries))

    @property
    def ok(self) -> pd.DataFrame:
        """The rows that came out well."""
        return self._in(State.OK)

    @property
    def failed(self) -> pd.DataFrame:
        """The rows that failed, were denied or interrupted."""
        return self._in(State.FAILED, State.DENIED, State.INTERRUPTED)

    @property
    def silent(self) -> pd.DataFrame:
        """The rows of targets that gave no reply in time."""
        return self._in(State.SILENT, State.EXPIRED)

    def aggregates(self) -> list[Aggregate]:
        """The summaries that the DDL declares, over the rows that came out well."""
        if self._action is None:
            return []
        return self._action.aggregate(row.data for row in self._every() if row.state is State.OK)

    def entries(self) -> list[LedgerEntry]:
        """The ledger's entries, without pandas."""
        return self._tracker.entries()

    def outputs(self) -> Outputs:
        """Which outputs have a column: the DDL's, then what else nodes sent."""
        return outputs_of(self._action, (row.data for row in self._every()))

    def __iter__(self) -> Iterator[Row]:
        """The rows as they stand now; `arrivals` gives each as it comes."""
        return iter(self.rows())

    def __contains__(self, sender: object) -> bool:
        """Whether there is a row of this sender."""
        return any(row.sender == sender for row in self)

    @overload
    def __getitem__(self, which: SupportsIndex | str) -> Row: ...
    @overload
    def __getitem__(self, which: slice) -> list[Row]: ...

    def __getitem__(self, which: SupportsIndex | slice | str) -> Row | list[Row]:
        """A row by its sender, or by its place among the rows; of a slice a list of them."""
        rows = self.rows()
        if isinstance(which, SupportsIndex | slice):
            return rows[which]
        found = next((row for row in rows if row.sender == which), None)
        if found is None:
            raise KeyError(f"{which!r}: a sender of these rows, or a place among them, is meant")
        return found

    def __len__(self) -> int:
        """The number of rows: targets and unexpected senders."""
        return len(self._tracker.entries()) if self._names is None else len(self.rows())

    def __repr__(self) -> str:
        """One line: what was asked, and the counts that are not zero."""
        counts = self._tracker.stats().states
        words = " ".join(f"{number} {state}" for state, number in counts.items())
        kept = "" if self._tracker.live else ", unpickled"
        about = f"{self.agent} {self.action} {self.requestid[:8]}{kept}"
        return f"<Replies {about}: {words or 'no targets'}>"

    def _in(self, *states: State) -> pd.DataFrame:
        every = self._every()
        rows = [row for row in self._chosen(every) if row.state in states]
        return table.frame(_columns(rows, outputs_of(self._action, (row.data for row in every))))


def _without_rules(action: Action) -> Action:
    """A schema as replies need it: the checks of inputs are this machine's, and stay here."""
    inputs = {name: replace(one, rules=()) for name, one in action.inputs.items()}
    return replace(action, inputs=inputs, outputs=dict(action.outputs))


def _unpickled(
    record: RequestRecord,
    entries: Sequence[LedgerEntry],
    elapsed: float,
    schema: Action | None,
    names: Sequence[str] | None,
) -> Replies:
    return Replies(RequestTracker(record, entries=entries, elapsed=elapsed), schema, names=names)


class Arrivals:
    """The rows of a request as they come; see `Replies.arrivals`."""

    def __init__(self, replies: Replies, timeout: float | None) -> None:
        self._replies = replies
        self._timeout = timeout
        self._rows = self._coming()

    def __iter__(self) -> Iterator[Row]:
        return self

    def __next__(self) -> Row:
        return next(self._rows)

    def _coming(self) -> Iterator[Row]:
        tracker, seen = self._replies.tracker, set[str]()
        patience = 3600.0 if self._timeout is None else self._timeout
        while True:
            revision, finished = tracker.revision, tracker.finished
            yield from self._replies.news(seen, done=finished)
            if finished:
                return
            with self._replies.stopping():
                changed = tracker.wait_news(revision, patience)
            if not changed and self._timeout is not None:
                return

    async def __aiter__(self) -> AsyncIterator[Row]:
        seen = set[str]()
        changes = self._replies.changes(self._timeout)
        async for finished in changes:
            for row in self._replies.news(seen, done=finished):
                yield row


def _columns(rows: Sequence[Row], outputs: Outputs) -> dict[str, table.Column]:
    return {
        "sender": ("string", [row.sender for row in rows]),
        "state": ("string", [row.state.value for row in rows]),
        "statuscode": ("Int64", [row.statuscode for row in rows]),
        "statusmsg": ("string", [row.statusmsg for row in rows]),
        **outputs.table(row.data for row in rows),
        "lag": ("Float64", [row.lag for row in rows]),
        "late": ("boolean", [row.late for row in rows]),
        "trust": ("string", [row.trust or None for row in rows]),
        "requestid": ("string", [row.requestid for row in rows]),
    }


def _row(entry: LedgerEntry, record: RequestRecord) -> Row:
    reply = entry.reply
    sender = entry.worker or entry.sender
    if reply is None:
        return Row(
            sender=sender,
            state=entry.state,
            statuscode=None,
            statusmsg=entry.reason,
            late=entry.late,
            requestid=record.id,
        )
    return Row(
        sender=sender,
        state=entry.state,
        statuscode=reply.statuscode,
        statusmsg=reply.statusmsg + (_DISPUTED if entry.disputes(record.expires) else ""),
        data=reply.data,
        lag=entry.lag,
        late=entry.late,
        trust=reply.trust,
        requestid=record.id,
    )


def ledger_columns(entries: Sequence[LedgerEntry]) -> dict[str, table.Column]:
    """The columns of the ledger's table (§4)."""
    return {
        "sender": ("string", [e.worker or e.sender for e in entries]),
        "state": ("string", [e.state.value for e in entries]),
        "late": ("boolean", [e.late for e in entries]),
        "duplicate": ("boolean", [e.duplicate for e in entries]),
        "unexpected": ("boolean", [e.unexpected for e in entries]),
        "sent": (table.TIME, [e.sent for e in entries]),
        "received": (table.TIME, [e.received for e in entries]),
        "running": (table.TIME, [e.running for e in entries]),
        "done": (table.TIME, [e.done for e in entries]),
        "attempt": ("Int64", [e.attempt for e in entries]),
        "reason": ("string", [e.reason for e in entries]),
    }
