"""The envelope: what is sealed opens as it was, and nothing else opens at all."""

from __future__ import annotations

import hashlib
import json
import math
import time
from dataclasses import replace
from types import MappingProxyType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcshell.errors import AgentError, InputError, Reason, Rejected, UsageError
from mcshell.message import Filter, Reply, Request, State, Via, made_id, new_nonce
from mcshell.pki import Authority
from mcshell.wire.documents import strict_json
from mcshell.wire.documents.envelope import (
    CERTIFICATE,
    SIGNATURE,
    Arrival,
    BodyLimits,
    SealedMessage,
    open_reply,
    open_request,
    read_reply,
    read_request,
    seal_reply,
    seal_request,
)
from mcshell.wire.documents.signatures import Signer, Verifier

NOW = 1_800_000_000.0
LIMITS = BodyLimits()

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
    | st.binary(max_size=40)
)
keys = st.text(max_size=12) | st.sampled_from(["$base64", "$$base64", "$", "$x"])
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=25,
)
documents = st.dictionaries(keys, values, max_size=5)


class Party:
    """A CA, an operator, a node and a verifier whose clock is the tests'."""

    def __init__(self, folder):
        authority = Authority.init(folder / "ca")
        ages = {"not_before": NOW - 86_400, "lifetime": 30 * 86_400.0}
        self.alice = Signer.from_pem(*authority.issue_pem("alice", "operator", **ages))
        self.web1 = Signer.from_pem(*authority.issue_pem("web1", "node", **ages))
        self.verifier = Verifier(authority.ca_pem)


@pytest.fixture(scope="module")
def party(tmp_path_factory):
    """The participants, made once."""
    return Party(tmp_path_factory.mktemp("party"))


DIGEST = "ab" * 32
"""Of the one body that was asked with."""


def request(**other):
    """A request by broadcast, made now."""
    nonce = new_nonce()
    fields = {
        "id": made_id("request", "cert=alice", nonce),
        "nonce": nonce,
        "agent": "rpcutil",
        "action": "ping",
        "caller": "cert=alice",
        "collective": "mcs",
        "via": Via.BROADCAST,
        "session": "scratch-1",
        "created": NOW,
        "expires": NOW + 60,
    }
    return Request(**{**fields, **other})


def reply(**other):
    """A final reply of web1."""
    fields = {
        "requestid": "0" * 32,
        "sender": "web1",
        "sequence": 2,
        "statuscode": 0,
        "statusmsg": "OK",
        "data": {"pong": 1},
        "created": NOW,
        "state": State.OK,
        "digest": DIGEST,
    }
    return Reply(**{**fields, **other})


def opened(party, sealed, arrival=None, now=NOW, limits=LIMITS):
    """Open a request that came in by broadcast, unless `arrival` says otherwise."""
    arrival = arrival or Arrival("mcs", Via.BROADCAST, "web1")
    return open_request(sealed.body, sealed.headers, party.verifier, arrival, limits, now)


def answered(party, sealed, targets=frozenset({"web1"}), limits=LIMITS):
    """Open a reply to a request with these targets."""
    return open_reply(
        sealed.body,
        sealed.headers,
        party.verifier,
        limits,
        NOW,
        lambda _id: targets,
        lambda reply: reply.digest == DIGEST,
    )


def signed(body, signer):
    """Any body, signed."""
    return SealedMessage(body, {SIGNATURE: signer.sign(body), CERTIFICATE: signer.certificate})


def arrived(asked, sealed):
    """A request as its node has it: it knows which bytes it answers."""
    return replace(asked, digest=hashlib.sha256(sealed.body).hexdigest())


def refusal(call, *args, **kwargs):
    """The reason for which a call is refused."""
    with pytest.raises(Rejected) as caught:
        call(*args, **kwargs)
    return caught.value.reason


@settings(deadline=None)
@given(data=documents, text=st.text(max_size=30))
def test_a_request_opens_as_it_was_sealed(party, data, text):
    """Any JSON data, bytes, large integers and odd keys included, comes back equal."""
    asked = request(data=data, filter=Filter(fact=(text,), compound=(text, text)))
    sealed = seal_request(asked, party.alice)
    assert opened(party, sealed) == arrived(asked, sealed)


@settings(deadline=None)
@given(data=documents, text=st.text())
def test_a_reply_opens_as_it_was_sealed(party, data, text):
    """The node's replies come back equal, and whether they were expected."""
    said = reply(data=data, statusmsg=text)
    result = answered(party, seal_reply(said, party.web1))
    assert result.reply == said
    assert result.expected
    assert result.identity.name == "web1"


