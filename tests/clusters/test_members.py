"""A cluster of three RabbitMQ loses a member, and nobody who uses it loses anything."""

from __future__ import annotations

from collections import Counter
from functools import partial

import pytest

from mcshell.errors import WireError
from tests.peers.processes import wait_until

pytestmark = [pytest.mark.rabbitmq, pytest.mark.timeout(900)]


def ran(fleet, request):
    """How often each node has run a request, by its own file."""
    return Counter(
        event["identity"]
        for name in fleet.names
        for event in fleet.audit(name)
        if event["event"] == "finished" and event["requestid"] == request
    )


def answered(client, via, names):
    """Whether the two that are up answer; who asks while it changes brokers is told so."""
    try:
        return client.rpc("rpcutil", "ping", via=via, nodes=names, timeout=20).stats["ok"] == 2
    except WireError:
        return False


def test_what_a_majority_is_to_keep_is_kept_by_all_three(cluster, fleet):
    """Work and replies lie in queues with three members; a topic's queue goes with its connection."""
    with fleet.client() as client:
        assert client.rpc("rpcutil", "ping", via="queue", timeout=60).stats["ok"] == len(
            fleet.names
        )
        kinds = dict(
            line.split("\t")[:2]
            for line in cluster.ctl(cluster.members[0], "list_queues", "name", "type").splitlines()[
                1:
            ]
        )
    work = [name for name in kinds if ".work." in name or ".reply." in name]
    assert len(work) == len(fleet.names) + 1
    assert {kinds[name] for name in work} == {"quorum"}
    subscriptions = [name for name in kinds if name.startswith("stomp-subscription")]
    assert subscriptions
    assert {kinds[name] for name in subscriptions} == {"classic"}


@pytest.mark.parametrize(
    "how",
    [
        "killed",
        # the others notice it after a minute or two
        pytest.param("stopped", marks=pytest.mark.soak),
        pytest.param("cut off", marks=pytest.mark.soak),
    ],
)
def test_a_member_goes(cluster, fleet, how):
    """Broadcast, direct and queued requests are answered by all, and what was queued runs once."""
    lost = cluster.members[0]
    fleet.kill9("db1")
    with fleet.client(session="kept") as client:
        before = client.rpc("rpcutil", "ping", via="queue", nodes=fleet.names, wait=False)
        assert before.confirmed
        away = {"killed": cluster.kill9, "stopped": cluster.pause, "cut off": cluster.hosts.cut}
        away[how](lost)
        try:
            during = client.rpc("rpcutil", "ping", via="queue", nodes=fleet.names, wait=False)
            for via, names in (("direct", ["web1", "web2"]), ("broadcast", None)):
                assert wait_until(partial(answered, client, via, names), 300, 1.0)
            fleet.start("db1")
            for asked in (before, during):
                assert asked.wait(120).stats["ok"] == len(fleet.names), asked.rows()
        finally:
            back = {
                "killed": cluster.start,
                "stopped": cluster.resume,
                "cut off": cluster.hosts.join,
            }
            back[how](lost)
        again = client.rpc("rpcutil", "ping", via="queue", nodes=fleet.names, timeout=120)
        assert again.stats["ok"] == len(fleet.names), again.rows()
    for asked in (before, during, again):
        assert set(ran(fleet, asked.requestid).values()) == {1}
