"""What every job has to pass that a node takes, whoever brought it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from mcshell.errors import AgentError
from mcshell.node.jobs.scheduler import following
from mcshell.node.store.job_table import WAITING, JobRow
from mcshell.node.verdicts import NotAllowed, Refusal

if TYPE_CHECKING:
    from mcshell.message import Job, Request
    from mcshell.node.admission.controller import AdmissionController
    from mcshell.node.execution.lifecycle import RunLifecycle

__all__ = ["judge", "scheduled"]

_EVER: Final = float("-inf")
_PATIENCE: Final = 90 * 86_400.0
"""How long a job waits for others, where it does not say until when."""


def judge(
    controller: AdmissionController, request: Request, job: Job, lifecycle: RunLifecycle
) -> None:
    """Whether the author may have the inner action done here, with these inputs."""
    service = lifecycle.host.service(job.agent)
    if service is not None and service.inside:
        raise AgentError(f"{job.agent}.{job.action} is not for jobs", statuscode=4)
    inner = replace(request, agent=job.agent, action=job.action, caller=job.author, data=job.data)
    verdict = controller.judge(inner, lifecycle.host, "scheduled")
    if isinstance(verdict, Refusal):
        raise NotAllowed(verdict)


def scheduled(
    row: JobRow, job: Job, lifecycle: RunLifecycle, now: float, after: float | None = None
) -> JobRow:
    """The row with its first start; one that waits for others has none as yet."""
    if after is None:
        after = job.created if job.when.recurs else _EVER
    row = following(row, job, after, lifecycle)
    if job.when.at is None and not job.when.recurs and row.due is not None:
        row = replace(row, due=max(row.due, now + row.due - (row.planned or row.due)))
    if row.due is None:
        raise AgentError("this job would never start", statuscode=4)
    if job.after:
        ends = job.created + _PATIENCE if job.when.until is None else job.when.until
        row = replace(row, state=WAITING, ends=ends)
    return row
