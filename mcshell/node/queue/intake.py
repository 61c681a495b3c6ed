"""From a queue's messages to rows of the spool: verified, judged, and committed together.

The same for the daemon and for the emulator's many nodes. Whoever calls acknowledges afterwards,
and says `received` of what was taken in.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mcshell.message import State, Status, Via
from mcshell.node.store.records import FINAL, RUNNING, Work
from mcshell.node.verdicts import Admitted, Outcome, Refusal, refused
from mcshell.wire.documents.envelope import CERTIFICATE, SIGNATURE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mcshell.message import Request
    from mcshell.node.admission.controller import Gate
    from mcshell.node.host import Host
    from mcshell.node.replies.writer import Words
    from mcshell.node.store.records import Key, Word
    from mcshell.node.store.spool import Spool
    from mcshell.wire.documents.envelope import Arrival
    from mcshell.wire.stomp.transport import Delivery

__all__ = ["Admission", "Item", "Taken", "row_of"]


@dataclass(frozen=True, slots=True)
class Item:
    """One message, and the node whose queue it came over."""

    host: Host
    words: Words
    arrival: Arrival
    delivery: Delivery


@dataclass(frozen=True, slots=True)
class Taken:
    """A request that waits in the spool now; `new`: since this message."""

    item: Item
    request: Request
    new: bool


class Admission:
    """Takes messages of work queues into the spool; called from one thread."""

    def __init__(self, gate: Gate, spool: Spool) -> None:
        self._gate = gate
        self._spool = spool

    def take(self, items: Sequence[Item], now: float) -> list[Taken]:
        """Commit what is in the messages; returns those requests that are open here.

        Raises:
            MCShellError: nothing could be committed, so nothing may be acknowledged.
        """
        opened: dict[Key, tuple[Item, Request | Refusal]] = {}
        for item in items:
            body, headers = item.delivery.body, item.delivery.headers
            found = self._gate.open_work(body, headers, item.arrival, item.host, now)
            if found is not None:
                request = found.request if isinstance(found, Refusal) else found
                opened.setdefault((item.host.identity, request.id), (item, found))
        known = self._spool.states(opened)
        rows: list[Work] = []
        words: list[Word] = []
        taken: list[Taken] = []
        for key, (item, found) in opened.items():
            if key in known:
                # Taken in before, and its ACK was lost; or the client sent it again.
                if known[key] not in FINAL and not isinstance(found, Refusal):
                    taken.append(Taken(item, found, new=False))
                continue
            verdict = found if isinstance(found, Refusal) else self._gate.judge(found, item.host)
            if isinstance(verdict, Admitted) and not verdict.service.inside:
                taken.append(Taken(item, verdict.request, new=True))
                rows.append(row_of(verdict.request, item, now))
            elif (outcome := _at_once(verdict, item.host)) is not None:
                rows.append(row_of(verdict.request, item, now, outcome))
                words.append(item.words.kept(verdict.request, outcome))
        if rows:
            self._spool.admit(rows, words)
            self._count(rows, opened)
        return taken

    def _count(
        self, rows: Sequence[Work], opened: Mapping[Key, tuple[Item, Request | Refusal]]
    ) -> None:
        for row in rows:
            journal = opened[row.key][0].host.journal
            journal.count("messages")
            if row.state in FINAL:
                journal.count(row.state)


def _at_once(verdict: Admitted | Refusal, host: Host) -> Outcome | None:
    """What comes of a request that needs no slot; None for a job, which the office keeps."""
    if isinstance(verdict, Refusal):
        return refused(verdict)
    if host.office is None:
        return Outcome(State.FAILED, Status.UNKNOWN_ERROR, "this node keeps no jobs")
    return host.office.take(verdict, host.identity)


def row_of(
    request: Request, item: Item, now: float, outcome: Outcome | None = None, *, attempt: int = 1
) -> Work:
    """The row of a request that has just come in; with an outcome it has already ended.

    A request of a pool runs at once (`attempt` says for which time), one of a work queue waits.
    """
    ended = outcome is not None
    pool = request.via is Via.POOL
    return Work(
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