@settings(deadline=None)
@given(data=st.data())
def test_a_mutated_body_is_only_ever_rejected(party, data):
    """Any changed, added or removed byte of a signed body is Rejected, and raises nothing else."""
    sealed = seal_reply(reply(data={"text": "é", "n": [1, 2.5, None]}), party.web1)
    body = sealed.body
    place = data.draw(st.integers(0, len(body) - 1))
    instead = data.draw(st.binary(max_size=3).filter(lambda b: b != body[place : place + 1]))
    changed = SealedMessage(body[:place] + instead + body[place + 1 :], sealed.headers)
    if changed.body != body:
        refusal(answered, party, changed)


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_signed_junk_is_only_ever_rejected(party, body):
    """Bytes that somebody with a good key signed, but that are no message, raise Rejected."""
    refusal(opened, party, signed(body, party.alice))
    refusal(answered, party, signed(body, party.web1))


@settings(deadline=None)
@given(documents)
def test_signed_documents_of_another_shape_are_only_ever_rejected(party, document):
    """JSON that is no envelope is Rejected, in either direction."""
    body = strict_json.dumps({**document, "v": 2, "kind": "request"})
    refusal(opened, party, signed(body, party.alice))
    refusal(answered, party, signed(body, party.web1))


WRONG_TYPES = {
    "v": [0, 1, 3, "2", None, True, 2.0],
    "id": [None, 5, "", "x" * 32, "0" * 31, "0" * 33],
    "collective": [None, "", "a.b", "A", "x" * 200],
    "via": [None, "", "courier", 1],
    "identity": ["", "a b", 5, "x" * 300, ["web1"]],
    "pool": ["", "a b", 5],
    "agent": [None, "", "../x", "a.b", "Package"],
    "action": [None, "", "a b", "../x", ".hidden"],
    "data": [None, [], "x", 1],
    "filter": [None, {}, {"fact": "x"}, []],
    "caller": [None, "", "cert=a b"],
    "session": [None, "", "a.b"],
    "created": [None, "now", -1, True, 1e300],
    "expires": [None, "then", -1, False, 1e300],
}


@pytest.mark.parametrize("name", WRONG_TYPES)
def test_each_field_of_a_request_is_of_its_type(party, name):
    """A field of another type or form, even signed by an operator, is malformed."""
    document = json.loads(seal_request(request(), party.alice).body)
    reason = Reason.WRONG_VERSION if name == "v" else Reason.MALFORMED
    for value in WRONG_TYPES[name]:
        body = json.dumps({**document, name: value}).encode()
        assert refusal(opened, party, signed(body, party.alice)) is reason, value


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("sender", [None, "", 5]),
        ("sequence", [None, -1, 1.0, True, 10**9]),
        ("statuscode", [None, -1, 6, "0", False]),
        ("statusmsg", [None, 5]),
        ("data", [None, []]),
        ("created", [None, "x"]),
        ("state", [None, "fine", "pending", "silent", "running", 1]),
    ],
)
def test_each_field_of_a_reply_is_of_its_type(party, name, wrong):
    """A field of another type, or one that contradicts the others, is malformed."""
    document = json.loads(seal_reply(reply(), party.web1).body)
    for value in wrong:
        body = json.dumps({**document, name: value}).encode()
        assert refusal(answered, party, signed(body, party.web1)) is Reason.MALFORMED, value


@pytest.mark.parametrize("attempt", [0, 3, 6])
def test_sequence_state_and_statuscode_agree(party, attempt):
    """Of each attempt, only the final reply has a statuscode, and each number its states."""
    for number, states in (
        (0, {State.RECEIVED}),
        (1, {State.RUNNING}),
        (2, {State.OK, State.FAILED, State.DENIED, State.INTERRUPTED, State.EXPIRED}),
    ):
        code = 1 if number == 2 else None
        for state in State:
            said = reply(sequence=attempt + number, state=state, statuscode=code)
            if state in states:
                assert answered(party, seal_reply(said, party.web1)).reply == said
            else:
                with pytest.raises(AgentError):
                    seal_reply(said, party.web1)
        wrong = None if number == 2 else 0
        with pytest.raises(AgentError):
            seal_reply(replace(said, state=min(states), statuscode=wrong), party.web1)


def test_an_unknown_field_is_overlooked(party):
    """What a later version adds is signed with the rest, and ignored by us."""
    asked = request()
    document = {**json.loads(seal_request(asked, party.alice).body), "later": [1]}
    sealed = signed(json.dumps(document).encode(), party.alice)
    assert opened(party, sealed) == arrived(asked, sealed)


