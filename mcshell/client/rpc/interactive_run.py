"""One interactive request under way: it is sent, and its replies are waited for.

The wait ends when every target has a final reply, or at the timeout; sooner for the absent. Once it
has been quiet, those of whom there was no reply are probed: who does not answer within `probe`
seconds is silent; who is busy with the request is waited for (§5).
"""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from mcshell.client.discovery.targeting import batches, share
from mcshell.client.store.ledger import FOUND_LATE, UNSENT
from mcshell.errors import UsageError, WireError
from mcshell.message import State, Via
from mcshell.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mcshell.client.discovery.targeting import RequestOptions
    from mcshell.client.messaging.hub import SessionHub
    from mcshell.client.messaging.tracker import RequestTracker
    from mcshell.client.rpc.schemas import Part
    from mcshell.client.store.ledger import Ledger
    from mcshell.message import Reply

__all__ = ["NEWS", "NO_LONGER", "BackgroundRequests", "InteractiveRun", "RunSettings"]

log = logging.getLogger(__name__)

_QUIET = 0.5
_PER_MISSING = 0.0002
"""Seconds of quiet more for each: the more they are, the likelier is it that they are only slow."""
_LINGER = 0.02
NO_LONGER = "no longer matches"
NEWS = (FOUND_LATE, NO_LONGER)
"""Reasons that say that a node is not what it was known to be."""
_BUSY = {"received": State.RECEIVED, "running": State.RUNNING}
_ALIVE = "alive"  # is there, but cannot say what became of the request: it is waited for


@dataclass(frozen=True, slots=True)
class RunSettings:
    """What a run needs to know: who is asked with which inputs, and the times in seconds."""

    ask: RequestOptions
    parts: tuple[Part, ...]
    ttl: float
    timeout: float
    probe: float


class BackgroundRequests:
    """The requests of a client for which nobody waits in the thread that has asked."""

    def __init__(self) -> None:
        self._running: list[tuple[InteractiveRun, threading.Thread]] = []

    def start(self, run: InteractiveRun, work: Callable[[], None]) -> None:
        """Have it done in a thread of its own."""
        thread = threading.Thread(target=work, name="mcshell-request", daemon=True)
        thread.start()
        self._running = [one for one in self._running if one[1].is_alive()]
        self._running.append((run, thread))

    def stop(self) -> None:
        """End them: nothing is waited for any more."""
        for run, thread in self._running:
            run.stop()
            thread.join(timeout=5)


