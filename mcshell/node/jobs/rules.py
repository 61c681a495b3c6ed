"""Rules as a node takes them: its own look at the signature, the filter and the author's rights.

Whoever carries a rule needs no right; its author needs policy `job.rule`, and each of its jobs is
judged as if he had handed it in: all of them may run here, or nothing is taken. A rule that is for
other machines leaves no trace. A newer revision takes the place of the older one: what of that has
not ended is cancelled. Jobs of rules are asked for their outcomes; they send no replies.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from mcshell.errors import AgentError, FilterError, Reason
from mcshell.filters import compile_filter
from mcshell.message import Request, Via
from mcshell.node.jobs.scheduler import scheduled
from mcshell.node.store.job_table import SCHEDULED, WAITING, JobRow
from mcshell.node.store.records import CANCELLED
from mcshell.node.store.rule_table import NOT_MINE, RuleRow
from mcshell.node.verdicts import NotAllowed
from mcshell.values import dataclass
from mcshell.wire.documents.envelope import CERTIFICATE, SIGNATURE
from mcshell.wire.documents.job import condition
from mcshell.wire.documents.rule import duty_body, duty_ids, read_job, rule_digest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from mcshell.message import Job, Rule
    from mcshell.node.admission.controller import AdmissionController
    from mcshell.node.execution.lifecycle import RunLifecycle
    from mcshell.node.jobs.scheduler import Scheduler
    from mcshell.node.store.spool import Spool

__all__ = ["RuleManager"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _ArrivedRule:
    """A rule as it came to one node, and what is asked by it."""

    rule: Rule
    body: bytes
    headers: Mapping[str, str]
    lifecycle: RunLifecycle
    request: Request
    at: float


class RuleManager:
    """The rules of all nodes of a process. Any thread may call.

    `changed` is called when there may be something to start, `announce` with the identity of a node
    that has news to register.
    """

    def __init__(
        self,
        spool: Spool,
        scheduler: Scheduler,
        controller: AdmissionController,
        *,
        changed: Callable[[], None],
        announce: Callable[[str], None],
    ) -> None:
        self._spool = spool
        self._scheduler = scheduler
        self._controller = controller
        self._changed = changed
        self._announce = announce

    def accept(
        self, body: bytes, headers: Mapping[str, str], identity: str, collective: str
    ) -> None:
        """Accept a rule that somebody brought, if it is to be believed and for this machine.

        Raises:
            MCShellError: nothing could be committed; it is brought again.
        """
        now, lifecycle = time.time(), self._scheduler.lifecycles[identity]
        host = lifecycle.host
        rule = self._controller.open_rule(body, headers, host, collective, now)
        if rule is None:
            return
        with self._scheduler.lock:
            held = self._spool.rules.get(identity, host.machine, rule.author, rule.name)
            passed = held is not None and (held.digest, held.jobs) == (rule_digest(body), NOT_MINE)
            if held is not None and held.revision >= rule.revision and not passed:
                self._refuse_other(lifecycle, rule, held, rule_digest(body))
                return
            try:
                mine = compile_filter(rule.filter).matches(host)
            except FilterError as error:
                self._controller.refuse(
                    host, Reason.MALFORMED, str(error), rule_digest(body), Via.DIRECT
                )
                return
            if mine or (held is not None and not passed):
                request = _request(rule, rule_digest(body), identity)
                brought = _ArrivedRule(
                    rule=rule,
                    body=body,
                    headers=headers,
                    lifecycle=lifecycle,
                    request=request,
                    at=now,
                )
                try:
                    rows = self._rows(brought) if mine else []
                except (NotAllowed, AgentError):
                    return  # audited where it was refused
                self._adopt(brought, rows, held)

    def _refuse_other(
        self, lifecycle: RunLifecycle, rule: Rule, held: RuleRow, digest: str
    ) -> None:
        """Nothing new; but two rules under one name and revision are a slip, or worse."""
        if held.revision == rule.revision and held.digest != digest:
            text = f"{rule.name}: another revision {rule.revision} is here"
            self._controller.refuse(lifecycle.host, Reason.REPLAYED, text, digest, Via.DIRECT)
        elif held.digest == digest:
            self._announce(lifecycle.host.identity)

    def _adopt(
        self, brought: _ArrivedRule, rows: Sequence[tuple[JobRow, Job]], held: RuleRow | None
    ) -> None:
        """Put a revision and its jobs in the place of the one that was held, in one commit."""
        rule, host, now = brought.rule, brought.lifecycle.host, brought.at
        for job in held.jobs.split() if held is not None else ():
            self._drop(host.identity, job, f"replaced by revision {rule.revision}", now)
        fresh = [(row, job) for row, job in rows if self._spool.jobs.get(row.key) is None]
        self._spool.put_jobs(
            [row for row, _ in fresh],
            awaits=[(row.key, list(map(condition, job.after))) for row, job in fresh],
            rule=_rule_row(
                brought, [row.id for row, _ in rows] if rows or not rule.duties else [NOT_MINE]
            ),
        )
        for row, _job in fresh:
            if row.state == WAITING:
                self._scheduler.consider(row, now)
        self._controller.ruled(host, rule, brought.request.id, len(fresh))
        self._changed()
        self._announce(host.identity)

    def _rows(self, brought: _ArrivedRule) -> list[tuple[JobRow, Job]]:
        """The jobs of a rule here.

        Raises:
            NotAllowed: the author may not have one of them done here.
            AgentError: one of them makes no sense here.
        """
        body, lifecycle, request, now = brought.body, brought.lifecycle, brought.request, brought.at
        refusal = self._controller.may(request, lifecycle.host)
        if refusal is not None:
            raise NotAllowed(refusal)
        ids = duty_ids(body, brought.rule, lifecycle.host.identity, lifecycle.host.machine)
        found = []
        for duty in brought.rule.duties:
            kept = duty_body(body, duty, ids, now)
            job = read_job(kept)
            try:
                lifecycle.check_job(request, job)
                row = scheduled(_job_row(job, kept, brought), job, lifecycle, now)
            except AgentError as error:
                self._controller.deny(request, lifecycle.host, f"denied: {duty.name}: {error}")
                raise
            found.append((row, job))
        return found

    def _drop(self, identity: str, job: str, text: str, now: float) -> None:
        """End a job of an older revision; a run that is under way comes to its own end."""
        row = self._spool.jobs.get((identity, job))
        if row is None or not row.open:
            return
        self._scheduler.take_back(row, text)
        self._scheduler.close(row, CANCELLED, text, now)


def _request(rule: Rule, digest: str, identity: str) -> Request:
    """What is asked by a rule, for policy and audit."""
    return Request(
        id=digest,
        agent="job",
        action="rule",
        caller=rule.author,
        collective=rule.collective,
        via=Via.DIRECT,
        session="",
        created=rule.created,
        expires=rule.expires,
        identity=identity,
    )


def _rule_row(brought: _ArrivedRule, jobs: Sequence[str]) -> RuleRow:
    rule, host = brought.rule, brought.lifecycle.host
    return RuleRow(
        identity=host.identity,
        machine=host.machine,
        author=rule.author,
        name=rule.name,
        revision=rule.revision,
        digest=brought.request.id,
        jobs=" ".join(jobs),
        taken=brought.at,
    )


def _job_row(job: Job, kept: bytes, brought: _ArrivedRule) -> JobRow:
    return JobRow(
        identity=brought.lifecycle.host.identity,
        id=job.id,
        revision=job.revision,
        owner=job.author,
        session="",
        author=job.author,
        collective=job.collective,
        name=job.name,
        agent=job.agent,
        action=job.action,
        body=kept,
        signature=brought.headers[SIGNATURE],
        certificate=brought.headers[CERTIFICATE],
        received=brought.at,
        state=SCHEDULED,
        touched=brought.request.id,
    )
