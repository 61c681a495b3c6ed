"""What each identity may and may not read and write, on the real brokers as they are set up."""

from __future__ import annotations

import itertools
import json
import time
from typing import TYPE_CHECKING, Any

import pytest

from mcshell.wire import destinations
from tests.peers.bare import Bare, Closed
from tests.peers.brokers import YOUNG
from tests.peers.processes import wait_until
from tests.rights.conftest import LOGINS, ONLY_RABBITMQ

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.rights.conftest import Guarded

pytestmark = pytest.mark.timeout(240)

QUIET = 1.0  # seconds in which a message that must not come would have come

# What may be done to each destination, told once more: r, w, both or nothing; C is the collective.
TABLE: dict[str, dict[str, str]] = {
    "alice": {
        "/topic/mcs.C.broadcast": "w",
        "/topic/mcs.C.registration": "r",
        "/topic/mcs.C.session.cert~3dalice": "rw",
        "/topic/mcs.C.session.cert~3dalice.smith": "",
        "/queue/mcs.C.node.web1": "w",
        "/queue/mcs.C.node.web1.example.com": "w",
        "/queue/mcs.C.work.web1": "w",
        "/queue/mcs.C.work.web1.example.com": "w",
        "/queue/mcs.C.pool.sms": "w",
        "/queue/mcs.C.pool.other": "w",
        "/queue/mcs.C.reply.cert~3dalice.s1": "r",
        "/queue/mcs.C.reply.cert~3dalice.smith.s1": "",
        "/queue/mcs.C.reply.cert~3dbob~2bops~40example.com.s1": "",
    },
    "bob+ops@example.com": {
        "/topic/mcs.C.session.cert~3dbob~2bops~40example.com": "rw",
        "/queue/mcs.C.reply.cert~3dbob~2bops~40example.com.s1": "r",
        "/queue/mcs.C.reply.cert~3dalice.s1": "",
        "/queue/mcs.C.node.web1": "w",
    },
    "web1": {
        "/topic/mcs.C.broadcast": "r",
        "/topic/mcs.C.registration": "w",
        "/topic/mcs.C.session.cert~3dalice": "",
        "/queue/mcs.C.node.web1": "r",
        "/queue/mcs.C.work.web1": "r",
        "/queue/mcs.C.node.web1.example.com": "",
        "/queue/mcs.C.work.web1.example.com": "",
        "/queue/mcs.C.node.db1": "",
        "/queue/mcs.C.work.db1": "",
        "/queue/mcs.C.pool.sms": "r",
        "/queue/mcs.C.pool.other": "",
        "/queue/mcs.C.reply.cert~3dalice.s1": "w",
        "/queue/mcs.C.reply.cert~3dalice.smith.s1": "w",
    },
    "web1.example.com": {
        "/queue/mcs.C.node.web1.example.com": "r",
        "/queue/mcs.C.work.web1.example.com": "r",
        "/queue/mcs.C.node.web1": "",
        "/queue/mcs.C.work.web1": "",
        "/queue/mcs.C.pool.sms": "",
    },
}
# A supervisor. (What it reads, its pool's queue, it may also write to on RabbitMQ: whoever may make
# a queue and send to some may send to that one. What is not signed is not believed.)
TABLE["sup1"] = {
    "/topic/mcs.C.broadcast": "r",
    "/topic/mcs.C.registration": "rw",
    "/queue/mcs.C.node.web1": "w",
    "/queue/mcs.C.node.web1.example.com": "w",
    "/queue/mcs.C.work.web1": "",
    "/queue/mcs.C.pool.sms": "",
    "/queue/mcs.C.reply.cert~3dalice.s1": "w",
}
# A login has the rights of the identity of its name.
TABLE |= {f"{who}.login": TABLE[who] for who in LOGINS}
# Outside everything that we use: for nobody.
NOBODYS = (
    "/topic/mcs.other.broadcast",
    "/topic/mcs.other.registration",
    "/queue/mcs.other.node.web1",
    "/queue/mcs.other.reply.cert~3dalice.s1",
    "/queue/mcs.C.node",
    "/queue/mcs.C",
    "/queue/elsewhere",
    "/topic/elsewhere",
    "/queue/mcs.unrouted",
    "/queue/ActiveMQ.DLQ",
)
CASES = [
    (who, destination, way, way[0] in allowed)
    for who, table in TABLE.items()
    for destination, allowed in {**table, **dict.fromkeys(NOBODYS, "")}.items()
    for way in ("read", "write")
]
_ids = itertools.count(1)


