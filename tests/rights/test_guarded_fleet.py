"""A real fleet on brokers with rights: all of it works, and what the holes let in is refused."""

from __future__ import annotations

import time
import uuid
from typing import TYPE_CHECKING

import pytest

from mcshell.errors import ConversationError
from mcshell.message import Reply, ReplySequence, Request, State, Via, new_request_id
from mcshell.wire import destinations
from mcshell.wire.documents.envelope import (
    CERTIFICATE,
    SIGNATURE,
    SealedMessage,
    seal_reply,
    seal_request,
)
from tests.peers.processes import wait_until
from tests.rights.conftest import NODES, ONLY_ACTIVEMQ, ONLY_RABBITMQ

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mcshell.client.client import Client
    from tests.rights.conftest import Guarded

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def three(guarded: Guarded) -> Iterator[Guarded]:
    """The three nodes, serving."""
    guarded.fleet.start()
    yield guarded
    guarded.fleet.stop()


@pytest.fixture
def alice(three: Guarded) -> Iterator[Client]:
    """An operator in a session that is new."""
    with three.fleet.client(session=f"s{uuid.uuid4().hex[:8]}") as client:
        assert wait_until(lambda: set(client.discover().sender) == set(NODES), 30)
        yield client


@pytest.mark.parametrize("via", ["broadcast", "direct", "queue"])
def test_a_call_over_tls_with_rights_alone(alice: Client, via: str) -> None:
    """Every way to ask all nodes works with nothing but certificates and what they allow."""
    whom = {} if via == "broadcast" else {"nodes": NODES}
    replies = alice.rpc("rpcutil", "ping", via=via, timeout=60, **whom)
    assert replies.stats["ok"] == len(NODES), replies.ledger()
    assert not alice.junk


@pytest.mark.parametrize("via", ["broadcast", "queue"])
def test_a_call_in_another_collective(three: Guarded, alice: Client, via: str) -> None:
    """What each may do in the main collective he may do in each of which he is a member."""
    whom = {} if via == "broadcast" else {"nodes": NODES}
    replies = alice.rpc("rpcutil", "ping", via=via, timeout=60, collective=three.other, **whom)
    assert replies.stats["ok"] == len(NODES), replies.ledger()
    assert not alice.junk


def test_a_pool_is_served_by_those_who_may(alice: Client) -> None:
    """A pool's request is answered by its member, which alone can read the pool's queue."""
    replies = alice.rpc("rpcutil", "ping", via="pool", pool="sms", timeout=60)
    frame = replies.frame()
    assert (list(frame.sender), list(frame.state)) == (["web1"], ["ok"])


def test_turns_travel_with_the_same_rights(alice: Client) -> None:
    """A conversation needs no right at the broker beyond those of a request; the node says no."""
    with pytest.raises(ConversationError, match=r"it wants converse\.policy") as denied:
        alice.open("web1", "echo", timeout=60)
    assert denied.value.state == "denied"
    assert not alice.junk


def test_two_operators_do_not_see_each_others_replies(three: Guarded, alice: Client) -> None:
    """Another operator asks too; each has the answers to her own, and no one else's."""
    with three.fleet.client("alice.smith") as other:
        hers = other.rpc("rpcutil", "ping", nodes=NODES, timeout=60)
        mine = alice.rpc("rpcutil", "ping", nodes=NODES, timeout=60)
        assert hers.stats["ok"] == mine.stats["ok"] == len(NODES)
        assert not other.junk
        assert not alice.junk


def test_what_was_queued_waits_with_its_replies(three: Guarded, alice: Client) -> None:
    """A node that is off finds its work, and an operator who was away finds her replies."""
    three.fleet.kill9("db1")
    session = alice.session.name
    request = alice.rpc("rpcutil", "ping", nodes=["db1"], via="queue", wait=False).requestid
    alice.close()
    three.fleet.start("db1")
    assert wait_until(lambda: _done(three, "db1", request), 60)
    with three.fleet.client(session=session) as again:
        assert again.replies(request).wait(60).stats["ok"] == 1


