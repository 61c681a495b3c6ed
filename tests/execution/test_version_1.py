"""What mcshell 0.1.0 has left: refused on the wire, and brought to its end from where it was kept."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import pytest

from mcshell import config
from mcshell.client.session.session import Session
from mcshell.client.store.records import OutgoingMessage, RequestRecord
from mcshell.message import Filter, Reply, ReplySequence, Request, State, Via, new_request_id
from mcshell.node.store.records import OutboxMessage, WorkItem
from mcshell.node.store.spool import Spool
from mcshell.wire import destinations
from mcshell.wire.documents.envelope import CERTIFICATE, SIGNATURE, seal_reply, seal_request
from mcshell.wire.documents.signatures import Signer
from tests.hostile.forge import as_version_1
from tests.peers.fleet import Fleet, Node
from tests.peers.processes import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from mcshell.wire.documents.envelope import SealedMessage
    from tests.peers.brokers import Broker
    from tests.peers.workbench import Bench

pytestmark = pytest.mark.timeout(240)


def test_on_the_wire_it_is_refused_by_name(bench: Bench, tmp_path: Path) -> None:
    """A request that is signed as version 1 was is audited as `wrong_version`, and not run."""
    bench.start()
    request, sealed = bench.seal("once", {"file": str(tmp_path / "marks")})
    bench.put(request, as_version_1(sealed, bench.signer))
    bench.final(bench.ask("once", {"file": str(tmp_path / "marks")}))
    assert [e["reason"] for e in bench.audit() if e["event"] == "refused"] == ["wrong_version"]
    assert not bench.heard.get(request.id)
    assert len((tmp_path / "marks").read_text().split()) == 1


def row(request: Request, sealed: SealedMessage, state: str) -> WorkItem:
    """A row of the spool."""
    ended = state == "ok"
    return WorkItem(
        identity="n1",
        id=request.id,
        via="queue",
        collective=request.collective,
        agent=request.agent,
        action=request.action,
        caller=request.caller,
        session=request.session,
        created=request.created,
        expires=request.expires,
        due=request.created,
        received=request.created,
        body=None if ended else sealed.body,
        signature=None if ended else sealed.headers[SIGNATURE],
        certificate=None if ended else sealed.headers[CERTIFICATE],
        state=state,
        statuscode=0 if ended else None,
    )


def test_a_spool_goes_on(bench: Bench, tmp_path: Path) -> None:
    """A request that waits there runs, and a reply that waits there is signed again and sent."""
    bench.start()
    bench.stop()
    waits, sealed = bench.seal("once", {"file": str(tmp_path / "marks")})
    ended, other = bench.seal("once")
    node = Signer.load(bench.folder / "n1.pem", bench.folder / "n1.key")
    reply = Reply(
        requestid=ended.id,
        sender="n1",
        sequence=ReplySequence.FINAL,
        statuscode=0,
        statusmsg="as it was",
        data={"pong": 1},
        created=time.time() - 60,
        state=State.OK,
    )
    said = as_version_1(seal_reply(reply, node), node)
    message = OutboxMessage(
        identity="n1",
        request=ended.id,
        sequence=reply.sequence,
        destination=destinations.reply(bench.collective, "cert=alice", bench.session),
        body=said.body,
        signature=said.headers[SIGNATURE],
        certificate=said.headers[CERTIFICATE],
    )
    spool = Spool(bench.folder / "state-n1" / "node" / "work.sqlite")
    spool.add(
        [row(waits, as_version_1(sealed, bench.signer), "queued"), row(ended, other, "ok")],
        [message],
    )
    spool.close()
    bench.start()
    assert bench.final(waits.id).state is State.OK
    assert bench.final(ended.id) == reply
    assert not bench.junk
    assert len((tmp_path / "marks").read_text().split()) == 1


def left_by_0_1_0(fleet: Fleet, name: str, age: float = 0.0) -> tuple[Session, OutgoingMessage]:
    """A session of alice's with one queued ping of n1, `age` seconds old and good for 600."""
    settings = config.load(fleet.config)
    session = Session.open(settings.state_dir, "cert=alice", fleet.collective, name)
    now = time.time() - age
    requestid, nonce = new_request_id("cert=alice")
    record = RequestRecord(
        id=requestid,
        agent="rpcutil",
        action="ping",
        via=Via.QUEUE,
        collective=fleet.collective,
        created=now,
        expires=now + 600,
        filter=Filter(),
        data={},
    )
    request = Request(
        id=requestid,
        nonce=nonce,
        agent="rpcutil",
        action="ping",
        caller="cert=alice",
        collective=fleet.collective,
        via=Via.QUEUE,
        session=session.address,
        created=now,
        expires=now + 600,
        identity="n1",
    )
    alice = Signer.load(fleet.folder / "alice.pem", fleet.folder / "alice.key")
    old = as_version_1(seal_request(request, alice), alice)
    outgoing = OutgoingMessage(
        request=record.id,
        sender="n1",
        destination=destinations.work(fleet.collective, "n1"),
        body=old.body,
        signature=old.headers[SIGNATURE],
        certificate=old.headers[CERTIFICATE],
        expires=request.expires,
    )
    session.store.add(record, ["n1"], [outgoing])
    return session, outgoing


def test_a_session_goes_on(embedded: Broker, tmp_path: Path) -> None:
    """A queued request that was never confirmed goes out under a new id, and is found by the old."""
    with Fleet(embedded, tmp_path, {"n1": Node()}) as fleet:
        fleet.start()
        session, outgoing = left_by_0_1_0(fleet, "old")
        session.close()
        former = outgoing.request
        with fleet.client(session="old") as client:
            assert wait_until(lambda: client.replies(former).stats["ok"] == 1, 60)
            assert client.replies(former).requestid != former
            (line,) = client.notices
            assert line.startswith(f"request {former[:8]} was not sent by mcshell 0.1.0: now")


def test_doctor_names_what_the_broker_has_from_then(embedded: Broker, tmp_path: Path) -> None:
    """A request that 0.1.0 sent and nobody answered is named, with when it will have expired."""
    with Fleet(embedded, tmp_path) as fleet:
        session, outgoing = left_by_0_1_0(fleet, "old")
        session.store.mark_confirmed([outgoing], time.time())
        session.close()
        rows = json.loads(fleet.cli("doctor", "--json").stdout)
    (row,) = (row for row in rows if row["check"] == "sessions")
    assert row["state"] == "warn"
    assert f"{outgoing.request[:8]} of old (1 nodes, until " in row["detail"]


def test_what_0_1_0_has_asked_is_asked_again_only_when_that_is_meant(
    embedded: Broker, tmp_path: Path
) -> None:
    """Its replies do not prove what they answer: `retry` of it asks first, or wants --yes."""
    with Fleet(embedded, tmp_path, {"n1": Node()}) as fleet:
        fleet.start()
        session, outgoing = left_by_0_1_0(fleet, "old", age=700.0)
        session.store.mark_confirmed([outgoing], time.time() - 690.0)
        session.close()
        with fleet.client(session="old") as client:
            earlier = client.again(outgoing.request)
            assert (earlier.names, earlier.bound) == (["n1"], False)
        words = ("retry", "-r", outgoing.request, "--session", "old")
        refused = fleet.cli(*words)
        assert refused.returncode == 64
        assert "made by mcshell 0.1.0" in refused.stderr
        assert "say --yes if that is meant" in refused.stderr
        assert fleet.cli(*words, "--yes").returncode == 0
