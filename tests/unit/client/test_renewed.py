"""Requests that mcshell 0.1.0 has left unsent are signed again, and what is none holds nobody up."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from mcshell.client.messaging.sender import RequestSender
from mcshell.client.store.records import OutgoingMessage
from mcshell.pki import Authority
from mcshell.wire.documents.signatures import Signer


@pytest.fixture
def sender(tmp_path):
    """Alice's; it only signs."""
    signer = Signer.from_pem(*Authority.init(tmp_path).issue_pem("alice", "operator"))
    return RequestSender(None, signer, None)


@pytest.mark.parametrize("body", [b"", b"{}", b'{"v":1,"kind":"request"}'])
def test_what_is_no_request_stays_as_it_is(sender, body):
    """Its node refuses it; the requests behind it go out."""
    assert sender.renewed(message := kept(body)) is message


def test_a_job_that_cannot_be_read_stays_as_it_is(sender):
    """A request whose document is no job is sent as it was kept."""
    parts = {key: [] for key in ("fact", "class", "agent", "identity", "compound")}
    document = {
        "v": 1,
        "kind": "request",
        "id": "0" * 32,
        "collective": "mcs",
        "via": "queue",
        "identity": "n1",
        "pool": None,
        "agent": "job",
        "action": "submit",
        "filter": parts,
        "caller": "cert=alice",
        "session": "s",
        "created": 1.0,
        "expires": 2.0,
    }
    broken = kept(json.dumps({**document, "data": {"document": "{}"}}).encode())
    assert sender.renewed(broken) is broken
    other = replace(broken, body=json.dumps({**document, "data": {}}).encode())
    assert sender.renewed(other).body.startswith(b'{"v":2,')


def kept(body: bytes) -> OutgoingMessage:
    """A message as a session file holds it."""
    return OutgoingMessage(
        request="0" * 32,
        sender="n1",
        destination="/queue/mcs.mcs.work.n1",
        body=body,
        signature="s",
        certificate="c",
        expires=2.0,
    )
