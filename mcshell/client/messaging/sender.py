"""Out to the fleet: a request is signed, kept and sent, to all or to each."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from mcshell import interrupts
from mcshell.client.store.records import OutgoingMessage
from mcshell.errors import UsageError
from mcshell.message import Filter, Request, Via
from mcshell.wire import destinations
from mcshell.wire.documents.envelope import CERTIFICATE, MAX_BODY, SIGNATURE, seal_request
from mcshell.wire.documents.job import seal_job

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any

    from mcshell.client.messaging.receiver import Listeners
    from mcshell.client.messaging.tracker import RequestTracker
    from mcshell.client.session.session import Session
    from mcshell.client.store.records import RequestRecord, SignedDigest
    from mcshell.message import Job
    from mcshell.wire.documents.envelope import SealedMessage
    from mcshell.wire.documents.signatures import Signer
    from mcshell.wire.stomp.transport import Transport

__all__ = ["RequestSender", "seal"]

_CHUNK = 100


class RequestSender:
    """Signs and sends for one session. Safe to call from any thread."""

    def __init__(
        self, transport: Transport, signer: Signer, session: Session, listeners: Listeners
    ) -> None:
        self._transport = transport
        self._signer = signer
        self._session = session
        self._listeners = listeners
        #: The callerid under which everything goes out.
        self.caller = signer.identity.callerid

    def request(self, record: RequestRecord, data: Mapping[str, Any], ttl: float) -> Request:
        """Build the request value of a record, from now and for `ttl` seconds.

        `data` are the inputs as they are; those in the record may be redacted.
        """
        now = time.time()
        return Request(
            id=record.id,
            agent=record.agent,
            action=record.action,
            caller=self.caller,
            collective=record.collective,
            via=record.via,
            session=self._session.address,
            created=now,
            expires=now + ttl,
            data=data,
            filter=Filter() if record.via.durable else record.filter,
            pool=record.pool,
            nonce=record.nonce,
            emergency=str(record.options.get("emergency", "")),
        )

    def send(
        self, request: Request, names: Sequence[str], tracker: RequestTracker | None = None
    ) -> None:
        """Send an interactive request: one message to all or to a pool, or one to each of `names`.

        The bytes are kept after the SEND: an interactive request is never sent again.
        """
        if request.via in (Via.BROADCAST, Via.POOL):
            self._send_some([("*", request)], names, tracker)
            return
        for start in range(0, len(names), _CHUNK):
            interrupts.check()
            some = names[start : start + _CHUNK]
            self._send_some([(name, _to(request, name)) for name in some], some, tracker)

    def _send_some(
        self,
        requests: Sequence[tuple[str, Request]],
        names: Sequence[str],
        tracker: RequestTracker | None,
    ) -> None:
        at = time.time()
        if tracker is not None:
            tracker.sent(names, at)
        outgoing: list[OutgoingMessage] = []
        digests: list[SignedDigest] = []
        sealed: Iterable[OutgoingMessage] = (self._new(key, one) for key, one in requests)
        if tracker is not None and not self._session.holds:
            # Another process takes the replies, perhaps at once, and goes by what the file says.
            sealed = list(sealed)
            self._session.store.add_digests(one.digest for one in sealed)
        for one in sealed:
            headers = {SIGNATURE: one.signature, CERTIFICATE: one.certificate}
            digests.append(one.digest)
            self._listeners.signed(digests[-1:])
            self._transport.send(one.destination, one.body, headers, expires=one.expires)
            outgoing.append(one)
        if tracker is not None:
            # Where inputs are sensitive: what is never sent again need not be kept.
            known = tracker.record.data
            secret = any(known.get(name, one) != one for name, one in requests[0][1].data.items())
            kept = [] if secret else outgoing
            self._session.store.mark_sent(tracker.record.id, names, at, kept, digests)

    def send_raw(self, collective: str, body: bytes, ttl: float) -> None:
        """Send to all what is no document, for `ttl` seconds: a manifest proves it (`wire.chunk`)."""
        self._transport.send(
            destinations.broadcast(collective), body, {}, expires=time.time() + ttl
        )

    def prepare(
        self,
        request: Request,
        names: Sequence[str],
        inputs: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> list[OutgoingMessage]:
        """Sign a durable request, once for each target; nothing is sent.

        `inputs` are those of single targets, in place of the request's.
        """
        if request.via is Via.POOL:
            return [self._new(name, request) for name in names]
        told = inputs or {}
        return [
            self._new(name, _to(replace(request, data=told.get(name, request.data)), name))
            for name in names
        ]

    def job(self, job: Job) -> SealedMessage:
        """Sign a job's document."""
        return seal_job(job, self._signer)

    def _new(self, key: str, request: Request) -> OutgoingMessage:
        """Sign it; UsageError where it is larger than nodes take: they would refuse it unheard."""
        sealed = self.seal(key, request)
        if (size := len(sealed.body)) > MAX_BODY:
            raise UsageError(
                f"the request is {size} bytes, and nodes take {MAX_BODY} (files go by cp)"
            )
        return sealed

    def seal(self, key: str, request: Request) -> OutgoingMessage:
        """Sign a request to one target, or to `*`."""
        return seal(key, request, self._signer)


def seal(key: str, request: Request, signer: Signer) -> OutgoingMessage:
    """Sign a request to one target, or to `*`, as it is sent and kept."""
    sealed = seal_request(request, signer)
    return OutgoingMessage(
        request=request.id,
        sender=key,
        destination=destinations.of(request),
        body=sealed.body,
        signature=sealed.headers[SIGNATURE],
        certificate=sealed.headers[CERTIFICATE],
        expires=request.expires,
    )


def _to(request: Request, name: str) -> Request:
    return replace(request, identity=name, filter=Filter())
