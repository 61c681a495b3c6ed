"""Request and Reply as MCollective's messages, and back."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from mcshell.errors import Reason, Rejected, UsageError
from mcshell.message import Filter, Reply, Request, State, Via
from mcshell.wire.mcollective import marshal, messages
from mcshell.wire.mcollective.envelope import MCollectiveLimits, Opened, ReplyEnvelope
from mcshell.wire.mcollective.psk import PSK
from mcshell.wire.mcollective.values import RubyRegexp, RubySymbol
from tests.mcollective.conftest import sampled

NOW = 1_795_487_000.5
REQUEST = Request(
    id="a" * 32,
    agent="rpcutil",
    action="get_fact",
    caller="cert=alice",
    collective="mcollective",
    via=Via.BROADCAST,
    session="s",
    created=NOW,
    expires=NOW + 59.5,
    data={"fact": "os", "n": 2**70, "raw": b"\xff", "deep": {"a": [1.5, None]}},
    filter=Filter(fact=("dc=ams",), identity=("node1",)),
)
REPLY = Reply(
    requestid="a" * 32,
    sender="node1",
    sequence=2,
    statuscode=0,
    statusmsg="OK",
    data={"value": "é"},
    created=NOW,
    state=State.OK,
)


def opened(request: Request = REQUEST) -> Opened:
    """A request as it comes out of a plugin at the other end."""
    psk = PSK("x", "uid=0")
    envelope = messages.write_request(request, callerid="uid=0", sender="client")
    return psk.open_request(psk.seal_request(envelope), MCollectiveLimits(), NOW)


def test_a_request_arrives_as_it_was_asked() -> None:
    """Agent, action, data, filter and dates survive; the caller comes prefixed."""
    seen = messages.read_request(opened(), "psk")
    assert seen.request.data == REQUEST.data
    assert seen.request.caller == "mco-psk:uid=0"
    assert (seen.request.agent, seen.request.action) == ("rpcutil", "get_fact")
    assert seen.request.filter.agent == ("rpcutil",)
    assert seen.request.filter.fact == ("dc==ams",)
    assert seen.request.expires - seen.request.created == 60
    assert seen.answer
    assert seen.once == "a" * 32
    assert seen.callerid == "uid=0"


def test_the_envelope_is_that_of_mco() -> None:
    """Symbols, `process_results` and the caller stand where mco puts them."""
    envelope = messages.write_request(REQUEST, callerid="uid=0", sender="client")
    assert list(envelope.body) == [RubySymbol(k) for k in ("agent", "action", "caller", "data")]
    assert envelope.body[RubySymbol("data")][RubySymbol("process_results")] is True
    assert envelope.body[RubySymbol("data")][RubySymbol("fact")] == "os"
    assert envelope.filter["agent"] == ["rpcutil"]
    assert (envelope.ttl, envelope.msgtime) == (60, int(NOW))


def test_a_direct_request_carries_no_filter_but_its_agent() -> None:
    """Named by hand, a node is not asked whether it matches."""
    direct = replace(REQUEST, via=Via.DIRECT, identity="node1")
    envelope = messages.write_request(direct, callerid="uid=0", sender="client")
    assert envelope.filter == {
        "fact": [],
        "cf_class": [],
        "agent": ["rpcutil"],
        "identity": [],
        "compound": [],
    }
    seen = messages.read_request(opened(direct), "psk", identity="node1")
    assert (seen.request.via, seen.request.identity) == (Via.DIRECT, "node1")


def test_discovery_is_a_ping() -> None:
    """The action discovery.ping is the bare text "ping" there, and its answer "pong"."""
    ping = replace(REQUEST, agent="discovery", action="ping", data={})
    envelope = messages.write_request(
        ping, callerid="uid=0", sender="client", discovery_for="rpcutil"
    )
    assert envelope.body == "ping"
    assert envelope.filter["agent"] == ["rpcutil"]
    assert messages.read_request(opened(ping), "psk").request.action == "ping"
    pong = messages.write_reply(REPLY, "discovery")
    assert pong.body == "pong"
    seen = messages.read_reply(pong, "psk")
    assert (seen.state, seen.statuscode, seen.data, seen.trust) == (State.OK, 0, {}, "psk")
    with pytest.raises(Rejected):
        messages.read_reply(replace(pong, body="Unknown Request: x"), "psk")


@pytest.mark.parametrize("via", [Via.QUEUE, Via.POOL])
def test_kept_requests_do_not_exist_there(via: Via) -> None:
    """What should wait for a node that is down is refused, not sent as something less."""
    with pytest.raises(UsageError, match="keeps no requests"):
        messages.write_request(replace(REQUEST, via=via), callerid="uid=0", sender="c")


def body_of(**changes: Any) -> Opened:
    """An opened request with another body."""
    base = opened()
    body = base.request.body | {RubySymbol(key): value for key, value in changes.items()}
    return replace(base, request=replace(base.request, body=body))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"agent": "package"}, Reason.MALFORMED),
        ({"caller": "cert=root"}, Reason.CALLER_MISMATCH),
        ({"action": 5}, Reason.MALFORMED),
        ({"action": ""}, Reason.MALFORMED),
        ({"data": [1]}, Reason.MALFORMED),
    ],
)
def test_what_is_inside_must_be_what_is_outside(changes: dict[str, Any], reason: Reason) -> None:
    """A signed body that was made for another agent or by another caller is refused."""
    with pytest.raises(Rejected) as caught:
        messages.read_request(body_of(**changes), "ssl")
    assert caught.value.reason is reason


def test_text_keys_and_unwanted_answers() -> None:
    """Names as text are taken as MCollective takes them; `process_results` false wants no reply."""
    base = opened()
    body = {"agent": "rpcutil", "action": "ping", "data": {"process_results": False, "x": 1}}
    seen = messages.read_request(replace(base, request=replace(base.request, body=body)), "psk")
    assert not seen.answer
    assert seen.request.data == {"x": 1}


@pytest.mark.parametrize("body", ["ping", None, [1], 5])
def test_a_body_that_is_no_request_is_refused(body: Any) -> None:
    """A call is a Hash."""
    base = opened()
    with pytest.raises(Rejected):
        messages.read_request(replace(base, request=replace(base.request, body=body)), "psk")


@pytest.mark.parametrize(
    ("code", "state"), [(0, State.OK), (1, State.FAILED), (4, State.FAILED), (5, State.FAILED)]
)
def test_a_reply_arrives_as_it_was_given(code: int, state: State) -> None:
    """Status, message and data survive, codes keep their meaning, and it is the last reply."""
    given = replace(REPLY, statuscode=code, state=state, statusmsg="so it is")
    envelope = messages.write_reply(given, "rpcutil", outputs={"value": None, "other": 3})
    assert envelope.body[RubySymbol("data")] == {RubySymbol("value"): "é", RubySymbol("other"): 3}
    seen = messages.read_reply(envelope, "psk")
    assert (seen.statuscode, seen.state, seen.statusmsg) == (code, state, "so it is")
    assert seen.final
    assert seen.data == {"value": "é", "other": 3}


def test_a_denial_is_told_by_its_text() -> None:
    """ActionPolicy's words with code 1 are `denied`, and ours are given in those words."""
    denied = replace(REPLY, state=State.DENIED, statuscode=1, statusmsg="no rule allows it")
    seen = messages.read_reply(messages.write_reply(denied, "rpcutil"), "psk")
    assert seen.state is State.DENIED


