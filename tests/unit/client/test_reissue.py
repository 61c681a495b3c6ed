"""Requests that mcshell 0.1.0 has left unsent go out under ids of ours; what is none stays."""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from mcshell.client.messaging.reissue import reissue
from mcshell.client.messaging.sender import RequestSender
from mcshell.client.store.records import JobDocument, NewRequest, OutgoingMessage, RequestRecord
from mcshell.client.store.store import SessionStore
from mcshell.message import Filter, Job, State, Via, made_id
from mcshell.pki import Authority
from mcshell.wire.documents.job import seal_job
from mcshell.wire.documents.rule import read_job
from mcshell.wire.documents.signatures import Signer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FORMER = "0" * 32
NODES = ["n1", "n2", "n3"]


@pytest.fixture
def sender(tmp_path: Path) -> RequestSender:
    """Alice's; it only signs."""
    signer = Signer.from_pem(*Authority.init(tmp_path / "ca").issue_pem("alice", "operator"))
    return RequestSender(None, signer, None, None)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SessionStore]:
    """A session file."""
    store = SessionStore(tmp_path / "s.sqlite")
    yield store
    store.close()


def record() -> RequestRecord:
    """What was asked."""
    now = time.time()
    return RequestRecord(
        id=FORMER,
        agent="rpcutil",
        action="ping",
        via=Via.QUEUE,
        collective="mcs",
        created=now,
        expires=now + 600,
        filter=Filter(),
        data={},
    )


def message(name: str, body: bytes) -> OutgoingMessage:
    """A message as a session file holds it."""
    return OutgoingMessage(
        request=FORMER,
        sender=name,
        destination=f"/queue/mcs.mcs.work.{name}",
        body=body,
        signature="s",
        certificate="c",
        expires=2.0,
    )


def old(name: str, caller: str = "cert=alice", **more: object) -> OutgoingMessage:
    """A request of version 1 to a node."""
    parts = {key: [] for key in ("fact", "class", "agent", "identity", "compound")}
    document = {
        "v": 1,
        "kind": "request",
        "id": FORMER,
        "collective": "mcs",
        "via": "queue",
        "identity": name,
        "pool": None,
        "agent": "rpcutil",
        "action": "ping",
        "data": {},
        "filter": parts,
        "caller": caller,
        "session": "s",
        "created": 1.0,
        "expires": 2.0,
        **more,
    }
    return message(name, json.dumps(document, separators=(",", ":")).encode())


def test_all_of_it_goes_out_under_one_new_id(store: SessionStore, sender: RequestSender) -> None:
    """Its targets are all there, its id is alice's, and it is found by the old one's beginning."""
    store.add(record(), NODES, [old(name) for name in NODES])
    (line,) = reissue(store, sender)
    ((found, counts),) = store.requests()
    assert line == f"request 00000000 was not sent by mcshell 0.1.0: now it is {found.id[:8]}"
    assert counts == {"pending": 3}
    assert [entry.sender for entry in store.entries(found.id)] == NODES
    messages = store.unconfirmed(9, 0.0)
    documents = [json.loads(one.body) for one in messages]
    assert [document["identity"] for document in documents] == NODES
    for document, one in zip(documents, messages, strict=True):
        assert document["v"] == 2
        assert document["id"] == made_id("request", "cert=alice", document["nonce"]) == found.id
        assert store.signed(*one.digest)
    assert store.find_request("0000") == found
    assert not reissue(store, sender)


def test_what_has_gone_out_stays_where_it_was(store: SessionStore, sender: RequestSender) -> None:
    """A target that the broker has confirmed may still answer to the old id."""
    store.add(record(), NODES, [old(name) for name in NODES])
    store.mark_confirmed([old("n2")], 5.0)
    reissue(store, sender)
    former, fresh = (one for one, _counts in store.requests())
    assert [entry.sender for entry in store.entries(former.id)] == ["n2"]
    assert [entry.sender for entry in store.entries(fresh.id)] == ["n1", "n3"]
    assert [counts["pending"] for _, counts in store.requests()] == [1, 2]
    assert store.signed(FORMER, "n2", "")  # its reply will name no digest


def test_a_job_keeps_its_document(store: SessionStore, sender: RequestSender) -> None:
    """The job that a request hands in gets the new id, in what goes out and in the session."""
    job = Job(
        id=FORMER,
        revision=1,
        author="cert=alice",
        collective="mcs",
        session="s",
        agent="rpcutil",
        action="ping",
        created=1.0,
    )
    document = seal_job(job, sender._signer).body
    data = {"document": document.decode(), "signature": "s", "certificate": "c"}
    messages = [old(name, agent="job", action="submit", data=data) for name in NODES]
    store.add_all([NewRequest(record(), NODES, messages, [JobDocument(document, secret=False)])])
    reissue(store, sender)
    (kept,) = store.jobs.all()
    assert kept.id == kept.request == kept.job.id == store.requests()[0][0].id != FORMER
    for one in store.unconfirmed(9, 0.0):
        carried = read_job(json.loads(one.body)["data"]["document"].encode())
        assert carried == kept.job
    assert [entry.state for entry in store.entries(kept.id)] == [State.PENDING] * 3
    assert store.signed(kept.id, "n1", hashlib.sha256(kept.body).hexdigest())


def test_secret_inputs_are_forgotten_after_all(store: SessionStore, sender: RequestSender) -> None:
    """What the session's record had hidden is not kept beyond the time of the new request."""
    hidden = replace(record(), data={"token": "[redacted]"})
    store.add(hidden, NODES, [old(name, data={"token": "hunter2"}) for name in NODES])
    reissue(store, sender)
    fresh, _counts = store.requests()[0]
    assert b"hunter2" in store.unconfirmed(9, 0.0)[0].body
    store.forget_secrets(fresh.expires + 1)
    assert {one.body for one, _confirmed in store.outgoing(fresh.id)} == {b""}


@pytest.mark.parametrize(
    "body", [b"", b"{}", b'{"v":1,"kind":"request"}', old("n1", "cert=eve").body]
)
def test_what_is_no_request_of_ours_stays_as_it_is(
    store: SessionStore, sender: RequestSender, body: bytes
) -> None:
    """Its node refuses it; the requests behind it go out."""
    store.add(record(), ["n1"], [message("n1", body)])
    assert reissue(store, sender) == []
    assert [one.body for one, _confirmed in store.outgoing(FORMER)] == [body]


def test_a_job_that_cannot_be_read_stays_as_it_is(
    store: SessionStore, sender: RequestSender
) -> None:
    """A request whose document is no job is sent as it was kept."""
    broken = old("n1", agent="job", action="submit", data={"document": "{}"})
    store.add(record(), ["n1"], [broken])
    assert reissue(store, sender) == []
