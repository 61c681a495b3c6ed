"""The schemas that others build against say what our code writes and takes."""

from __future__ import annotations

import hashlib
import json
import re
import time
from dataclasses import asdict, replace
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mcshell.wire
from mcshell.ddl.ddl_library import builtin_dir, read
from mcshell.errors import Reason, Rejected
from mcshell.message import (
    Approval,
    Duty,
    Filter,
    Job,
    Proposal,
    Reply,
    Request,
    Rule,
    State,
    Turn,
    Via,
    When,
    made_id,
    run_id,
)
from mcshell.node.builtin.discovery import DISCOVERY
from mcshell.pki import Authority
from mcshell.wire.documents import strict_json
from mcshell.wire.documents.approval import (
    open_approval,
    open_proposal,
    seal_approval,
    seal_proposal,
)
from mcshell.wire.documents.crl import open_crl, seal_crl
from mcshell.wire.documents.envelope import (
    CERTIFICATE,
    RULE,
    SIGNATURE,
    Arrival,
    BodyLimits,
    digest_of,
    kind_of,
    open_reply,
    open_request,
    seal_reply,
    seal_request,
)
from mcshell.wire.documents.job import open_job, seal_job
from mcshell.wire.documents.registration import Registration, open_registration, seal_registration
from mcshell.wire.documents.rule import (
    duty_ids,
    open_rule,
    seal_rule,
)
from mcshell.wire.documents.signatures import Signer, Verifier
from mcshell.wire.documents.takeover import (
    HANDOVER,
    HOLDING,
    TAKEOVER,
    SessionClaim,
    open_claim,
    seal_claim,
)
from mcshell.wire.documents.turn import open_turn_of_node, open_turn_of_operator, seal_turn

HOME = Path(mcshell.wire.__file__).parent
SHIPPED = HOME.parents[1] / "agents"
SCHEMAS = {path.stem: json.loads(path.read_text()) for path in (HOME / "schemas").glob("*.json")}
PROTOCOL = (HOME / "PROTOCOL.md").read_text()
EXAMPLES = {
    kind: json.loads(text)
    for kind, text in re.findall(r"^```json (\w+)\n(.*?)^```", PROTOCOL, re.DOTALL | re.MULTILINE)
}
# Certificates are made when a test wants them, which may be long after this module was read.
NOW = time.time() + 3000
KINDS = (
    "request",
    "reply",
    "registration",
    "job",
    "rule",
    "crl",
    "claim",
    "turn",
    "proposal",
    "approval",
)

words = st.from_regex(r"[a-z0-9_-]{1,20}", fullmatch=True)
actions = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,20}", fullmatch=True)
ids = st.from_regex(r"[0-9a-f]{32}", fullmatch=True)
moments = st.floats(0, 1e11)
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20)
    | st.binary(max_size=20)
)
keys = st.text(max_size=8) | st.sampled_from(["$base64", "$", "$x"])
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=10,
)
objects = st.dictionaries(keys, values, max_size=4)
terms = st.lists(st.text(max_size=20), max_size=3).map(tuple)
names = st.lists(st.text(max_size=20), max_size=3).map(tuple)


@st.composite
def requests(draw):
    """Any request of alice's."""
    via, nonce = draw(st.sampled_from(Via)), draw(ids)
    created = draw(st.floats(0, 1e9))
    return Request(
        id=made_id("request", "cert=alice", nonce),
        nonce=nonce,
        agent=draw(words),
        action=draw(actions),
        caller="cert=alice",
        collective=draw(words),
        via=via,
        session=draw(words),
        created=created,
        expires=created + draw(st.floats(1, 1e6)),
        data=draw(objects),
        filter=draw(st.builds(Filter, terms, terms, terms, terms, terms)),
        identity="web1" if via in (Via.DIRECT, Via.QUEUE) else None,
        pool=draw(words) if via is Via.POOL else None,
    )


@st.composite
def replies(draw):
    """Any reply of web1's."""
    step = draw(st.integers(0, 2))
    final = [State.OK, State.FAILED, State.DENIED, State.INTERRUPTED, State.EXPIRED]
    state = draw(st.sampled_from([[State.RECEIVED], [State.RUNNING], final][step]))
    job = draw(st.none() | ids)
    run = draw(st.from_regex(r"[0-9T:./-]{1,30}", fullmatch=True)) if job else ""
    return Reply(
        requestid=run_id(job, run) if job else draw(ids),
        sender="web1",
        sequence=step + 3 * draw(st.integers(0, 1000)),
        statuscode=draw(st.integers(0, 5)) if step == 2 else None,
        statusmsg=draw(st.text(max_size=40)),
        data=draw(objects),
        created=draw(moments),
        state=state,
        job=job,
        run=run,
    )


