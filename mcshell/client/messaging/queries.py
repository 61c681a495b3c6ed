"""Who is there: the answers to our own small questions, which no session keeps.

The built-in agent `discovery` answers them on every node to every operator: `ping` to all that
match a filter, `probe` to one node about one request, `crl` to bring it a revocation list.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from mcshell.client.store.records import Record
from mcshell.message import Filter, Via, new_request_id

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Sequence

    from mcshell.client.messaging.receiver import Receiver
    from mcshell.client.messaging.rejections import Refusal
    from mcshell.client.messaging.sender import Courier
    from mcshell.client.store.records import Word
    from mcshell.message import Reply

__all__ = ["Answers", "Everyone", "Prober"]

_TTL = 60.0


class Everyone:
    """The set of all senders: whoever answers a discovery was asked."""

    def __contains__(self, name: object) -> bool:
        """Always true."""
        return True


class Answers:
    """The final words about one question, by sender, as they come in.

    `awaited` are those whose answers make it complete; without any it never is. Where only
    `signed` ones count for that, it goes on being silent for a while after others.
    """

    kept = False

    def __init__(
        self,
        expected: Container[str],
        awaited: Iterable[str],
        ring: Callable[[], None] = lambda: None,
        *,
        signed: bool = False,
    ) -> None:
        self.expected = expected
        self._ring = ring
        self._signed = signed
        self._tail: Callable[[Iterable[tuple[Reply, float]]], None] | None = None
        self._awaited = set(awaited)
        self._complete = False
        self.began = time.time()
        self._replies: dict[str, tuple[Reply, float]] = {}
        self._bell = threading.Condition()
        self._latest = time.monotonic()

    def words(self, words: Iterable[Word]) -> None:
        """Take words; the first final one of each sender counts."""
        with self._bell:
            if self._tail is not None:
                self._tail([(word.reply, word.kept) for word in words])
                return
            for word in words:
                if word.reply.final:
                    self._take(word)
                    if word.reply.trust == "mcs" or not self._signed:
                        self._expect(word.reply.sender)
            self._latest = time.monotonic()
            self._bell.notify_all()
        self._ring()

    def _take(self, word: Word) -> None:
        """The first word of a sender counts; a signed one comes before one that is not."""
        sender, signed = word.reply.sender, word.reply.trust == "mcs"
        before = self._replies.get(sender)
        if before is None or (signed and before[0].trust != "mcs"):
            self._replies[sender] = (word.reply, word.kept)

    def _expect(self, sender: str) -> None:
        if sender in self._awaited:
            self._awaited.discard(sender)
            self._complete = not self._awaited

    def snapshot(self) -> dict[str, tuple[Reply, float]]:
        """What has come so far, each with the time of its arrival (seconds since the epoch)."""
        with self._bell:
            return dict(self._replies)

    def gather(self, *, window: float, silence: float, settle: float) -> None:
        """Wait until all that are awaited have answered, or it has been silent.

        Without any answer the wait is `window` seconds; after the first it goes on for as long
        as the pauses stay below `silence` seconds, or below `settle` once it is complete: who
        was not awaited may be among those who answer at the same moment.
        """
        deadline = time.monotonic() + window
        with self._bell:
            while True:
                if self._replies:
                    deadline = self._latest + (settle if self._complete else silence)
                left = deadline - time.monotonic()
                if left <= 0:
                    return
                self._bell.wait(left)

    def conclude(
        self, tail: Callable[[Iterable[tuple[Reply, float]]], None]
    ) -> dict[str, tuple[Reply, float]]:
        """Return what has come; whatever comes later goes to `tail`, in the receiver's thread."""
        with self._bell:
            self._tail = tail
            return dict(self._replies)


class Prober:
    """Asks `discovery` questions for one session."""

    def __init__(self, courier: Courier, receiver: Receiver) -> None:
        self._courier = courier
        self._receiver = receiver

    def ping(self, collective: str, filter_: Filter, awaited: Iterable[str]) -> tuple[str, Answers]:
        """Ask all that match; returns the question's id, for `forget`, and its answers."""
        answers = Answers(Everyone(), awaited)
        return self._ask("ping", collective, {}, None, filter_, answers), answers

    def probe(
        self, collective: str, names: Sequence[str], requestid: str, ring: Callable[[], None]
    ) -> tuple[str, Answers]:
        """Ask each of `names` what it knows of a request; `ring` is called at each answer."""
        answers = Answers(frozenset(names), names, ring)
        data = {"requestid": requestid}
        return self._ask("probe", collective, data, names, Filter(), answers), answers

    def carry(self, collective: str, names: Sequence[str], crl: str) -> tuple[str, Answers]:
        """Bring each of `names` a revocation list (PEM)."""
        answers = Answers(frozenset(names), names)
        return self._ask("crl", collective, {"crl": crl}, names, Filter(), answers), answers

    def unsure(self, collective: str, since: float) -> bool:
        """Whether there are nodes, seen since then, of which nobody knows what they match."""
        del collective, since
        return False

    def recheck(
        self, collective: str, filter_: Filter, names: Sequence[str]
    ) -> tuple[dict[str, tuple[Reply, float]], set[str]]:
        """Ask the absent once more; the answers of those that match, and who lives but does not.

        A node of our own wire says in each answer what it is, so that nobody need be asked.
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
    ) -> tuple[str, Answers]:
        """Ask one of the nodes that serve a pool; the agent is called as the pool is."""
        answers = Answers(members, ())
        question = new_request_id()
        now = time.time()
        record = Record(
            question, pool, action, Via.POOL, collective, now, now + _TTL, Filter(), {**data}, pool
        )
        self._send(record, data, (), answers)
        return question, answers

    def quiet_since(self) -> float:
        """Since when (monotonic) no word about anything has come in."""
        return self._receiver.quiet_since()

    def refused_since(self, at: float) -> dict[str, Refusal]:
        """Answers that were not believed since then (epoch), by the name on them."""
        return self._receiver.refused.since(at)

    def forget(self, question: str) -> None:
        """Stop listening for answers."""
        self._receiver.unwatch(question)

    def _ask(
        self,
        action: str,
        collective: str,
        data: dict[str, str],
        names: Sequence[str] | None,
        filter_: Filter,
        answers: Answers,
    ) -> str:
        question = new_request_id()
        via = Via.BROADCAST if names is None else Via.DIRECT
        now = time.time()
        record = Record(
            question, "discovery", action, via, collective, now, now + _TTL, filter_, dict(data)
        )
        self._send(record, data, names or (), answers)
        return question

    def _send(
        self, record: Record, data: dict[str, str], names: Sequence[str], answers: Answers
    ) -> None:
        self._receiver.watch(record.id, answers)
        try:
            self._courier.send(self._courier.request(record, data, _TTL), names)
        except BaseException:
            self.forget(record.id)
            raise