class InteractiveRun:
    """Sends one request and waits for its replies: in the caller's thread, or one of its own."""

    def __init__(self, tracker: RequestTracker, hub: SessionHub) -> None:
        self._tracker = tracker
        self._hub = hub
        self._stop = False

    def stop(self) -> None:
        """Send nothing more; what is on its way still comes back."""
        self._stop = True
        self._tracker.wake()

    def run(self, run_settings: RunSettings) -> None:
        """Send all batches and wait for them; the tracker is finished whatever happens.

        Raises:
            WireError, UsageError: a batch could not be sent; the ledger says so of each target.
        """
        tracker = self._tracker
        try:
            self._run(run_settings)
        except KeyboardInterrupt:
            tracker.interrupted = True
            raise
        finally:
            if tracker.interrupted:
                self._leave()
            tracker.finish()

    def _leave(self) -> None:
        """Judge those of whom nothing was heard: nobody waits for them any more."""
        tracker = self._tracker
        unsent = [entry.sender for entry in tracker.entries() if entry.sent is None]
        self._hub.judge(tracker, unsent, f"{UNSENT}stopped")
        others = [entry.sender for entry in tracker.entries() if entry.sent is not None]
        self._hub.judge(tracker, others, f"stopped waiting after {tracker.elapsed:.1f} s")

    def _run(self, run_settings: RunSettings) -> None:
        tracker, ask = self._tracker, run_settings.ask
        names = [entry.sender for entry in tracker.entries() if entry.state is State.PENDING]
        allowed = None
        if ask.max_failures is not None:
            allowed = share(ask.max_failures, len(names), "--max-failures")
        waiting = list(batches(names, ask))
        canary = ask.canary is not None
        while waiting:
            batch = waiting.pop(0)
            before = tracker.outstanding()
            left = [name for some in waiting for name in some]
            self._send(run_settings, batch, left)
            self._await(run_settings, batch, before)
            if left and (why := self._halt(names, batch if canary else [], allowed)):
                self._hub.judge(tracker, left, f"{UNSENT}{why}", State.PENDING)
                return
            canary = False
            if left and tracker.wait(lambda _ledger: self._stop, ask.batch_sleep):
                self._hub.judge(tracker, left, f"{UNSENT}stopped")
                return

    def _send(self, run_settings: RunSettings, batch: list[str], left: list[str]) -> None:
        """Send to one batch; where that breaks off, say of it and of those `left` where they stand.

        Raises:
            WireError: it broke off; some of the batch may have been sent to.
            UsageError: it is larger than nodes take.
        """
        sender = self._hub.request_sender
        try:
            for part in run_settings.parts:
                whose = frozenset(part.names)
                names = [name for name in batch if name in whose]
                request = sender.request(self._tracker.record, part.data, run_settings.ttl)
                if part.old and len(run_settings.parts) > 1:
                    request = replace(request, via=Via.DIRECT)
                if names:
                    sender.send(request, names, self._tracker)
        except WireError as failure:
            self._hub.judge(self._tracker, batch, f"sending it broke off: {failure}")
            self._hub.judge(self._tracker, left, f"{UNSENT}{failure}", State.PENDING)
            raise
        except UsageError as refusal:
            self._hub.judge(self._tracker, [*batch, *left], f"{UNSENT}{refusal}", State.PENDING)
            raise

    def _halt(self, asked: list[str], canary: list[str], allowed: int | None) -> str:
        """Why nothing more is to be sent: a canary that is not ok, or too many failures; else ""."""
        every = {entry.sender: entry.state for entry in self._tracker.entries()}
        states = {name: every[name] for name in asked}
        dead = [name for name in canary if states[name] is not State.OK]
        if dead:
            return f"the canary {dead[0]} is {states[dead[0]]}"
        bad = (State.FAILED, State.DENIED, State.INTERRUPTED, State.SILENT)
        failures = sum(state in bad for state in states.values())
        return f"stopped after {failures} failures" if allowed and failures >= allowed else ""

    def _await(self, run_settings: RunSettings, batch: list[str], before: frozenset[str]) -> None:
        """Wait for one batch, and for those who are found late, to the timeout at most.

        `before`: who is still at it of the batches before; what they say ends no wait for this one.
        """
        deadline = time.monotonic() + run_settings.timeout

        def done(ledger: Ledger) -> bool:
            left = ledger.outstanding - len(ledger.outstanding_among(before))
            return left <= 0 or self._stop

        self._await_targets(run_settings, batch, deadline, done)
        tracker = self._tracker
        if not tracker.record.grows:
            return
        # Those who were no targets answer at the same moment as those who were.
        while (end := min(self._quiet_since() + _LINGER, deadline)) > time.monotonic():
            if tracker.wait(lambda _ledger: self._stop, end - time.monotonic()):
                return
        tracker.wait(done, deadline - time.monotonic())

    def _await_targets(
        self,
        run_settings: RunSettings,
        batch: list[str],
        deadline: float,
        done: Callable[[Ledger], bool],
    ) -> None:
        """Wait for the targets: to their end, to the probe's verdict or to the timeout."""
        tracker = self._tracker
        while (left := min(self._probed_at(), deadline) - time.monotonic()) > 0:
            if tracker.wait(done, left):
                return
        pending = tracker.pending(batch)
        if pending and time.monotonic() < deadline and not self._stop:
            self._probe(run_settings, pending, deadline, done)
        if not tracker.wait(done, deadline - time.monotonic()):
            self._hub.judge(tracker, batch, f"no answer within {run_settings.timeout:g} s")

    def _probed_at(self) -> float:
        """When (monotonic) the missing are probed, if nothing comes before."""
        missing = self._tracker.wait_count()
        return self._quiet_since() + _QUIET + missing * _PER_MISSING

    def _quiet_since(self) -> float:
        """Since when (monotonic) it is quiet; replies still being worked off are not silence."""
        return max(self._tracker.last_reply, self._hub.queries.quiet_since())

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
        try:
            question, answers = queries.probe(
                tracker.record.collective, pending, tracker.record.id, tracker.wake
            )
        except WireError as failure:
            log.warning("not probed, waiting for the timeout: %s", failure)
            return
        asked = time.monotonic()
        heard: set[str] = set()
        try:
            while (end := max(asked, self._quiet_since()) + run_settings.probe) > time.monotonic():
                revision = tracker.revision
                new = {name: one for name, one in answers.snapshot().items() if name not in heard}
                heard.update(new)
                self._believe({name: reply for name, (reply, _at) in new.items()})
                if tracker.wait(done, 0) or time.monotonic() >= deadline:
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
    if reply.statuscode:
        return State.SILENT, f"is there, but takes no question: {reply.statusmsg}"
    said = str(reply.data.get("state", ""))
    if said in _BUSY:
        return _BUSY[said], "said so when probed"
    there = {
        "unknown": "is there, but the request did not reach it",
        "passed": NO_LONGER,
        "refused": f"is there, but refused: {reply.data.get('reason', '')}",
    }
    return (State.SILENT, there[said]) if said in there else None
