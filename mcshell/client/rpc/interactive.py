"""The course of one interactive request: batch by batch, until nothing more is to be waited for.

A call ends when every target has a final reply, or at the timeout; sooner for the absent. Once it
has been quiet, those of whom there was no reply are probed: who does not answer within `probe`
seconds is silent; who is busy with the request is waited for (mcshell/README.md §5).
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mcshell.client.discovery.targeting import batches, share
from mcshell.message import State

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mcshell.client.discovery.targeting import RequestOptions
    from mcshell.client.messaging.hub import SessionHub
    from mcshell.client.messaging.tracker import RequestTracker
    from mcshell.client.store.ledger import Ledger
    from mcshell.message import Reply

__all__ = ["InteractiveRun", "RunSettings"]

_QUIET = 0.5
_BUSY = {"received": State.RECEIVED, "running": State.RUNNING}
_ALIVE = "alive"  # is there, but cannot say what became of the request: it is waited for


@dataclass(frozen=True, slots=True)
class RunSettings:
    """What a run needs to know: the inputs as they are, and the times in seconds."""

    ask: RequestOptions
    data: Mapping[str, Any]
    ttl: float
    timeout: float
    probe: float


class InteractiveRun:
    """Sends one request and waits for its replies: in the caller's thread, or one of its own."""

    def __init__(self, tracker: RequestTracker, hub: SessionHub) -> None:
        self._tracker = tracker
        self._hub = hub
        self._stop = threading.Event()

    def stop(self) -> None:
        """Send nothing more; what is on its way still comes back."""
        self._stop.set()

    def fly(self, run_settings: RunSettings) -> None:
        """Send all batches and wait for them; the tracker is finished whatever happens."""
        tracker = self._tracker
        try:
            self._fly(run_settings)
        except KeyboardInterrupt:
            tracker.interrupted = True
            raise
        finally:
            tracker.finish()

    def _fly(self, run_settings: RunSettings) -> None:
        tracker, ask = self._tracker, run_settings.ask
        names = [entry.sender for entry in tracker.entries()]
        allowed = None
        if ask.max_failures is not None:
            allowed = share(ask.max_failures, len(names), "--max-failures")
        waiting = list(batches(names, ask))
        canary = ask.canary is not None
        while waiting:
            batch = waiting.pop(0)
            before = tracker.wait_count()
            sender = self._hub.request_sender
            request = sender.request(tracker.record, run_settings.data, run_settings.ttl)
            sender.send(request, batch, tracker)
            self._await(run_settings, batch, before)
            left = [name for some in waiting for name in some]
            if left and (why := self._halt(batch if canary else [], allowed)):
                self._hub.judge(tracker, left, f"not sent: {why}", State.PENDING)
                return
            canary = False
            if left and self._stop.wait(ask.batch_sleep):
                self._hub.judge(tracker, left, "not sent: stopped", State.PENDING)
                return

    def _halt(self, canary: list[str], allowed: int | None) -> str:
        """Why nothing more is to be sent: a canary that is not ok, or too many failures; else ""."""
        states = {entry.sender: entry.state for entry in self._tracker.entries()}
        dead = [name for name in canary if states[name] is not State.OK]
        if dead:
            return f"the canary {dead[0]} is {states[dead[0]]}"
        bad = (State.FAILED, State.DENIED, State.INTERRUPTED, State.SILENT)
        failures = sum(state in bad for state in states.values())
        return f"stopped after {failures} failures" if allowed and failures >= allowed else ""

    def _await(self, run_settings: RunSettings, batch: list[str], before: int) -> None:
        """Wait for one batch: to its end, to the probe's verdict or to the timeout."""
        tracker = self._tracker
        deadline = time.monotonic() + run_settings.timeout

        def done(ledger: Ledger) -> bool:
            return ledger.outstanding <= before or self._stop.is_set()

        while (left := min(self._quiet_since() + _QUIET, deadline) - time.monotonic()) > 0:
            if tracker.wait(done, left):
                return
        pending = tracker.pending(batch)
        if pending and time.monotonic() < deadline:
            self._probe(run_settings, pending, deadline, done)
        if not tracker.wait(done, deadline - time.monotonic()):
            self._hub.judge(tracker, batch, f"no answer within {run_settings.timeout:g} s")

    def _quiet_since(self) -> float:
        """Since when (monotonic) it is quiet; replies still being worked off are not silence."""
        return max(self._tracker.last_word, self._hub.queries.quiet_since())

    def _probe(
        self,
        run_settings: RunSettings,
        pending: list[str],
        deadline: float,
        done: Callable[[Ledger], bool],
    ) -> None:
        """Ask the absent whether they are there, and judge by what they say.

        The verdict falls when it has been quiet for `probe` seconds: as long as anything still
        comes in, the network is slow, not silent.
        """
        tracker, queries = self._tracker, self._hub.queries
        question, answers = queries.probe(
            tracker.record.collective, pending, tracker.record.id, tracker.wake
        )
        asked = time.monotonic()
        heard: set[str] = set()
        try:
            while (end := max(asked, self._quiet_since()) + run_settings.probe) > time.monotonic():
                revision = tracker.revision
                new = {name: one for name, one in answers.snapshot().items() if name not in heard}
                heard.update(new)
                self._believe({name: reply for name, (reply, _at) in new.items()})
                if tracker.wait(done, 0) or time.monotonic() > deadline:
                    return
                tracker.wait_news(revision, min(end, deadline) - time.monotonic())
        finally:
            queries.forget(question)
        silent = [name for name in pending if name not in heard]
        why = f"no reply, and no answer to a probe within {run_settings.probe:g} s"
        self._hub.judge(tracker, silent, why)
        said = answers.snapshot()
        sure = [name for name in heard if said[name][0].data.get("state") != _ALIVE]
        self._hub.judge(tracker, sure, "answered the probe, but its reply is lost")

    def _believe(self, replies: Mapping[str, Reply]) -> None:
        """Enter what nodes say of the request: busy with it, or it never came there."""
        told: dict[tuple[State, str], list[str]] = {}
        for name, reply in replies.items():
            if (verdict := _verdict(reply)) is not None:
                told.setdefault(verdict, []).append(name)
        for (state, reason), names in told.items():
            self._hub.judge(self._tracker, names, reason, state)


def _verdict(reply: Reply) -> tuple[State, str] | None:
    """Where an answer to a probe says that its node stands with the request; None: it is awaited."""
    said = str(reply.data.get("state", ""))
    if said in _BUSY:
        return _BUSY[said], "said so when probed"
    there = {
        "unknown": "is there, but the request did not reach it",
        "passed": "is there, but the filter did not match it",
        "refused": f"is there, but refused: {reply.data.get('reason', '')}",
    }
    return (State.SILENT, there[said]) if said in there else None
