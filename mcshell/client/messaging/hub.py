"""One session at work: its file, what goes out, what comes in, and whoever waits for it.

A process that does not hold the session's queue follows the file: it asks its own questions
through a scratch session, and takes the queue over when the holder is gone.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter, deque
from dataclasses import field
from typing import TYPE_CHECKING, Any, Protocol

from mcshell import interrupts
from mcshell.client.broker_clock import early_end
from mcshell.client.messaging.held import HeldReplies
from mcshell.client.messaging.others import OthersRequests
from mcshell.client.messaging.outbox import Outbox
from mcshell.client.messaging.queries import NodeQueries
from mcshell.client.messaging.receiver import Listeners, Receiver
from mcshell.client.messaging.reissue import reissue
from mcshell.client.messaging.sender import RequestSender
from mcshell.client.messaging.tracker import RequestTracker
from mcshell.client.session.session import Session
from mcshell.client.session.strays import gather_strays
from mcshell.client.session.takeover import Takeover
from mcshell.client.store.ledger import UNHEARD
from mcshell.client.store.records import NewRequest, ReplyRecord
from mcshell.errors import MachineError, WireError
from mcshell.message import State
from mcshell.values import dataclass
from mcshell.wire import destinations
from mcshell.wire.documents.envelope import BodyLimits

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Mapping, Sequence

    from mcshell.client.messaging.conversations import ConversationClient
    from mcshell.client.messaging.receiver import TaskListener
    from mcshell.client.messaging.rejections import Rejection
    from mcshell.client.store.records import JobDocument, RequestRecord
    from mcshell.config import Settings
    from mcshell.message import Request
    from mcshell.wire.credentials import Credentials
    from mcshell.wire.documents.signatures import Signer
    from mcshell.wire.stomp.transport import Transport

__all__ = ["SessionHub", "Submission"]

log = logging.getLogger(__name__)

_POLL = 0.05
_CONFIRM = 5.0  # seconds in which a broker says that it has taken what is sent
_NEWEST = 2  # ledgers that are kept in memory, though nobody has them


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """A durable request as it is handed in, once to each of `names`.

    `inputs` are those of single targets, in place of the request's. `discovered` is as a
    `RequestTracker` has it, `jobs` and `secret` as a `NewRequest`. `unheard` are rows that are sent to
    nobody: they were named, and nobody can tell whether they match.
    """

    record: RequestRecord
    request: Request
    names: Sequence[str]
    inputs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    jobs: Sequence[JobDocument] = ()
    discovered: bool = True
    secret: bool = False
    unheard: Sequence[str] = ()


class OtherWire(Protocol):
    """Makes what sends requests and questions over another wire beside ours (`mcollective.mixed`)."""

    def queries(self, sender: RequestSender, receiver: Receiver) -> NodeQueries:
        """Questions over both; `sender` puts those over ours."""

    def sender(
        self,
        transport: Transport,
        signer: Signer,
        session: Session,
        listeners: Listeners,
        queries: NodeQueries,
    ) -> RequestSender:
        """What sends requests over both; `queries` are those made here."""


class SessionHub:
    """What a client has of its session: what goes out, what comes in. `notices` are to be shown."""

    def __init__(
        self,
        transport: Transport,
        credentials: Credentials,
        settings: Settings,
        name: str | None,
        other: OtherWire | None = None,
    ) -> None:
        self._transport = transport
        self._credentials = credentials
        self._settings = settings
        self.notices: list[str] = []
        self._told_of_strays = False
        self.session = self._open(name)
        #: The session whose queues are ours: this one, or a scratch one while we follow.
        self._own = self.session if self.session.holds else self._open(None)
        signer = credentials.signer
        self._conversations: ConversationClient | None = None
        self._conversing = threading.Lock()
        self._listeners = Listeners()
        self._newest: deque[RequestTracker] = deque(maxlen=_NEWEST)
        self._others = OthersRequests(self.session.store, self._listeners.keeping)
        self._held = HeldReplies(
            self.session,
            credentials.verifier,
            settings.serves,
            self._listeners,
            self.notices.append,
        )
        self._receiver = self._new_receiver(self._own)
        self._second: Receiver | None = None
        self.takeover: Takeover | None = None
        self._follower: _SessionFollower | None = None
        questions = RequestSender(transport, signer, self._own, self._listeners)
        self.own_queries = NodeQueries(questions, self._receiver)
        """Questions over our own wire alone."""
        if other is None:
            self.queries = self.own_queries
            self.request_sender = RequestSender(transport, signer, self.session, self._listeners)
        else:
            self.queries = other.queries(questions, self._receiver)
            self.request_sender = other.sender(
                transport, signer, self.session, self._listeners, self.queries
            )
        self.outbox = Outbox(transport, self.session.store, self._listeners.trackers)
        if self.session.holds:
            try:
                self._take_up()
            except BaseException:
                self.close()
                raise

    def _take_up(self) -> None:
        """See to what an earlier process has left in the session."""
        self._gather()
        self.notices += reissue(self.session.store, self.request_sender)
        self.session.store.abandon(time.time())
        self.session.store.forget_secrets(time.time())

    def _open(self, name: str | None) -> Session:
        caller = self._credentials.signer.identity.callerid
        settings = self._settings
        main = settings.collective.main
        return Session.open(settings.state_dir, caller, main, name, self._saved)

    def _new_receiver(self, session: Session) -> Receiver:
        limits = BodyLimits(max_body=max(BodyLimits().max_body, self._settings.node.max_reply))
        return Receiver(
            self._transport,
            session.store,
            self._credentials.verifier,
            limits,
            self._settings.serves,
            lambda turn: self.conversations.put(turn),  # noqa: PLW0108 - made with the first
            self._listeners,
            lambda: session.named,
            self._strayed,
            self._held,
            self.notices.append,
        )

    def _gather(self) -> None:
        """Take what came to other sessions of this address on this machine, and was asked here."""
        folder, serves = self._settings.state_dir, self._settings.serves
        verifier = self._credentials.verifier
        if count := gather_strays(folder, self.session.store, verifier, serves):
            self.notices.append(f"session {self.session.name}: {count} replies came to another one")

    def _strayed(self, count: int) -> None:
        """Say, the first time, that replies came which were asked for elsewhere."""
        if not self._told_of_strays:
            self._told_of_strays = True
            self.notices.append(
                f"session {self.session.name}: {count} replies came that it did not ask for: they are "
                "kept for the session that did (session attach, session import)"
            )

    def start(self) -> None:
        """Listen to the queue, and send what an earlier process left unsent."""
        if self.session.holds and self.session.named:
            self._claim(self._receiver)
        self._listen(self._receiver, self._own, alone=self.session.holds)
        self.outbox.start()
        if self.session.holds:
            self._held.start(self.queries)
        if not self.session.holds:
            self.notices.append(
                f"session {self.session.name} is held by {self.session.holder}: following it"
            )
            self._follower = _SessionFollower(self)
            self._follower.start()

    def _listen(self, receiver: Receiver, session: Session, *, alone: bool) -> None:
        """Have a session's replies from each collective in which it asks."""
        receiver.start(session.queues(self._settings.collective.member), alone=alone)

    def _claim(self, receiver: Receiver) -> None:
        """Agree with the caller's other machines that this process has the session."""
        if self.takeover is not None:
            self.takeover.stop()  # of an attempt that failed
        self.takeover = Takeover(
            self._transport,
            self._credentials,
            self.session,
            let_go=receiver.let_go,
            tell=self.notices.append,
        )
        self.takeover.claim()

    def _saved(self) -> None:
        """The session has a name from now on: another machine may come to claim it."""
        if self.takeover is None:
            self._claim(self._receiver)

    def connected(self) -> None:
        """The connection is there again: the session may be another machine's by now."""
        self.outbox.wake()
        if self.takeover is not None:
            self.takeover.back()
        if self._conversations is not None:
            self._conversations.again()

    def stop(self) -> None:
        """End the threads that send, while there is still a connection."""
        with self._listeners.keeping:
            waiting = list(self._listeners.tasks)
        for tasks in waiting:
            tasks.abandon()
        if self._conversations is not None:
            self._conversations.stop("the client was closed")
        if self._follower is not None:
            self._follower.stop()
        if self.takeover is not None:
            self.takeover.stop()
        self._others.stop()
        self._held.stop()
        self.outbox.stop()

    def check_sending(self) -> None:
        """See whether the broker takes what we send; raises ReceiptTimeout or ConnectionLost."""
        self._transport.check_sending(self._own_topic, _CONFIRM)

    def early_end(self, lasts: float) -> str:
        """What says that the broker drops what is good for so long (seconds); raises WireError."""
        return early_end(self._transport, self._own_topic, lasts, _CONFIRM)

    @property
    def _own_topic(self) -> str:
        return destinations.session(self._settings.collective.main, self.request_sender.caller)

    def close(self) -> None:
        """Keep what has arrived, and free the session."""
        self._receiver.stop()
        if self._second is not None:
            self._second.stop()
        for tracker in list(self._listeners.trackers.values()):
            tracker.abandon()
        self.session.close()
        if self._own is not self.session:
            self._own.close()

    @property
    def conversations(self) -> ConversationClient:
        """All conversations, from the first turn on."""
        from mcshell.client.messaging.conversations import (  # noqa: PLC0415 - few clients hold one
            ConversationClient,
        )

        with self._conversing:
            if self._conversations is None:
                signer, verifier = self._credentials.signer, self._credentials.verifier
                address = self._own.address
                self._conversations = ConversationClient(self._transport, signer, verifier, address)
            return self._conversations

    @property
    def junk(self) -> Counter[str]:
        """How many messages on the reply queues were refused, by reason; a snapshot."""
        second: Counter[str] = Counter() if self._second is None else self._second.junk
        turns = Counter() if self._conversations is None else self._conversations.junk
        return self._receiver.junk + second + turns

    def watch(self, tracker: RequestTracker) -> None:
        """Keep a ledger live: what replies make of it in the file is entered from now on.

        While somebody has it, that is, or it is one of the newest: a large one is large.
        """
        self._listeners.trackers[tracker.record.id] = tracker
        self._newest.append(tracker)

    def expected(self, requestid: str) -> Container[str] | None:
        """The targets of a request of this session; None when nobody here asked."""
        return self._receiver.expected(requestid)

    def submit(self, submissions: Iterable[Submission]) -> list[RequestTracker]:
        """Commit durable requests, all at once, and have them sent; gives their live ledgers.

        What is committed is sent, now or after a crash; before that nothing of it is there.
        """
        trackers: list[RequestTracker] = []
        new: list[NewRequest] = []
        submissions = list(submissions)
        for one in submissions:
            outgoing = self.request_sender.prepare(one.request, one.names, one.inputs)
            rows = [*one.names, *one.unheard]
            new.append(NewRequest(one.record, rows, outgoing, one.jobs, one.secret))
            trackers.append(RequestTracker(one.record, rows, discovered=one.discovered))
        interrupts.check()  # what is kept from here on goes out
        for tracker in trackers:
            self.watch(tracker)
        self._listeners.signed(self.session.store.add_all(new))
        for one, tracker in zip(submissions, trackers, strict=True):
            if one.unheard:
                self.judge(tracker, one.unheard, UNHEARD)
        self.outbox.wake()
        return trackers

    def enter(self, replies: Iterable[ReplyRecord]) -> None:
        """Keep replies that came in over another wire, and enter them; they were checked there."""
        with self._listeners.keeping:
            passing, kept, _durable = self._receiver.part(replies)
            entered = self.session.store.enter(kept, durable=False) if kept else []
            follows = self._follower is not None and self._second is None
            # the follower reads them from the file
            self._receiver.pass_on(passing, [] if follows else entered)

    def judge(
        self,
        tracker: RequestTracker,
        names: Iterable[str],
        reason: str,
        state: State = State.SILENT,
    ) -> None:
        """Decide where those of `names` stand of which there is no reply, in file and ledger.

        `silent` for good; what a probe saw, or `pending` and why it stays so. A final state is what
        the node has said of its end; those take it, too, of which there is no last reply.
        """
        with self._listeners.keeping:
            some = names if state.final else tracker.pending(names)
            verdicts = [(name, reason) for name in some]
            if verdicts:
                judged = self.session.store.judge(tracker.record.id, verdicts, state)
                tracker.enter(judged, heard=False)

    @property
    def keeping(self) -> threading.RLock:
        """Held while replies are kept and entered: nothing comes between for whoever has it."""
        return self._listeners.keeping

    def tell(self, tasks: TaskListener) -> None:
        """Have every entry told to whoever waits for many requests, for as long as it is there."""
        with self._listeners.keeping:
            self._listeners.tasks.add(tasks)

    def withdraw(self, requests: Iterable[str]) -> set[str]:
        """Have tasks of pools go out no more; those of which nothing had begun to."""
        with self._listeners.keeping:
            withdrawn = self.session.store.pool_tasks.withdraw(requests)
            for request, entry in withdrawn.items():
                if (tracker := self._listeners.trackers.get(request)) is not None:
                    tracker.enter([entry], heard=False)
        return set(withdrawn)

    def refused(self, sender: str) -> Rejection | None:
        """Why the last reply in a node's name was refused."""
        return self._receiver.refused.of(sender)

    def tracker(self, record: RequestRecord) -> RequestTracker:
        """The live ledger of a kept request: the one that is under way, or one from the file."""
        live = self._listeners.trackers.get(record.id)
        if live is not None:
            self._others.look(live)
            return live
        with self._listeners.keeping:
            tracker = RequestTracker(record, entries=self.session.store.entries(record.id))
            self.watch(tracker)
            if not record.via.durable:
                self._others.take_up(tracker)
        return tracker

    def promote(self) -> bool:
        """Take the session's queue, if its holder is gone; whether this process has it now.

        Raises:
            WireError: without a connection it is to be tried again.
            MachineError: so it is where the disk takes nothing.
        """
        if not self.session.acquire():
            return False
        log.info("taking over the queue of session %s", self.session.name)
        receiver = self._new_receiver(self.session)
        try:
            self._claim(receiver)
            self._listen(receiver, self.session, alone=False)
        except (WireError, MachineError):
            receiver.stop()
            raise
        self._second = receiver
        self._held.start(self.queries)
        self.notices.append(f"session {self.session.name}: its holder is gone, this process has it")
        self.outbox.wake()
        return True

    def follow(self, after: int) -> int:
        """Enter what the holder has kept since reply number `after`; the newest number."""
        with self._listeners.keeping:
            found = self.session.store.entered(after)
            self._listeners.enter((request, entry) for _number, request, entry in found)
            if found:
                after = found[-1][0]
        return after


class _SessionFollower(threading.Thread):
    """Reads what the holder of the session keeps, until the holder is gone."""

    def __init__(self, hub: SessionHub) -> None:
        super().__init__(name="mcshell-follower", daemon=True)
        self._hub = hub
        self._stopped = threading.Event()

    def stop(self) -> None:
        """End the thread."""
        self._stopped.set()
        self.join(timeout=5)

    def run(self) -> None:
        """Poll the file, and try to take the queue once a second.

        A disk that is full, or no connection, is a reason to try again: nobody else receives for it.
        """
        after = self._hub.session.store.latest()
        tried = 0.0
        said = ""
        while not self._stopped.wait(_POLL):
            try:
                after = self._hub.follow(after)
                if time.monotonic() - tried > 1.0:
                    tried = time.monotonic()
                    if self._hub.promote():
                        return
            except (WireError, MachineError, OSError) as error:
                if str(error) != said:
                    said = str(error)
                    log.warning("session %s: %s: once more", self._hub.session.name, error)