def test_a_request_comes_in_where_it_was_sent(party):
    """Each way has its own address; any other is misrouted."""
    arrivals = {
        Via.BROADCAST: Arrival("mcs", Via.BROADCAST, "web1"),
        Via.DIRECT: Arrival("mcs", Via.DIRECT, "web1"),
        Via.QUEUE: Arrival("mcs", Via.QUEUE, "web1"),
        Via.POOL: Arrival("mcs", Via.POOL, "web1", "sms"),
    }
    requests = {
        Via.BROADCAST: request(),
        Via.DIRECT: request(via=Via.DIRECT, identity="web1"),
        Via.QUEUE: request(via=Via.QUEUE, identity="web1"),
        Via.POOL: request(via=Via.POOL, pool="sms"),
    }
    for sent, asked in requests.items():
        sealed = seal_request(asked, party.alice)
        for came, arrival in arrivals.items():
            if sent is came:
                assert opened(party, sealed, arrival) == arrived(asked, sealed)
            else:
                assert refusal(opened, party, sealed, arrival) is Reason.MISROUTED
    for asked in (
        request(identity="web1"),
        request(pool="sms"),
        request(via=Via.DIRECT),
        request(via=Via.DIRECT, identity="web2"),
        request(via=Via.DIRECT, identity="web1", pool="sms"),
        request(via=Via.POOL, pool="mail"),
        request(via=Via.POOL, pool="sms", identity="web1"),
    ):
        sealed = seal_request(asked, party.alice)
        assert refusal(opened, party, sealed, arrivals[asked.via]) is Reason.MISROUTED


@pytest.mark.parametrize(
    ("created", "expires", "expected"),
    [
        (0, 60, None),
        (-60, 0, None),
        (-60, -0.5, Reason.EXPIRED),
        (60, 120, None),
        (60.5, 120, Reason.FROM_FUTURE),
        (0, 180 * 86_400, None),
        (0, 180 * 86_400 + 1, Reason.MALFORMED),
        (0, 0, Reason.MALFORMED),
        (0, -1, Reason.MALFORMED),
    ],
)
def test_dates_have_their_bounds(party, created, expires, expected):
    """Expiry is exact, the clock's skew is bounded, and a ttl is positive and not over the limit."""
    sealed = seal_request(request(created=NOW + created, expires=NOW + expires), party.alice)
    if expected is None:
        opened(party, sealed)
    else:
        assert refusal(opened, party, sealed) is expected


def test_the_first_check_that_fails_gives_the_reason(party):
    """Size goes before signature, signature before kind, kind before what the document says."""
    large = SealedMessage(b"x" * (LIMITS.max_body + 1), {})
    assert refusal(opened, party, large) is Reason.TOO_LARGE
    assert refusal(answered, party, large) is Reason.TOO_LARGE
    assert refusal(opened, party, SealedMessage(b"junk", {})) is Reason.UNSIGNED
    assert refusal(opened, party, signed(b"junk", party.web1)) is Reason.WRONG_KIND
    assert refusal(opened, party, signed(b"junk", party.alice)) is Reason.NOT_JSON
    assert refusal(answered, party, SealedMessage(b"junk", {})) is Reason.NOT_JSON
    asked = request(collective="eu", via=Via.DIRECT, identity="web9", expires=NOW - 1, created=1.0)
    document = {**json.loads(seal_request(asked, party.alice).body), "caller": "cert=bob"}
    for field, value, expected in (
        ("caller", "cert=alice", Reason.CALLER_MISMATCH),
        ("collective", "mcs", Reason.WRONG_COLLECTIVE),
        ("via", "broadcast", Reason.MISROUTED),
        ("identity", None, Reason.MISROUTED),
        ("created", NOW - 60, Reason.MALFORMED),
        ("expires", NOW + 1, Reason.EXPIRED),
    ):
        body = json.dumps(document).encode()
        limits = replace(LIMITS, max_ttl=1e8)
        assert refusal(opened, party, signed(body, party.alice), limits=limits) is expected
        document[field] = value
    opened(party, signed(json.dumps(document).encode(), party.alice))


def test_nobody_looks_at_a_signature_for_an_unknown_request(party):
    """Replies to what was not asked cost no signature check."""
    sealed = seal_reply(reply(), party.web1)
    assert refusal(answered, party, sealed, None) is Reason.UNKNOWN_REQUEST
    assert refusal(answered, party, SealedMessage(sealed.body, {}), None) is Reason.UNKNOWN_REQUEST


def test_a_verified_stranger_is_told_apart_from_a_target(party):
    """A node that was no target is verified like the others, and flagged."""
    result = answered(party, seal_reply(reply(), party.web1), frozenset({"web2"}))
    assert not result.expected
    assert result.reply.sender == "web1"