def _done(guarded: Guarded, node: str, request: str) -> bool:
    events = guarded.fleet.audit(node)
    return any(e.get("requestid") == request and e["event"] == "finished" for e in events)


def _request(guarded: Guarded, node: str) -> Request:
    now = time.time()
    requestid, nonce = new_request_id("cert=alice")
    return Request(
        id=requestid,
        nonce=nonce,
        agent="rpcutil",
        action="ping",
        caller="cert=alice",
        collective=guarded.fleet.collective,
        via=Via.QUEUE,
        session="forged",
        created=now,
        expires=now + 3600,
        data={},
        identity=node,
    )


def _refusals(guarded: Guarded, node: str) -> list[str]:
    return [e["reason"] for e in guarded.fleet.audit(node) if e["event"] == "refused"]


@ONLY_ACTIVEMQ
def test_what_a_hostile_node_slips_into_anothers_queue_is_refused(
    three: Guarded, alice: Client
) -> None:
    """A SEND to a pattern reaches who subscribes later on ActiveMQ; for want of an operator's
    signature it is refused.
    """
    collective = three.fleet.collective
    body = seal_request(_request(three, "db1"), three.signer("alice")).body
    web1s = three.signer("web1")
    sealed = SealedMessage(body, {SIGNATURE: web1s.sign(body), CERTIFICATE: web1s.certificate})
    with three.enter("web1") as web1:
        for one in (sealed, SealedMessage(sealed.body, {})):
            for pattern in (f"mcs.{collective}.*.db1", f"mcs.{collective}.*.*"):
                headers = {"destination": f"/queue/{pattern}", "persistent": "true", **one.headers}
                web1.confirm("SEND", headers, one.body)
    three.fleet.kill9("db1")
    three.fleet.start("db1")
    assert wait_until(lambda: {"wrong_kind", "unsigned"} <= set(_refusals(three, "db1")), 60)
    assert not [e for e in three.fleet.audit("db1") if e["event"] == "started" and "web1" in str(e)]
    assert alice.rpc("rpcutil", "ping", nodes=["db1"], via="queue", timeout=60).stats["ok"] == 1


def test_what_a_hostile_node_answers_for_another_is_refused(three: Guarded, alice: Client) -> None:
    """A node may write to every reply queue: an answer in another's name, or unsigned, is junk."""
    three.fleet.pause("db1")
    try:
        replies = alice.rpc("rpcutil", "ping", nodes=["db1"], via="queue", wait=False)
        forged = Reply(
            requestid=replies.requestid,
            sender="db1",
            sequence=ReplySequence.FINAL,
            statuscode=0,
            statusmsg="OK",
            data={"pong": 1},
            created=time.time(),
            state=State.OK,
        )
        sealed = seal_reply(forged, three.signer("web1"))
        queue = destinations.reply(three.fleet.collective, "cert=alice", alice.session.name)
        with three.enter("web1") as web1:
            for one in (sealed, SealedMessage(sealed.body, {})):
                to = {"destination": web1.dialect.send_to(queue)}
                web1.confirm("SEND", {**to, "persistent": "true", **one.headers}, one.body)
        assert wait_until(lambda: alice.junk.total() == 2, 60)
        assert set(alice.junk) == {"wrong_sender", "unsigned"}
        assert replies.stats["ok"] == 0
    finally:
        three.fleet.resume("db1")
    assert replies.wait(60).stats["ok"] == 1
    assert alice.junk.total() == 2


@ONLY_RABBITMQ
def test_what_one_operator_writes_for_another_is_refused(three: Guarded, alice: Client) -> None:
    """On RabbitMQ an operator may write to every queue; in another's reply queue it is junk."""
    queue = destinations.reply(three.fleet.collective, "cert=alice", alice.session.name)
    before = alice.rpc("rpcutil", "ping", nodes=["db1"], timeout=60)
    with three.enter("alice.smith") as smith:
        body = b'{"v":2,"kind":"reply","id":"%s"}' % before.requestid.encode()
        smith.confirm("SEND", {"destination": "/amq" + queue, "persistent": "true"}, body)
    assert wait_until(lambda: alice.junk.total() == 1, 60)
    assert before.stats["ok"] == 1
