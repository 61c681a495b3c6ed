"""The CA's service: it listens to machines that ask for certificates, and answers them.

It alone has the CA's key, and does nothing else. What comes is taken in groups, so that fifty machines
at once cost the broker one change of its rights. Whoever is signed hears of it only when the broker
knows it: the first thing that it does is to connect.
"""

from __future__ import annotations

import logging
import time
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from mcshell.errors import ConnectError, MCShellError, Rejected
from mcshell.wire import destinations
from mcshell.wire.documents.enrolment import (
    MAX_REQUEST_FILE,
    EnrolmentAnswer,
    EnrolmentMessage,
    open_request,
)
from mcshell.wire.stomp.transport import TaggedInbox, until_confirmed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from mcshell.enrolment.service import EnrolmentService
    from mcshell.wire.documents.enrolment import EnrolmentRequest
    from mcshell.wire.stomp.connector import Connector
    from mcshell.wire.stomp.transport import Delivery

__all__ = ["BrokerRights", "EnrolmentServer"]

log = logging.getLogger(__name__)

_GROUP: Final = 200
_WAITING: Final = 2000
"""Requests that wait for a turn, of 26 KB at most."""
_GATHER: Final = 0.2
"""Seconds: who asks within them is answered together."""
_LOOK: Final = 1.0
_TURN: Final = 5.0
"""Seconds that deciding about a group may take before those who are decided about are told."""
_REPORT: Final = 60.0
_CANNOT: Final = "the CA cannot sign now: its log says why"
_NOT_YET: Final = "it is signed, but the broker does not know it yet"


class BrokerRights(Protocol):
    """What makes a broker know who has a certificate."""

    def bring_up_to_date(self) -> None:
        """Have the broker know everybody; raises MCShellError or OSError where it cannot be."""

    def in_force(self) -> set[str]:
        """Whom it knows now, as KIND:NAME."""


class _Answered(NamedTuple):
    """A request, and what it is answered."""

    collective: str
    message: EnrolmentMessage
    request: EnrolmentRequest
    answer: EnrolmentAnswer
    sealed: EnrolmentMessage

    @property
    def who(self) -> str:
        """Its KIND:NAME."""
        return f"{self.request.kind}:{self.request.name}"


