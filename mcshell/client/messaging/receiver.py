"""From the reply queue into the session file and the ledgers, in this order.

Verify, commit, acknowledge, enter. What arrives together is verified in two threads (the signature
check leaves the interpreter free) and committed together, while the next is verified; the signatures
of a backlog are checked by a process beside this one (`signature_process`). Replies about
discovery go to whoever waits for them and are not kept; junk is counted and dropped. A verified reply
that nothing here asked for is a stray, where another session may have the address: kept for whoever
asked (`store.strays`). One that has outlived its sender's certificate is held there, too (`held`).

What has come in and is not yet verified is in a `ReceiveBuffer`, whose room is bounded.
"""

from __future__ import annotations

import logging
import threading
import time
import weakref
from collections import Counter, OrderedDict
from dataclasses import field
from functools import partial
from typing import TYPE_CHECKING, Protocol, TypeVar
from weakref import WeakValueDictionary

from mcshell.client.messaging.helpers import Helpers
from mcshell.client.messaging.receive_buffer import ReceiveBuffer
from mcshell.client.messaging.rejections import Rejections
from mcshell.client.messaging.repeated import RepeatedReplies
from mcshell.client.messaging.signature_process import SignatureProcess
from mcshell.client.messaging.stored_digests import StoredDigests
from mcshell.client.store.records import ReplyRecord, target_of
from mcshell.client.store.strays import Stray
from mcshell.errors import MachineError, Reason, Rejected, not_kept
from mcshell.values import dataclass
from mcshell.wire.documents.envelope import (
    CERTIFICATE,
    SIGNATURE,
    TURN,
    kind_of,
    open_reply,
    read_reply,
    verified,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, MutableMapping, Sequence
    from concurrent.futures import Future

    from mcshell.client.messaging.tracker import RequestTracker
    from mcshell.client.store.ledger import LedgerEntry
    from mcshell.client.store.records import Members, RequestRecord, SignedDigest
    from mcshell.client.store.store import SessionStore
    from mcshell.message import Reply
    from mcshell.wire.documents.envelope import BodyLimits, OpenedReply
    from mcshell.wire.documents.signatures import Verifier
    from mcshell.wire.stomp.transport import AckMode, Delivery, Transport

__all__ = ["Listeners", "Receiver", "ReplyHolder", "ReplyListener", "TaskListener"]

log = logging.getLogger(__name__)

T = TypeVar("T")

_GROUP = 400
_PREFETCH = 2000
"""Messages that a broker may send ahead: two groups at work, and the next."""
_SPLIT = 32
_PAUSE = 1.0
_TOGETHER = 0.02
"""Seconds for which what trickles in is gathered: each commit waits for the disk, whatever is in it."""
_LONGER = 0.1
_SOME = 40
"""Replies of a group, after which the next is gathered for longer: a backlog of a slow broker."""
_FEW = 200
_FLOW = 0.2
"""Seconds after a durable commit in which what comes next belongs to the same trickle."""
_FORGOTTEN = 10_000  # questions
_REMEMBERED = 10_000  # requests, and signed messages; the file has all of both
# What is wrong with who is said to have written it, not with what is written.
_ABOUT_THE_SENDER = (
    Reason.UNSIGNED,
    Reason.BAD_CERTIFICATE,
    Reason.FOREIGN_CA,
    Reason.CERT_EXPIRED,
    Reason.REVOKED,
    Reason.STALE_CRL,
    Reason.BAD_SIGNATURE,
    Reason.WRONG_SENDER,
    Reason.UNBOUND,
)


class ReplyListener(Protocol):
    """Whoever waits for the replies about a question that no session keeps."""

    @property
    def expected(self) -> Container[str]:
        """The senders that were asked."""

    def add(self, replies: Iterable[ReplyRecord]) -> None:
        """Take verified replies, those of requests after their commit."""


class ReplyHolder(Protocol):
    """Whoever enters, later, what has outlived its sender's certificate (`messaging.held`)."""

    def hold(self, senders: Iterable[str]) -> None:
        """Replies of these are kept."""

    def heard(self, replies: Iterable[ReplyRecord]) -> None:
        """Take note of what was verified, after its commit."""


class TaskListener(Protocol):
    """Whoever waits for many requests at once, and has no ledger of each (`rpc.pool_tasks`)."""

    def entered(self, entered: Iterable[tuple[str, LedgerEntry]]) -> None:
        """Take what was entered, with the requests' ids, and return at once."""

    def abandon(self) -> None:
        """Commit what is there: the client is closed."""


@dataclass(slots=True, kw_only=True)
class Listeners:
    """Whoever waits for replies: who has put a question, and the live ledgers, by request's id.

    A ledger is live for as long as somebody has it (`SessionHub.watch`); the file has them all.
    `digests` has what was signed about each by this process, as (target or `*`, SHA-256): of
    questions and live ledgers all, of what the file has the newest; `signatures` counts the new ones.
    `forgotten` are questions to which answers may still come, and nobody waits for them.
    `tasks` are told of every entry that is made: it may be one of theirs.
    `keeping` is held while replies are kept and entered: whoever restores a ledger from the file
    takes it.
    """

    questions: dict[str, ReplyListener] = field(default_factory=dict)
    trackers: MutableMapping[str, RequestTracker] = field(default_factory=WeakValueDictionary)
    digests: dict[str, set[tuple[str, str]]] = field(default_factory=dict)
    signatures: int = 0
    forgotten: OrderedDict[str, None] = field(default_factory=OrderedDict)
    tasks: weakref.WeakSet[TaskListener] = field(default_factory=weakref.WeakSet)
    keeping: threading.RLock = field(default_factory=threading.RLock)

    def forget(self, question: str) -> None:
        """Have the answers to a question dropped from now on."""
        self.forgotten[question] = None
        while len(self.forgotten) > _FORGOTTEN:
            self.forgotten.popitem(last=False)
        self.questions.pop(question, None)
        self.digests.pop(question, None)

    def signed(self, digests: Iterable[SignedDigest]) -> None:
        """Note what was signed, before it goes out: what replies may say that they answer."""
        for request, sender, digest in digests:
            self.digests.setdefault(request, set()).add((sender, digest))
            self.signatures += 1
        if self.signatures >= _REMEMBERED:
            self.signatures = 0
            for request in [one for one in list(self.digests) if self.get(one) is None]:
                self.digests.pop(request, None)

    def get(self, requestid: str) -> ReplyListener | RequestTracker | None:
        """Whoever waits for the replies about a question or a request now."""
        return self.trackers.get(requestid) or self.questions.get(requestid)

    def enter(self, entered: Iterable[tuple[str, LedgerEntry]]) -> None:
        """Give entries, each with its request's id, to the live ledgers; `keeping` is held."""
        entered = list(entered)
        for tasks in list(self.tasks):
            tasks.entered(entered)
        entries: dict[str, list[LedgerEntry]] = {}
        for requestid, entry in entered:
            entries.setdefault(requestid, []).append(entry)
        for requestid, some in entries.items():
            if (tracker := self.trackers.get(requestid)) is not None:
                tracker.enter(some)


class _StoredTargets:
    """The targets of a request of an earlier process, looked up in the file one by one."""

    def __init__(self, store: SessionStore, requestid: str) -> None:
        self._store = store
        self._requestid = requestid

    def __contains__(self, sender: object) -> bool:
        return self._store.is_target(self._requestid, str(sender))


class _AnyTarget:
    """The set of all targets: which row a reply is about is decided when it is entered."""

    def __contains__(self, sender: object) -> bool:
        return True


_ANYBODY = _AnyTarget()


class Receiver:
    """Owns the session's reply queues, one a collective. `junk` counts what was refused, by reason.

    `turned` takes the turns of conversations, which come to the same queues. `shared` says
    whether another session may have the address; then `strayed` is told how many replies came that
    were asked for there. `held` is told of whom replies are held, and what comes in. `tell` has lines
    for the operator.
    """

    def __init__(
        self,
        transport: Transport,
        store: SessionStore,
        verifier: Verifier,
        limits: BodyLimits,
        members: Members,
        turned: Callable[[Delivery], None],
        listeners: Listeners,
        shared: Callable[[], bool],
        strayed: Callable[[int], None],
        held: ReplyHolder,
        tell: Callable[[str], None],
    ) -> None:
        self._held = held
        self._shared = shared
        self._strayed = strayed
        self._transport = transport
        self._store = store
        self._verifier = verifier
        self._limits = limits
        self._members = members
        self._inbox = ReceiveBuffer()
        self._turned = turned
        self._listeners = listeners
        self._about: dict[str, RequestRecord] = {}
        self._signed = StoredDigests(store)
        self._subscriptions: list[str] = []
        self._subscribing = threading.Lock()
        self._let_go = False
        self._alone = True
        self._stopped = threading.Event()
        self._quiet = True
        self._handled = time.monotonic()
        self._synced = float("-inf")
        """When something was last committed to the disk (monotonic)."""
        self._came = 0
        """How many the last group had."""
        self._helpers = Helpers(2, "mcshell-replies")
        """One verifies half of what arrives together, one keeps what came before it."""
        self.junk: Counter[str] = Counter()
        self.refused = Rejections(verifier)
        self._repeated = RepeatedReplies(tell)
        self._checks = SignatureProcess(verifier, self._repeated.sender)
        self._thread = threading.Thread(target=self._run, name="mcshell-receiver", daemon=True)

    def start(self, queues: Sequence[str], *, alone: bool = True) -> None:
        """Subscribe to the reply queues and begin.

        Of a queue that is `alone` on its connection, one acknowledgement stands for all before it.
        RabbitMQ counts them over all subscriptions of a connection, ActiveMQ for each, so that
        beside another queue each message has its own.
        """
        self._alone = alone and len(queues) == 1
        self._thread.start()
        mode: AckMode = "client" if self._alone else "client-individual"
        with self._subscribing:
            if not self._let_go:
                self._subscriptions = self._transport.subscribe_all(
                    [(one, self._inbox) for one in queues], ack=mode, prefetch=_PREFETCH
                )

    def let_go(self) -> None:
        """Take nothing more from the queues; what is not acknowledged goes back to the broker."""
        with self._subscribing:
            self._let_go = True
            if not self._subscriptions:
                return  # nothing was taken from them
            for one in self._subscriptions:
                self._transport.unsubscribe(one)
            self._subscriptions = []
        with self._listeners.keeping:
            self._transport.renew("the reply queue was handed over")

    def stop(self) -> None:
        """End the threads once what has arrived is kept."""
        self._stopped.set()
        self._inbox.end()
        if self._thread.is_alive():
            self._thread.join(timeout=10)
        self._helpers.shutdown()
        self._checks.close()

    def watch(self, question: str, listener: ReplyListener) -> None:
        """Have the replies about a question given to `listener` from now on."""
        self._listeners.questions[question] = listener

    def unwatch(self, question: str) -> None:
        """Drop them from now on."""
        self._listeners.forget(question)

    def quiet_since(self) -> float:
        """Since when (monotonic) nothing has come in; now, while there is something to do."""
        if not self._quiet or not self._inbox.empty():
            return time.monotonic()
        return self._handled

    def _run(self) -> None:
        ended = False
        asked: list[Delivery] = []  # whose signatures another process checks just now
        before: Future[None] | None = None  # what is being kept just now
        while asked or not ended:
            group: list[Delivery] = []
            if not asked or not self._inbox.empty():
                taken = self._inbox.take(_GROUP, few=_FEW, pause=self._trickle())
                ended, group = taken is None, taken or []
                self._came = len(group)
            self._quiet = False
            later = self._checks.ask(group)
            if asked:
                before = self._work(asked, before, self._checks.answer())
            if group and not later:
                before = self._work(group, before)
            asked = group if later else []
            if before is None and not asked:
                self._handled = time.monotonic()
                self._quiet = True

    def _work(
        self, group: list[Delivery], before: Future[None] | None, good: bytes = b""
    ) -> Future[None] | None:
        """Open and keep a group, of which the signatures that are `good` were checked.

        What came before it is kept first; returns what is not yet kept when it ends.
        """
        opened = self._tried(group, partial(self._open_group, group, time.time(), good))
        if before is not None:
            before.result()
        if opened is None:
            return None
        keep = partial(self._tried, group, partial(self._keep_group, group, opened))
        if self._inbox.empty() or self._stopped.is_set():
            keep()
            return None
        return self._helpers.submit(keep)  # the disk need not be waited for

    def _trickle(self) -> float:
        """Seconds that a few replies wait for those behind them: of a backlog that comes in slowly."""
        if time.monotonic() - self._synced >= _FLOW:
            return 0.0
        return _LONGER if self._came >= _SOME else _TOGETHER

    def _tried(self, group: list[Delivery], work: Callable[[], T]) -> T | None:
        """What came of it, at the second try where the file was just given another name (`Session.save`)."""
        try:
            try:
                return work()
            except MachineError as error:
                log.info("once more: %s", error)
                self._stopped.wait(_PAUSE)
                return work()
        except Exception as error:  # noqa: BLE001 - it is logged, and tried anew
            # A later acknowledgement would stand for these too: have them handed out again.
            not_kept(log, len(group), "replies", error)
            self._transport.renew("replies could not be kept")
            self._stopped.wait(_PAUSE)
            return None

    def _open_group(
        self, group: list[Delivery], now: float, good: bytes
    ) -> list[ReplyRecord | Stray | None]:
        """Verify them, but for the signatures that are `good`; the turns among them are handed on."""
        deliveries: list[Delivery] = []
        checked: list[int] = []
        for place, one in enumerate(group):
            if kind_of(one.body) == TURN:
                self._turned(one)
            else:
                deliveries.append(one)
                checked += good[place : place + 1]
        if good:
            some = zip(deliveries, checked, strict=True)
            return [self._open(one, now, checked=bool(is_good)) for one, is_good in some]
        return self._open_all(deliveries, now)

    def _keep_group(self, group: list[Delivery], opened: list[ReplyRecord | Stray | None]) -> None:
        replies = [received for received in opened if isinstance(received, ReplyRecord)]
        strays = [stray for stray in opened if isinstance(stray, Stray)]
        with self._listeners.keeping:
            self._keep(strays)
            passing, for_file, durable = self.part(replies)
            entered = self._store.enter(for_file, durable=durable) if for_file else []
            if durable:
                self._synced = time.monotonic()
            for delivery in group[-1:] if self._alone else group:
                self._transport.ack(delivery)
            self.pass_on(passing, entered)
        self._repeated.note(replies)
        self._held.heard(replies)

    def _keep(self, strays: list[Stray]) -> None:
        """Keep what is not entered, before it is acknowledged here; no table has it."""
        if not strays:
            return
        self._store.strays.keep(strays)
        if held := {one.sender for one in strays if one.asked}:
            self._held.hold(held)
        if others := [one for one in strays if not one.asked]:
            self.junk[Reason.UNKNOWN_REQUEST.value] += len(others)
            if count := sum(one.durable for one in others):
                self._strayed(count)

    def part(
        self, replies: Iterable[ReplyRecord]
    ) -> tuple[list[ReplyRecord], list[ReplyRecord], bool]:
        """Tell passing replies from those for the file, and whether one is of a durable request.

        Call it with `keeping` held. Whoever asked may have left since a reply was verified: what
        nobody wants any more is in neither.
        """
        passing: list[ReplyRecord] = []
        for_file: list[ReplyRecord] = []
        durable = False
        for received in replies:
            if received.reply.requestid in self._listeners.questions:
                passing.append(received)
            elif (record := self._record(received.reply.requestid)) is not None:
                for_file.append(received)
                durable = durable or record.via.durable
        return passing, for_file, durable

    def pass_on(
        self, passing: Iterable[ReplyRecord], entered: Iterable[tuple[str, LedgerEntry]]
    ) -> None:
        """Give replies to the questions that wait for them, and entries to the live ledgers."""
        answers: dict[str, list[ReplyRecord]] = {}
        for received in passing:
            answers.setdefault(received.reply.requestid, []).append(received)
        for question, replies in answers.items():
            if (listener := self._listeners.questions.get(question)) is not None:
                listener.add(replies)
        self._listeners.enter(entered)

    def _open_all(self, group: list[Delivery], now: float) -> list[ReplyRecord | Stray | None]:
        if len(group) < _SPLIT:
            return [self._open(delivery, now) for delivery in group]
        half = len(group) // 2
        rest = self._helpers.submit(lambda: [self._open(one, now) for one in group[half:]])
        return [self._open(one, now) for one in group[:half]] + rest.result()

    def _open(
        self, delivery: Delivery, now: float, *, checked: bool = False
    ) -> ReplyRecord | Stray | None:
        if self._repeated.passed_over(delivery):
            return None
        try:
            opened = self._opened(delivery, now, checked=checked)
        except Rejected as refusal:
            if refusal.reason is Reason.CERT_EXPIRED:
                return self._outlived(delivery, refusal, now)
            if refusal.reason is not Reason.UNKNOWN_REQUEST:
                self._refuse(delivery, refusal, now)
                return None
            return self._asked_elsewhere(delivery, refusal, now)
        headers, reply = delivery.headers, opened.reply
        target = reply.sender
        if (
            reply.job is not None
            and opened.expected
            and reply.requestid not in self._listeners.trackers
        ):
            self._store.jobs.adopt(reply, now)
        if not opened.expected and reply.requestid not in self._listeners.questions:
            record = self._record(reply.requestid)
            if record is None:
                return None  # whoever asked has left in this moment
            target = target_of(record, reply.sender, self._members)
        signature, certificate = headers[SIGNATURE], headers[CERTIFICATE]
        return ReplyRecord(
            reply=reply,
            kept=time.time(),
            body=delivery.body,
            signature=signature,
            certificate=certificate,
            target=target,
        )

    def _opened(
        self, delivery: Delivery, now: float, *, ended: bool = False, checked: bool = False
    ) -> OpenedReply:
        return open_reply(
            delivery.body,
            delivery.headers,
            self._verifier,
            self._limits,
            now=now,
            expected=self._expected,
            bound=self._bound,
            ended=ended,
            checked=checked,
        )

    def _outlived(self, delivery: Delivery, refusal: Rejected, now: float) -> Stray | None:
        """A reply under a certificate that has ended: held, if that alone is wrong with it."""
        try:
            reply = self._opened(delivery, now, ended=True).reply
        except Rejected:
            self._refuse(delivery, refusal, now)
            return None
        if reply.requestid in self._listeners.questions:
            self._refuse(delivery, refusal, now)  # an answer of now: its node has no other
            return None
        self.refused.hold(reply.sender, now)
        return _stray(reply, delivery, now, asked=True)

    def _asked_elsewhere(self, delivery: Delivery, refusal: Rejected, now: float) -> Stray | None:
        """A reply that nothing of this session asked for: kept if a node of the fleet says it."""
        reply = read_reply(delivery.body, limits=self._limits)
        if reply.requestid in self._listeners.forgotten:
            return None  # late, and no junk: whoever asked has left
        if not self._shared():
            self._refuse(delivery, refusal, now)
            return None
        try:
            signer = verified(delivery.body, delivery.headers, self._verifier, now)
        except Rejected as error:
            self._refuse(delivery, error, now)
            return None
        if (signer.kind, signer.name) != ("node", reply.sender):
            said = f"{reply.sender!r} is signed by {signer.name}"
            self._refuse(delivery, Rejected(Reason.WRONG_SENDER, said), now)
            return None
        return _stray(reply, delivery, now)

    def _refuse(self, delivery: Delivery, refusal: Rejected, now: float) -> None:
        """Count it; what is wrong with its sender is remembered, for `explain`."""
        self.junk[refusal.reason.value] += 1
        log.debug("junk on %s: %s", delivery.destination, refusal)
        if refusal.reason in _ABOUT_THE_SENDER:
            self.refused.note(read_reply(delivery.body).sender, delivery, refusal, now)

    def expected(self, requestid: str) -> Container[str] | None:
        """The targets of a request of this session, live or from an earlier process."""
        live = self._listeners.get(requestid)
        if live is not None:
            return live.expected
        if requestid.startswith("job:"):
            kept = self._store.jobs.get(requestid[4:])
            return None if kept is None else _StoredTargets(self._store, kept.request)
        return None if self._record(requestid) is None else _StoredTargets(self._store, requestid)

    def _expected(self, requestid: str) -> Container[str] | None:
        """As `expected`, without a look into the file for each reply of a backlog."""
        live = self._listeners.get(requestid)
        if live is not None:
            return live.expected
        record = self._record(requestid)
        if record is not None and record.pool is None:
            return _ANYBODY
        return self.expected(requestid)

    def _bound(self, reply: Reply) -> bool:
        """Whether a reply answers bytes that were signed here, about its request or its job.

        Raises:
            Rejected: whoever asked has left in this moment, and nobody knows any more what was signed.
        """
        about = reply.job or reply.requestid
        live = self._listeners.digests.get(about, ())
        if ("*", reply.digest) in live or (reply.sender, reply.digest) in live:
            return True
        if about in self._listeners.forgotten:
            raise Rejected(Reason.UNKNOWN_REQUEST, about)
        return self._signed.has(about, reply.sender, reply.digest)

    def _record(self, requestid: str) -> RequestRecord | None:
        """What is kept of a request of this session; nothing of a question such as discovery's."""
        record = self._about.get(requestid)
        if record is None:
            record = self._store.find_request(requestid)
            if record is not None:
                if len(self._about) >= _REMEMBERED:
                    self._about = {}
                self._about[requestid] = record
        return record


def _stray(reply: Reply, delivery: Delivery, now: float, *, asked: bool = False) -> Stray:
    """A reply as it is kept where it is not entered."""
    return Stray(
        request=reply.requestid,
        job=reply.job,
        sender=reply.sender,
        sequence=reply.sequence,
        durable=delivery.headers.get("persistent") == "true",
        kept=now,
        body=delivery.body,
        signature=delivery.headers[SIGNATURE],
        certificate=delivery.headers[CERTIFICATE],
        asked=asked,
    )
