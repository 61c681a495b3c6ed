"""Every hostile message of `forge.py`, put on a real broker by a bare socket.

Requests go to a real daemon, which writes what it refuses into its audit file and answers the
honest twin. Replies go to a real client, which counts what it refuses by reason and enters the
honest twin into the request's ledger.
"""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from mcshell.errors import Reason
from mcshell.message import State, Via, new_nonce
from mcshell.wire import destinations
from mcshell.wire.documents.envelope import read_reply, seal_request
from tests.hostile.forge import CLASSES, Case, Forge, changed
from tests.peers.bare import Bare
from tests.peers.fleet import Fleet, Node
from tests.peers.processes import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mcshell.client.client import Client
    from mcshell.client.rpc.replies import Replies
    from mcshell.wire.documents.envelope import SealedMessage
    from tests.peers.brokers import Broker

pytestmark = pytest.mark.timeout(300)

PATIENCE = 60.0
EMULATED = 200
SESSION = "hostile"
GHOST = "ghost.example.com"  # asked by the client; the forge answers in its place


def nobodys() -> tuple[str, str]:
    """A request of which nobody hears the replies."""
    return new_nonce(), ""


class Arena:
    """A daemon and a client on one broker, and the forge's socket between them."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self.asked: dict[str, Replies] = {}
        common: dict[str, Any] = {"collective": fleet.collective}
        to_node = Forge(
            fleet.authority, node="web1", session="forge", outstanding=nobodys, **common
        )
        to_client = Forge(
            fleet.authority,
            node=GHOST,
            session=SESSION,
            outstanding=self._outstanding,
            **common,
        )
        # Both read the CRL at their start, and the forge has revoked some of its own only now.
        fleet.start()
        self.client: Client = fleet.client(session=SESSION)
        self.cases = [
            *(case for case in to_node.cases() if case.arrival is not None),
            *(case for case in to_client.cases() if case.arrival is None),
        ]
        self.bare = Bare(fleet.broker).connect()
        self.answers = Bare(fleet.broker).connect()
        self.answers.subscribe(
            destinations.reply(fleet.collective, "cert=alice", "forge"), ack="auto"
        )

    def _outstanding(self) -> tuple[str, str]:
        """A request that the client has really sent, and nobody has answered, with its digest."""
        replies = self.client.rpc("rpcutil", "ping", nodes=[GHOST], wait=False)
        self.asked[replies.requestid] = replies
        store = self.client.session.store
        assert wait_until(lambda: store.outgoing(replies.requestid) != [], PATIENCE)
        ((message, _confirmed),) = store.outgoing(replies.requestid)
        return replies.requestid, message.digest[2]

    def put(self, sealed: SealedMessage, case: Case) -> None:
        """Put a message on the broker."""
        self.bare.send(case.destination, sealed.body, sealed.headers)

    def close(self) -> None:
        """Cut the sockets and end the client."""
        for one in (self.bare, self.answers):
            one.sock.close()
        self.client.close()

    # --- what the receivers say ------------------------------------------------------------

    def refusals(self) -> Counter[str]:
        """What the daemon has refused so far, by reason."""
        events = self.fleet.audit("web1")
        return Counter(event["reason"] for event in events if event["event"] == "refused")

    def accepted(self) -> set[str]:
        """The requests that reached the daemon's agents."""
        return {e["requestid"] for e in self.fleet.audit("web1") if e["event"] == "accepted"}

    def table(self) -> dict[str, tuple[Any, ...]]:
        """All that the client's tables say of who answered what."""
        rows = ((name, entry) for name, r in self.asked.items() for entry in r.entries())
        return {
            f"{name} {entry.sender}": (entry.received, entry.running, entry.done, entry.duplicate)
            for name, entry in rows
        }

    def stored(self) -> int:
        """The replies in the client's session file."""
        return self.client.session.store.reply_count()


@pytest.fixture(scope="module")
def arena(broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Arena]:
    """One daemon, one client and all cases, on each broker."""
    folder = tmp_path_factory.mktemp(f"wire-{broker.kind}")
    with Fleet(broker, folder, {"web1": Node()}) as fleet:
        arena = Arena(fleet)
        yield arena
        arena.close()