@st.composite
def jobs(draw):
    """Any job of alice's."""
    recurs = draw(st.sampled_from([{}, {"cron": "0 4 * * 1"}, {"every": 3600.0}]))
    when = When(
        at=draw(st.none() | st.just("2026-11-25T04:00")), tz="node", splay=draw(st.floats(0, 86400))
    )
    if recurs:
        start = {"at": "2026-11-25T04:00"} if "every" in recurs else {}
        when = When(**recurs, **start, until=2e9)
    after = () if recurs else tuple(f"{one}:ok" for one in draw(st.lists(ids, max_size=2)))
    return Job(
        id=draw(ids),
        revision=draw(st.integers(1, 1_000_000)),
        author="cert=alice",
        collective=draw(words),
        session=draw(words),
        agent=draw(words),
        action=draw(actions),
        created=draw(moments),
        data=draw(objects),
        name=draw(words),
        when=when,
        after=after,
        retries=draw(st.integers(0, 1000)),
        backoff=draw(moments),
        max_runtime=draw(st.none() | st.floats(0.1, 1e9)),
    )


registrations = st.builds(
    Registration,
    identity=st.just("web1"),
    created=moments,
    interval=moments,
    facts=objects,
    classes=names,
    agents=names,
    collectives=names,
    pools=names,
    version=st.text(max_size=9),
    started=moments,
    crl=st.none() | st.integers(0, 1 << 62),
    audit=st.none()
    | st.tuples(st.integers(0, 1 << 62), st.from_regex(r"[0-9a-f]{64}", fullmatch=True)),
)
numbers = st.integers(0, 2**53)
turns = st.builds(
    Turn,
    id=st.just("0" * 32),
    nonce=ids,
    protocol=words,
    caller=st.just("cert=alice"),
    node=st.just("web1"),
    collective=words,
    session=words,
    word=st.sampled_from(["open", "turn", "close", "ack", "reset"]),
    sequence=st.integers(1, 2**53),
    ack=numbers,
    limit=numbers,
    created=moments,
    data=values,
).map(lambda turn: Turn(**{**asdict(turn), **numbered(turn)}))
replay_guard = st.builds(
    SessionClaim,
    kind=st.sampled_from([TAKEOVER, HANDOVER, HOLDING]),
    caller=st.just("cert=alice"),
    collective=words,
    address=words,
    holder=st.text(max_size=40),
    epoch=st.integers(0, 2**53),
    rows=st.integers(0, 2**53),
    created=moments,
)


def numbered(turn):
    """The sequence and the id that go with what the turn is."""
    more = {} if turn.word in ("open", "turn", "close") else {"sequence": 0}
    return {**more, "id": made_id("turn", turn.caller, turn.nonce)}


class Party:
    """A CA, an operator and a node; opens whatever it is given, as our code does."""

    def __init__(self, folder):
        authority = Authority.init(folder / "ca")
        self.alice = Signer.from_pem(*authority.issue_pem("alice", "operator"))
        self.web1 = Signer.from_pem(*authority.issue_pem("web1.example.com", "node"))
        self.short = Signer.from_pem(*authority.issue_pem("web1", "node"))
        self.verifier = Verifier(authority.ca_pem)

    def open(self, document):
        """Sign a document as whoever it is of, and open it as whoever gets it does."""
        body = json.dumps(document).encode()
        signer = self.web1 if document.get("kind") in ("reply", "registration") else self.alice
        headers = {SIGNATURE: signer.sign(body), CERTIFICATE: signer.certificate}
        message = body, headers, self.verifier
        limits, place = BodyLimits(), {"collective": "mcs", "node": "web1.example.com"}
        arrival = Arrival("mcs", Via.BROADCAST, "web1.example.com")
        ways = {
            "request": lambda: open_request(*message, arrival, limits, NOW),
            "reply": lambda: open_reply(*message, limits, NOW, lambda _id: {"web1"}, bool),
            "registration": lambda: open_registration(*message, limits, NOW),
            "job": lambda: open_job(*message, limits, NOW),
            "rule": lambda: open_rule(*message, limits, NOW, "mcs"),
            "crl": lambda: open_crl(*message, limits, NOW),
            "proposal": lambda: open_proposal(*message, limits, NOW),
            "approval": lambda: open_approval(*message, limits, NOW),
            "turn": lambda: open_turn_of_operator(*message, now=NOW, **place),
        }
        claim = lambda: open_claim(*message, "cert=alice", now=NOW)  # noqa: E731 - of three kinds
        return ways.get(document.get("kind"), claim)()