def read(bare: Bare, destination: str) -> None:
    """SUBSCRIBE as mcshell does on this broker; raises Closed when it is refused."""
    named = bare.dialect.subscribe_to(destination)
    bare.confirm("SUBSCRIBE", {"id": f"r{next(_ids)}", "ack": "auto", **named})


def write(bare: Bare, destination: str, body: bytes = b"x") -> None:
    """SEND as mcshell does on this broker; raises Closed when it is refused."""
    headers = {"destination": bare.dialect.send_to(destination), "persistent": "true"}
    bare.confirm("SEND", headers, body)


class BrokerStumbled(AssertionError):
    """RabbitMQ gave up within itself, as a busy one may, and said nothing of rights."""


def refused(attempt: Callable[[], object]) -> bool:
    """Whether the broker closed the connection over this, for want of a right and saying so."""
    try:
        attempt()
    except Closed as closed:
        error = closed.error
    else:
        return False
    assert error is not None, "closed without a word"
    said = (error.headers.get("message", "") + error.body.decode()).lower()
    if said == "processing error" * 2:
        raise BrokerStumbled
    assert "not authorized" in said or "access_refused" in said, said
    return True


@pytest.mark.parametrize(
    ("who", "destination", "way", "allowed"),
    CASES,
    ids=[f"{who} {way}s {where}" for who, where, way, _ in CASES],
)
def test_a_right(guarded: Guarded, who: str, destination: str, way: str, allowed: bool) -> None:  # noqa: FBT001  # a column of the table
    """Each identity may do what the table says, each way; the broker refuses all else."""
    where = destination.replace(".C", f".{guarded.fleet.collective}")
    attempt = read if way == "read" else write
    try:
        with guarded.enter(who) as bare:
            refusal = refused(lambda: attempt(bare, where))
    except BrokerStumbled:  # once; another time it is a failure
        with guarded.enter(who) as bare:
            refusal = refused(lambda: attempt(bare, where))
    assert refusal is not allowed


@pytest.mark.parametrize(
    ("sender", "reader", "destination"),
    [
        ("alice", "web1", "/topic/mcs.C.broadcast"),
        ("alice", "web1", "/queue/mcs.C.node.web1"),
        ("alice", "web1", "/queue/mcs.C.work.web1"),
        ("alice.smith", "web1.example.com", "/queue/mcs.C.work.web1.example.com"),
        ("alice", "web1", "/queue/mcs.C.pool.sms"),
        ("web1", "alice", "/topic/mcs.C.registration"),
        ("web1.example.com", "alice", "/queue/mcs.C.reply.cert~3dalice.flow"),
        ("db1", "alice.smith", "/queue/mcs.C.reply.cert~3dalice.smith.flow"),
        ("alice", "alice", "/topic/mcs.C.session.cert~3dalice"),
    ],
)
def test_what_is_allowed_arrives(
    guarded: Guarded, sender: str, reader: str, destination: str
) -> None:
    """What one may write and the other may read comes from the one to the other."""
    where = destination.replace(".C", f".{guarded.fleet.collective}")
    body = f"{sender} to {reader}: {next(_ids)}".encode()
    with guarded.enter(reader) as taker, guarded.enter(sender) as giver:
        read(taker, where)
        write(giver, where, body)
        while taker.get("MESSAGE").body != body:  # what other tests have left
            pass


def test_without_a_certificate_of_the_fleet_nobody_is_let_in(guarded: Guarded) -> None:
    """A name and a passcode are no login; the certificate is, whatever name is said beside it."""
    with guarded.enter("web1") as bare:
        bare.leave()
    tls = Bare(guarded.broker, tls=_context(guarded, "web1"))
    tls.hello |= {"login": "operator.alice", "passcode": "guess"}
    with tls:
        try:
            tls.connect()
            write(tls, f"/topic/mcs.{guarded.fleet.collective}.broadcast")
        except Closed:
            return
    pytest.fail("a node that called itself alice was believed")