@pytest.mark.parametrize("kind", CLASSES)
def test_a_class_of_hostile_messages_reaches_no_agent_and_no_table(arena: Arena, kind: str) -> None:
    """Each is refused with its own reason, and its untampered twin is accepted."""
    cases = [case for case in arena.cases if case.kind == kind]
    assert len(cases) >= 4
    _put_on_the_node(arena, [case for case in cases if case.arrival is not None])
    _put_on_the_client(arena, [case for case in cases if case.arrival is None])


def _put_on_the_node(arena: Arena, cases: list[Case]) -> None:
    """The daemon audits the hostile one and answers the twin; of the other it says that its date is off."""
    for case in cases:
        if case.reason is Reason.REPLAYED:
            _request_is_answered(arena, case)
        before, ran = arena.refusals(), arena.accepted()
        arena.put(case.hostile, case)
        assert wait_until(lambda before=before: arena.refusals() != before, PATIENCE), case.name
        assert (case.name, arena.refusals() - before) == (case.name, {case.reason.value: 1})
        assert arena.accepted() == ran, case.name
        if case.reason in (Reason.EXPIRED, Reason.FROM_FUTURE):
            reply = read_reply(arena.answers.get("MESSAGE").body)
            assert f'"id":"{reply.requestid}"'.encode() in case.hostile.body
            assert reply.state in (State.EXPIRED, State.FAILED), case.name
        if case.reason is not Reason.REPLAYED:
            _request_is_answered(arena, case)
    assert arena.answers.silent(0.2)


def _request_is_answered(arena: Arena, case: Case) -> None:
    arena.put(case.twin, case)
    reply = read_reply(arena.answers.get("MESSAGE").body)
    assert (case.name, reply.state, reply.sender) == (case.name, State.OK, "web1")
    assert f'"id":"{reply.requestid}"'.encode() in case.twin.body
    assert reply.requestid in arena.accepted()


def _put_on_the_client(arena: Arena, cases: list[Case]) -> None:
    """The client counts the hostile one as junk and enters the twin alone."""
    for case in cases:
        before, table, stored = arena.client.junk, arena.table(), arena.stored()
        arena.put(case.hostile, case)
        assert wait_until(lambda before=before: arena.client.junk != before, PATIENCE), case.name
        assert (case.name, arena.client.junk - before) == (case.name, {case.reason.value: 1})
        assert (case.name, arena.table(), arena.stored()) == (case.name, table, stored)
        arena.put(case.twin, case)
        assert wait_until(lambda table=table: arena.table() != table, PATIENCE), case.name
        assert arena.stored() == stored + 1


def test_every_class_is_here(arena: Arena) -> None:
    """At least 60 hostile messages are on the wire, and none of a class of its own."""
    assert {case.kind for case in arena.cases} == set(CLASSES)
    assert len(arena.cases) >= 60


def test_one_tampered_broadcast_is_refused_by_every_node(
    embedded: Broker, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """As many audited refusals as there are nodes, each under its node's name; no answer."""
    with Fleet(embedded, tmp_path_factory.mktemp("tampered")) as fleet:
        fleet.emulate(EMULATED)
        forge = Forge(fleet.authority, outstanding=nobodys, collective=fleet.collective)
        honest = seal_request(forge.request(Via.BROADCAST), forge.alice)
        hostile = changed(honest, action="get_facts")
        with Bare(embedded).connect() as bare:
            mine = destinations.reply(fleet.collective, "cert=alice", forge.session)
            bare.subscribe(mine, ack="auto")
            began = time.time()
            bare.send(destinations.broadcast(fleet.collective), hostile.body, hostile.headers)
            assert wait_until(lambda: len(fleet.audit("emulator")) >= EMULATED, PATIENCE)
            events = fleet.audit("emulator")
            assert len(events) == len({event["identity"] for event in events}) == EMULATED
            assert {event["event"] for event in events} == {"refused"}
            assert {event["reason"] for event in events} == {Reason.BAD_SIGNATURE.value}
            assert all(event["epoch"] >= began for event in events)
            assert bare.silent(0.2)
            bare.send(destinations.broadcast(fleet.collective), honest.body, honest.headers)
            senders: set[str] = set()
            while len(senders) < EMULATED:  # a reply that the broker confirms late comes twice
                senders.add(read_reply(bare.get("MESSAGE").body).sender)
