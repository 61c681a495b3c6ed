"""The document of a job: what is written is read again, what is wrong is refused."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcshell.errors import InputError, Rejected, UsageError
from mcshell.message import Job, When, new_nonce, run_id
from mcshell.pki import Authority
from mcshell.wire.documents.envelope import BodyLimits, SealedMessage
from mcshell.wire.documents.job import open_job, seal_job
from mcshell.wire.documents.rule import read_job
from mcshell.wire.documents.signatures import Signer, Verifier

if TYPE_CHECKING:
    from pathlib import Path

NOW = 1_795_000_000.0


class Party:
    """A CA, an operator, another, a node."""

    def __init__(self, folder: Path) -> None:
        authority = Authority.init(folder, "fleet")
        self.alice = Signer.from_pem(*authority.issue_pem("alice", "operator"))
        self.bob = Signer.from_pem(*authority.issue_pem("bob", "operator"))
        self.node = Signer.from_pem(*authority.issue_pem("web1", "node"))
        self.verifier = Verifier(authority.ca_pem)
        self.now = self.alice.identity.not_before + 3600

    def open(self, sealed: SealedMessage, **limits: Any) -> Job:
        """What a node makes of it."""
        return open_job(sealed.body, sealed.headers, self.verifier, BodyLimits(**limits), self.now)

    def sign(self, document: Any, signer: Signer | None = None) -> SealedMessage:
        """Any document, signed as it is."""
        from mcshell.wire.documents.envelope import sealed

        return sealed(json.dumps(document).encode(), signer or self.alice)


@pytest.fixture(scope="module")
def party(tmp_path_factory: pytest.TempPathFactory) -> Party:
    """One for all tests: nothing in it changes."""
    return Party(tmp_path_factory.mktemp("pki") / "ca")


JOB = Job(
    id="0123456789abcdef0123456789abcdef",
    revision=3,
    author="cert=alice",
    collective="mcs",
    session="patch-friday",
    agent="package",
    action="update",
    created=NOW,
    data={"name": "openssl", "raw": b"\xff\x00", "$base64": "no"},
    name="patch Friday",
    when=When(cron="0 4 * * 5", tz="Europe/Vienna", splay=1800.0, until=NOW + 1e6),
    retries=2,
    backoff=30.0,
    max_runtime=3600.0,
)
DOCUMENT = {"v": 2, "kind": "job", **asdict(JOB), "after": [], "data": {"name": "openssl"}}


def test_what_is_sealed_is_opened(party: Party) -> None:
    """A job comes back as it was, bytes in its inputs and all."""
    sealed = seal_job(JOB, party.alice)
    assert party.open(sealed) == JOB
    assert read_job(sealed.body) == JOB


@given(
    data=st.dictionaries(st.text(max_size=8), st.integers(-(2**60), 2**60) | st.text(max_size=8)),
    after=st.lists(st.sampled_from(["ok", "failed", "done"]), max_size=3),
    splay=st.floats(0, 1e6),
    late=st.floats(0, 1e6),
)
@settings(max_examples=50, deadline=None)
def test_any_job_comes_back(party: Party, data: Any, after: Any, splay: float, late: float) -> None:
    """Whatever can be sealed is the same when it is opened."""
    job = replace(
        JOB,
        data=data,
        after=tuple(f"{new_nonce()}:{need}" for need in after),
        when=When(at="2026-11-25T04:00", splay=splay, late=late),
    )
    assert party.open(seal_job(job, party.alice)) == job


@pytest.mark.parametrize(
    ("job", "what"),
    [
        (replace(JOB, author="cert=bob"), "cannot be signed by"),
        (replace(JOB, revision=0), "revision"),
        (replace(JOB, name="a\nb"), "printable"),
        (replace(JOB, max_runtime=0.0), "max_runtime"),
        (replace(JOB, when=replace(JOB.when, until=None)), "until"),
        (replace(JOB, after=(f"{JOB.id}:ok",)), "after does not go with"),
        (replace(JOB, when=When(tz="Mars")), "no time zone"),
        (replace(JOB, when=When(), after=("x:ok",)), "after"),
        (replace(JOB, when=When(), after=(f"{JOB.id}:maybe",)), "after"),
        (replace(JOB, retries=10**6), "retries"),
        (replace(JOB, session="No/Session"), "session"),
    ],
)
def test_what_no_node_would_take_is_not_sent(party: Party, job: Job, what: str) -> None:
    """The author hears of it at once, before anything is signed."""
    with pytest.raises(UsageError, match=re.escape(what)):
        seal_job(job, party.alice)


def test_inputs_that_json_cannot_carry(party: Party) -> None:
    """An input that JSON cannot carry is named."""
    with pytest.raises(InputError):
        seal_job(replace(JOB, data={"x": object()}), party.alice)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"v": 1}, "wrong_version"),
        ({"kind": "request"}, "wrong_kind"),
        ({"id": "x"}, "malformed"),
        ({"revision": True}, "malformed"),
        ({"author": "cert=bob"}, "caller_mismatch"),
        ({"agent": "../x"}, "malformed"),
        ({"data": []}, "malformed"),
        ({"name": 7}, "malformed"),
        ({"when": {"at": "soon", "tz": "UTC", "splay": 0, "late": 0}}, "malformed"),
        ({"when": {**DOCUMENT["when"], "surprise": 1}}, "malformed"),
        ({"when": {**DOCUMENT["when"], "splay": -1}}, "malformed"),
        ({"when": {**DOCUMENT["when"], "cron": "* * * * * *"}}, "malformed"),
        ({"after": "all"}, "malformed"),
        ({"after": [f"{JOB.id}:ok"] * 101}, "malformed"),
        ({"backoff": "1"}, "malformed"),
        ({"created": -1}, "malformed"),
    ],
)
def test_what_a_node_refuses(party: Party, change: dict[str, Any], reason: str) -> None:
    """A document that its author signed all the same is refused with its reason."""
    assert party.open(party.sign(DOCUMENT)).data == {"name": "openssl"}
    with pytest.raises(Rejected) as caught:
        party.open(party.sign({**DOCUMENT, **change}))
    assert caught.value.reason.value == reason


@pytest.mark.parametrize("key", sorted(DOCUMENT.keys() - {"max_runtime"}))
def test_no_field_may_be_missing(party: Party, key: str) -> None:
    """Every field but `max_runtime` must be there."""
    with pytest.raises(Rejected):
        party.open(party.sign({name: value for name, value in DOCUMENT.items() if name != key}))


def test_who_may_sign(party: Party) -> None:
    """A node signs no jobs, nobody signs another's, and a changed byte is seen."""
    with pytest.raises(Rejected, match="node"):
        party.open(party.sign({**DOCUMENT, "author": "cert=web1"}, party.node))
    with pytest.raises(Rejected, match="signed by"):
        party.open(party.sign(DOCUMENT, party.bob))
    sealed = seal_job(JOB, party.alice)
    for changed in (sealed.body.replace(b"openssl", b"opensst"), sealed.body[:-1], b""):
        with pytest.raises(Rejected):
            party.open(SealedMessage(changed, sealed.headers))
    with pytest.raises(Rejected):
        party.open(sealed, max_body=100)


@given(body=st.binary(max_size=300) | st.text(max_size=100).map(str.encode))
@settings(max_examples=200, deadline=None)
def test_any_bytes_are_refused(body: bytes) -> None:
    """Bytes that are no job are refused, whatever they are."""
    with pytest.raises(Rejected):
        read_job(body)


def test_runs_have_names_of_their_own() -> None:
    """A run's id depends on the job and on the name of its start, and looks like any request's."""
    ids = {run_id(job, run) for job in ("a" * 32, "b" * 32) for run in ("04:00", "04:00/2")}
    assert len(ids) == 4
    assert all(re.fullmatch(r"[0-9a-f]{32}", one) for one in ids)
