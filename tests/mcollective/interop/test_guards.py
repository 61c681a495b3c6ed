"""What our side closes of the old wire's holes, on a real broker: forged and captured messages."""

from __future__ import annotations

import queue
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pytest

from mcshell.errors import FilterError, UsageError
from mcshell.message import Filter, Reply, ReplySequence, Request, State, Via, new_nonce
from mcshell.wire.mcollective.envelope import MCollectiveLimits
from mcshell.wire.mcollective.layouts import ActiveMQ, Stamp
from mcshell.wire.mcollective.messages import read_reply, write_reply, write_request
from mcshell.wire.mcollective.psk import PSK
from mcshell.wire.mcollective.values import RubySymbol
from mcshell.wire.stomp.connector import Connector
from tests.mcollective.interop.conftest import fleet_beside
from tests.mcollective.interop.network import Network, Pair
from tests.peers.processes import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mcshell.wire.mcollective.envelope import ReplyEnvelope, RequestEnvelope
    from tests.peers.brokers import Broker
    from tests.peers.fleet import Fleet

pytestmark = [pytest.mark.timeout(240)]
LAYOUT = ActiveMQ()
SECRET = "interop"


@pytest.fixture(scope="module")
def fleet(activemq: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """Two nodes of ours that are on the old wire, too; no MCollective is needed."""
    network = Network(activemq, tmp_path_factory.mktemp("guards"), Pair(), collectives="guarded")
    with fleet_beside(activemq, tmp_path_factory.mktemp("fleet"), network, 2) as fleet:
        fleet.start()
        yield fleet


@dataclass
class Outsider:
    """Someone on the broker who knows what MCollective's clients know, and the psk if it is said."""

    connection: Connector
    security: PSK
    inbox: queue.SimpleQueue[Any]
    reply_to: str

    def request(self, agent: str, action: str, **fields: Any) -> RequestEnvelope:
        """A request as MCollective has it, not yet sealed."""
        now = time.time()
        made = Request(
            id=new_nonce(),
            agent=agent,
            action=action,
            caller=self.security.callerid,
            collective="guarded",
            via=Via.BROADCAST,
            session="",
            created=now,
            expires=now + 60,
            filter=Filter(identity=("ours0001",)),
        )
        envelope = write_request(made, callerid=self.security.callerid, sender="outsider")
        return replace(envelope, **fields)

    def send(self, body: bytes, agent: str, reply_to: str | None = None) -> None:
        """Put a body on an agent's topic."""
        stamp = Stamp("outsider", 60, time.time(), "/queue/x.reply")
        place = LAYOUT.broadcast("guarded", agent, stamp)
        headers = place.headers | {"reply-to": reply_to or self.reply_to}
        self.connection.send(place.destination, body, headers)

    def answers(self, seconds: float = 3.0) -> list[Reply]:
        """The replies that come within a second of the last, or so many seconds at first."""
        found: list[Reply] = []
        wait = seconds
        while True:
            try:
                delivery = self.inbox.get(timeout=wait)
            except queue.Empty:
                return found
            opened = self.security.open_reply(delivery.body, MCollectiveLimits(), lambda *_: True)
            found.append(read_reply(opened, "psk"))
            wait = 1.0


@pytest.fixture
def outsider(activemq: Broker, fleet: Fleet) -> Iterator[Outsider]:
    """One with the psk."""
    with Connector([activemq.url], user=activemq.user, passcode=activemq.passcode) as connection:
        connection.start()
        inbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
        reply_to = f"/queue/guarded.reply.outsider_{time.monotonic_ns()}.1"
        connection.subscribe(reply_to, inbox, ack="auto")
        yield Outsider(connection, PSK(SECRET), inbox, reply_to)


def refusals(fleet: Fleet, reason: str, count: int) -> list[dict[str, Any]]:
    """The node's audit lines with this reason, once there are so many."""

    def found() -> list[dict[str, Any]]:
        return [event for event in fleet.audit("ours0001") if event.get("reason") == reason]

    assert wait_until(lambda: len(found()) >= count, 60), fleet.audit("ours0001")[-5:]
    return found()


def test_a_good_one_is_answered(outsider: Outsider) -> None:
    """A request that is as it should be is answered, so that the refusals below mean something."""
    outsider.send(outsider.security.seal_request(outsider.request("rpcutil", "ping")), "rpcutil")
    (reply,) = outsider.answers()
    assert (reply.sender, reply.state) == ("ours0001", State.OK)


def test_the_same_bytes_twice(outsider: Outsider, fleet: Fleet) -> None:
    """A captured request runs once, though its ttl is not over."""
    body = outsider.security.seal_request(outsider.request("rpcutil", "ping"))
    outsider.send(body, "rpcutil")
    outsider.send(body, "rpcutil")
    assert len(outsider.answers()) == 1
    assert refusals(fleet, "replayed", 1)[-1]["via"] == "broadcast"


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"msgtime": int(time.time()) - 4000}, "expired"),
        ({"msgtime": int(time.time()) + 4000}, "from_future"),
        ({"ttl": 99_999}, "expired"),
        ({"collective": "mcollective"}, "wrong_collective"),
        ({"callerid": "uid=0/../x"}, "caller_mismatch"),
        ({"callerid": "uid=7"}, "caller_mismatch"),
        ({"body": ["no", "hash"]}, "malformed"),
        ({"filter": {"fact": "all"}}, "malformed"),
    ],
    ids=str,
)
def test_what_is_refused(
    fields: dict[str, Any], reason: str, outsider: Outsider, fleet: Fleet
) -> None:
    """Old, early, long-lived, misplaced and malformed requests get no answer, but an audit line."""
    before = len([one for one in fleet.audit("ours0001") if one.get("reason") == reason])
    body = outsider.security.seal_request(outsider.request("rpcutil", "ping", **fields))
    outsider.send(body, "rpcutil")
    assert refusals(fleet, reason, before + 1)[-1]["detail"].startswith("old wire: ")
    assert outsider.answers(0.3) == []


