"""The course of one interactive request: batch by batch, until nothing more is to be waited for.

A call ends when every target has a final word, or at the timeout; sooner for the absent. Once it
has been quiet, those of whom there was no word are probed: who does not answer within `probe`
seconds is silent; who is busy with the request is waited for (DESIGN §5).
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

    from mcshell.client.discovery.targeting import Ask
    from mcshell.client.messaging.queries import Prober
    from mcshell.client.messaging.sender import Courier
    from mcshell.client.messaging.tracker import Flight
    from mcshell.client.store.ledger import Ledger
    from mcshell.client.store.store import Store
    from mcshell.message import Reply

__all__ = ["Course", "Pilot"]

_QUIET = 0.5
_BUSY = {"received": State.RECEIVED, "running": State.RUNNING}
_ALIVE = "alive"  # is there, but cannot say what became of the request: it is waited for


@dataclass(frozen=True, slots=True)
class Course:
    """What a pilot needs to know: the inputs as they are, and the times in seconds."""

    ask: Ask
    data: Mapping[str, Any]
    ttl: float
    timeout: float
    probe: float


class Pilot:
    """Flies one `Flight`: in the caller's thread, or in one of its own for the background."""

    def __init__(self, flight: Flight, courier: Courier, prober: Prober, store: Store) -> None:
        self._flight = flight
        self._courier = courier
        self._prober = prober
        self._store = store
        self._stop = threading.Event()

    def stop(self) -> None:
        """Send nothing more; what is on its way still comes back."""
        self._stop.set()

    def fly(self, course: Course) -> None:
        """Send all batches and wait for them; the flight is finished whatever happens."""
        flight = self._flight
        try:
            self._fly(course)
        except KeyboardInterrupt:
            flight.interrupted = True
            raise
        finally:
            self._keep_judgements()
            flight.finish()

    def _fly(self, course: Course) -> None:
        flight, ask = self._flight, course.ask
        names = [entry.sender for entry in flight.entries()]
        allowed = None
        if ask.max_failures is not None:
            allowed = share(ask.max_failures, len(names), "--max-failures")
        waiting = list(batches(names, ask))
        canary = ask.canary is not None
        while waiting:
            batch = waiting.pop(0)
            before = flight.wait_count()
            request = self._courier.request(flight.record, course.data, course.ttl)
            self._courier.send(request, batch, flight)
            self._await(course, batch, before)
            left = [name for some in waiting for name in some]
            if left and (why := self._halt(batch if canary else [], allowed)):
                flight.note(left, f"not sent: {why}")
                return
            canary = False
            if left and self._stop.wait(ask.batch_sleep):
                flight.note(left, "not sent: stopped")
                return

    def _halt(self, canary: list[str], allowed: int | None) -> str:
        """Why nothing more is to be sent: a canary that is not ok, or too many failures; else ""."""
        states = {entry.sender: entry.state for entry in self._flight.entries()}
        dead = [name for name in canary if states[name] is not State.OK]
        if dead:
            return f"the canary {dead[0]} is {states[dead[0]]}"
        bad = (State.FAILED, State.DENIED, State.INTERRUPTED, State.SILENT)
        failures = sum(state in bad for state in states.values())
        return f"stopped after {failures} failures" if allowed and failures >= allowed else ""

    def _await(self, course: Course, batch: list[str], before: int) -> None:
        """Wait for one batch: to its end, to the probe's verdict or to the timeout."""
        flight = self._flight
        deadline = time.monotonic() + course.timeout

        def done(ledger: Ledger) -> bool:
            return ledger.outstanding <= before or self._stop.is_set()

        while (left := min(self._quiet_since() + _QUIET, deadline) - time.monotonic()) > 0:
            if flight.wait(done, left):
                return
        pending = flight.pending(batch)
        if pending and time.monotonic() < deadline:
            self._probe(course, pending, deadline, done)
        if not flight.wait(done, deadline - time.monotonic()):
            flight.judge(batch, f"no answer within {course.timeout:g} s")

    def _quiet_since(self) -> float:
        """Since when (monotonic) it is quiet; words still being worked off are not silence."""
        return max(self._flight.last_word, self._prober.quiet_since())

    def _probe(
        self, course: Course, pending: list[str], deadline: float, done: Callable[[Ledger], bool]
    ) -> None:
        """Ask the absent whether they are there, and judge by what they say.

        The verdict falls when it has been quiet for `probe` seconds: as long as anything still
        comes in, the network is slow, not silent.
        """
        flight = self._flight
        question, answers = self._prober.probe(
            flight.record.collective, pending, flight.record.id, flight.ring
        )
        asked = time.monotonic()
        heard: set[str] = set()
        try:
            while (end := max(asked, self._quiet_since()) + course.probe) > time.monotonic():
                revision = flight.revision
                for name, (reply, _at) in answers.snapshot().items():
                    if name not in heard:
                        heard.add(name)
                        self._believe(name, reply)
                if flight.wait(done, 0) or time.monotonic() > deadline:
                    return
                flight.wait_news(revision, min(end, deadline) - time.monotonic())
        finally:
            self._prober.forget(question)
        silent = [name for name in pending if name not in heard]
        flight.judge(silent, f"no word, and no answer to a probe within {course.probe:g} s")
        unsure = {name for name in heard if _word(answers.snapshot()[name][0]) == _ALIVE}
        flight.judge(heard - unsure, "answered the probe, but its reply is lost")

    def _believe(self, name: str, reply: Reply) -> None:
        """Enter what a node says of the request: busy with it, or it never came there."""
        word = _word(reply)
        if word in _BUSY:
            self._flight.excuse(name, _BUSY[word], "said so when probed")
        elif word == "unknown":
            self._flight.judge([name], "is there, but the request did not reach it")
        elif word == "passed":
            self._flight.judge([name], "is there, but the filter did not match it")
        elif word == "refused":
            self._flight.judge([name], f"is there, but refused: {reply.data.get('reason', '')}")

    def _keep_judgements(self) -> None:
        """Put what was decided without a word into the file, beside the words."""
        decided: dict[State, list[tuple[str, str]]] = {}
        for entry in self._flight.entries():
            if entry.reason:
                decided.setdefault(entry.state, []).append((entry.sender, entry.reason))
        for state, verdicts in decided.items():
            self._store.judge(self._flight.record.id, verdicts, state)


def _word(reply: Reply) -> str:
    """What an answer to a probe says of the request."""
    return str(reply.data.get("state", ""))
