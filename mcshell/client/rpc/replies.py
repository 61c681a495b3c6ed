"""What a request gives back: a handle on replies that may still be coming in.

Everything it hands out is a snapshot that never changes; a later reply shows in the next one.
"""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from mcshell import table
from mcshell.client.rpc.outputs import outputs_of
from mcshell.message import State

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import pandas as pd

    from mcshell.client.messaging.outbox import Outbox
    from mcshell.client.messaging.tracker import RequestTracker
    from mcshell.client.rpc.outputs import Outputs
    from mcshell.client.store.ledger import LedgerEntry
    from mcshell.ddl import Action, Aggregate
    from mcshell.message import Via

__all__ = ["Replies", "Row"]


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


class Replies:
    """The replies to one request: complete, timed out, or still coming in.

    `stop` has an interactive request send no further batch. `patience` is how long (seconds) a
    queued request is waited for; None where the wait ends itself.
    """

    def __init__(
        self,
        tracker: RequestTracker,
        action: Action | None,
        stop: Callable[[], None] | None = None,
        outbox: Outbox | None = None,
        names: Sequence[str] | None = None,
        patience: float | None = None,
    ) -> None:
        self._tracker = tracker
        self._action = action
        self._stop = stop
        self._outbox = outbox
        self._names = names
        self.patience = patience

    def narrowed(self, names: Sequence[str]) -> Self:
        """The same request with only the rows of these senders, in this order.

        Its counts and aggregates are those of all targets.
        """
        narrowed = copy(self)
        narrowed._names = tuple(names)  # noqa: SLF001 - of its own class
        return narrowed

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
        return self._tracker.interrupted

    def wait(self, timeout: float | None = None) -> Replies:
        """Wait (seconds) until it is done; Ctrl-C and the timeout return what has arrived."""
        try:
            self._tracker.wait_finished(timeout)
        except KeyboardInterrupt:
            self._tracker.interrupted = True
        return self

    def wait_confirmed(self, timeout: float) -> bool:
        """Wait (seconds) until the broker has confirmed every SEND of a durable request."""
        return self._outbox is None or self._outbox.wait(self.requestid, timeout)

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
        return [_row(entry, self.requestid) for entry in self._tracker.entries()]

    def _chosen(self, every: list[Row]) -> list[Row]:
        if self._names is None:
            return every
        found = {row.sender: row for row in every}
        return [found[name] for name in self._names if name in found]

    def arrivals(self, timeout: float | None = None) -> Iterator[Row]:
        """Yield each row as it gets its last reply, then those that never got one."""
        seen: set[str] = set()
        while True:
            revision, finished = self._tracker.revision, self._tracker.finished
            for row in self.rows():
                if row.sender not in seen and (row.state.closed or finished):
                    seen.add(row.sender)
                    yield row
            if finished:
                return
            if not self._tracker.wait_news(revision, 3600.0 if timeout is None else timeout):
                return

    def frame(self) -> pd.DataFrame:
        """The reply table (§4), one row a target; outputs in the DDL's order."""
        every = self._every()
        return table.frame(
            _columns(self._chosen(every), outputs_of(self._action, (row.data for row in every)))
        )

    def ledger(self) -> pd.DataFrame:
        """One row a target: states and times (seconds since the epoch)."""
        return table.frame(ledger_columns(self._tracker.entries()))

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

    def __len__(self) -> int:
        """The number of rows: targets and unexpected senders."""
        return len(self._tracker.entries()) if self._names is None else len(self.rows())

    def __repr__(self) -> str:
        """One line: what was asked, and the counts that are not zero."""
        counts = self._tracker.stats().states
        words = " ".join(f"{number} {state}" for state, number in counts.items())
        return f"<Replies {self.agent} {self.action} {self.requestid[:8]}: {words or 'no targets'}>"

    def _in(self, *states: State) -> pd.DataFrame:
        every = self._every()
        rows = [row for row in self._chosen(every) if row.state in states]
        return table.frame(_columns(rows, outputs_of(self._action, (row.data for row in every))))


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


def _row(entry: LedgerEntry, requestid: str) -> Row:
    reply = entry.reply
    sender = entry.worker or entry.sender
    if reply is None:
        return Row(
            sender=sender,
            state=entry.state,
            statuscode=None,
            statusmsg=entry.reason,
            late=entry.late,
            requestid=requestid,
        )
    return Row(
        sender=sender,
        state=entry.state,
        statuscode=reply.statuscode,
        statusmsg=reply.statusmsg,
        data=reply.data,
        lag=entry.lag,
        late=entry.late,
        trust=reply.trust,
        requestid=requestid,
    )


def ledger_columns(entries: Sequence[LedgerEntry]) -> dict[str, table.Column]:
    """The columns of the ledger's table (§4)."""
    return {
        "sender": ("string", [e.worker or e.sender for e in entries]),
        "state": ("string", [e.state.value for e in entries]),
        "late": ("boolean", [e.late for e in entries]),
        "duplicate": ("boolean", [e.duplicate for e in entries]),
        "unexpected": ("boolean", [e.unexpected for e in entries]),
        "sent": ("Float64", [e.sent for e in entries]),
        "received": ("Float64", [e.received for e in entries]),
        "running": ("Float64", [e.running for e in entries]),
        "done": ("Float64", [e.done for e in entries]),
        "attempt": ("Int64", [e.attempt for e in entries]),
        "reason": ("string", [e.reason for e in entries]),
    }
