"""Who is there: the answers to our own small questions, which no session keeps.

The built-in agent `discovery` answers them on every node to every operator: `ping` to all that
match a filter, `probe` to one node about one request, `crl` to bring it a revocation list. So are the
chunks of a file asked for and sent (`ask_each`), which would fill a session.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from mcshell.client.store.records import RequestRecord
from mcshell.filters.nodes import fold, parts
from mcshell.interrupts import InterruptibleCondition
from mcshell.message import Filter, Via, new_request_id
from mcshell.wire.documents.fields import MAX_TERMS

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Mapping, Sequence
    from typing import Any

    from mcshell.client.messaging.receiver import Receiver
    from mcshell.client.messaging.sender import RequestSender
    from mcshell.client.store.records import ReplyRecord
    from mcshell.message import Reply

__all__ = ["AnySender", "NodeQueries", "QueryAnswers"]

_TTL = 60.0
_FEW = 50
"""Of those who are awaited: so many may be down, and hold nobody up."""
_BUSY = 10.0


class AnySender:
    """The set of all senders, for questions to whoever matches: anyone may answer."""

    def __contains__(self, name: object) -> bool:
        """Always true."""
        return True


class QueryAnswers:
    """The final replies about one question, by sender, as they come in.

    `awaited` are those whose answers make it complete; without any it never is. Where only
    `signed` ones count for that, it goes on being silent for a while after others. `quiet_since`
    says since when (monotonic) nothing has come in: now, while something waits to be entered.
    With `passing` their data is handed on as it comes (`gather`, `conclude`), and not kept here.
    """

    def __init__(
        self,
        expected: Container[str],
        awaited: Iterable[str],
        wake: Callable[[], None] = lambda: None,
        *,
        signed: bool = False,
        passing: bool = False,
        quiet_since: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self._quiet_since = quiet_since
        self.expected = expected
        self._wake = wake
        self._signed = signed
        self._passing = passing
        self._passed: list[tuple[Reply, float]] = []
        self._tail: Callable[[Iterable[tuple[Reply, float]]], None] | None = None
        self._awaited = set(awaited)
        # A tenth of a fleet does not fall silent at one blow: what does is a busy machine.
        self._few = max(_FEW, len(self._awaited) // 10)
        self._complete = False
        self.began = time.time()
        self._replies: dict[str, tuple[Reply, float]] = {}
        self._machines: dict[str, set[str]] = {}
        self._wakeup = InterruptibleCondition()
        self._latest = time.monotonic()
        self._longest = 0.0
        """The longest pause between two answers so far, or before the first; in seconds."""

    def add(self, replies: Iterable[ReplyRecord]) -> None:
        """Take replies; the first final one of each sender counts."""
        with self._wakeup:
            if self._tail is not None:
                self._tail([(received.reply, received.kept) for received in replies])
                return
            for received in replies:
                if received.reply.final:
                    self._keep(received)
            now = time.monotonic()
            self._longest = max(self._longest, now - self._latest)
            self._latest = now
            self._wakeup.notify_all()
        self._wake()

    def _keep(self, received: ReplyRecord) -> None:
        """The first reply of a sender counts; a signed one comes before one that is not."""
        sender, signed = received.reply.sender, received.reply.trust == "mcs"
        self._machines.setdefault(sender, set()).add(received.reply.machine)
        before = self._replies.get(sender)
        if before is None or (signed and before[0].trust != "mcs"):
            reply = received.reply
            if self._passing:
                self._passed.append((reply, received.kept))
                reply = replace(reply, data={})
            self._replies[sender] = (reply, received.kept)
        if sender in self._awaited and (signed or not self._signed):
            self._awaited.discard(sender)
            self._complete = not self._awaited

    def snapshot(self) -> dict[str, tuple[Reply, float]]:
        """What has come so far, each with the time of its arrival (seconds since the epoch)."""
        with self._wakeup:
            return dict(self._replies)

    def machines(self) -> dict[str, list[str]]:
        """The machines that have answered under each name under which there are several."""
        with self._wakeup:
            several = {name: sorted(found - {""}) for name, found in self._machines.items()}
        return {name: found for name, found in several.items() if len(found) > 1}

    def gather(
        self,
        *,
        window: float,
        silence: float,
        linger: float,
        take: Callable[[Iterable[tuple[Reply, float]]], None] | None = None,
    ) -> None:
        """Wait until all that are awaited have answered, or it has been silent.

        Without any answer the wait is `window` seconds; after the first it goes on for as long
        as the pauses stay below `silence` seconds, or below `linger` once it is complete: who
        was not awaited may be among those who answer at the same moment. Where the pauses are
        long, as on a busy machine, it is given more: twice the longest, or once that for `linger`; and
        while a tenth of those who are awaited are missing, and more than a few, all of `window`.
        `take` is given what is `passing`, in the thread that waits.
        """
        closes = time.monotonic() + window
        with self._wakeup:
            while True:
                if take is not None and self._passed:
                    self._hand_on(take)
                    continue
                pause = linger
                if self._replies:
                    closes = self._latest
                    longest = self._longest
                    pause = max(linger, longest) if self._complete else max(silence, 2 * longest)
                    if len(self._awaited) > self._few:
                        pause = max(pause, window)
                # What waits to be entered may be an answer; who floods us with others is not
                # waited for.
                busy = min(self._quiet_since(), self._latest + _BUSY)
                left = max(closes, busy) + pause - time.monotonic()
                if left <= 0:
                    return
                self._wakeup.wait(left)

    def _hand_on(self, take: Callable[[Iterable[tuple[Reply, float]]], None]) -> None:
        """Give what has come and is not handed on; others may come in meanwhile."""
        passed, self._passed = self._passed, []
        self._wakeup.release()
        try:
            take(passed)
        finally:
            self._wakeup.acquire()

    def wait(self, timeout: float) -> dict[str, tuple[Reply, float]]:
        """Wait (seconds) until all that are awaited have answered; what has come until then."""
        end = time.monotonic() + timeout
        with self._wakeup:
            while not self._complete and (left := end - time.monotonic()) > 0:
                self._wakeup.wait(left)
            return dict(self._replies)

    def conclude(
        self, tail: Callable[[Iterable[tuple[Reply, float]]], None]
    ) -> dict[str, tuple[Reply, float]]:
        """Return what has come; whatever comes later goes to `tail`, in the receiver's thread.

        So does what is `passing` and was not taken.
        """
        with self._wakeup:
            self._tail = tail
            if self._passed:
                self._hand_on(tail)
            replies, self._replies = self._replies, {}
            return replies


class NodeQueries:
    """Asks `discovery` questions for one session."""

    def __init__(self, request_sender: RequestSender, receiver: Receiver) -> None:
        self._request_sender = request_sender
        self._receiver = receiver
        #: Answers that were not believed.
        self.refused = receiver.refused

    def ping(
        self, collective: str, filter_: Filter, awaited: Iterable[str]
    ) -> tuple[str, QueryAnswers]:
        """Ask all that match; returns the question's id, for `forget`, and its answers."""
        answers = QueryAnswers(AnySender(), awaited, passing=True, quiet_since=self.quiet_since)
        return self._ask("ping", collective, {}, None, filter_, answers), answers

    def ping_each(self, collective: str, names: Sequence[str]) -> tuple[str, QueryAnswers]:
        """Ask each of `names` what it is; returns as `ping` does."""
        answers = QueryAnswers(frozenset(names), names, passing=True, quiet_since=self.quiet_since)
        return self._ask("ping", collective, {}, names, Filter(), answers), answers

    def ping_named(self, collective: str, names: Sequence[str]) -> tuple[str, QueryAnswers]:
        """Ask these nodes what they are, by one question to all if that can name them; returns as `ping` does."""
        entries = tuple(parts(fold(names)))
        if len(entries) > MAX_TERMS:
            return self.ping_each(collective, names)
        answers = QueryAnswers(frozenset(names), names, passing=True, quiet_since=self.quiet_since)
        filter_ = Filter(identity=entries)
        return self._ask("ping", collective, {}, None, filter_, answers), answers

    def probe(
        self, collective: str, names: Sequence[str], requestid: str, wake: Callable[[], None]
    ) -> tuple[str, QueryAnswers]:
        """Ask each of `names` what it knows of a request; `wake` is called at each answer."""
        answers = QueryAnswers(frozenset(names), names, wake)
        data = {"requestid": requestid}
        return self._ask("probe", collective, data, names, Filter(), answers), answers

    def carry(self, collective: str, names: Sequence[str], crl: str) -> tuple[str, QueryAnswers]:
        """Bring each of `names` a revocation list (PEM)."""
        answers = QueryAnswers(frozenset(names), names)
        return self._ask("crl", collective, {"crl": crl}, names, Filter(), answers), answers

    def ask_each(
        self,
        collective: str,
        agent: str,
        action: str,
        data: Mapping[str, Any],
        names: Sequence[str],
    ) -> tuple[str, QueryAnswers]:
        """Ask an agent of each of `names`; policy, audit and schema are those of any request."""
        answers = QueryAnswers(frozenset(names), names)
        return self._ask(action, collective, data, names, Filter(), answers, agent=agent), answers

    def send_chunk(self, collective: str, body: bytes) -> None:
        """Send a raw chunk of a file to whoever listens; nobody answers. Raises ConnectionLost."""
        self._request_sender.send_raw(collective, body, _TTL)

    @property
    def registering(self) -> bool:
        """Whether all nodes there are say by themselves what they are, each time it changes."""
        return True

    def unsure(self, collective: str, since: float) -> bool:
        """Whether there are nodes, seen since then, of which nobody knows what they match."""
        del collective, since
        return False

    def recheck(
        self, collective: str, filter_: Filter, names: Sequence[str]
    ) -> tuple[dict[str, tuple[Reply, float]], set[str]]:
        """Ask the absent that do not say what they are; the answers of those that match, and who lives but does not.

        A node of our own wire says what it is, which is compared with the filter here (`ping_named`).
        """
        del collective, filter_, names
        return {}, set()

    def inquire(
        self,
        collective: str,
        pool: str,
        action: str,
        data: dict[str, str],
        members: Container[str],
    ) -> tuple[str, QueryAnswers]:
        """Ask one of the nodes that serve a pool; the agent is called as the pool is."""
        answers = QueryAnswers(members, ())
        return self._ask(action, collective, data, None, Filter(), answers, pool), answers

    def locate(self, collective: str, names: Sequence[str]) -> None:
        """Learn over which wire these nodes are, where there are several."""

    def describe(self, collective: str, names: Sequence[str]) -> None:
        """Learn what nodes have that do not say it by themselves."""

    def quiet_since(self) -> float:
        """Since when (monotonic) no reply about anything has come in."""
        return self._receiver.quiet_since()

    def forget(self, question: str) -> None:
        """Stop listening for the answers to a question."""
        self._receiver.unwatch(question)

    def _ask(
        self,
        action: str,
        collective: str,
        data: Mapping[str, Any],
        names: Sequence[str] | None,
        filter_: Filter,
        answers: QueryAnswers,
        pool: str | None = None,
        agent: str = "discovery",
    ) -> str:
        question, nonce = new_request_id(self._request_sender.caller)
        via = Via.BROADCAST if names is None else Via.DIRECT
        now = time.time()
        record = RequestRecord(
            id=question,
            nonce=nonce,
            agent=pool or agent,
            action=action,
            via=Via.POOL if pool else via,
            collective=collective,
            created=now,
            expires=now + _TTL,
            filter=filter_,
            data=dict(data),
            pool=pool,
        )
        self._receiver.watch(question, answers)
        try:
            request = self._request_sender.request(record, data, _TTL)
            self._request_sender.send(request, names or ())
        except BaseException:
            self.forget(question)
            raise
        return question