@pytest.fixture(scope="module")
def party(tmp_path_factory):
    """The participants, made once."""
    return Party(tmp_path_factory.mktemp("party"))


def example_of(kind):
    """The text's example, of now where that matters."""
    life = {"created": NOW, "expires": NOW + 60}
    made = {"created": NOW}
    moments = {"claim": made, "crl": made, "request": life, "rule": life, "proposal": life}
    moments["approval"] = {"author": "cert=alice", **made}
    return {**EXAMPLES[kind], **moments.get(kind, {})}


def check(kind, document):
    """Raise unless the document is what the schema of its kind says."""
    jsonschema.validate(document, SCHEMAS[kind], cls=jsonschema.Draft202012Validator)


@pytest.mark.parametrize("kind", KINDS)
def test_the_schemas_are_schemas(kind):
    """Each is valid, and fixes version and kind."""
    jsonschema.Draft202012Validator.check_schema(SCHEMAS[kind])
    assert SCHEMAS[kind]["properties"]["v"] == {"const": 2}
    assert set(SCHEMAS) == set(KINDS)


@settings(deadline=None, max_examples=60)
@given(request=requests())
def test_every_request_that_is_sealed_fits(party, request):
    """Whatever an operator of ours sends is what the schema says."""
    check("request", json.loads(seal_request(request, party.alice).body))


@settings(deadline=None, max_examples=60)
@given(reply=replies())
def test_every_reply_that_is_sealed_fits(party, reply):
    """Whatever a node of ours answers is what the schema says."""
    check("reply", json.loads(seal_reply(reply, party.short).body))


@settings(deadline=None, max_examples=60)
@given(registration=registrations)
def test_every_registration_that_is_sealed_fits(party, registration):
    """Whatever a node of ours says of itself is what the schema says."""
    check("registration", json.loads(seal_registration(registration, party.short).body))


@settings(deadline=None, max_examples=60)
@given(job=jobs())
def test_every_job_that_is_sealed_fits(party, job):
    """Whatever job is submitted is what the schema says."""
    check("job", json.loads(seal_job(job, party.alice).body))


@st.composite
def rules(draw):
    """Any rule of alice's."""
    duties = draw(st.lists(jobs(), max_size=3))
    return Rule(
        name=draw(actions),
        revision=draw(st.integers(1, 1_000_000)),
        author="cert=alice",
        collective=draw(words),
        created=draw(moments),
        expires=draw(moments),
        filter=draw(st.builds(Filter, terms, terms, terms, terms, terms)),
        duties=tuple(
            Duty(
                name=f"d{number}",
                agent=one.agent,
                action=one.action,
                data=one.data,
                when=one.when,
                after=() if one.when.recurs or not number else (f"d{number - 1}:ok",),
                retries=one.retries,
                backoff=one.backoff,
                max_runtime=one.max_runtime,
            )
            for number, one in enumerate(duties)
        ),
    )


@settings(deadline=None, max_examples=60)
@given(rule=rules())
def test_every_rule_that_is_sealed_fits(party, rule):
    """Whatever rule is written is what the schema says."""
    sealed = seal_rule(rule, party.alice)
    check("rule", json.loads(sealed.body))
    assert kind_of(sealed.body) == RULE


@st.composite
def proposals(draw):
    """Any proposal of alice's."""
    return Proposal(
        author="cert=alice",
        collective=draw(words),
        agent=draw(words),
        action=draw(actions),
        data=draw(objects),
        nodes=tuple(sorted(draw(st.sets(words, min_size=1, max_size=4)))),
        filter=draw(st.builds(Filter, terms, terms, terms, terms, terms)),
        schema=draw(st.from_regex(r"[0-9a-f]{64}", fullmatch=True)),
        created=draw(moments),
        expires=draw(moments),
        nonce=draw(ids),
        why=draw(st.sampled_from(["", "it burns"])),
    )


@settings(deadline=None, max_examples=60)
@given(proposal=proposals(), digest=st.from_regex(r"[0-9a-f]{64}", fullmatch=True), created=moments)
def test_every_proposal_and_approval_that_is_sealed_fits(party, proposal, digest, created):
    """Whatever an operator proposes or approves is what the schemas say."""
    check("proposal", json.loads(seal_proposal(proposal, party.alice).body))
    approval = Approval(author="cert=alice", proposal=digest, created=created)
    check("approval", json.loads(seal_approval(approval, party.alice).body))


