"""psk, ssl and aes_security against MCollective's own plugins, both ways, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from mcshell.errors import ConfigError, Reason, Rejected
from mcshell.wire.mcollective import keys as rsa_tools
from mcshell.wire.mcollective import marshal, yamls
from mcshell.wire.mcollective.aes import AES
from mcshell.wire.mcollective.envelope import (
    MARSHAL,
    YAML,
    MCollectiveLimits,
    ReplyEnvelope,
    RequestEnvelope,
)
from mcshell.wire.mcollective.psk import PSK
from mcshell.wire.mcollective.ssl import SSL
from mcshell.wire.mcollective.values import Bounds, RubyRegexp, RubySymbol
from tests.mcollective.plugins import Plugin, colons
from tests.mcollective.ruby import RubyError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mcshell.wire.mcollective.envelope import Security
    from tests.mcollective.plugins import Keys

NOW = 1_795_487_000.0
FILTER: dict[Any, Any] = {
    "fact": [{RubySymbol("fact"): "dc", RubySymbol("value"): "ams", RubySymbol("operator"): "=="}],
    "cf_class": [],
    "agent": ["rpcutil"],
    "identity": [],
    "compound": [],
}
BODY = {
    RubySymbol("agent"): "rpcutil",
    RubySymbol("action"): "get_fact",
    RubySymbol("data"): {
        RubySymbol("fact"): "Zürich: 'x'\n",
        RubySymbol("n"): 2**40,
        RubySymbol("f"): 1e20,
    },
}
PAIRS = [
    ("psk", "marshal"),
    ("ssl", "marshal"),
    ("ssl", "yaml"),
    ("aes", "marshal"),
    ("aes", "yaml"),
]
NAMES = [f"{name}-{form}" for name, form in PAIRS]


def request(**changes: Any) -> RequestEnvelope:
    """A request of alice's."""
    made = RequestEnvelope(
        body=BODY,
        senderid="client",
        requestid="a" * 32,
        filter=FILTER,
        collective="mcollective",
        agent="rpcutil",
        callerid="cert=alice",
        ttl=60,
        msgtime=int(NOW),
    )
    return replace(made, **changes)


REPLY = ReplyEnvelope(
    {RubySymbol("statuscode"): 0, RubySymbol("data"): {RubySymbol("value"): "é"}},
    "node1",
    "a" * 32,
    "rpcutil",
    int(NOW),
)


def ours(keys: Keys, name: str, form: str, who: str = "alice") -> Security:
    """Our plugin, with alice's key or the nodes'."""
    codec = YAML if form == "yaml" else MARSHAL
    private, callerid = keys.private(who), f"cert={who}"
    directory = rsa_tools.KeyDirectory(keys.folder / "clients")
    if name == "psk":
        return PSK("s3cret", callerid)
    if name == "ssl":
        nodes = keys.public("server")
        return SSL(private, callerid, nodes=nodes, callers=directory, codec=codec)
    return AES(private, callerid, callers=directory, codec=codec)


@pytest.fixture(params=PAIRS, ids=NAMES)
def pair(request: pytest.FixtureRequest) -> tuple[str, str]:
    """Each plugin with each serializer that it has."""
    name, form = request.param
    return name, form


@pytest.fixture
def real(mcollective: str, rsa_keys: Keys, pair: tuple[str, str]) -> Iterator[dict[str, Plugin]]:
    """MCollective's plugin as a client and as a node."""
    del mcollective
    more = "plugin.psk.callertype = identity" if pair[0] == "psk" else ""
    made = {role: Plugin(rsa_keys, pair[0], role, pair[1], more) for role in ("client", "node")}
    yield made
    for plugin in made.values():
        plugin.close()


def test_the_real_plugins_and_ours_open_each_other(
    real: dict[str, Plugin], rsa_keys: Keys, pair: tuple[str, str]
) -> None:
    """Requests and replies, sealed on either side, open on the other as the same."""
    client, node = ours(rsa_keys, *pair), ours(rsa_keys, *pair, who="server")
    seen = real["node"].open(client.seal_request(request()))
    assert seen[":body"] == colons(BODY)
    assert seen[":filter"] == colons(FILTER)
    assert (seen[":ttl"], seen[":msgtime"], seen[":agent"]) == (60, int(NOW), "rpcutil")
    assert seen[":callerid"] == "cert=alice"

    seen = real["client"].open(node.seal_reply(REPLY, "cert=alice"), "a" * 32)
    assert seen[":body"] == colons(REPLY.body)
    assert (seen[":senderid"], seen[":senderagent"]) == ("node1", "rpcutil")

    body = {":agent": "rpcutil", ":data": {":x": "é" * 200, "s": [1, 2.5, None, True, ":sym"]}}
    sealed = real["client"].request(
        body, id="b" * 32, filter=colons(FILTER), agent="rpcutil", ttl=60
    )
    sent = node_time(sealed, pair[1])
    opened = node.open_request(sealed, MCollectiveLimits(), sent + 1)
    assert colons(opened.request.body) == body
    assert opened.request.filter == FILTER
    assert opened.request.senderid == "ruby-client"

    sealed = real["node"].reply(body, id="b" * 32, agent="rpcutil", callerid="cert=alice")
    reply = client.open_reply(
        sealed, MCollectiveLimits(), lambda one, who: (one, who) == ("b" * 32, "ruby-node")
    )
    assert colons(reply.body) == body


