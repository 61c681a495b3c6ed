"""The frames that a real fleet sent: each decodes, verifies, and re-encodes to the same value."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from mcshell.errors import Reason, Rejected
from mcshell.wire.mcollective import keys, marshal
from mcshell.wire.mcollective.envelope import MCollectiveLimits, reply_of, request_of
from mcshell.wire.mcollective.psk import PSK
from mcshell.wire.mcollective.ssl import SSL
from mcshell.wire.mcollective.values import RubySymbol
from tests.mcollective.conftest import SAMPLES, sampled

if TYPE_CHECKING:
    from mcshell.wire.mcollective.envelope import Security
    from tests.mcollective.plugins import Keys
    from tests.mcollective.ruby import Ruby

CAPTURES = ["activemq-psk.jsonl", "rabbitmq-psk.jsonl", "activemq-ssl-marshal.jsonl"]


def messages(capture: str) -> list[dict[str, Any]]:
    """The frames of a capture that carry a message."""
    return [frame for frame in sampled(capture) if frame["body"]]


@pytest.mark.parametrize("capture", CAPTURES)
def test_each_frame_is_the_same_to_ruby_after_a_round_trip(ruby: Ruby, capture: str) -> None:
    """What we read and write again, outer and inner, is to Ruby what it was before."""
    frames = messages(capture)
    assert len(frames) >= 4
    for frame in frames:
        document = marshal.load(frame["body"])
        assert ruby.load("marshal", marshal.dump(document)) == ruby.load("marshal", frame["body"])
        inner = document[RubySymbol("body")]
        again = marshal.dump(marshal.load(inner))
        assert ruby.load("marshal", again) == ruby.load("marshal", inner)


def opened(security: Security, frame: dict[str, Any]) -> Any:
    """Open a captured message at the time when it was captured."""
    document = marshal.load(frame["body"])
    if RubySymbol("callerid") in document:
        return security.open_request(frame["body"], MCollectiveLimits(), frame["t"]).request
    return security.open_reply(frame["body"], MCollectiveLimits(), lambda _id, _sender: True)


@pytest.mark.parametrize("capture", CAPTURES[:2])
def test_each_psk_frame_verifies(capture: str) -> None:
    """Requests and replies of both brokers carry the hash of the rig's secret, and no other."""
    for frame in messages(capture):
        assert opened(PSK("rig-secret"), frame).requestid
        with pytest.raises(Rejected) as caught:
            opened(PSK("other"), frame)
        assert caught.value.reason is Reason.BAD_SIGNATURE


def test_each_ssl_frame_verifies(rsa_keys: Keys) -> None:
    """Signatures of the client and of the nodes verify with the public keys beside the capture."""
    private = rsa_keys.private("alice")
    nodes = (SAMPLES / "server.pem").read_bytes()
    security = SSL(private, "cert=rigger", nodes=nodes, callers=keys.KeyDirectory(SAMPLES))
    for frame in messages(CAPTURES[2]):
        assert opened(security, frame).body
    wrong = SSL(
        private,
        "cert=rigger",
        nodes=rsa_keys.public("server"),
        callers=lambda _: rsa_keys.public("server"),
    )
    for frame in messages(CAPTURES[2]):
        with pytest.raises(Rejected) as caught:
            opened(wrong, frame)
        assert caught.value.reason is Reason.BAD_SIGNATURE


@pytest.mark.parametrize("capture", CAPTURES)
def test_each_envelope_is_well_formed(capture: str) -> None:
    """The forms that we demand of ids and names are those that real nodes and clients use."""
    for frame in messages(capture):
        document = marshal.load(frame["body"])
        read = request_of if RubySymbol("callerid") in document else reply_of
        assert read(document, None).requestid