def test_another_psk(outsider: Outsider, fleet: Fleet) -> None:
    """Who does not know the secret is not heard."""
    body = PSK("guess").seal_request(outsider.request("rpcutil", "ping"))
    outsider.send(body, "rpcutil")
    refusals(fleet, "bad_signature", 1)
    assert outsider.answers(0.3) == []


@pytest.mark.parametrize(
    "place", ["/topic/mcs.any.broadcast", "/queue/guarded.nodes", "/topic/guarded.rpcutil.agent"]
)
def test_answers_go_to_reply_queues_only(place: str, outsider: Outsider, fleet: Fleet) -> None:
    """A reply-to that is where requests go is refused before anything runs."""
    body = outsider.security.seal_request(outsider.request("rpcutil", "ping"))
    before = len([one for one in fleet.audit("ours0001") if one.get("reason") == "misrouted"])
    outsider.send(body, "rpcutil", place)
    refusals(fleet, "misrouted", before + 1)


def test_native_rules_are_not_for_prefixed_callers(outsider: Outsider, fleet: Fleet) -> None:
    """A caller who calls himself cert=alice under psk is not the alice of a native rule."""
    alice = PSK(SECRET, "cert=alice")
    envelope = outsider.request("rpcutil", "ping", callerid="cert=alice")
    envelope.body[RubySymbol("caller")] = "cert=alice"
    outsider.send(alice.seal_request(envelope), "rpcutil")
    (reply,) = outsider.answers()
    assert reply.state is State.DENIED
    denied = [event for event in fleet.audit("ours0001") if event["event"] == "denied"]
    assert denied[-1]["caller"] == "mco-psk:cert=alice"


def test_jobs_are_not_for_the_old_wire(outsider: Outsider) -> None:
    """Agents that want signed documents are not there for callers of the old wire."""
    for topic in ("job", "rpcutil"):
        outsider.send(outsider.security.seal_request(outsider.request("job", "list")), topic)
    assert outsider.answers(1.0) == []


def test_nobody_answers_for_a_native_node(outsider: Outsider, fleet: Fleet) -> None:
    """While a node that is known by its certificate is away, a pong in its name is junk."""
    requests: queue.SimpleQueue[Any] = queue.SimpleQueue()
    for agent in ("discovery", "rpcutil"):
        outsider.connection.subscribe(f"/topic/guarded.{agent}.agent", requests, ack="auto")
    with fleet.client() as client:
        assert set(client.discover().sender) >= {"ours0001", "ours0002"}
        fleet.pause("ours0002")
        try:
            while not requests.empty():
                requests.get()
            replies = client.rpc("rpcutil", "ping", wait=False, timeout=8)
            answer_all(outsider, requests, "ours0002", 4.0)
            rows = {row.sender: row for row in replies.wait(30).rows()}
            assert rows["ours0002"].state is State.SILENT
            assert rows["ours0001"].trust == "mcs"
            assert client.junk["wrong_sender"] >= 1
        finally:
            fleet.resume("ours0002")