class EnrolmentServer:
    """Answers until `stop`; one thread does everything.

    Args:
        service: decides, and signs.
        transport: the CA's own connection to the listener.
        collectives: whose machines ask.
        rights: makes the broker know who is new; None where it takes every certificate of the CA.
        alive: told once a turn, which lasts seconds, whatever `decide` and the broker take.
    """

    def __init__(
        self,
        service: EnrolmentService,
        transport: Connector,
        collectives: Sequence[str],
        rights: BrokerRights | None = None,
        alive: Callable[[], None] = lambda: None,
    ) -> None:
        self._service = service
        self._transport = transport
        self._collectives = tuple(collectives)
        self._rights = rights
        self._alive = alive
        self._inbox: SimpleQueue[tuple[str, Delivery] | None] = SimpleQueue()
        self._left: dict[bytes, tuple[str, EnrolmentMessage]] = {}
        """Who came in an earlier turn, and is not answered yet."""
        self._stopping = False
        self.dropped = 0
        self._refused = 0
        self._why = ""
        self._reported = self._complained = -_REPORT

    def stop(self) -> None:
        """End `serve`; may be called from a signal handler."""
        self._stopping = True
        self._inbox.put(None)
        self._transport.give_up()

    def serve(self, ready: Callable[[], None]) -> None:
        """Connect, however long it takes, call `ready`, and answer."""
        try:
            self._transport.start(timeout=None)
            for collective in self._collectives:
                self._listen(collective)
            if not self._stopping:
                ready()
            while not self._stopping:
                self._alive()
                self._turn()
        except ConnectError:
            if not self._stopping:
                raise
        finally:
            self._transport.close()

    def _listen(self, collective: str) -> None:
        topic = destinations.enrolment(collective)
        inbox = TaggedInbox(self._take, collective)
        until_confirmed(
            lambda: self._transport.subscribe(topic, inbox, ack="auto"), lambda: self._stopping
        )

    def _take(self, heard: tuple[str, Delivery]) -> None:
        """Keep what came for the next turn, unless a flood has filled the room: a machine asks again."""
        if self._inbox.qsize() < _WAITING and len(heard[1].body) <= MAX_REQUEST_FILE:
            self._inbox.put(heard)
        else:
            self.dropped += 1

    def _turn(self) -> None:
        """Answer what came since the last turn."""
        group = self._group()
        try:
            self._service.refresh()
        except (MCShellError, OSError) as error:
            self._complain(error)
        answers = self._answers(group)
        known = self._known([one for one in answers if one.answer.state == "signed"])
        for one in answers:
            self._say(one, known)
        self._report()

    def _answers(self, group: Mapping[bytes, tuple[str, EnrolmentMessage]]) -> list[_Answered]:
        """The answers that can be believed; a program that is slow to decide leaves some for later."""
        until = time.monotonic() + _TURN
        answers = []
        for body, heard in group.items():
            if self._stopping or time.monotonic() > until:
                self._left[body] = heard
            elif (one := self._answer(*heard)) is not None:
                answers.append(one)
        return answers

    def _answer(self, collective: str, message: EnrolmentMessage) -> _Answered | None:
        """The answer, where it can be believed."""
        try:
            request = open_request(message)
            answer, sealed = self._service.answer(message, request)
        except Rejected as why:
            self._count(why)
            return None
        except (MCShellError, OSError) as error:
            self._complain(error)
            answer = EnrolmentAnswer(request=message.digest, state="waiting", reason=_CANNOT)
            sealed = self._service.postponed(message, request, _CANNOT)
        if answer.state == "refused" and not sealed.mac and request.renews is None:
            return None
        return _Answered(collective, message, request, answer, sealed)

    def _group(self) -> dict[bytes, tuple[str, EnrolmentMessage]]:
        """What was left in the last turn, and has come since, each request once."""
        found, self._left = self._left, {}
        until = time.monotonic() + (_GATHER if found else _LOOK)
        while len(found) < _GROUP and (left := until - time.monotonic()) > 0:
            try:
                item = self._inbox.get(timeout=left)
            except Empty:
                break
            if item is None:
                break
            collective, delivery = item
            if not found:
                until = time.monotonic() + _GATHER
            try:
                message = EnrolmentMessage.load(delivery.body)
            except Rejected as why:
                self._count(why)
                continue
            found[delivery.body] = (collective, message)
        return found

    def _known(self, signed: Sequence[_Answered]) -> set[str]:
        """Whom the broker knows once it was told of these; all of them where it takes everybody."""
        if self._rights is None:
            return {one.who for one in signed}
        if not signed:
            return set()
        try:
            self._rights.bring_up_to_date()
        except (MCShellError, OSError) as error:
            log.error("the broker does not know who is new: %s", error)  # noqa: TRY400 - said in full
        return self._rights.in_force()

    def _say(self, one: _Answered, known: set[str]) -> None:
        sealed = one.sealed
        if one.answer.state == "signed" and one.who not in known:
            sealed = self._service.postponed(one.message, one.request, _NOT_YET)
        log.info(
            "%s, %s: %s %s", one.who, one.message.digest[:12], one.answer.state, one.answer.reason
        )
        try:
            self._transport.send(destinations.enrolled(one.collective), sealed.dump())
        except MCShellError as error:
            log.warning("an answer is lost, and will be asked for again: %s", error)

    def _complain(self, error: MCShellError | OSError) -> None:
        """Say so once a minute at most."""
        now = time.monotonic()
        if now - self._complained > _REPORT:
            log.error("the CA cannot sign now: %s", error)
            self._complained = now

    def _count(self, why: Rejected) -> None:
        self._refused += 1
        self._why = str(why)

    def _report(self) -> None:
        """Say how many were no requests, once a minute at most: anybody can send them."""
        now = time.monotonic()
        if now - self._reported <= _REPORT or not (self._refused or self.dropped):
            return
        if self._refused:
            log.warning("%d that were no requests; the last: %s", self._refused, self._why)
        if self.dropped:
            log.warning("%d were too large, or there was no room for them", self.dropped)
        self._refused, self.dropped, self._reported = 0, 0, now
