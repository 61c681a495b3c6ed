"""What an earlier version of mcshell has left unsent in a session goes out as a request of today's.

Its id was of nobody's make, and no node would take it (mcshell/README.md §5): it gets a new one, and
is found by the old one too.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import groupby
from typing import TYPE_CHECKING, Any

from mcshell.client.store.records import JobDocument, NewRequest
from mcshell.errors import Rejected, UsageError
from mcshell.message import new_request_id
from mcshell.wire.documents.authored import as_fields
from mcshell.wire.documents.envelope import read_request
from mcshell.wire.documents.rule import read_job

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mcshell.client.messaging.sender import RequestSender
    from mcshell.client.store.records import OutgoingMessage
    from mcshell.client.store.store import SessionStore

__all__ = ["reissue"]


def reissue(store: SessionStore, sender: RequestSender) -> list[str]:
    """Sign again what version 1 of the wire left unsent; a line about each request.

    What is no request of this operator's stays as it is, for the node to refuse.
    """
    lines = []
    for former, messages in groupby(store.earlier.unsent(1), lambda one: one.request):
        record = store.find_request(former)
        assert record is not None, "an outgoing message is that of a request"
        requestid, nonce = new_request_id(sender.caller)
        try:
            outgoing, document, data = _signed(sender, list(messages), requestid, nonce)
        except (Rejected, UsageError):
            continue
        fresh = replace(record, id=requestid, nonce=nonce)
        names = [one.sender for one in outgoing]
        # The record was kept as history shows it: what differs from that was hidden in it.
        secret = data != record.data
        jobs = () if document is None else (JobDocument(document, secret),)
        store.reissue(former, NewRequest(fresh, names, outgoing, jobs, secret))
        lines.append(
            f"request {former[:8]} was not sent by mcshell 0.1.0: now it is {requestid[:8]}"
        )
    return lines


def _signed(
    sender: RequestSender, messages: Sequence[OutgoingMessage], requestid: str, nonce: str
) -> tuple[list[OutgoingMessage], bytes | None, Mapping[str, Any]]:
    """The messages of one request, the document of the job that they hand in, and the inputs."""
    outgoing: list[OutgoingMessage] = []
    document: bytes | None = None
    data: Mapping[str, Any] = {}
    for message in messages:
        request = replace(read_request(message.body), id=requestid, nonce=nonce)
        data = request.data
        if request.agent == "job" and "document" in request.data:
            job = read_job(request.data["document"].encode())
            if request.action == "submit":
                job, data = replace(job, id=requestid), job.data
            sealed = sender.job(job)
            request = replace(request, data={**request.data, **as_fields(sealed)})
            document = sealed.body
        outgoing.append(sender.seal(message.sender, request))
    return outgoing, document, data