def _context(guarded: Guarded, who: str) -> Any:
    import ssl

    tls = ssl.create_default_context(cafile=str(guarded.folder / "ca.pem"))
    tls.load_cert_chain(guarded.folder / f"{who}.pem", guarded.folder / f"{who}.key")
    return tls


@pytest.mark.parametrize("name", [">", "*", "#", "mcs.>", "mcs.#", "mcs.*.work.*", "mcs.C.work.>"])
@pytest.mark.parametrize("kind", ["queue", "topic"])
def test_a_wildcard_reads_nothing_of_others(guarded: Guarded, kind: str, name: str) -> None:
    """A node that subscribes to a pattern gets nothing that is not its own."""
    collective = guarded.fleet.collective
    where = name.replace(".C", f".{collective}")
    with guarded.enter("web1") as spy, guarded.enter("alice") as alice:
        if refused(lambda: read(spy, f"/{kind}/{where}")):
            return
        write(alice, f"/queue/mcs.{collective}.work.wild{next(_ids)}")
        write(alice, f"/queue/mcs.{collective}.node.db1")
        write(alice, f"/topic/mcs.{collective}.session.cert~3dalice")
        assert spy.silent(QUIET)


@ONLY_RABBITMQ
def test_a_reply_that_comes_before_its_session_is_sent_on(guarded: Guarded) -> None:
    """It is kept, and comes to the session that is there when `requeue` is run."""
    replies = f"/queue/mcs.{guarded.fleet.collective}.reply.cert~3dalice.early"
    with guarded.enter("web1") as web1:
        # 3.10 that starts for the first time has its policies some moments after its listeners
        assert wait_until(lambda: _parked(guarded, web1, replies), 60.0)
    with guarded.enter("alice") as alice:
        read(alice, replies)
        assert alice.silent(QUIET)
        guarded.broker.command("requeue")
        assert alice.get("MESSAGE", 60.0).body == b"before its session"


def _parked(guarded: Guarded, node: Bare, replies: str) -> bool:
    write(node, replies, b"before its session")
    queues = {
        row["name"]: row["messages"] for row in guarded.ctl("list_queues", "name", "messages")
    }
    return bool(queues["mcs.unrouted"])


@ONLY_RABBITMQ
def test_on_rabbitmq_a_node_has_no_way_to_others_queues(guarded: Guarded) -> None:
    """No name of STOMP's leads a node to a queue that is not its own: none to write, none to remove."""
    c = guarded.fleet.collective
    replies, work = f"mcs.{c}.reply.cert~3dalice.kept", f"mcs.{c}.work.db1"
    with guarded.enter("alice") as alice, guarded.enter("db1") as db1:
        read(alice, f"/queue/{replies}")
        read(db1, f"/queue/{work}")
        alice.leave()
    with guarded.enter("db1") as db1:
        write(db1, f"/queue/{replies}", b"an answer that waits")
    for queue in (replies, work):
        for start in ("/queue/", "/amq/queue/", "/exchange/amq.default/", "/reply-queue/"):
            with guarded.enter("web1") as web1, pytest.raises(Closed):
                web1.confirm("SEND", {"destination": start + queue}, b"evil")
        for headers in (
            {"destination": f"/amq/queue/{queue}"},
            {"destination": f"/topic/{queue}"},
            {"destination": "/topic/elsewhere", "x-queue-name": queue},
            {
                "destination": f"/topic/mcs.{c}.broadcast",
                "x-queue-name": queue,
                "durable": "true",
                "auto-delete": "false",
            },
        ):
            with guarded.enter("web1") as web1, pytest.raises(Closed):
                web1.confirm("SUBSCRIBE", {"id": "1", "ack": "auto", **headers})
        with guarded.enter("web1") as web1:
            mine = {"destination": f"/topic/mcs.{c}.broadcast", "id": "1"}
            web1.confirm("SUBSCRIBE", {**mine, "ack": "auto"})
            # this is how a durable subscription's queue is removed
            mine |= {"persistent": "true", "durable": "true", "x-queue-name": queue}
            assert refused(lambda: web1.confirm("UNSUBSCRIBE", mine))  # noqa: B023  # called at once
    with guarded.enter("alice") as alice:
        read(alice, f"/queue/{replies}")
        assert alice.get("MESSAGE").body == b"an answer that waits"
        assert alice.silent(QUIET)


