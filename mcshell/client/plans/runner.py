"""One go at a plan: wave after wave is sent and waited for, until a gate stays closed.

A wave that is in the session file already is only waited for. Who has no last reply in the ledger
is asked what became of the request there: at the start of a later go, and now and then.
"""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from mcshell import interrupts
from mcshell.client.messaging.hub import SessionHub, Submission
from mcshell.client.origin import noted
from mcshell.client.plans.gates import NodeResult, gate, in_order, stopped
from mcshell.client.store.ledger import UNHEARD
from mcshell.client.store.plans import OK, OPEN, STOPPED
from mcshell.client.store.records import RequestRecord
from mcshell.errors import MCShellError
from mcshell.message import State, Via, made_id
from mcshell.wire.documents.plan import wave_nonce

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from mcshell.client.messaging.tracker import RequestTracker
    from mcshell.client.store.plans import KeptPlan
    from mcshell.config import Settings
    from mcshell.ddl.ddl_library import Library
    from mcshell.message import Plan, Step

__all__ = ["PlanRun", "WaveSender", "results_of"]

log = logging.getLogger(__name__)

_AGAIN: Final = 30.0
_READ: Final = 500
_SILENCE: Final = 0.5
_STATES: Final = {
    "ok": State.OK,
    "failed": State.FAILED,
    "denied": State.DENIED,
    "interrupted": State.INTERRUPTED,
    "cancelled": State.FAILED,
    "expired": State.EXPIRED,
    "running": State.RUNNING,
    "queued": State.RECEIVED,
}


class WaveSender:
    """Sends waves, and finds those that were sent."""

    def __init__(self, settings: Settings, hub: SessionHub, ddls: Library) -> None:
        self._settings = settings
        self._hub = hub
        self._ddls = ddls

    def tracker(self, kept: KeptPlan, step: Step, number: int) -> RequestTracker | None:
        """The ledger of a wave; None when it has not been sent."""
        nonce = wave_nonce(kept.id, kept.revision, step.name, number)
        store, caller = self._hub.session.store, self._hub.request_sender.caller
        record = store.find_request(made_id("request", caller, nonce)) or store.find_request(nonce)
        return None if record is None else self._hub.tracker(record)

    def send(
        self,
        nonce: str,
        plan: Plan,
        step: Step,
        names: Sequence[str],
        unheard: Collection[str] = (),
    ) -> RequestTracker:
        """Commit a wave and have it sent; those of `names` that are `unheard` are rows only."""
        schema = self._ddls.get(step.agent).action(step.action)
        data = schema.check(step.data)
        now = time.time()
        record = RequestRecord(
            id=made_id("request", plan.author, nonce),
            nonce=nonce,
            agent=step.agent,
            action=step.action,
            via=Via.QUEUE,
            collective=plan.collective,
            created=now,
            expires=now + step.ttl,
            filter=step.filter,
            data=schema.redact(data),
            options=noted({}),
        )
        asked = self._hub.request_sender.request(record, data, step.ttl)
        one = Submission(
            record=record,
            request=asked,
            names=[name for name in names if name not in unheard],
            secret=data != record.data,
            unheard=[name for name in names if name in unheard],
        )
        (tracker,) = self._hub.submit([one])
        return tracker

    def reread(self, tracker: RequestTracker) -> dict[str, NodeResult]:
        """Ask those whose last reply is missing what became of the request; who answers.

        Where nobody can be asked now (the key is away, the connection is), the ledger stands.
        """
        try:
            return self._reread(tracker)
        except MCShellError as failure:
            log.warning("request %s: not asked again: %s", tracker.record.id[:8], failure)
            return {}

    def _reread(self, tracker: RequestTracker) -> dict[str, NodeResult]:
        record, queries = tracker.record, self._hub.queries
        open_ = [one for one in results_of(tracker) if not one.state.final]
        names = [one.sender for one in open_ if one.reason != UNHEARD]
        found: dict[str, NodeResult] = {}
        for start in range(0, len(names), _READ):
            some = names[start : start + _READ]
            question, answers = queries.probe(record.collective, some, record.id, tracker.wake)
            try:
                answers.gather(window=self._settings.client.probe, silence=_SILENCE, linger=0.0)
                replies = answers.snapshot()
            finally:
                queries.forget(question)
            for name, (reply, _at) in replies.items():
                state = _STATES.get(str(reply.data.get("state")))
                if state is not None:
                    found[name] = NodeResult(name, state, str(reply.data.get("reason") or ""))
        return found


