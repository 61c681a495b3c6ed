"""What the signed bytes in a session file prove of a request: what was asked, and of whom.

Whatever else such a file says of it, anyone could have written.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcshell.client.store.records import JobDocument, ReplyRecord, RequestRecord, target_of
from mcshell.client.store.unverified import UNVERIFIED
from mcshell.errors import Reason, Rejected
from mcshell.message import Filter, Via
from mcshell.values import dataclass
from mcshell.wire.documents.envelope import (
    CERTIFICATE,
    SIGNATURE,
    is_old,
    read_reply,
    read_request,
    refuse_foreign_id,
    verified,
)
from mcshell.wire.documents.rule import open_kept_job

if TYPE_CHECKING:
    from mcshell.client.store.records import Members, OutgoingMessage
    from mcshell.client.store.store import SessionStore
    from mcshell.client.store.strays import Stray
    from mcshell.message import Job, Request
    from mcshell.wire.documents.signatures import Verifier

__all__ = ["SentMessage", "open_kept", "open_sent", "unproven"]


@dataclass(frozen=True, slots=True)
class SentMessage:
    """One message that a session's caller has signed, and the job that it carries, if any."""

    message: OutgoingMessage
    request: Request
    job: Job | None

    @property
    def target(self) -> str | None:
        """Who was asked, by name; None where all that match were."""
        return None if self.request.via is Via.BROADCAST else self.message.sender

    @property
    def document(self) -> JobDocument | None:
        """The job as it is to be kept."""
        if self.job is None:
            return None
        return JobDocument(self.request.data["document"].encode(), secret=False)

    @property
    def record(self) -> RequestRecord:
        """The request as a session keeps it: of a job that was handed in, that of its runs."""
        request, job = self.request, self.job
        asked = job if job is not None and request.action == "submit" else request
        return RequestRecord(
            id=request.id,
            agent=asked.agent,
            action=asked.action,
            via=request.via,
            collective=request.collective,
            created=request.created,
            expires=request.expires,
            filter=request.filter,
            data=dict(asked.data),
            pool=request.pool,
        )


def open_sent(message: OutgoingMessage, caller: str, verifier: Verifier) -> SentMessage:
    """Check a kept message of the session of `caller`. Dates are judged as of when it was made.

    Raises:
        Rejected: it is not signed by him, not of this id, or not for this target.
    """
    request = read_request(message.body)
    headers = {SIGNATURE: message.signature, CERTIFICATE: message.certificate}
    signer = verified(message.body, headers, verifier, request.created, stored=True)
    if signer.kind != "operator":
        raise Rejected(Reason.WRONG_KIND, f"a request signed by the {signer.kind} {signer.name}")
    if not signer.callerid == request.caller == caller:
        raise Rejected(Reason.CALLER_MISMATCH, f"signed by {signer.callerid}")
    if not is_old(message.body):
        refuse_foreign_id(request)
    if request.id != message.request:
        raise Rejected(Reason.FOREIGN_ID, f"kept as {message.request}, signed as {request.id}")
    if message.sender != _key(request):
        raise Rejected(Reason.MISROUTED, f"kept as for {message.sender}")
    return SentMessage(message, request, _job(request, verifier))


def open_kept(
    kept: Stray, store: SessionStore, verifier: Verifier, members: Members
) -> ReplyRecord:
    """Check a reply of another file as what the session of `store` asked for, as of when it came in.

    Raises:
        Rejected: it is not signed by its sender, nothing here asked for it, or it answers something
            else than what was asked here.
    """
    headers = {SIGNATURE: kept.signature, CERTIFICATE: kept.certificate}
    signer = verified(kept.body, headers, verifier, kept.kept, stored=True)
    reply = read_reply(kept.body)
    if signer.kind != "node" or signer.name != reply.sender or reply.requestid != kept.request:
        raise Rejected(Reason.WRONG_SENDER)
    if reply.job is not None:
        store.jobs.adopt(reply, kept.kept)
    record = store.find_request(kept.request)
    if record is None:
        raise Rejected(Reason.UNKNOWN_REQUEST)
    about = reply.job or kept.request
    if record.agent != UNVERIFIED and not store.signed(about, reply.sender, reply.digest):
        raise Rejected(Reason.UNBOUND)
    return ReplyRecord(
        reply=reply,
        kept=kept.kept,
        body=kept.body,
        signature=kept.signature,
        certificate=kept.certificate,
        target=target_of(record, reply.sender, members),
    )


def unproven(record: RequestRecord) -> RequestRecord:
    """A request of which nothing is proven: what the file says of it is told, and means nothing."""
    return RequestRecord(
        id=record.id,
        agent=UNVERIFIED,
        action=UNVERIFIED,
        via=record.via,
        collective=record.collective,
        created=record.created,
        expires=record.expires,
        filter=Filter(),
        data={"agent": record.agent, "action": record.action, "data": record.data},
    )


def _key(request: Request) -> str:
    if request.via is Via.BROADCAST:
        return "*"
    return f"pool:{request.pool}" if request.via is Via.POOL else request.identity or ""


def _job(request: Request, verifier: Verifier) -> Job | None:
    if request.agent != "job" or "document" not in request.data:
        return None
    submitted = request.action == "submit"
    job = open_kept_job(
        request.data, request.id if submitted else str(request.data.get("job")), verifier
    )
    if job.author != request.caller:
        raise Rejected(Reason.CALLER_MISMATCH, f"a job of {job.author}")
    return job