def answer_all(
    outsider: Outsider, requests: queue.SimpleQueue[Any], name: str, seconds: float
) -> None:
    """Answer every request of the old wire in a node's name."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        try:
            delivery = requests.get(timeout=left)
        except queue.Empty:
            return
        asked = outsider.security.open_request(
            delivery.body, MCollectiveLimits(), time.time()
        ).request
        reply = Reply(
            requestid=asked.requestid,
            sender=name,
            sequence=ReplySequence.FINAL,
            statuscode=0,
            statusmsg="OK",
            data={},
            created=time.time(),
            state=State.OK,
        )
        made: ReplyEnvelope = write_reply(reply, asked.agent)
        body = outsider.security.seal_reply(made, asked.callerid)
        place = LAYOUT.reply(delivery.headers["reply-to"], Stamp(name, 60, time.time()))
        outsider.connection.send(place.destination, body, place.headers)


def test_a_node_that_only_the_old_wire_knows(outsider: Outsider, fleet: Fleet) -> None:
    """Who answers over the old wire alone is a row with its trust; queue requests refuse it."""
    requests: queue.SimpleQueue[Any] = queue.SimpleQueue()
    for agent in ("discovery", "rpcutil"):
        outsider.connection.subscribe(f"/topic/guarded.{agent}.agent", requests, ack="auto")
    selector = {"selector": "mc_identity = 'old0001'"}
    outsider.connection.subscribe("/queue/guarded.nodes", requests, ack="auto", headers=selector)
    with fleet.client(state="state-other") as client:
        helper = threading.Thread(
            target=answer_all, args=(outsider, requests, "old0001", 8.0), daemon=True
        )
        helper.start()
        rows = client.rpc("rpcutil", "ping", nodes=["old0001", "ours0001"]).rows()
        assert {row.sender: row.trust for row in rows} == {"old0001": "psk", "ours0001": "mcs"}
        with pytest.raises(UsageError, match=r"keeps no requests.*old0001"):
            client.rpc("rpcutil", "ping", nodes=["old0001"], via="queue")
        with pytest.raises(FilterError, match="MCollective"):
            client.rpc("rpcutil", "ping", facts=["os!=~/x/"])
        helper.join()


def test_nothing_runs_twice_that_is_on_both_wires(outsider: Outsider, fleet: Fleet) -> None:
    """A broadcast to a mixed fleet runs once on a node that hears both wires, and is signed."""
    requests: queue.SimpleQueue[Any] = queue.SimpleQueue()
    outsider.connection.subscribe("/topic/guarded.discovery.agent", requests, ack="auto")
    outsider.connection.subscribe("/topic/guarded.rpcutil.agent", requests, ack="auto")
    selector = {"selector": "mc_identity = 'old0002'"}
    outsider.connection.subscribe("/queue/guarded.nodes", requests, ack="auto", headers=selector)
    helper = threading.Thread(target=answer_all, args=(outsider, requests, "old0002", 10.0))
    helper.start()
    with fleet.client(state="state-both") as client:
        replies = client.rpc("rpcutil", "ping", via="broadcast")
        trusts = {row.sender: row.trust for row in replies.rows()}
    helper.join()
    assert trusts == {"ours0001": "mcs", "ours0002": "mcs", "old0002": "psk"}
    runs = [e for e in fleet.audit("ours0001") if e.get("requestid") == replies.requestid]
    assert [event["event"] for event in runs] == ["accepted", "finished"], runs


def test_without_the_section_nothing_of_it_is_loaded() -> None:
    """Daemon, client and command line load nothing of the old wire while it is off."""
    code = (
        "import sys, mcshell.node.daemon, mcshell.client.client, mcshell.shell.cli\n"
        "bad = [m for m in sys.modules if 'mco' in m and m != 'mcshell.config.mcollective']\n"
        "sys.exit(', '.join(bad) or 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_our_own_broker_says_what_it_lacks(
    embedded: Broker, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """On the embedded broker, which has no selectors, the old wire is refused by name."""
    network = Network(embedded, tmp_path_factory.mktemp("embedded"), Pair())
    with fleet_beside(embedded, tmp_path_factory.mktemp("fleet"), network, 0) as fleet:
        done = fleet.cli("find")
        assert done.returncode == 64
        assert "wants ActiveMQ or RabbitMQ" in done.stderr