def test_an_action_has_the_digest_that_the_text_says():
    """Written from the schema's document alone, as another language would."""
    path = builtin_dir() / "approval.json"
    (said,) = [one for one in json.loads(path.read_text())["actions"] if one["action"] == "show"]
    one = said["input"]["proposal"]
    described = {
        "action": ["approval", "show", said["description"]],
        "inputs": {
            "proposal": [
                *(one["type"], one["description"], one["optional"], None),
                *(one["validation"], one["maxlength"], [], False),
            ]
        },
        "mcshell": [20.0, True, False, []],
        "outputs": {
            name: [out["type"], out["description"]] for name, out in said["output"].items()
        },
    }
    text = json.dumps(described, sort_keys=True)
    assert text.isascii()
    schema = read(path).action("show")
    assert schema.digest == hashlib.sha256(text.encode()).hexdigest()


def test_the_ids_of_duties_are_made_as_the_text_says(party):
    """DIGEST/REVISION/IDENTITY/MACHINE/NAME, hashed."""
    body = json.dumps(EXAMPLES["rule"]).encode()
    rule = party.open(example_of("rule"))

    def digits(text):
        return hashlib.sha256(text).hexdigest()[:32]

    path = f"{digits(body)}/3/web1/m/openssl"
    assert duty_ids(body, rule, "web1", "m") == {"openssl": digits(path.encode())}


def test_a_revocation_list_that_is_sealed_fits(party):
    """It travels as the schema says, and comes back as it was."""
    message = seal_crl([b"\x30\x00", b"\x30\x01"], party.web1, NOW)
    check("crl", json.loads(message.body))
    opened = open_crl(message.body, message.headers, party.verifier, BodyLimits(), NOW)
    assert (opened.lists, opened.carrier) == ((b"\x30\x00", b"\x30\x01"), "cert=web1.example.com")


@settings(deadline=None, max_examples=60)
@given(claim=replay_guard)
def test_every_claim_that_is_sealed_fits(party, claim):
    """Whatever is said about who holds a session is what the schema says."""
    check("claim", json.loads(seal_claim(claim, party.alice).body))


@settings(deadline=None, max_examples=60)
@given(turn=turns)
def test_every_turn_that_is_sealed_fits_and_opens(party, turn):
    """Whatever is said in a conversation is what the schema says, and opens as it was."""
    sealed = seal_turn(turn, party.alice)
    check("turn", json.loads(sealed.body))
    place = {"collective": turn.collective, "node": "web1", "now": NOW}
    opened, _identity = open_turn_of_operator(sealed.body, sealed.headers, party.verifier, **place)
    digest = digest_of(sealed.body) if turn.word == "open" else ""
    assert opened == replace(turn, digest=digest)
    back = seal_turn(turn, party.short)
    assert turn == open_turn_of_node(
        back.body, back.headers, party.verifier, NOW, {turn.id: "web1"}.get
    )


def test_a_turn_is_believed_of_nobody_else(party):
    """A node does not take a node's turn, nor an operator an operator's, nor one for another."""
    turn = Turn(
        id="0" * 32,
        protocol="echo",
        caller="cert=alice",
        node="web1",
        collective="mcs",
        session="s",
        word="ack",
        sequence=0,
        ack=0,
        limit=33,
        created=NOW,
    )
    mine, theirs = seal_turn(turn, party.alice), seal_turn(turn, party.short)
    stolen = seal_turn(replace(turn, word="open", sequence=1, nonce="1" * 32), party.alice)
    verifier = party.verifier

    def at_node(sealed, collective="mcs", node="web1"):
        return lambda: open_turn_of_operator(
            sealed.body, sealed.headers, verifier, collective=collective, node=node, now=NOW
        )

    def at_operator(sealed, partner):
        return lambda: open_turn_of_node(sealed.body, sealed.headers, verifier, NOW, partner)

    cases = [
        (at_node(theirs), Reason.WRONG_KIND),
        (at_node(mine, collective="eu"), Reason.WRONG_COLLECTIVE),
        (at_node(mine, node="web2"), Reason.MISROUTED),
        (at_node(stolen), Reason.FOREIGN_ID),
        (at_operator(mine, lambda _id: "web1"), Reason.WRONG_KIND),
        (at_operator(theirs, lambda _id: None), Reason.UNKNOWN_REQUEST),
        (at_operator(theirs, lambda _id: "web2"), Reason.WRONG_SENDER),
        (at_operator(seal_turn(turn, party.web1), lambda _id: "web1"), Reason.WRONG_SENDER),
    ]
    for call, reason in cases:
        with pytest.raises(Rejected) as refused:
            call()
        assert refused.value.reason is reason