def node_time(sealed: bytes, form: str) -> int:
    """The time that a message of Ruby's says."""
    document = yamls.load(sealed) if form == "yaml" else marshal.load(sealed)
    time: int = document[RubySymbol("msgtime")]
    return time


def test_the_real_plugins_refuse_what_was_changed(
    real: dict[str, Plugin], rsa_keys: Keys, pair: tuple[str, str]
) -> None:
    """A body changed after sealing is refused there, as it is here."""
    sealed = ours(rsa_keys, *pair).seal_request(request())
    with pytest.raises(RubyError):
        real["node"].open(changed(sealed, pair[1]))
    with pytest.raises(Rejected):
        ours(rsa_keys, *pair, who="server").open_request(
            changed(sealed, pair[1]), MCollectiveLimits(), NOW
        )


def changed(sealed: bytes, form: str, **fields: Any) -> bytes:
    """A message with other fields, or without any with another body."""
    codec = YAML if form == "yaml" else MARSHAL
    document = codec.load(sealed, Bounds())
    body = document[RubySymbol("body")]
    if not fields:
        fields = {"body": body[:-3] + (b"xyz" if isinstance(body, bytes) else "xyz")}
    return codec.dump(document | {RubySymbol(key): value for key, value in fields.items()})


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"callerid": "cert=../alice"}, Reason.CALLER_MISMATCH),
        ({"callerid": "cert=alice\nx"}, Reason.CALLER_MISMATCH),
        ({"callerid": "alice"}, Reason.CALLER_MISMATCH),
        ({"callerid": None}, Reason.MALFORMED),
        ({"requestid": "../x"}, Reason.MALFORMED),
        ({"requestid": 5}, Reason.MALFORMED),
        ({"senderid": "a\nb"}, Reason.MALFORMED),
        ({"agent": "a.b"}, Reason.MALFORMED),
        ({"filter": []}, Reason.MALFORMED),
        ({"ttl": "60"}, Reason.MALFORMED),
        ({"ttl": True}, Reason.MALFORMED),
        ({"ttl": 0}, Reason.EXPIRED),
        ({"ttl": 99999}, Reason.EXPIRED),
        ({"msgtime": int(NOW) - 61}, Reason.EXPIRED),
        ({"msgtime": int(NOW) + 61}, Reason.FROM_FUTURE),
        ({"body": 5}, Reason.MALFORMED),
    ],
)
def test_requests_are_refused_for_their_fields(
    rsa_keys: Keys, pair: tuple[str, str], fields: dict[str, Any], reason: Reason
) -> None:
    """Forms of ids, dates and lifetimes are checked under every plugin."""
    sealed = changed(ours(rsa_keys, *pair).seal_request(request()), pair[1], **fields)
    node = ours(rsa_keys, *pair, who="server")
    with pytest.raises(Rejected) as caught:
        node.open_request(sealed, MCollectiveLimits(), NOW)
    assert caught.value.reason is reason


@pytest.mark.parametrize("fields", [{"ttl": 61}, {"msgtime": int(NOW) - 1}])
def test_signed_dates_bind(rsa_keys: Keys, pair: tuple[str, str], fields: dict[str, Any]) -> None:
    """Under ssl and aes a ttl or a time that is not the sealed one is refused; psk cannot tell."""
    sealed = changed(ours(rsa_keys, *pair).seal_request(request()), pair[1], **fields)
    node = ours(rsa_keys, *pair, who="server")
    if pair[0] == "psk":
        assert node.open_request(sealed, MCollectiveLimits(), NOW).request.body == BODY
        return
    with pytest.raises(Rejected) as caught:
        node.open_request(sealed, MCollectiveLimits(), NOW)
    assert caught.value.reason is Reason.BAD_SIGNATURE