def test_a_reply_is_its_signers_own(party):
    """Neither another node's name nor an operator's key makes a reply."""
    stolen = seal_reply(reply(sender="web2"), party.web1)
    assert refusal(answered, party, stolen) is Reason.WRONG_SENDER
    operators = seal_reply(reply(sender="alice"), party.alice)
    assert refusal(answered, party, operators) is Reason.WRONG_KIND


def test_a_stored_message_is_read_without_its_signature(party):
    """What was verified when it came in is read again from its bytes alone."""
    asked, said = request(data={"x": b"\xff"}), reply()
    sealed = seal_request(asked, party.alice)
    assert read_request(sealed.body) == arrived(asked, sealed)
    body = seal_reply(said, party.web1).body
    assert read_reply(body, trust="psk") == replace(said, trust="psk")
    assert refusal(read_reply, b"{}") is Reason.WRONG_VERSION


def test_nothing_is_sealed_that_would_not_open(party):
    """A value that JSON cannot carry is an error at the sender, which names its place."""
    with pytest.raises(InputError, match=r"data\.a\[\]: nan"):
        seal_request(request(data={"a": [math.nan]}), party.alice)
    with pytest.raises(AgentError, match=r"data\.x: a set does not travel") as caught:
        seal_reply(reply(data={"x": {1}}), party.web1)
    assert caught.value.statuscode == 5
    for value in (
        2**64,
        -(2**63) - 1,
        math.inf,
        object(),
        {(1,): 2},
        {1: 2, "1": 3},
        {"\udc80": 1},
    ):
        with pytest.raises(AgentError):
            seal_reply(reply(data={"x": value}), party.web1)
    loop: list[object] = []
    loop.append(loop)
    with pytest.raises(AgentError, match="nested too deeply, or in itself"):
        seal_reply(reply(data={"x": loop}), party.web1)


def test_a_request_is_signed_by_its_caller(party):
    """Nobody seals a request in another's name, nor with a field no node would take."""
    with pytest.raises(UsageError, match="cert=bob cannot be signed by cert=alice"):
        seal_request(request(caller="cert=bob"), party.alice)
    with pytest.raises(UsageError, match="agent: not of its form"):
        seal_request(request(agent="no agent"), party.alice)


def test_what_is_no_text_travels_as_bytes(party):
    """A file name that is not UTF-8 does not spoil the reply it stands in."""
    data = {"name": "caf\udce9", "tuple": (1, 2), "view": MappingProxyType({"a": 1}), "n": {7: 1}}
    result = answered(party, seal_reply(reply(data=data), party.web1))
    assert result.reply.data == {
        "name": b"caf\xe9",
        "tuple": [1, 2],
        "view": {"a": 1},
        "n": {"7": 1},
    }


def test_depth_is_counted_outside_strings():
    """Brackets in strings are no nesting, and the limit is exact."""
    deepest = b"[" * 32 + b"]" * 32
    assert strict_json.loads(deepest)
    assert refusal(strict_json.loads, b"[" + deepest + b"]") is Reason.TOO_DEEP
    text = json.dumps({"a": '[[[{"\\' * 100}).encode()
    assert strict_json.loads(text)
    assert refusal(strict_json.loads, b"]" * 100) is Reason.NOT_JSON
    assert refusal(strict_json.loads, b'"' + b'\\"[' * 1000) is Reason.NOT_JSON


@settings(deadline=None)
@given(st.binary(max_size=200) | st.text(alphabet='[]{}",:\\1 ', max_size=120).map(str.encode))
def test_strict_json_agrees_with_json(body):
    """What strict_json takes, json reads alike; what it refuses, it refuses as Rejected."""
    try:
        document = strict_json.loads(body)
    except Rejected:
        return
    if b"$" not in body:
        assert document == json.loads(body)


PIECES = [
    *("{", "}", "[", "]", ",", ":", '"', '"a":', '"b":', '"$base64":"QQ=="', '"$a":1', "null", "0"),
    *("-0", "1e16", "1e+16", "1.0", "0.1", "0.10", "-0.0", "1E5", "18446744073709551615", " "),
    *("18446744073709551616", "-9223372036854775808", "1e400", "0.30000000000000004", "\\u0041"),
    *("\\ud800", "\\u0000", "\x7f", "\u2028", "é", "true", "\\/", "9007199254740993.0", "NaN"),
]


