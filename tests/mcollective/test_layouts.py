"""Destinations and headers, held against what real clients and nodes sent."""

from __future__ import annotations

from typing import Any

import pytest

from mcshell.errors import Rejected, UsageError
from mcshell.wire.mcollective import marshal
from mcshell.wire.mcollective.layouts import (
    ActiveMQ,
    MCollectiveSubscription,
    RabbitMQ,
    Stamp,
    unwrap,
    wrap,
)
from mcshell.wire.mcollective.values import RubySymbol
from tests.mcollective.conftest import sampled

ADDED = {"content-length", "content-type", "destination"}


def sends(capture: str) -> list[tuple[dict[str, Any], dict[Any, Any]]]:
    """The SENDs of a capture, each with its message."""
    frames = [one for one in sampled(capture) if one["command"] == "SEND"]
    assert frames
    return [(frame, marshal.load(frame["body"])) for frame in frames]


@pytest.mark.parametrize(
    ("capture", "layout"),
    [
        ("activemq-psk.jsonl", ActiveMQ()),
        ("activemq-ssl-marshal.jsonl", ActiveMQ()),
        ("rabbitmq-psk.jsonl", RabbitMQ()),
    ],
)
def test_every_send_of_a_real_fleet_is_ours(capture: str, layout: ActiveMQ | RabbitMQ) -> None:
    """For each captured SEND we make the same destination and the same headers."""
    for frame, message in sends(capture):
        headers = {key: value for key, value in frame["headers"].items() if key not in ADDED}
        destination, sender = frame["headers"]["destination"], message[RubySymbol("senderid")]
        if RubySymbol("senderagent") in message:
            now = int(headers.get("timestamp", 0)) // 1000
            target = layout.reply(destination, Stamp(sender, 60, now + 0.4))
        else:
            collective, agent = message[RubySymbol("collective")], message[RubySymbol("agent")]
            now = message[RubySymbol("msgtime")] + 0.4
            stamp = Stamp(sender, message[RubySymbol("ttl")], now, headers["reply-to"])
            if "nodes" in destination or "directed" in destination:
                node = headers.get("mc_identity") or destination.rpartition("/")[2]
                target = layout.direct(collective, agent, node, stamp)
            else:
                target = layout.broadcast(collective, agent, stamp)
        assert target.destination == destination
        times = {"timestamp", "expires"}
        assert {k: v for k, v in target.headers.items() if k not in times} == {
            k: v for k, v in headers.items() if k not in times
        }
        for key in times & set(headers):
            assert abs(int(target.headers[key]) - int(headers[key])) <= 2000


@pytest.mark.parametrize(
    ("capture", "layout"),
    [("activemq-psk.jsonl", ActiveMQ()), ("rabbitmq-psk.jsonl", RabbitMQ())],
)
def test_every_subscription_of_a_real_node_is_ours(
    capture: str, layout: ActiveMQ | RabbitMQ
) -> None:
    """A node's destinations and selectors are those that real nodes subscribe to."""
    frames = [one["headers"] for one in sampled(capture) if one["command"] == "SUBSCRIBE"]
    seen = {(one["destination"], one.get("selector")) for one in frames}
    for name in ("node0001", "node0002"):
        for one in layout.node(["mcollective"], ["discovery", "rpcutil", "rig"], name):
            assert (one.destination, one.headers.get("selector")) in seen


def test_reply_queues_of_each_connector() -> None:
    """One queue for each request, a temp-queue that is never subscribed to, or the exchange."""
    activemq, rabbitmq = ActiveMQ(), RabbitMQ()
    exchange = RabbitMQ(use_reply_exchange=True)
    name = activemq.reply_to("eu", "rpcutil", "rig-client_18380", 2)
    assert name == "/queue/eu.reply.rig-client_18380.2"
    assert activemq.replies("eu", name) == MCollectiveSubscription(name, name)
    name = rabbitmq.reply_to("eu", "rpcutil", "rig-client_18380", 2)
    assert name == "/temp-queue/mcollective_reply_rpcutil"
    assert rabbitmq.replies("eu", name) is None
    name = exchange.reply_to("eu", "rpcutil", "rig-client_18380", 2)
    assert name == "/exchange/mcollective_reply/rig-client_18380_2"
    assert exchange.replies("eu", name) == MCollectiveSubscription(name, name)


def test_multiplexed_agents_share_a_destination() -> None:
    """With agents_multiplex there is one broadcast destination for each collective."""
    activemq = ActiveMQ(agents_multiplex=True).node(["a", "b"], ["x", "y"], "n1")
    assert [one.destination for one in activemq] == [
        *("/queue/a.nodes", "/topic/a.agents", "/queue/b.nodes", "/topic/b.agents")
    ]
    rabbitmq = RabbitMQ(agents_multiplex=True).node(["a"], ["x", "y"], "n1")
    assert [one.destination for one in rabbitmq] == [
        *("/exchange/a_directed/n1", "/exchange/a_broadcast")
    ]


def test_a_priority_is_sent_only_when_it_is_set() -> None:
    """`plugin.activemq.priority` of 0 sends no header."""
    sent = ActiveMQ(priority=5).reply("/queue/mcollective.reply.a.1", Stamp("n", 60, 0))
    assert sent.headers["priority"] == "5"


@pytest.mark.parametrize(
    "reply_to",
    [
        "/queue/mcollective.nodes",
        "/topic/mcollective.rpcutil.agent",
        "/topic/mcollective.agents",
        "/exchange/mcollective_broadcast/rpcutil",
        "/exchange/mcollective_directed/node1",
        "/queue/mcs.mcs.node.web1",
        "/topic/mcs.mcs.broadcast",
        "mcollective",
        "/queue/a b",
        "/queue/mcollective.reply.a.1,topic://mcollective.rpcutil.agent",
        "/queue/>",
        "/queue/a\nb",
        "",
    ],
)
def test_a_node_is_not_made_to_send_where_requests_go(reply_to: str) -> None:
    """The reply-to is unsigned: requests' own destinations and ours are refused."""
    for layout in (ActiveMQ(), RabbitMQ()):
        with pytest.raises(Rejected):
            layout.reply(reply_to, Stamp("n", 60, 0))


@pytest.mark.parametrize("name", ["", "a'b", "a/b", "a b", "a\n", "é"])
def test_names_cannot_leave_their_part_of_a_destination(name: str) -> None:
    """A name with a quote, a slash or a line end is refused, in the selector too."""
    with pytest.raises(UsageError):
        ActiveMQ().node(["mcollective"], [], name)
    with pytest.raises(UsageError):
        RabbitMQ().direct("mcollective", "a", name, Stamp("c", 1, 0, "r"))


def test_base64_bodies() -> None:
    """The connectors' base64 option wraps in lines of 60 and reads any spaces."""
    body = bytes(range(256))
    assert max(map(len, wrap(body).splitlines())) == 60
    assert unwrap(wrap(body)) == body
    with pytest.raises(Rejected):
        unwrap(b"a*b")
