"""What is decided about a row of the spool: may it start, may it start again, how does it end.

The same for the daemon's shims and for the emulator's many nodes.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from mcshell.errors import AgentError
from mcshell.message import Request, State, StatusCode, Via
from mcshell.node.store.records import WorkResult
from mcshell.node.verdicts import Admitted, NotAllowed, Outcome, Refusal
from mcshell.wire.documents.envelope import CERTIFICATE, SIGNATURE, digest_of, read_request
from mcshell.wire.documents.rule import read_job, signed_part

if TYPE_CHECKING:
    from mcshell.message import Job
    from mcshell.node.admission.controller import AdmissionController
    from mcshell.node.host import Host
    from mcshell.node.replies import ReplyWriter
    from mcshell.node.store.records import OutboxMessage, WorkItem

__all__ = ["ATTEMPTS", "LATE", "MISSED", "RunLifecycle", "interrupted", "late", "not_started"]

ATTEMPTS: Final = 3
"""How often an action that is safe to run again is started."""
LATE: Final = Outcome(State.EXPIRED, StatusCode.UNKNOWN_ERROR, "expired before a slot was free")
PAST: Final = Outcome(
    State.EXPIRED, StatusCode.UNKNOWN_ERROR, "missed: its job's end came before a slot was free"
)
MISSED: Final = Outcome(
    State.EXPIRED, StatusCode.UNKNOWN_ERROR, "missed: no slot was free before it was too late"
)


def late(work: WorkItem) -> Outcome:
    """The outcome of what waited for a slot for too long."""
    return LATE if work.kind != "job" else MISSED


def interrupted(why: str) -> Outcome:
    """The outcome of what died between its claim and its outcome."""
    return Outcome(State.INTERRUPTED, StatusCode.UNKNOWN_ERROR, why)


def not_started(work: WorkItem, why: Outcome) -> Outcome:
    """How a row ends that does not start any more: one that has, as its last start came out."""
    if not work.attempt:
        return why
    state = State.INTERRUPTED if work.statuscode is None else State.FAILED
    code = StatusCode.UNKNOWN_ERROR if work.statuscode is None else work.statuscode
    return Outcome(state, code, f"{work.statusmsg}; not started again: {why.statusmsg}")


class RunLifecycle:
    """Decides about the rows of one node; whoever calls commits what it decides."""

    def __init__(self, host: Host, controller: AdmissionController, writer: ReplyWriter) -> None:
        self.host = host
        self._controller = controller
        self.writer = writer

    def check_job(self, request: Request, job: Job) -> None:
        """See that the author may have a job's action done here, with these inputs.

        Raises:
            NotAllowed: he may not; it is audited.
            AgentError: it is no action for jobs.
        """
        service = self.host.service(job.agent)
        if service is not None and service.inside:
            raise AgentError(f"{job.agent}.{job.action} is not for jobs", statuscode=4)
        inner = replace(
            request, agent=job.agent, action=job.action, caller=job.author, data=job.data
        )
        verdict = self._controller.admit(inner, self.host, "scheduled")
        if isinstance(verdict, Refusal):
            raise NotAllowed(verdict)

    def recheck(self, work: WorkItem) -> tuple[Request, Admitted | Refusal]:
        """Ask again, at the start, all that was asked when it came in."""
        assert work.body is not None, "an open row has its envelope"
        request, job = _read(work)
        now = time.time()
        past = job is not None and now > (job.when.until or now)
        if past or now > work.expires:
            out = PAST if past else late(work)
            return request, Refusal(request, out.state, out.statuscode, out.statusmsg)
        headers = {SIGNATURE: work.signature or "", CERTIFICATE: work.certificate or ""}
        refusal = self._controller.still_trusted(
            work.body, headers, work.received, self.host, request
        )
        verdict = refusal or self._controller.admit(request, self.host, "started")
        if job is not None and isinstance(verdict, Admitted):
            verdict = replace(verdict, max_runtime=job.max_runtime)
        return request, verdict

    def may_again(self, work: WorkItem) -> bool:
        """Whether what died in the middle may be started once more."""
        service = self.host.service(work.agent)
        action = service.ddl.actions.get(work.action) if service is not None else None
        return action is not None and action.rerun_safe and work.attempt < ATTEMPTS

    def again(self, work: WorkItem, outcome: Outcome) -> None:
        """Audit how a start came out that is not the last."""
        request, _job = _read(work)
        self._controller.finished(request, self.host, outcome, attempt=work.attempt, again=True)

    def not_started(self, request: Request, outcome: Outcome) -> OutboxMessage:
        """The last reply about a start that does not happen; audited."""
        more = {} if request.job is None else {"job": request.job, "run": request.run}
        self._controller.finished(request, self.host, outcome, "not_started", **more)
        return self.writer.kept(request, outcome)

    def end(self, work: WorkItem, outcome: Outcome, attempt: int | None = None) -> WorkResult:
        """The end of a row, with its reply; audited and counted."""
        self.count(work, outcome)
        return self.result(work, outcome, attempt or work.attempt)

    def count(self, work: WorkItem, outcome: Outcome) -> None:
        """Audit and count how a row ends."""
        request, _job = _read(work)
        self._controller.finished(request, self.host, outcome)
        self.host.journal.count(outcome.state.value)

    def result(self, work: WorkItem, outcome: Outcome, attempt: int) -> WorkResult:
        """The end of a row, with its reply."""
        request, _job = _read(work)
        message = self.writer.kept(request, outcome, attempt)
        state, code, text = outcome.state.value, outcome.statuscode, outcome.statusmsg
        now = time.time()
        return WorkResult(
            key=work.key,
            state=state,
            statuscode=code,
            statusmsg=text,
            ended=now,
            message=message,
            job=work.job,
            started=work.started,
            attempt=attempt,
        )


def _read(work: WorkItem) -> tuple[Request, Job | None]:
    """The request that a row is; one of a job is made of its document."""
    assert work.body is not None, "an open row has its envelope"
    if work.kind != "job":
        return read_request(work.body), None
    job = read_job(work.body)
    request = Request(
        id=work.id,
        agent=job.agent,
        action=job.action,
        caller=job.author,
        collective=job.collective,
        via=Via.QUEUE,
        session=job.session,
        created=work.created,
        expires=work.expires,
        data=job.data,
        identity=work.identity,
        job=None if work.id == work.job else work.job,
        run=work.run,
        digest=digest_of(signed_part(work.body)),
    )
    return request, job
