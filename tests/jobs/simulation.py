"""Many nodes with jobs, their own records and rules, and a clock that only the test moves."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from mcshell.message import Job, State, When
from mcshell.node.admission.controller import AdmissionController
from mcshell.node.admission.policy import Authorisation, Policies
from mcshell.node.agents.registry import AgentRegistry
from mcshell.node.audit.log import AuditLog
from mcshell.node.execution.lifecycle import RunLifecycle
from mcshell.node.host import Host
from mcshell.node.jobs.forecast import forecast
from mcshell.node.jobs.scheduler import Scheduler, following
from mcshell.node.replies import ReplyWriter
from mcshell.node.store.job_table import JobRow
from mcshell.node.store.records import WorkResult
from mcshell.node.store.spool import Spool
from mcshell.node.verdicts import Outcome
from mcshell.pki import Authority
from mcshell.wire.documents.envelope import CERTIFICATE, SIGNATURE, BodyLimits
from mcshell.wire.documents.job import seal_job
from mcshell.wire.documents.signatures import Signer, Verifier

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Simulation", "Started"]

Started = tuple[str, str, str, float]
"""Identity, job, name of the start, instant."""

ZONES = ("Europe/Vienna", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "UTC")
WHENS = (
    When(cron="30 2 * * *", splay=1800.0),
    When(cron="0 */4 * * *"),
    When(cron="*/30 1-3 * * *", tz="Europe/Vienna", splay=600.0),
    When(cron="15 3 * * 0"),
    When(every=7 * 3600.0, splay=60.0),
    When(every=86_400.0, at="2026-01-01T04:00"),
)


class Simulation:
    """`count` nodes with two jobs each that recur, and one that starts once."""

    def __init__(self, folder: Path, count: int, now: float, *, seed: int = 1) -> None:
        self.now = now
        authority = Authority.init(folder / "pki", "simulation")
        author = Signer.from_pem(*authority.issue_pem("alice", "operator"))
        writer = ReplyWriter(Signer.from_pem(*authority.issue_pem("n", "node")), 1 << 20)
        self.spool = Spool(folder / "work.sqlite")
        served = AgentRegistry([])
        controller = AdmissionController(
            verifier=Verifier(authority.ca_pem),
            limits=BodyLimits(),
            authorisation=Authorisation(Policies(folder / "policies"), {}),
            served=served,
            audit=AuditLog(folder / "audit.jsonl"),
        )
        dice = random.Random(seed)
        self.lifecycles: dict[str, RunLifecycle] = {}
        for number in range(count):
            facts = {"timezone": dice.choice(ZONES)}
            host = Host(f"n{number:05d}", facts=lambda facts=facts: facts, served=served)
            self.lifecycles[host.identity] = RunLifecycle(host, controller, writer)
        self.scheduler = Scheduler(self.spool, self.lifecycles, lambda: None)
        self._hand_in(author, dice)

    def _hand_in(self, author: Signer, dice: random.Random) -> None:
        bodies = [self._job(author, number, when) for number, when in enumerate(self._whens())]
        rows = []
        for identity, lifecycle in self.lifecycles.items():
            for job, sealed in dice.sample(bodies[:-1], 2) + bodies[-1:]:
                row = JobRow(
                    identity=identity,
                    id=job.id,
                    revision=1,
                    owner=job.author,
                    session=job.session,
                    author=job.author,
                    collective=job.collective,
                    name="",
                    agent="mark",
                    action="once",
                    body=sealed.body,
                    signature=sealed.headers[SIGNATURE],
                    certificate=sealed.headers[CERTIFICATE],
                    received=self.now,
                    state="scheduled",
                )
                after = job.created if job.when.recurs else float("-inf")
                rows.append(following(row, job, after, lifecycle))
        for start in range(0, len(rows), 5000):
            self.spool.put_jobs(rows[start : start + 5000])

    def _whens(self) -> list[When]:
        from dataclasses import replace
        from datetime import UTC, datetime

        end = self.now + 30 * 86_400
        day = datetime.fromtimestamp(self.now + 86_400, UTC).date()
        once = When(at=f"{day}T02:30", splay=900.0)
        return [replace(when, until=end) for when in WHENS] + [once]

    def _job(self, author: Signer, number: int, when: When):
        job = Job(
            id=f"{number:032x}",
            revision=1,
            author="cert=alice",
            collective="mcs",
            session="s",
            agent="mark",
            action="once",
            created=self.now,
            when=when,
        )
        return job, seal_job(job, author)

    def close(self) -> None:
        """Close the file of the nodes' work."""
        self.spool.close()

    def forecast(self, seconds: float) -> set[Started]:
        """What all nodes say will start, by time alone."""
        window = (self.now, self.now + seconds)
        found: set[Started] = set()
        for identity, lifecycle in self.lifecycles.items():
            starts = forecast(self.spool, lifecycle, 1000, window, 100_000)
            assert all(one.sure for one in starts)
            found.update((identity, one.job, one.run, one.start) for one in starts)
        return found

    def live(self, seconds: float, late: float = 0.5) -> dict[tuple[str, str, str], float]:
        """Let time go by, from one start to the next; returns what started when.

        `late` is how long after a start is due the daemon gets to it, at most.
        """
        end = self.now + seconds
        dice = random.Random(7)
        happened: dict[tuple[str, str, str], float] = {}
        while (due := self.scheduler.next_due()) is not None and due < end:
            self.now = min(max(self.now, due) + dice.uniform(0, late), end - 0.001)
            touched = self.scheduler.start_due(self.now)
            items = [work for name in touched for work in self.spool.due(name, self.now, 100)]
            claimed = self.spool.start([work.key for work in items], self.now)
            assert all(claimed)
            ends = []
            for work in items:
                key = (work.identity, work.job or "", work.run)
                assert key not in happened, "started twice"
                happened[key] = self.now
                outcome = Outcome(State.OK, 0, "OK")
                ends.append(
                    WorkResult(
                        key=work.key,
                        state=outcome.state.value,
                        statuscode=0,
                        statusmsg="OK",
                        ended=self.now,
                        message=None,
                        job=work.job,
                        started=self.now,
                        attempt=1,
                    )
                )
            self.scheduler.finish(ends)
        self.now = end
        return happened
