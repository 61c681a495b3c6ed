"""Versions, depths and runs of jobs: what an envelope says of itself, and by which rules it is read."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from mcshell.errors import Reason, Rejected
from mcshell.message import Reply, Request, State, Via, made_id, new_nonce, run_id
from mcshell.pki import Authority
from mcshell.wire.documents.envelope import (
    Arrival,
    BodyLimits,
    is_old,
    open_reply,
    open_request,
    seal_reply,
    seal_request,
    verified,
    version_of,
)
from mcshell.wire.documents.signatures import Signer, Verifier
from tests.hostile.forge import as_version_1

if TYPE_CHECKING:
    from mcshell.wire.documents.envelope import SealedMessage

JOB = "a" * 32


class Party:
    """A CA, alice, web1, and who verifies both."""

    def __init__(self, folder) -> None:
        authority = Authority.init(folder / "ca")
        self.alice = Signer.from_pem(*authority.issue_pem("alice", "operator"))
        self.web1 = Signer.from_pem(*authority.issue_pem("web1", "node"))
        self.verifier = Verifier(authority.ca_pem)

    def asked(self, **data: object) -> SealedMessage:
        """A request of alice's."""
        now, nonce = time.time(), new_nonce()
        return seal_request(
            Request(
                id=made_id("request", "cert=alice", nonce),
                nonce=nonce,
                agent="mark",
                action="once",
                caller="cert=alice",
                collective="mcs",
                via=Via.BROADCAST,
                session="s",
                created=now,
                expires=now + 60,
                data=data,
            ),
            self.alice,
        )


@pytest.fixture(scope="module")
def party(tmp_path_factory: pytest.TempPathFactory) -> Party:
    """The participants, made once."""
    return Party(tmp_path_factory.mktemp("party"))


def test_a_stored_body_says_its_version(party: Party) -> None:
    """1 or 2; what says another, or is none, is refused and not taken for an old one."""
    now = party.asked()
    old = as_version_1(now, party.alice)
    assert (version_of(old.body), version_of(now.body), version_of(b"[]")) == (1, 2, 2)
    assert (is_old(old.body), is_old(now.body), is_old(b'{"a":1,"v":1}')) == (True, False, True)
    for body in (b"no json", b'{"v":3}', b'{"v":"1"}', b'{"v":true}', b'{"a":1,"v":2}', b"[]"):
        assert not is_old(body)
    for body in (b'{"v":3}', b'{"v":true}', b"{}"):
        with pytest.raises(Rejected) as caught:
            version_of(body)
        assert caught.value.reason is Reason.WRONG_VERSION


def test_what_was_stored_is_verified_by_the_rules_of_its_version(party: Party) -> None:
    """At rest a message of version 1 holds; on the wire it is told which version is spoken."""
    old = as_version_1(party.asked(), party.alice)
    now = time.time()
    assert verified(old.body, old.headers, party.verifier, now, stored=True).name == "alice"
    with pytest.raises(Rejected) as caught:
        verified(old.body, old.headers, party.verifier, now)
    assert caught.value.reason is Reason.WRONG_VERSION
    with pytest.raises(Rejected) as caught:
        verified(old.body, {}, party.verifier, now, stored=True)
    assert caught.value.reason is Reason.UNSIGNED


@pytest.mark.parametrize(("most", "taken"), [(5, True), (4, False)])
def test_how_deep_a_document_may_be_is_the_receivers_to_say(
    party: Party, most: int, *, taken: bool
) -> None:
    """As deep as its limit and no deeper, whatever others take."""
    sealed = party.asked(x={"a": {"b": {"c": 1}}})
    arrival, limits = Arrival("mcs", Via.BROADCAST, "web1"), BodyLimits(max_depth=most)
    asked = (sealed.body, sealed.headers, party.verifier, arrival, limits, time.time())
    if taken:
        assert open_request(*asked).data == {"x": {"a": {"b": {"c": 1}}}}
        return
    with pytest.raises(Rejected) as caught:
        open_request(*asked)
    assert caught.value.reason is Reason.TOO_DEEP


def test_a_run_of_a_job_is_known_by_its_job(party: Party) -> None:
    """Nobody here has seen its id; that of a job which nobody handed in, or of no job, is unknown."""

    def opened(expected: dict[str, set[str]], job: str | None = JOB):
        run = "2026-11-26T04:00" if job else ""
        reply = Reply(
            requestid=run_id(job, run) if job else "b" * 32,
            sender="web1",
            sequence=2,
            statuscode=0,
            statusmsg="OK",
            data={},
            created=time.time(),
            state=State.OK,
            job=job,
            run=run,
        )
        sealed = seal_reply(reply, party.web1)
        return open_reply(
            sealed.body,
            sealed.headers,
            party.verifier,
            BodyLimits(),
            time.time(),
            expected.get,
            lambda _reply: True,
        )

    assert opened({f"job:{JOB}": {"web1"}}).expected
    assert not opened({f"job:{JOB}": {"web2"}}).expected
    known = run_id(JOB, "2026-11-26T04:00")
    assert opened({known: {"web1"}, f"job:{JOB}": set()}).expected
    for expected, job in (({f"job:{'c' * 32}": {"web1"}}, JOB), ({"job:None": {"web1"}}, None)):
        with pytest.raises(Rejected) as caught:
            opened(expected, job)
        assert caught.value.reason is Reason.UNKNOWN_REQUEST