@pytest.mark.parametrize("kind", KINDS)
def test_the_examples_in_the_text_hold(party, kind):
    """Each example fits its schema, and our code takes it from whoever should have signed it."""
    example = example_of(kind)
    check(kind, EXAMPLES[kind])
    party.open(example)


def test_the_example_of_bytes_holds():
    """The escape in the text is read as the text says."""
    found = strict_json.loads(json.dumps(EXAMPLES["values"]).encode())
    assert found["bytes"] == b"\x00\xff"
    assert found["an object with the one key $base64"] == {"$base64": "AP8="}
    assert set(EXAMPLES) == {*KINDS, "values", "schema"}


@pytest.mark.parametrize("kind", KINDS)
def test_what_the_schema_demands_the_code_demands(party, kind):
    """Without any one of the required fields neither the schema nor our code takes a document."""
    example = example_of(kind)
    for missing in SCHEMAS[kind]["required"]:
        short = {name: value for name, value in example.items() if name != missing}
        with pytest.raises(jsonschema.ValidationError):
            check(kind, short)
        if missing in ("created", "kind"):
            continue  # the test itself asks for them
        with pytest.raises(Rejected):
            party.open(short)


@pytest.mark.parametrize("kind", KINDS)
def test_values_of_another_type_are_refused_by_both(party, kind):
    """A field of a type that it cannot have is refused by the schema and by our code."""
    example = example_of(kind)
    for name in SCHEMAS[kind]["required"]:
        if name in ("data", "created", "kind") and kind != "reply":
            continue
        wrong = {**example, name: [{"no": "such"}]}
        with pytest.raises(jsonschema.ValidationError):
            check(kind, wrong)
        if name not in ("created", "kind"):
            with pytest.raises(Rejected):
                party.open(wrong)


def test_every_reason_is_in_the_text():
    """Each code with which a message is refused is named in PROTOCOL.md."""
    missing = [reason.value for reason in Reason if f"`{reason.value}`" not in PROTOCOL]
    assert not missing


def by_the_text(path: Path, action: str) -> dict:
    """What a proposal's `schema` is the digest of, read from a DDL by what the text says alone."""
    document = json.loads(path.read_text())
    entry = next(one for one in document["actions"] if one["action"] == action)
    ours = entry.get("mcshell", {})
    secret = sorted(ours.get("sensitive", []))
    timeout = float(ours.get("timeout", document["metadata"]["timeout"]))
    inputs = {
        name: [
            *(one.get("type", "any"), one.get("description", ""), one.get("optional", False)),
            *(one.get("default"), one.get("validation"), one.get("maxlength", 0)),
            *(one.get("list", []), name in secret),
        ]
        for name, one in entry["input"].items()
    }
    outputs = {
        name: [one.get("type", "any"), one.get("description", "")]
        for name, one in entry["output"].items()
    }
    flags = [timeout, ours.get("rerun_safe", False), ours.get("changes", True), secret]
    title = [document["metadata"]["name"], action, entry.get("description", "")]
    return {"action": title, "inputs": inputs, "mcshell": flags, "outputs": outputs}


@pytest.mark.parametrize("path", [*SHIPPED.glob("*.json"), *builtin_dir().glob("*.json")], ids=str)
def test_the_digest_of_a_schema_can_be_made_by_the_text(path):
    """By the text's words alone the digest that a proposal names comes out as nodes make it, for what ships."""
    for name, action in read(path).actions.items():
        text = json.dumps(by_the_text(path, name), sort_keys=True)
        assert hashlib.sha256(text.encode()).hexdigest() == action.digest, name


def test_the_example_of_a_schema_is_that_of_the_proposal():
    """The text shows a schema as it is written, and the example's proposal has its digest."""
    shown = EXAMPLES["schema"]
    assert shown == by_the_text(SHIPPED / "service.json", "restart")
    digest = hashlib.sha256(json.dumps(shown, sort_keys=True).encode()).hexdigest()
    assert EXAMPLES["proposal"]["schema"] == digest


def test_what_every_operator_may_ask_is_told():
    """Each input and output of `discovery` is named in the text, beside its action."""
    about = PROTOCOL.partition("## Being a node")[2].partition("\n## ")[0]
    told = dict(re.findall(r"^- `(\w+)` (.*?)(?=^- |^\n|\Z)", about, re.DOTALL | re.MULTILINE))
    for action in DISCOVERY["actions"]:
        names = [*action["input"], *action["output"]]
        text = told[action["action"]]
        assert [name for name in names if f"`{name}`" not in text] == [], action["action"]
