"""A login's certificate signs nothing: each kind of document, and its twin that another signed."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from cryptography import x509

from mcshell.client.session.proof import open_sent
from mcshell.client.store.records import OutgoingMessage
from mcshell.errors import Reason, Rejected
from mcshell.message import (
    Duty,
    Filter,
    Job,
    Plan,
    Reply,
    Request,
    Rule,
    State,
    Step,
    Turn,
    Via,
    made_id,
    new_nonce,
)
from mcshell.pki import Authority, identity_of
from mcshell.wire.documents.envelope import (
    CERTIFICATE,
    SIGNATURE,
    Arrival,
    BodyLimits,
    SealedMessage,
    open_reply,
    open_request,
    seal_reply,
    seal_request,
)
from mcshell.wire.documents.job import open_job, seal_job
from mcshell.wire.documents.plan import open_plan, seal_plan
from mcshell.wire.documents.registration import (
    Registration,
    open_registration,
    seal_registration,
)
from mcshell.wire.documents.rule import open_kept_job, open_rule, seal_rule
from mcshell.wire.documents.signatures import Signer, Verifier
from mcshell.wire.documents.takeover import TAKEOVER, SessionClaim, open_claim, seal_claim
from mcshell.wire.documents.turn import (
    OPEN,
    TURN,
    open_turn_of_node,
    open_turn_of_operator,
    seal_turn,
)

if TYPE_CHECKING:
    from collections.abc import Callable

NOW = (
    time.time() + 3000
)  # whatever is issued while the tests before this one run is dated before it
LIMITS = BodyLimits()
NONCE = new_nonce()
WHOSE: dict[str, Any] = {"caller": "cert=alice", "collective": "mcs", "created": NOW}
AUTHORED: dict[str, Any] = {"author": "cert=alice", "collective": "mcs", "created": NOW}
ACTION: dict[str, Any] = {"agent": "rpcutil", "action": "ping", "data": {}}
ID = made_id("request", "cert=alice", NONCE)
REQUEST = Request(
    id=ID, nonce=NONCE, via=Via.BROADCAST, session="s", expires=NOW + 60, **ACTION, **WHOSE
)
REPLY = Reply(
    requestid=ID,
    sender="web1",
    sequence=2,
    statuscode=0,
    statusmsg="OK",
    data={},
    created=NOW,
    state=State.OK,
    digest="ab" * 32,
)
JOB = Job(id=ID, revision=1, session="s", **ACTION, **AUTHORED)
RULE = Rule(
    name="base",
    revision=1,
    expires=NOW + 60,
    filter=Filter(),
    duties=(Duty(name="a", **ACTION),),
    **AUTHORED,
)
PLAN = Plan(name="p", revision=1, steps=(Step(name="s", nodes=("web1",), **ACTION),), **AUTHORED)
TURNED: dict[str, Any] = {"protocol": "echo", "node": "web1", "session": "s", **WHOSE}
OPENING = Turn(
    id=made_id(TURN, "cert=alice", NONCE),
    word=OPEN,
    sequence=1,
    ack=0,
    limit=8,
    nonce=NONCE,
    **TURNED,
)
ANSWER = Turn(id=ID, word=TURN, sequence=1, ack=1, limit=8, digest="ab" * 32, **TURNED)
CLAIM = SessionClaim(kind=TAKEOVER, address="a", holder="h:1:x", epoch=2, rows=0, **WHOSE)
REGISTRATION = Registration(identity="web1", created=NOW, interval=300.0)


class Door(NamedTuple):
    """One kind of document: who signs it, how it is sealed and opened."""

    signer: str
    seal: Callable[[Signer], SealedMessage]
    open: Callable[[SealedMessage, Verifier], object]


def shown(message: SealedMessage, verifier: Verifier) -> object:
    """A job as a node tells of it."""
    headers = message.headers
    told = {
        "document": message.body.decode(),
        "signature": headers[SIGNATURE],
        "certificate": headers[CERTIFICATE],
    }
    return open_kept_job(told, ID, verifier)


def kept(message: SealedMessage, verifier: Verifier) -> object:
    """A request as a session file has it that is imported."""
    headers = message.headers
    outgoing = OutgoingMessage(
        request=ID,
        sender="*",
        destination="/topic/x",
        body=message.body,
        signature=headers[SIGNATURE],
        certificate=headers[CERTIFICATE],
    )
    return open_sent(outgoing, "cert=alice", verifier)


DOORS = {
    "request in a session file": Door("alice", lambda signer: seal_request(REQUEST, signer), kept),
    "request": Door(
        "alice",
        lambda signer: seal_request(REQUEST, signer),
        lambda m, v: open_request(
            m.body, m.headers, v, Arrival("mcs", Via.BROADCAST, "web1"), LIMITS, NOW
        ),
    ),
    "reply": Door(
        "web1",
        lambda signer: seal_reply(REPLY, signer),
        lambda m, v: open_reply(
            m.body, m.headers, v, LIMITS, NOW, lambda _: {"web1"}, lambda _: True
        ),
    ),
    "job": Door(
        "alice",
        lambda signer: seal_job(JOB, signer),
        lambda m, v: open_job(m.body, m.headers, v, LIMITS, NOW),
    ),
    "job that a node shows": Door("alice", lambda signer: seal_job(JOB, signer), shown),
    "rule": Door(
        "alice",
        lambda signer: seal_rule(RULE, signer),
        lambda m, v: open_rule(m.body, m.headers, v, LIMITS, NOW),
    ),
    "plan": Door(
        "alice",
        lambda signer: seal_plan(PLAN, signer),
        lambda m, v: open_plan(m.body, m.headers, v, LIMITS, NOW),
    ),
    "turn of an operator": Door(
        "alice",
        lambda signer: seal_turn(OPENING, signer),
        lambda m, v: open_turn_of_operator(
            m.body, m.headers, v, collective="mcs", node="web1", now=NOW
        ),
    ),
    "turn of a node": Door(
        "web1",
        lambda signer: seal_turn(ANSWER, signer),
        lambda m, v: open_turn_of_node(m.body, m.headers, v, NOW, lambda _: "web1"),
    ),
    "claim of a session": Door(
        "alice",
        lambda signer: seal_claim(CLAIM, signer),
        lambda m, v: open_claim(m.body, m.headers, v, "cert=alice", now=NOW),
    ),
    "registration": Door(
        "web1",
        lambda signer: seal_registration(REGISTRATION, signer),
        lambda m, v: open_registration(m.body, m.headers, v, LIMITS, NOW),
    ),
}


class Party:
    """A CA, an operator and a node, and logins of the same names."""

    def __init__(self, authority: Authority) -> None:
        self.authority = authority
        kinds = {"alice": "operator", "web1": "node"}
        self.honest = {n: Signer.from_pem(*authority.issue_pem(n, k)) for n, k in kinds.items()}
        self.logins = {n: Signer.from_pem(*authority.issue_pem(n, "login")) for n in kinds}
        self.verifier = Verifier(authority.ca_pem)


@pytest.fixture(scope="module")
def party(tmp_path_factory: pytest.TempPathFactory) -> Party:
    """One for all tests."""
    return Party(Authority.init(tmp_path_factory.mktemp("ca") / "ca"))


@pytest.mark.parametrize("kind", DOORS)
def test_what_a_login_signs_is_of_the_wrong_kind(party: Party, kind: str) -> None:
    """The document opens when its author has signed it, and is `wrong_kind` from the login of the
    same name.
    """
    door = DOORS[kind]
    door.open(door.seal(party.honest[door.signer]), party.verifier)
    forged = door.seal(party.logins[door.signer])
    with pytest.raises(Rejected, match="which signs nothing") as error:
        door.open(forged, party.verifier)
    assert error.value.reason is Reason.WRONG_KIND


def test_a_login_has_a_name_of_its_own_to_a_broker(party: Party) -> None:
    """Its kind is in the URI and in the common name, however long; no identity can be called so."""
    for name in ("carol", "n" * 100):
        pem, _ = party.authority.issue_pem(name, "login")
        certificate = x509.load_pem_x509_certificate(pem)
        found = identity_of(certificate)
        assert (found.kind, found.name) == ("login", name)
        (common,) = certificate.subject
        assert common.value == f"login:{name}"[:64]


def test_a_login_can_be_revoked_alone(party: Party) -> None:
    """`revoke NAME --kind login` leaves the identity's certificate; `revoke NAME` takes both."""
    authority = party.authority
    for kind in ("operator", "login"):
        authority.issue_pem("dora", kind)
    authority.revoke("dora", "login")
    assert status(authority) == {"operator": "valid", "login": "revoked"}
    authority.issue_pem("dora", "login")
    authority.revoke("dora")
    assert set(status(authority).values()) == {"revoked"}


def status(authority: Authority) -> dict[str, str]:
    """What dora's newest certificates are worth, by kind."""
    return {e["kind"]: e["status"] for e in authority.listing() if e["name"] == "dora"}