def test_what_must_be_seen_once_survives_another_request_id(
    rsa_keys: Keys, pair: tuple[str, str]
) -> None:
    """A body sent again under another id is known again by `once`, except under psk."""
    sealed = ours(rsa_keys, *pair).seal_request(request())
    again = changed(sealed, pair[1], requestid="c" * 32)
    node = ours(rsa_keys, *pair, who="server")
    first, second = (
        node.open_request(one, MCollectiveLimits(), NOW).once for one in (sealed, again)
    )
    assert (first == second) is (pair[0] != "psk")
    other = ours(rsa_keys, *pair).seal_request(request(requestid="d" * 32, msgtime=int(NOW) - 1))
    assert node.open_request(other, MCollectiveLimits(), NOW).once != first


def test_callers_without_a_key_are_refused(rsa_keys: Keys) -> None:
    """A caller whose public key is not there, or is none, cannot be verified."""
    node = ours(rsa_keys, "ssl", "marshal", who="server")
    sealed = changed(
        ours(rsa_keys, "ssl", "marshal").seal_request(request()), "marshal", callerid="cert=mallory"
    )
    with pytest.raises(Rejected, match="no public key of cert=mallory"):
        node.open_request(sealed, MCollectiveLimits(), NOW)
    broken = SSL(rsa_keys.private("server"), "cert=server", callers=lambda _: b"rubbish")
    with pytest.raises(Rejected, match="no PEM"):
        broken.open_request(sealed, MCollectiveLimits(), NOW)
    with pytest.raises(Rejected) as caught:
        node.open_request(changed(sealed, "marshal", callerid="uid=0"), MCollectiveLimits(), NOW)
    assert caught.value.reason is Reason.CALLER_MISMATCH


def test_replies_that_nobody_waits_for_are_refused_first(
    rsa_keys: Keys, pair: tuple[str, str]
) -> None:
    """A reply of another id or sender costs no signature."""
    sealed = ours(rsa_keys, *pair, who="server").seal_reply(REPLY, "cert=alice")
    client = ours(rsa_keys, *pair)
    with pytest.raises(Rejected) as caught:
        client.open_reply(sealed, MCollectiveLimits(), lambda _id, _sender: False)
    assert caught.value.reason is Reason.UNKNOWN_REQUEST
    assert (
        client.open_reply(sealed, MCollectiveLimits(), lambda _id, _sender: True).body == REPLY.body
    )
    with pytest.raises(Rejected):
        client.open_reply(changed(sealed, pair[1]), MCollectiveLimits(), lambda _id, _sender: True)


def test_sizes_are_bounded_before_anything_is_read(rsa_keys: Keys, pair: tuple[str, str]) -> None:
    """A body over the bound is refused as too large, whatever it holds."""
    sealed = ours(rsa_keys, *pair).seal_request(request())
    node = ours(rsa_keys, *pair, who="server")
    with pytest.raises(Rejected) as caught:
        node.open_request(sealed, MCollectiveLimits(bounds=Bounds(max_body=100)), NOW)
    assert caught.value.reason is Reason.TOO_LARGE


def test_a_reply_encrypted_for_another_is_refused(rsa_keys: Keys) -> None:
    """Under aes only the caller's private key opens a reply; another opens it to a text of any length."""
    node = ours(rsa_keys, "aes", "marshal", who="server")
    other = ours(rsa_keys, "aes", "marshal")
    for _ in range(600):
        sealed = node.seal_reply(REPLY, "cert=server")
        with pytest.raises(Rejected) as caught:
            other.open_reply(sealed, MCollectiveLimits(), lambda *_: True)
        assert caught.value.reason is Reason.BAD_SIGNATURE
    with pytest.raises(Rejected, match="no public key"):
        node.seal_reply(REPLY, "cert=nobody")


def test_keys_that_are_none_say_so(rsa_keys: Keys) -> None:
    """Wrong files and settings are configuration errors with what was meant."""
    with pytest.raises(ConfigError, match="private key of ssl"):
        SSL(b"x", "cert=alice")
    with pytest.raises(ConfigError, match="nodes' key"):
        SSL(rsa_keys.private("alice"), "cert=alice", nodes=b"x")
    with pytest.raises(ConfigError, match="aes-256-cbc"):
        AES(rsa_keys.private("alice"), "cert=alice", cipher="aes-256-cbk")
    with pytest.raises(ConfigError, match="uid=0"):
        PSK("x", "alice")
    with pytest.raises(ConfigError, match="empty"):
        PSK("")


def test_filters_with_a_regexp_travel(rsa_keys: Keys, pair: tuple[str, str]) -> None:
    """A Ruby Regexp in a filter is carried by both serializers."""
    filters = FILTER | {"identity": [RubyRegexp("^node", 1)]}
    sealed = ours(rsa_keys, *pair).seal_request(request(filter=filters))
    opened = ours(rsa_keys, *pair, who="server").open_request(sealed, MCollectiveLimits(), NOW)
    assert opened.request.filter == filters
