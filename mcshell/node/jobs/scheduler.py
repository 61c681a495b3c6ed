"""What happens to jobs as time goes by: starts that come due, runs that end, jobs that wait.

For all nodes of one process. Every change is one commit: a job that comes due and its row of work;
a run that ends, its reply and the job's next start; a job that waited and what it waited for.

**Replies.** A job's id is that of the request that submitted it. `received` (through the outbox)
says that the node has it. Of a job that starts once, the run has the same id, so its last reply is
that of the request; retries count as attempts. Of a job that recurs each run has an id of its own,
`message.run_id(job, start's name)`, and its replies name job and run; the job's own last reply comes
when there will be no further start. A job that another than its owner edited: the owner gets a last
reply, the runs go to the editor, as for a job that recurs.

**Time.** A run is named by its wall time, and no name is used twice: a clock that is put back
starts nothing again. One that is put forward, or a node that was off, finds starts in the past:
the newest of them happens if it is not later than the job's `late`, the others are missed. So are
those that fall into the job's own run before: a job never runs beside itself, nor twice in a row.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import replace
from datetime import UTC
from typing import TYPE_CHECKING, Final

from mcshell import schedule
from mcshell.errors import AgentError, UsageError
from mcshell.message import Request, State, StatusCode, Via, run_id
from mcshell.node.execution.lifecycle import not_started
from mcshell.node.store.job_table import ENDED, PAUSED, SCHEDULED, WAITING
from mcshell.node.store.records import QUEUED, RUNNING, WorkItem
from mcshell.node.verdicts import Outcome
from mcshell.wire.documents.envelope import digest_of
from mcshell.wire.documents.rule import read_job, signed_part

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import tzinfo

    from mcshell.message import Job
    from mcshell.node.execution.lifecycle import RunLifecycle
    from mcshell.node.host import Host
    from mcshell.node.store.job_table import JobRow
    from mcshell.node.store.records import Key, OutboxMessage, WorkResult
    from mcshell.node.store.spool import Spool

__all__ = ["Scheduler", "following", "last_reply", "run_out", "scheduled", "zone_of_node"]

log = logging.getLogger(__name__)

_AT_ONCE: Final = 500
_EVER: Final = float("-inf")
_PATIENCE: Final = 90 * 86_400.0
"""How long a job waits for others, where it does not say until when."""
_MOST_MISSED: Final = 10_000
_STATES: Final = {
    "ok": State.OK,
    "denied": State.DENIED,
    "interrupted": State.INTERRUPTED,
    "missed": State.EXPIRED,
    "expired": State.EXPIRED,
    "skipped": State.EXPIRED,
}
_CODES: Final = {
    State.OK: StatusCode.OK,
    State.FAILED: StatusCode.FAILED,
    State.DENIED: StatusCode.FAILED,
}


_known: dict[str, tzinfo] = {}


def zone_of_node(host: Host) -> tzinfo:
    """The zone that "node" means on this node; UTC where nothing can be found out."""
    name = str(host.facts.get("timezone") or "")
    if name not in _known:
        _known[name] = _load(name)
    return _known[name]


def _load(name: str) -> tzinfo:
    try:
        return schedule.zone_of(name) if name else UTC
    except UsageError:
        # A name of the C library's own, such as TZ=CET-1CEST: what the machine says it is.
        return schedule.local_zone()


def following(row: JobRow, job: Job, after: float, lifecycle: RunLifecycle) -> JobRow:
    """The row with its next start, the first that is planned later than `after`; none past its end."""
    start = schedule.next_start(
        job.when,
        after,
        seed=f"{row.id}/{row.identity}",
        node=zone_of_node(lifecycle.host),
        created=job.created,
    )
    until = job.when.until if job.when.recurs else None
    if start is None or (until is not None and start.due > until):
        return replace(row, run="", planned=None, due=None)
    return replace(row, run=start.name, planned=start.planned, due=start.due)


def scheduled(
    row: JobRow, job: Job, lifecycle: RunLifecycle, now: float, after: float | None = None
) -> JobRow:
    """The row with its first start; one that waits for others has none as yet."""
    if after is None:
        after = job.created if job.when.recurs else _EVER
    row = following(row, job, after, lifecycle)
    if job.when.at is None and not job.when.recurs and row.due is not None:
        row = replace(row, due=max(row.due, now + row.due - (row.planned or row.due)))
    if row.due is None or (job.when.until is not None and job.when.until < row.due):
        raise AgentError("this job would never start: its end is before its time", statuscode=4)
    if job.after:
        ends = job.created + _PATIENCE if job.when.until is None else job.when.until
        row = replace(row, state=WAITING, ends=ends)
    return row


def last_reply(lifecycle: RunLifecycle, row: JobRow, state: str, text: str) -> OutboxMessage:
    """The job's own last reply, for its owner: a job's state in the words of a ledger."""
    request = _request(row, row.id, row.owner, row.session, row.signed)
    return lifecycle.writer.kept(request, _last_outcome(state, text))


def run_out(row: JobRow) -> tuple[str, str]:
    """How a job that recurs ends when no start is left, as its last one did; and that in words."""
    state = row.last_state if row.last_state in ENDED else "expired"
    text = f"its end has come, after {row.runs} start{'' if row.runs == 1 else 's'}"
    return state, text if state == "ok" or not row.statusmsg else f"{text}; {row.statusmsg}"


def _never(lifecycle: RunLifecycle, row: JobRow, state: str, text: str) -> OutboxMessage:
    """The same of a job that does not start, or not once more; audited."""
    request = _request(row, row.id, row.owner, row.session, row.signed)
    return lifecycle.not_started(request, _last_outcome(state, text))


def _last_outcome(state: str, text: str) -> Outcome:
    ended = _STATES.get(state, State.FAILED)
    return Outcome(ended, _CODES.get(ended, StatusCode.UNKNOWN_ERROR), text)


def _digest(row: JobRow) -> str:
    """That of the revision in force, which its runs answer."""
    return digest_of(signed_part(row.body or b""))


def _request(row: JobRow, requestid: str, caller: str, session: str, digest: str) -> Request:
    return Request(
        id=requestid,
        agent=row.agent,
        action=row.action,
        caller=caller,
        collective=row.collective,
        via=Via.QUEUE,
        session=session,
        created=row.received,
        expires=row.received,
        identity=row.identity,
        digest=digest,
    )


class Scheduler:
    """Moves the jobs of one process. `lock` is held by whoever reads a job and writes it back.

    `replies_added` is called when there are replies in the outbox.
    """

    def __init__(
        self,
        spool: Spool,
        lifecycles: Mapping[str, RunLifecycle],
        replies_added: Callable[[], None],
    ) -> None:
        self._spool = spool
        self.lifecycles = lifecycles
        self._replies_added = replies_added
        spool.jobs.serve(lifecycles)
        self.lock = threading.RLock()
        self._look = True
        """Whether jobs may wait for what has happened already."""
        self._paused: dict[Key, float] = {}
        """When (epoch) those that are paused end."""
        for row in spool.jobs.all(PAUSED):
            self.note_paused(row)

    def next_due(self) -> float | None:
        """When there is something to do next."""
        due = self._spool.jobs.next_due()
        with self.lock:
            return min([*self._paused.values(), *([] if due is None else [due])], default=None)

    # --- time goes by --------------------------------------------------------------------------

    def start_due(self, now: float) -> set[str]:
        """Do what is due; returns the identities that have new work."""
        touched: set[str] = set()
        with self.lock:
            if self._look:
                for row in self._spool.jobs.all(QUEUED):
                    if self.current(row) is None:  # it was taken back
                        self._spool.put_jobs([replace(row, state=SCHEDULED)])
                for row in self._spool.jobs.all(WAITING):
                    self.consider(row, now)
                self._look = False
            for row in self._spool.jobs.over(now):
                self.close(row, "expired", "what it waits for did not come in time", now)
            self._end_paused(now)
            while rows := self._spool.jobs.due(now, _AT_ONCE):
                touched |= self._begin(rows, now)
        return touched

    def note_paused(self, row: JobRow) -> None:
        """Have a paused job end at its time; for whoever has written that it is paused."""
        assert row.body is not None, "it is open"
        until = read_job(row.body).when.until
        self._paused.pop(row.key, None)
        if (ends := row.ends if until is None else until) is not None:
            self._paused[row.key] = ends

    def _end_paused(self, now: float) -> None:
        """End the jobs whose end has come while they are paused; a run under way ends first."""
        for key in [key for key, until in self._paused.items() if until < now]:
            del self._paused[key]
            row = self._spool.jobs.get(key)
            if row is not None and row.state == PAUSED and self.current(row) is None:
                self.close(row, *run_out(row), now)

    def _begin(self, rows: Sequence[JobRow], now: float) -> set[str]:
        after: list[JobRow] = []
        runs: list[WorkItem] = []
        messages: list[OutboxMessage] = []
        for row in rows:
            moved, run, said = self._begin_one(row, now)
            after.append(moved)
            runs += [run] if run is not None else []
            messages += said
        self._spool.put_jobs(after, runs=runs, messages=messages)
        if messages:
            self._replies_added()
        for row in after:
            if row.ended is not None:
                self._tell_waiting(row, now)
        return {run.identity for run in runs if run.state == QUEUED}

    def _begin_one(
        self, row: JobRow, now: float
    ) -> tuple[JobRow, WorkItem | None, list[OutboxMessage]]:
        """What becomes of a job whose time has come: its run, or the replies that there is none."""
        assert row.body is not None, "it is scheduled"
        job = read_job(row.body)
        row, missed = self._newest(row, job, now)
        assert row.due is not None, "there is one at least"
        if row.skips:
            return self._pass(row, job, "skipped", "skipped, as asked", now)
        run = self._run_of(row, job)
        if self._spool.get(run.key) is not None:
            # The clock was put back, and this start has been.
            return self._pass(row, job, row.last_state, "", now)
        if text := self._why_missed(row, job, now):
            more = f", as were {missed} before it" if missed else ""
            return self._pass(row, job, "missed", f"missed: {text}{more}", now)
        return replace(row, state=QUEUED, attempt=0), run, []

    def _why_missed(self, row: JobRow, job: Job, now: float) -> str:
        """Why a start that is due does not happen any more; nothing where it does."""
        assert row.due is not None, "it is scheduled"
        if job.when.recurs and (run := self._spool.last_run(row.key)) is not None:
            whole = run.state != State.INTERRUPTED
            if whole and run.ended is not None and row.due <= run.ended:
                return f"its own run of {run.run} was still under way"
        late = now - row.due
        return f"its time was {late:.0f} s ago" if late > job.when.late else ""

    def _newest(self, row: JobRow, job: Job, now: float) -> tuple[JobRow, int]:
        """Go on to the newest start that is due, when several are; with how many were passed."""
        passed = 0
        if not job.when.recurs or row.skips:
            return row, passed
        while passed < _MOST_MISSED:
            later = following(row, job, row.planned or 0.0, self.lifecycles[row.identity])
            if later.due is None or later.due > now:
                break
            row, passed = later, passed + 1
        return row, passed

    def _pass(
        self, row: JobRow, job: Job, state: str, text: str, now: float
    ) -> tuple[JobRow, WorkItem | None, list[OutboxMessage]]:
        """Leave a start out, and go on to the next; its history says so."""
        lifecycle = self.lifecycles[row.identity]
        if not job.when.recurs:
            state = "cancelled" if state == "skipped" else state
            row = replace(row, state=state, ended=now, due=None, statusmsg=text)
            return row, None, [_never(lifecycle, row, state, text)]
        messages, passed = [], None
        if text:
            ended = _STATES.get(state, State.EXPIRED)
            run = replace(
                _request(row, run_id(row.id, row.run), job.author, job.session, _digest(row)),
                job=row.id,
                run=row.run,
            )
            outcome = Outcome(ended, StatusCode.UNKNOWN_ERROR, text)
            messages.append(lifecycle.not_started(run, outcome))
            passed = replace(
                self._run_of(row, job),
                state=ended.value,
                body=None,
                signature=None,
                certificate=None,
                ended=now,
                statuscode=StatusCode.UNKNOWN_ERROR,
                statusmsg=text,
            )
        row = following(row, job, row.planned or now, lifecycle)
        row = replace(row, last_state=state, skips=max(0, row.skips - 1), statusmsg=text)
        if row.due is None:
            row, last = self._ran_out(row, now)
            messages.append(last)
        return row, passed, messages

    def _ran_out(self, row: JobRow, now: float) -> tuple[JobRow, OutboxMessage]:
        """The end of a job that recurs, and the reply that says so."""
        state, text = run_out(row)
        row = replace(row, state=state, ended=now, due=None, statusmsg=text)
        return row, last_reply(self.lifecycles[row.identity], row, state, text)

    def _run_of(self, row: JobRow, job: Job) -> WorkItem:
        """The row of work that a start becomes."""
        due = row.due or 0.0
        once = not job.when.recurs and job.author == row.owner
        return WorkItem(
            identity=row.identity,
            id=row.id if once else run_id(row.id, row.run),
            via=Via.QUEUE.value,
            collective=row.collective,
            agent=row.agent,
            action=row.action,
            caller=job.author,
            session=job.session,
            created=row.received,
            expires=due + max(job.when.late, 1.0),
            due=due,
            received=row.received,
            body=row.body,
            signature=row.signature,
            certificate=row.certificate,
            kind="job",
            job=row.id,
            run=row.run,
        )

    # --- runs end ------------------------------------------------------------------------------

    def finish(self, ends: Sequence[WorkResult]) -> None:
        """End rows of work, and have the jobs that they are runs of go on."""
        if not any(end.job for end in ends):
            self._spool.finish(ends)
            return
        now = max(end.ended for end in ends)
        with self.lock:
            after: list[JobRow] = []
            messages: list[OutboxMessage] = []
            for end in ends:
                row = self._spool.jobs.get((end.key[0], end.job)) if end.job else None
                if row is not None and row.identity in self.lifecycles:
                    moved, message = self._after(row, end)
                    after.append(moved)
                    messages += [message] if message is not None else []
            self._spool.finish(ends, after, messages)
            for row in after:
                self._tell_waiting(row, now, row.last_state)

    def _after(self, row: JobRow, end: WorkResult) -> tuple[JobRow, OutboxMessage | None]:
        """How a job stands after a run: at its end, or at its next start."""
        state = "missed" if end.state == "expired" else end.state
        row = replace(row, last_state=state, statusmsg=end.statusmsg, attempt=end.attempt)
        if end.started is not None:
            row = replace(row, runs=row.runs + 1, last=end.started)
        if row.ended is not None:  # cancelled meanwhile
            return row, None
        assert row.body is not None, "an open job has its document"
        job = read_job(row.body)
        if not job.when.recurs:
            return replace(row, state=state, ended=end.ended, due=None), None
        lifecycle = self.lifecycles[row.identity]
        row = following(row, job, row.planned or end.ended, lifecycle)
        if row.due is None:
            return self._ran_out(row, end.ended)
        if row.state == QUEUED:
            row = replace(row, state=SCHEDULED)
        if row.state == PAUSED:
            self.note_paused(row)
        return row, None

    def retry(self, work: WorkItem, outcome: Outcome, now: float) -> bool:
        """Have a failed run tried once more, if its job says so; whether it will be."""
        if work.kind != "job" or outcome.state is not State.FAILED or work.body is None:
            return False
        row = self._spool.jobs.get((work.identity, work.job or ""))
        job = read_job(work.body)
        if row is None or row.ended is not None or work.attempt > job.retries:
            return False
        due = now + job.backoff * 2 ** min(work.attempt - 1, 20)
        until = due + max(job.when.late, 1.0)
        self._spool.requeue([work.key], due, until, outcome.statuscode, outcome.statusmsg)
        return True

    def take_back(self, row: JobRow, text: str, *, again: bool = False) -> bool:
        """Take the run of a job back that waits; False where it runs.

        `again`: it comes again. Else a request of its own has its last reply.
        """
        if (run := self.current(row)) is None:
            return True
        if again or run.id == row.id:  # the job's own reply
            return self._spool.withdraw(run.key)
        return self.end_queued(run, Outcome(State.EXPIRED, StatusCode.UNKNOWN_ERROR, text))

    def end_queued(self, work: WorkItem, why: Outcome) -> bool:
        """End a row that waits, with its last reply; False where none does."""
        if work.state != QUEUED:
            return False
        lifecycle, outcome = self.lifecycles[work.identity], not_started(work, why)
        if not self._spool.withdraw(work.key, lifecycle.result(work, outcome, work.attempt or 1)):
            return False
        lifecycle.count(work, outcome)
        self._replies_added()
        return True

    def current(self, row: JobRow) -> WorkItem | None:
        """A job's run that is queued or running."""
        for run in self._spool.runs_of(row.key, 1):
            if run.state in (QUEUED, RUNNING):
                return run
        return None

    def cancelled(self, work: WorkItem) -> str:
        """Who has cancelled a run's job, or a request, in words; or nothing."""
        job = work.id if work.kind == "request" else work.job
        row = self._spool.jobs.get((work.identity, job)) if job else None
        return row.statusmsg if row is not None and row.state == "cancelled" else ""

    def close(self, row: JobRow, state: str, text: str, now: float) -> None:
        """End a job that has no run under way, and say so to its owner."""
        message = _never(self.lifecycles[row.identity], row, state, text)
        row = replace(row, state=state, ended=now, due=None, statusmsg=text)
        self._spool.put_jobs([row], messages=[message])
        self._replies_added()
        self._tell_waiting(row, now)

    # --- jobs that wait for others -------------------------------------------------------------

    def _tell_waiting(self, row: JobRow, now: float, state: str = "") -> None:
        """Tell those who wait for a job how it, or a run of it, ended."""
        for waiting in self._spool.jobs.waiting_for(row.key):
            for awaited, need, met in self._spool.jobs.awaits(waiting.key):
                if awaited != row.id or met:
                    continue
                if _fits(need, state or row.state):
                    self._spool.jobs.met(waiting.key, row.id)
                elif row.state in ENDED:
                    text = f"{row.id[:8]} is {row.state}, {need} was waited for"
                    self.close(waiting, "cancelled", text, now)
            if (fresh := self._spool.jobs.get(waiting.key)) is not None and fresh.state == WAITING:
                self._release(fresh, now)

    def consider(self, row: JobRow, now: float) -> None:
        """See whether what a job waits for has happened already."""
        for awaited, need, met in self._spool.jobs.awaits(row.key):
            other = self._spool.jobs.get((row.identity, awaited))
            if met or other is None:
                continue
            if other.ended is not None and not _fits(need, other.state):
                text = f"{awaited[:8]} is {other.state}, {need} was waited for"
                self.close(row, "cancelled", text, now)
                return
            if other.ended is not None:
                self._spool.jobs.met(row.key, awaited)
        self._release(row, now)

    def _release(self, row: JobRow, now: float) -> None:
        """Schedule a job that has waited for the last of what it waits for."""
        if not all(met for _job, _need, met in self._spool.jobs.awaits(row.key)):
            return
        due = max(now, row.due or now)
        self._spool.put_jobs([replace(row, state=SCHEDULED, due=due, planned=row.planned or due)])


def _fits(need: str, state: str) -> bool:
    """Whether an end is one that was waited for."""
    return state in ENDED if need == "done" else state == need