def test_only_last_words_travel() -> None:
    """`received` and `running` have no form there."""
    with pytest.raises(UsageError):
        messages.write_reply(replace(REPLY, sequence=0, state=State.RECEIVED), "rpcutil")


@pytest.mark.parametrize(
    "body",
    ["pong", None, {}, {RubySymbol("statuscode"): "0"}, {RubySymbol("statuscode"): True}],
)
def test_a_body_that_is_no_reply_is_refused(body: Any) -> None:
    """A reply is a Hash with a number as its status."""
    with pytest.raises(Rejected):
        messages.read_reply(ReplyEnvelope(body, "n", "a" * 32, "rpcutil", 5), "psk")


def test_values_become_plain() -> None:
    """Symbols and Regexps become text; keys that would be one stay two."""
    value = {
        RubySymbol("a"): [RubySymbol("b"), {RubySymbol("c"): b"\xff"}],
        "x": RubyRegexp("^a"),
        1: 2,
        (1, RubySymbol("z")): None,
        None: 0,
    }
    assert messages.plain(value) == {
        "a": ["b", {"c": b"\xff"}],
        "x": "/^a/",
        "1": 2,
        "[1, 'z']": None,
        "": 0,
    }
    assert messages.plain({"a": 1, RubySymbol("a"): 2}) == {"a": 1, ":a": 2}


@pytest.mark.parametrize("capture", ["activemq-psk.jsonl", "rabbitmq-psk.jsonl"])
def test_every_captured_message_is_one_of_ours(capture: str) -> None:
    """Requests, replies and registrations of a real fleet are read."""
    psk = PSK("rig-secret")
    seen = set()
    for frame in sampled(capture):
        if not frame["body"]:
            continue
        if RubySymbol("senderagent") in marshal.load(frame["body"]):
            envelope = psk.open_reply(frame["body"], MCollectiveLimits(), lambda _id, _sender: True)
            seen.add(messages.read_reply(envelope, "psk").state)
            continue
        request = psk.open_request(frame["body"], MCollectiveLimits(), frame["t"])
        if request.request.agent == "registration":
            assert messages.read_registration(request.request) == ["rig", "discovery", "rpcutil"]
        else:
            seen.add(messages.read_request(request, "psk").request.action)
    assert {State.OK, "ping"} <= seen


def test_a_registration_is_the_list_of_agents() -> None:
    """Ours has the form that nodes send, and only such a message is read as one."""
    envelope = messages.write_registration(
        ["discovery", "rpcutil"], request=REQUEST, callerid="uid=0", sender="node1"
    )
    assert envelope.filter["agent"] == ["registration"]
    assert messages.read_registration(envelope) == ["discovery", "rpcutil"]
    assert messages.read_registration(replace(envelope, agent="rpcutil")) is None
    assert messages.read_registration(replace(envelope, body=[1])) is None