@settings(deadline=None, max_examples=300)
@given(
    documents.map(strict_json.dumps),
    st.lists(
        st.tuples(st.integers(0, 400), st.integers(0, 3), st.sampled_from(PIECES)), max_size=3
    ),
    st.integers(2, 32),
)
def test_what_is_read_quickly_is_read_alike_with_care(body, edits, depth):
    """The quick way reads nothing that the careful one refuses, and nothing in another way."""
    for at, cut, piece in edits:
        place = at % (len(body) + 1)
        body = body[:place] + piece.encode() + body[place + cut :]
    quick = strict_json._read_plain(body, depth)
    if quick is not None:
        careful = strict_json._read_carefully(body, depth)
        assert repr(quick) == repr(careful)  # 0.0 and -0.0, 1 and 1.0 and True are not alike


def test_a_million_brackets_are_refused_quickly():
    """Hostile nesting costs time in proportion to its bytes, not to their square."""
    for body in (
        b"[" * 1_000_000,
        b"[]" * 500_000,
        b'{"a":' * 200_000,
        b'"' + b'\\"' * 500_000,
        b"[" * 40 + b'"' + b'\\"[' * 300_000,
        b"9" * 1_000_000,
        b"1" + b"0" * 500_000 + b".5e" + b"0" * 500_000,
    ):
        started = time.process_time()
        refusal(strict_json.loads, body)
        assert time.process_time() - started < 5.0


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"a":1,"a":1}', Reason.MALFORMED),
        (b'{"a":{"b":1,"c":2,"b":3}}', Reason.MALFORMED),
        (b"NaN", Reason.NOT_JSON),
        (b"-Infinity", Reason.NOT_JSON),
        (b"18446744073709551616", Reason.MALFORMED),
        (b"-9223372036854775809", Reason.MALFORMED),
        (b"-99999999999999999999", Reason.MALFORMED),
        (b"1e400", Reason.MALFORMED),
        (b'"\\udc00"', Reason.MALFORMED),
        (b'{"\\uD800":1}', Reason.MALFORMED),
        (b'{"$base64":"%"}', Reason.MALFORMED),
        (b'{"$base64":1}', Reason.MALFORMED),
        (b"\xff", Reason.NOT_JSON),
        (b"\xef\xbb\xbf{}", Reason.NOT_JSON),
        (b"", Reason.NOT_JSON),
        (b"1 2", Reason.NOT_JSON),
    ],
)
def test_json_with_two_readings_is_refused(body, expected):
    """What two parsers could read differently is no message."""
    assert refusal(strict_json.loads, body) is expected


@pytest.mark.parametrize("number", ["1" * 20, "9" * 21, "-" + "9" * 19, "1e999", "-1.5E+400"])
@pytest.mark.parametrize(
    "around",
    ["{}", " {}", "[{}]", "[1,{}]", "[1,\n{}]", '{{"a":{}}}', '{{"a":\t{}}}', '{{"a": [[ {} ]]}}'],
)
def test_a_number_that_is_too_large_is_refused_wherever_it_stands(number, around):
    """At the top, in a list, behind white space: what needs more than 64 bits, or is infinite."""
    if number == "1" * 20:
        assert strict_json.loads(around.format(number).encode())
        return
    assert refusal(strict_json.loads, around.format(number).encode()) is Reason.MALFORMED


def test_plain_numbers_and_escapes_are_read():
    """The careful paths read what is in order as the quick one does."""
    body = b'["\\ud83d\\ude00", 18446744073709551615, -9223372036854775808, 1e300, 1E+5, 0.1]'
    assert strict_json.loads(body) == ["\U0001f600", 2**64 - 1, -(2**63), 1e300, 1e5, 0.1]
    digits = b'{"hash":"12345678901234567890123","n":5}'
    assert strict_json.loads(digits) == {"hash": "12345678901234567890123", "n": 5}


anything = st.recursive(
    scalars | st.sampled_from([2**64, -(2**63) - 1, float("inf"), float("nan"), "\ud800", (1,)]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(keys | st.integers() | st.booleans(), inner, max_size=3)
        | st.lists(inner, min_size=1, max_size=1).map(lambda one: {"$": one[0]})
    ),
    max_leaves=15,
)


@given(value=anything)
def test_what_is_written_without_a_copy_needed_none(value):
    """What goes to the encoder as it is equals the copy that is checked part by part."""
    if strict_json._is_plain(value, 5):
        assert strict_json._plain(value, 5, "") == value


def test_a_filter_of_too_many_terms_is_told_with_their_number(party):
    """Who made it reads how many it has, and how many there may be."""
    many = Filter(identity=tuple(f"n{number}" for number in range(1001)))
    with pytest.raises(UsageError, match=r"filter: 1001 terms: more than 1000$"):
        seal_request(replace(request(), filter=many), party.alice)
