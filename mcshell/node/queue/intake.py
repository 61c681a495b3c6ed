"""From a queue's messages to rows of the spool: verified, judged, and committed together.

Whoever calls acknowledges afterwards, and says `received` of what was taken in.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from mcshell.message import Via
from mcshell.node.store.records import FINAL, RUNNING, WorkItem
from mcshell.node.verdicts import Admitted, Refusal, refused
from mcshell.wire.documents.envelope import CERTIFICATE, SIGNATURE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mcshell.message import Request
    from mcshell.node.admission.controller import AdmissionController
    from mcshell.node.context import Node
    from mcshell.node.host import Host
    from mcshell.node.store.records import Key, OutboxMessage
    from mcshell.node.store.spool import Spool
    from mcshell.node.verdicts import Outcome
    from mcshell.wire.documents.envelope import Arrival
    from mcshell.wire.stomp.transport import Delivery

__all__ = ["JobIntake", "QueueIntake", "QueueItem", "TakenRequest", "row_of"]


class JobIntake(Protocol):
    """Who takes jobs in (`jobs.manager.JobManager`)."""

    def take(self, admitted: Admitted, identity: str) -> Outcome | None:
        """Do what a request says; None when it is a job that is open now."""


@dataclass(frozen=True, slots=True)
class QueueItem:
    """One message, and the node whose queue it came over."""

    node: Node
    arrival: Arrival
    delivery: Delivery

    @property
    def host(self) -> Host:
        """Who the node is."""
        return self.node.host


@dataclass(frozen=True, slots=True)
class TakenRequest:
    """A request that waits in the spool now; `new`: since this message."""

    item: QueueItem
    request: Request
    new: bool


class QueueIntake:
    """Takes messages of work queues into the spool; called from one thread."""

    def __init__(self, controller: AdmissionController, spool: Spool, jobs: JobIntake) -> None:
        self._controller = controller
        self._spool = spool
        self._jobs = jobs

    def take(self, items: Sequence[QueueItem], now: float) -> list[TakenRequest]:
        """Commit what is in the messages; returns those requests that are open here.

        Raises:
            MCShellError: nothing could be committed, so nothing may be acknowledged.
        """
        opened: dict[Key, tuple[QueueItem, Request | Refusal]] = {}
        for item in items:
            body, headers = item.delivery.body, item.delivery.headers
            found = self._controller.open_work(body, headers, item.arrival, item.host, now)
            if found is not None:
                request = found.request if isinstance(found, Refusal) else found
                opened.setdefault((item.host.identity, request.id), (item, found))
        known = self._spool.states(opened)
        rows: list[WorkItem] = []
        messages: list[OutboxMessage] = []
        taken: list[TakenRequest] = []
        for key, (item, found) in opened.items():
            if key in known:
                # Taken in before, and its ACK was lost; or the client sent it again.
                if known[key] not in FINAL and not isinstance(found, Refusal):
                    taken.append(TakenRequest(item, found, new=False))
                continue
            verdict = (
                found if isinstance(found, Refusal) else self._controller.judge(found, item.host)
            )
            if isinstance(verdict, Admitted) and not verdict.service.inside:
                taken.append(TakenRequest(item, verdict.request, new=True))
                rows.append(row_of(verdict.request, item, now))
            elif (outcome := self._at_once(verdict, item.host)) is not None:
                rows.append(row_of(verdict.request, item, now, outcome))
                messages.append(item.node.writer.kept(verdict.request, outcome))
        if rows:
            self._spool.admit(rows, messages)
            self._count(rows, opened)
        return taken

    def _at_once(self, verdict: Admitted | Refusal, host: Host) -> Outcome | None:
        """What comes of a request that needs no slot; None for a job that is open now."""
        if isinstance(verdict, Refusal):
            return refused(verdict)
        return self._jobs.take(verdict, host.identity)

    def _count(
        self, rows: Sequence[WorkItem], opened: Mapping[Key, tuple[QueueItem, Request | Refusal]]
    ) -> None:
        for row in rows:
            journal = opened[row.key][0].host.journal
            journal.count("messages")
            if row.state in FINAL:
                journal.count(row.state)


def row_of(
    request: Request,
    item: QueueItem,
    now: float,
    outcome: Outcome | None = None,
    *,
    attempt: int = 1,
) -> WorkItem:
    """The row of a request that has just come in; with an outcome it has already ended.

    A request of a pool runs at once (`attempt` says for which time), one of a work queue waits.
    """
    ended = outcome is not None
    pool = request.via is Via.POOL
    return WorkItem(
        identity=item.host.identity,
        id=request.id,
        via=request.via.value,
        pool=request.pool,
        collective=request.collective,
        agent=request.agent,
        action=request.action,
        caller=request.caller,
        session=request.session,
        created=request.created,
        expires=request.expires,
        due=now,
        received=now,
        body=None if ended else item.delivery.body,
        signature=None if ended else item.delivery.headers[SIGNATURE],
        certificate=None if ended else item.delivery.headers[CERTIFICATE],
        state=outcome.state.value if outcome else RUNNING if pool else "queued",
        attempt=attempt if pool else 0,
        started=now if pool else None,
        ended=now if outcome else None,
        statuscode=outcome.statuscode if outcome else None,
        statusmsg=outcome.statusmsg if outcome else "",
    )