def test_retention_is_longer_than_the_longest_ttl(guarded: Guarded) -> None:
    """A reply that says nothing of its end is kept for 187 days: a week more than a request lives."""
    kept = 187 * 86400.0
    c = guarded.fleet.collective
    replies = f"mcs.{c}.reply.cert~3dalice.kept-long"
    with guarded.enter("alice") as alice, guarded.enter("db1") as db1:
        read(alice, f"/queue/{replies}")
        write(db1, f"/queue/{replies}")
        headers = alice.get("MESSAGE").headers
    if guarded.kind == "activemq":
        assert abs(int(headers["expires"]) / 1000 - time.time() - kept) < 3600
    else:
        policies = {one["name"]: one["definition"] for one in guarded.ctl("list_policies")}
        of_queue = {
            one["name"]: one["policy"] for one in guarded.ctl("list_queues", "name", "policy")
        }
        assert json.loads(policies[of_queue[replies]]) == {"message-ttl": kept * 1000}


def test_a_large_reply_is_taken(guarded: Guarded) -> None:
    """Five megabytes, which a RabbitMQ from 3.13 on refuses unless it is told otherwise."""
    replies = f"/queue/mcs.{guarded.fleet.collective}.reply.cert~3dalice.large"
    with guarded.enter("alice") as alice, guarded.enter("db1") as db1:
        read(alice, replies)
        write(db1, replies, b"x" * (5 << 20))
        assert len(alice.get("MESSAGE").body) == 5 << 20


def test_who_is_new_comes_in_and_who_is_revoked_does_not(guarded: Guarded) -> None:
    """Written again and taken over, the rights are those of now; what waited is still there."""
    fleet, c = guarded.fleet, guarded.fleet.collective
    fleet.authority.issue("late", "node", out=guarded.folder)
    fleet.authority.issue("gone", "node", out=guarded.folder)
    before = (guarded.folder / "conf" / "server.pem").read_bytes()
    assert not _enters(guarded, "late")
    guarded.configure()
    take_over(guarded)
    assert wait_until(lambda: _enters(guarded, "late"), 30)
    assert wait_until(lambda: _enters(guarded, "gone"), 30)
    with guarded.enter("alice") as alice:
        write(alice, f"/queue/mcs.{c}.work.late", b"before it was taken over")
    fleet.authority.revoke("gone")
    guarded.configure()
    take_over(guarded)
    assert wait_until(lambda: not _enters(guarded, "gone"), 30)
    assert (guarded.folder / "conf" / "server.pem").read_bytes() == before
    with guarded.enter("late") as late:
        read(late, f"/queue/mcs.{c}.work.late")
        assert late.get("MESSAGE").body == b"before it was taken over"


def test_what_was_handed_out_before_a_crash_says_so(guarded: Guarded) -> None:
    """A pool's message that a worker held when the broker died comes marked: another may have run it."""
    queue = f"/queue/mcs.{guarded.fleet.collective}.pool.sms"
    with guarded.enter("web1") as web1, guarded.enter("alice") as alice:
        web1.subscribe(queue, prefetch=1)
        alice.send(queue, b"work", persistent=True)
        assert web1.get("MESSAGE").headers.get("redelivered") != "true"
        time.sleep(YOUNG)  # RabbitMQ's queues are safe then
        guarded.broker.kill9()
    guarded.broker.restart()
    with guarded.enter("web1") as web1:
        web1.subscribe(queue, prefetch=1)
        frame = web1.get("MESSAGE")
        assert (frame.body, frame.headers.get("redelivered")) == (b"work", "true")
        web1.ack(frame)
        web1.leave()


def _enters(guarded: Guarded, who: str) -> bool:
    """Whether it may read its own queue."""
    try:
        with guarded.enter(who) as bare:
            read(bare, destinations.work(guarded.fleet.collective, who))
    except Closed:
        return False
    return True


def take_over(guarded: Guarded) -> None:
    """Have the broker take over what was written again; ActiveMQ runs anew for that."""
    before = guarded.broker.pid
    guarded.broker.command("reload")
    if guarded.kind == "activemq":
        assert wait_until(lambda: guarded.broker.pid != before and guarded.broker.ready(), 60)
