"""What operators do to the jobs of a node: hand one in, change it, end it. Rights are asked here.

At acceptance, as again at each start (`RunLifecycle.recheck`): the author's signature, the policy for
author and inner action, the DDL for the inputs. Touching the job of another wants a rule for
`job.edit` that asks for `owner`. Whatever is done twice (a request that the broker hands out again)
is done once: a job remembers the request that touched it last.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from mcshell.errors import AgentError, UsageError
from mcshell.message import State, StatusCode
from mcshell.node.execution.action import run_action
from mcshell.node.jobs.rules import RuleManager
from mcshell.node.jobs.scheduler import following, last_reply, run_out, scheduled
from mcshell.node.store.job_table import ENDED, PAUSED, SCHEDULED, WAITING, JobRow
from mcshell.node.store.records import CANCELLED, QUEUED, RUNNING
from mcshell.node.verdicts import Admitted, NotAllowed, Outcome, Refusal
from mcshell.wire.documents.authored import of_fields
from mcshell.wire.documents.envelope import digest_of
from mcshell.wire.documents.job import condition, refuse_circle
from mcshell.wire.documents.rule import read_job

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mcshell.message import Job, Request
    from mcshell.node.admission.controller import AdmissionController
    from mcshell.node.execution.lifecycle import RunLifecycle
    from mcshell.node.execution.run_directory import RunDirectory
    from mcshell.node.jobs.queries import JobQueries
    from mcshell.node.jobs.scheduler import Scheduler
    from mcshell.node.store.records import Key, WorkItem
    from mcshell.node.store.spool import Spool

__all__ = ["JobManager"]

_MOST: Final = 100_000
_MOST_AHEAD: Final = 5_000
"""So much of what is not here yet has each caller cancelled, of each node: it is kept for half a year."""


class JobManager:
    """The jobs of all nodes of a process. Any thread may call.

    Args:
        places: where the files of a run may be, in the order in which they come there.
        slots: how many runs a node does at a time.
        stop: called with the key of a run that is to be stopped.
        changed: called when there may be something to start or to send.
        announce: called with the identity of a node that has news to register.
    """

    def __init__(
        self,
        spool: Spool,
        scheduler: Scheduler,
        controller: AdmissionController,
        *,
        places: Callable[[WorkItem], Sequence[RunDirectory]],
        slots: int,
        stop: Callable[[Key], None],
        changed: Callable[[], None],
        announce: Callable[[str], None],
    ) -> None:
        self._spool = spool
        self._scheduler = scheduler
        self._controller = controller
        self._lifecycles = scheduler.lifecycles
        self._places = places
        self._slots = slots
        self._job_queries: JobQueries | None = None
        self._stop = stop
        self._changed = changed
        self.rules = RuleManager(spool, scheduler, controller, changed=changed, announce=announce)

    @property
    def job_queries(self) -> JobQueries:
        """Answers questions about jobs; loaded when the first one comes."""
        if self._job_queries is None:
            from mcshell.node.jobs.queries import JobQueries  # noqa: PLC0415 - an idle daemon is small

            self._job_queries = JobQueries(
                self._spool, self._lifecycles, places=self._places, slots=self._slots
            )
        return self._job_queries

    # --- handing in ----------------------------------------------------------------------------

    def accept(self, admitted: Admitted, identity: str) -> Outcome | None:
        """Do what a request over the work queue says; None when it is a job that is open now.

        Whatever it changes is committed when it returns.
        """
        request, lifecycle = admitted.request, self._lifecycles[identity]
        if request.action != "submit":
            return run_action(admitted, lifecycle.host, time.monotonic() + admitted.action.timeout)
        try:
            return self._submit(request, lifecycle)
        except NotAllowed as error:
            refusal = error.refusal
            return Outcome(refusal.state, refusal.statuscode, refusal.statusmsg)
        except AgentError as error:
            return Outcome(State.FAILED, error.statuscode, str(error))

    def _submit(self, request: Request, lifecycle: RunLifecycle) -> Outcome | None:
        now = time.time()
        job = self._opened(request, lifecycle, now)
        if job.id != request.id or job.revision != 1 or job.session != request.session:
            raise AgentError("the job does not fit the request that brings it", statuscode=4)
        identity = lifecycle.host.identity
        with self._scheduler.lock:
            known = self._spool.jobs.get((identity, job.id))
            if known is not None and not known.revision:
                host, by = lifecycle.host, known.author
                if self._controller.may_cancel(host, by, job.id, job.author):
                    return Outcome(State.FAILED, 1, known.statusmsg)
            if known is not None and known.revision:
                return None
            lifecycle.check_job(request, job)
            self._refuse_circle(identity, job)
            if self._spool.jobs.count(identity) >= _MOST:
                raise AgentError(f"this node has {_MOST} jobs: no more are taken")
            row = scheduled(self._row_of(request, job, identity, now), job, lifecycle, now)
            self._spool.put_jobs(
                [row],
                messages=[lifecycle.writer.noted(request, State.RECEIVED)],
                awaits=[(row.key, list(map(condition, job.after)))],
                expires=request.expires,
            )
            if row.state == WAITING:
                self._scheduler.consider(row, now)
        self._changed()
        return None

    def _opened(self, request: Request, lifecycle: RunLifecycle, now: float) -> Job:
        brought = of_fields(request.data)
        found = self._controller.open_job(
            brought.body, brought.headers, lifecycle.host, request, now
        )
        if isinstance(found, Refusal):
            raise NotAllowed(found)
        return found

    def _row_of(self, request: Request, job: Job, identity: str, now: float) -> JobRow:
        return JobRow(
            identity=identity,
            id=job.id,
            revision=job.revision,
            owner=request.caller,
            session=request.session,
            author=job.author,
            collective=job.collective,
            name=job.name,
            agent=job.agent,
            action=job.action,
            body=request.data["document"].encode(),
            signature=request.data["signature"],
            certificate=request.data["certificate"],
            received=now,
            state=SCHEDULED,
            touched=request.id,
            signed=digest_of(request.data["document"].encode()),
        )

    # --- changing ------------------------------------------------------------------------------

    def edit(self, identity: str, request: Request) -> dict[str, Any]:
        """Put a new revision in the place of the old one; it runs with its author's rights."""
        now, lifecycle = time.time(), self._lifecycles[identity]
        job = self._opened(request, lifecycle, now)
        if job.id != request.data["job"]:
            raise AgentError("the document is that of another job", statuscode=4)
        with self._scheduler.lock:
            row = self._touch(identity, request)
            if row.revision == job.revision and row.body == request.data["document"].encode():
                return self.job_queries.stand(row)
            self._must_be_open(row)
            if job.revision != row.revision + 1:
                raise AgentError(f"revision {row.revision} is in force, it was edited meanwhile")
            lifecycle.check_job(request, job)
            self._refuse_circle(identity, job)
            fresh = self._revised(row, job, request, now)
            same = job.when == read_job(row.body or b"").when
            text = f"edited by {request.caller}"
            running = not self._scheduler.take_back(row, text, again=same)
            if running and not job.when.recurs:
                raise AgentError("it runs: there is nothing to edit any more")
            if job.when.recurs and (same or running):
                # The start that is under way, or to come, is still that; after it comes what is new.
                planned = row.planned if same else now
                fresh = replace(fresh, run=row.run, planned=planned, due=row.due)
            state = PAUSED if row.state == PAUSED else QUEUED if running else fresh.state
            fresh = replace(fresh, state=state)
            messages = []
            if job.author != row.owner and row.author == row.owner:
                text = f"edited by {job.author}, who gets the results"
                messages.append(last_reply(lifecycle, row, "failed", text))
            awaits = [(row.key, list(map(condition, job.after)))]
            self._spool.put_jobs([fresh], messages=messages, awaits=awaits)
            if fresh.state == PAUSED:
                self._scheduler.note_paused(fresh)
            if fresh.state == WAITING:
                self._scheduler.consider(fresh, now)
        self._changed()
        return self.job_queries.stand(self._get(row.key))

    def _revised(self, row: JobRow, job: Job, request: Request, now: float) -> JobRow:
        """The row of a new revision, with its first start; raises AgentError when there is none."""
        fresh = replace(
            self._row_of(request, job, row.identity, now),
            owner=row.owner,
            session=row.session,
            skips=row.skips,
            runs=row.runs,
            last=row.last,
            last_state=row.last_state,
        )
        if job.author != row.owner:
            fresh = replace(fresh, signed=row.signed)
        after = now if job.when.recurs else None
        return scheduled(fresh, job, self._lifecycles[row.identity], now, after)

    def pause(self, identity: str, request: Request) -> dict[str, Any]:
        """Start it no more until it is resumed; a run under way goes on."""
        with self._scheduler.lock:
            row = self._touch(identity, request)
            self._must_be_open(row)
            job = read_job(row.body or b"")
            text, once = f"paused by {request.caller}", not job.when.recurs
            if not self._scheduler.take_back(row, text, again=once) and once:
                raise AgentError("it runs: it can only be cancelled")
            self._spool.put_jobs([replace(row, state=PAUSED, touched=request.id)])
            self._scheduler.note_paused(row)
        return self.job_queries.stand(self._get(row.key))

    def resume(self, identity: str, request: Request) -> dict[str, Any]:
        """Let a paused job start again: what recurs, at its next start from now on."""
        now, lifecycle = time.time(), self._lifecycles[identity]
        with self._scheduler.lock:
            row = self._touch(identity, request)
            self._must_be_open(row)
            if row.state == PAUSED:
                job = read_job(row.body or b"")
                state = SCHEDULED
                if self._scheduler.current(row) is not None:
                    state = QUEUED
                elif job.when.recurs:
                    if row.due is None or row.due <= now:  # it has passed
                        row = following(row, job, max(now, row.planned or now), lifecycle)
                    if row.due is None:
                        row = replace(row, touched=request.id)
                        self._scheduler.close(row, *run_out(row), now)
                        return self.job_queries.stand(self._get(row.key))
                elif not all(met for _job, _need, met in self._spool.jobs.awaits(row.key)):
                    state = WAITING
                row = replace(row, state=state, touched=request.id)
                self._spool.put_jobs([row])
        self._changed()
        return self.job_queries.stand(self._get(row.key))

    def skip(self, identity: str, request: Request) -> dict[str, Any]:
        """Leave out the next start; of a job that has only one, that ends it."""
        with self._scheduler.lock:
            row = self._touch(identity, request)
            if row.touched != request.id:
                self._must_be_open(row)
                job = read_job(row.body or b"")
                if not job.when.recurs:
                    return self._cancel(row, request, f"skipped by {request.caller}")
                self._spool.put_jobs([replace(row, skips=row.skips + 1, touched=request.id)])
        return self.job_queries.stand(self._get(row.key))

    def cancel(self, identity: str, request: Request) -> dict[str, Any]:
        """End it, or a queued request, with all its processes; what is not here yet is not taken."""
        with self._scheduler.lock:
            key = identity, request.data["job"]
            row, work = self._spool.jobs.get(key), self._spool.get(key)
            if work is not None and work.kind == "request":
                return self._cancel_request(work, request)
            callers = [] if row is None or row.revision else row.author.split()
            if row is None or (callers and request.caller not in callers):
                self._refuse_flood(identity, request)
                callers.append(request.caller)
                text = f"cancelled by {' and '.join(callers)}, before it came"
                self._entomb(identity, request, text, callers)
            if row is None or not row.revision:
                job = request.data["job"]
                raise AgentError(f"no job {job} here; if it still comes, it is not taken")
            row = self._touch(identity, request)
            if row.touched == request.id:
                return self.job_queries.stand(row)
            self._must_be_open(row)
            return self._cancel(row, request, f"cancelled by {request.caller}")

    def _cancel(self, row: JobRow, request: Request, text: str) -> dict[str, Any]:
        now = time.time()
        row = replace(row, touched=request.id)
        run = self._scheduler.current(row)
        if run is not None and not self._scheduler.take_back(row, text):
            # Its reply comes when its processes have ended.
            row = replace(row, state=CANCELLED, ended=now, due=None, statusmsg=text)
            recurs = read_job(row.body or b"").when.recurs
            messages = (
                [last_reply(self._lifecycles[row.identity], row, CANCELLED, text)] if recurs else []
            )
            self._spool.put_jobs([row], messages=messages)
            self._stop(run.key)
        else:
            self._scheduler.close(row, CANCELLED, text, now)
        self._changed()
        return self.job_queries.stand(self._get(row.key))

    def _cancel_request(self, work: WorkItem, request: Request) -> dict[str, Any]:
        self._may_touch(work.identity, request, work.caller)
        if work.state not in (QUEUED, RUNNING) or work.via != "queue":
            raise AgentError(f"it is {work.state} already")
        text = f"cancelled by {request.caller}"
        if not self._scheduler.end_queued(work, Outcome(State.FAILED, StatusCode.FAILED, text)):
            self._entomb(work.identity, request, text, [request.caller])
            self._stop(work.key)  # its reply comes when its processes have ended
        return {
            "job": work.id,
            "owner": work.caller,
            "agent": work.agent,
            "action": work.action,
            "state": CANCELLED,
        }

    def _entomb(self, identity: str, request: Request, text: str, callers: Sequence[str]) -> None:
        """Remember that a job is not to be, which is not here yet, or no job to itself.

        Whose it is nobody knows before it comes, so each of these callers may be in the right.
        """
        now = time.time()
        row = JobRow(
            identity=identity,
            id=request.data["job"],
            revision=0,
            owner=request.caller,
            session=request.session,
            author=" ".join(callers),
            collective=request.collective,
            name="",
            agent="",
            action="",
            body=None,
            signature=None,
            certificate=None,
            received=now,
            state=CANCELLED,
            ended=now,
            statusmsg=text,
            touched=request.id,
        )
        limits = self._controller.limits
        self._spool.put_jobs([row], expires=now + limits.max_ttl + limits.max_skew)

    def _refuse_flood(self, identity: str, request: Request) -> None:
        """Of what is not here nobody knows whether it will ever come: that must not fill the disk."""
        if self._spool.jobs.cancelled_ahead(identity, request.caller) >= _MOST_AHEAD:
            text = f"{request.caller} has cancelled {_MOST_AHEAD} here before they came: no more are kept"
            raise AgentError(f"no job {request.data['job']} here, and {text}")

    def _refuse_circle(self, identity: str, job: Job) -> None:
        def awaited(one: str) -> list[str]:
            found = self._spool.jobs.awaits((identity, one))
            return [awaited for awaited, _need, met in found if not met]

        try:
            refuse_circle(job.id, job.after, awaited)
        except UsageError as error:
            raise AgentError(str(error), statuscode=4) from error

    # --- helpers -------------------------------------------------------------------------------

    def _touch(self, identity: str, request: Request) -> JobRow:
        """The job that a request is about, once the caller may change it."""
        row = self._get((identity, request.data["job"]))
        self._may_touch(identity, request, row.owner)
        return row

    def _may_touch(self, identity: str, request: Request, owner: str) -> None:
        if owner == request.caller:
            return
        refusal = self._controller.may_touch(request, self._lifecycles[identity].host, owner)
        if refusal is not None:
            raise NotAllowed(refusal)

    def _get(self, key: Key) -> JobRow:
        row = self._spool.jobs.get(key)
        if row is None or not row.revision:  # all that is known is that it is not to be taken
            raise AgentError(f"no job {key[1]} here")
        return row

    def _must_be_open(self, row: JobRow) -> None:
        if row.state in ENDED or row.body is None:
            raise AgentError(f"it is {row.state} already")