class PlanRun:
    """One go at a plan, from where it stands.

    Args:
        waves: what sends them.
        kept: the plan's row, with the nodes of each wave.
        plan: its document.
        end: until when to stay with it (monotonic), None: to its end.
        say: told what happens.
    """

    def __init__(
        self,
        waves: WaveSender,
        kept: KeptPlan,
        plan: Plan,
        end: float | None,
        say: Callable[[str], None],
    ) -> None:
        self._waves = waves
        self._kept = kept
        self._plan = plan
        self._end = end
        self._say = say

    def blamed(self) -> list[tuple[str, NodeResult]]:
        """The failures, each with its step, for which the plan stands still now; asks the nodes."""
        ends: dict[str, list[NodeResult]] = {}
        for step in in_order(self._plan.steps):
            if gate(step, ends):
                return [(name, one) for name, _ in step.gates for one in ends[name] if one.failed]
            waves = self._kept.waves[step.name]
            ends[step.name] = []
            for number in range(1, len(waves) + 1):
                tracker = self._waves.tracker(self._kept, step, number)
                if tracker is None:
                    return []
                ends[step.name] += self._results(step, tracker, self._waves.reread(tracker))
                if stopped(step, ends[step.name], sum(map(len, waves))):
                    return [(step.name, one) for one in ends[step.name] if one.failed]
            if not all(one.state.closed for one in ends[step.name]):
                return []
        return []

    def _results(
        self, step: Step, tracker: RequestTracker, read: Mapping[str, NodeResult]
    ) -> list[NodeResult]:
        """How a wave stands, by the ledger and by what nodes said since; failures may be accepted."""
        accepted = self._kept.accepts(step.name)
        found = [_newest(one, read) for one in results_of(tracker)]
        return [
            replace(one, state=State.OK) if one.failed and one.sender in accepted else one
            for one in found
        ]

    def go(self) -> tuple[str, str]:
        """Go as far as it goes: the plan's state and why."""
        ends: dict[str, list[NodeResult]] = {}
        for step in in_order(self._plan.steps):
            waves = self._kept.waves[step.name]
            total = sum(map(len, waves))
            if reason := gate(step, ends):
                return STOPPED, reason
            ends[step.name] = []
            for number, names in enumerate(waves, 1):
                before = ends[step.name]
                results = self._wave(step, number, names, before, total)
                if results is None:
                    return OPEN, ""
                ends[step.name] = [*before, *results]
                if reason := stopped(step, ends[step.name], total):
                    return STOPPED, reason
        return OK, ""

    def _wave(
        self,
        step: Step,
        number: int,
        names: Sequence[str],
        before: Sequence[NodeResult],
        total: int,
    ) -> list[NodeResult] | None:
        """Have a wave done, or see what became of it; None when the time is over."""
        tracker = self._waves.tracker(self._kept, step, number)
        read: dict[str, NodeResult] = {}
        if tracker is None:
            interrupts.check()
            unheard = self._kept.unheard.get(step.name, ()) if number == 1 else ()
            asked = len(names) - len(unheard)
            self._say(f"{step.name}, wave {number}: {step.agent}.{step.action} on {asked}")
            nonce = wave_nonce(self._kept.id, self._kept.revision, step.name, number)
            tracker = self._waves.send(nonce, self._plan, step, names, unheard)
        else:
            read = self._waves.reread(tracker)
        look = time.monotonic() + _AGAIN
        while True:
            revision = tracker.revision
            results = self._results(step, tracker, read)
            closed = all(one.state.closed for one in results)
            if closed or stopped(step, [*before, *results], total):
                return results
            now = time.monotonic()
            if self._end is not None and now > self._end:
                return None
            if now >= look:
                read |= self._waves.reread(tracker)
                look = time.monotonic() + _AGAIN
            else:
                until = look if self._end is None else min(look, self._end + 0.01)
                tracker.wait_news(revision, max(0.01, min(1.0, until - now)))


def results_of(tracker: RequestTracker) -> list[NodeResult]:
    """How the targets of a wave stand, by the ledger."""
    return [
        NodeResult(one.sender, one.state, one.reply.statusmsg if one.reply else one.reason)
        for one in tracker.entries()
        if not one.unexpected
    ]


def _newest(result: NodeResult, read: Mapping[str, NodeResult]) -> NodeResult:
    """What the node said when it was asked, where the ledger has no last reply of it."""
    return result if result.state.final else read.get(result.sender, result)
