"""The causes as a pure function: evidence in, causes out, the most likely first."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcshell.client.discovery.node_cache import CachedNode
from mcshell.client.explain.causes import Evidence, Probe, causes
from mcshell.client.messaging.rejections import Rejection
from mcshell.client.store.ledger import LedgerEntry
from mcshell.client.store.records import RequestRecord
from mcshell.errors import Reason, Rejected
from mcshell.message import Filter, Reply, State, Via

NOW = 1_800_000_000.0
SENT = NOW - 60
ID = "a" * 32


def record(via=Via.DIRECT, pool=None):
    """A request made a minute ago, that holds for an hour."""
    return RequestRecord(
        id=ID,
        agent="rpcutil",
        action="ping",
        via=via,
        collective="mcs",
        created=SENT,
        expires=SENT + 3600,
        filter=Filter(),
        data={},
        pool=pool,
    )


def about(via=Via.DIRECT, *, entry=None, pool=None, **more):
    """What is known of web1 and the request, nothing else by default."""
    entry = LedgerEntry(sender="web1", sent=SENT) if entry is None else entry
    return Evidence(node="web1", now=NOW, record=record(via, pool), entry=entry, **more)


def says(state, skew=0.0, **more):
    """A node's answer to the probe."""
    return Probe({"state": state, **more}, skew)


def final(state, statuscode, text):
    """A ledger entry with a final reply."""
    reply = Reply(
        requestid=ID,
        sender="web1",
        sequence=2,
        statuscode=statuscode,
        statusmsg=text,
        data={},
        created=NOW,
        state=state,
    )
    return LedgerEntry(sender="web1", state=state, sent=SENT, done=NOW, reply=reply)


QUEUE = {"via": Via.QUEUE}
SEEN = CachedNode(identity="web1", seen=NOW - 5)
OLD = CachedNode(identity="web1", seen=SENT - 5)


@pytest.mark.parametrize(
    ("evidence", "cause", "kind"),
    [
        (about(probe=says("refused", reason="replayed: x")), "replayed: its id ran there before", "observed"),
        (about(probe=says("refused", reason="from_future: made 90 s from now")), "clock off", "observed"),
        (about(probe=says("refused", reason="stale_crl: x")), "the node's revocation list is too old", "observed"),
        (about(probe=says("refused", reason="misrouted")), "refused by the node: misrouted", "observed"),
        (about(probe=says("received")), "waiting for a free slot", "observed"),
        (about(probe=says("ok", ended=NOW)), "it has answered, but its reply has not come back", "observed"),
        (about(probe=says("unknown", up=SENT - 9)), "the request did not reach it", "observed"),
        (about(probe=says("unknown", up=SENT + 9)), "it was not running when the request was sent", "observed"),
        (about(**QUEUE, probe=says("unknown"), confirmed=SENT), "confirmed by the broker, not received by the node", "observed"),
        (about(**QUEUE, known=SEEN, confirmed=SENT), "confirmed by the broker, not received by the node", "inferred"),
        (about(**QUEUE, known=OLD, confirmed=SENT), "last seen before the request was sent", "inferred"),
        (about(known=SEEN), "it does not answer now", "inferred"),
        (about(known=replace(SEEN, skew=-90.0)), "clock off", "observed"),
        (about(), "never seen", "inferred"),
        (about(offline="connection refused"), "we have no broker", "observed"),
        (about(own=Rejected(Reason.REVOKED)), "our own certificate: revoked", "observed"),
        (about(refused=Rejection(Rejected(Reason.STALE_CRL), NOW, proven=True)), "our revocation list is too old", "observed"),
        (about(refused=Rejection(Rejected(Reason.REVOKED), NOW, proven=False)), "never seen", "inferred"),
        (about(Via.POOL, pool="sms", members=("web1",)), "waiting in the pool's queue", "inferred"),
        (about(Via.POOL, pool="sms"), "no member serves the pool", "inferred"),
        (about(entry=final(State.INTERRUPTED, 5, "died")), "interrupted: the node or its worker died in the middle", "observed"),
        (about(entry=final(State.EXPIRED, 5, "expired 3 s ago")), "expired before it was taken", "observed"),
        (about(entry=final(State.FAILED, 5, "timed out, and was ended")), "timed out in the action", "observed"),
        (about(entry=final(State.FAILED, 4, "x: no")), "refused by the DDL", "observed"),
        (Evidence(node="web1", now=NOW, probe=says("unknown")), "it answers now", "observed"),
    ],
)  # fmt: skip
def test_the_most_likely_cause_comes_first(evidence, cause, kind):
    """Each piece of evidence is called by its name, and by how it is known."""
    first = causes(evidence)[0]
    assert (first.cause, first.kind) == (cause, kind)


def test_a_pool_that_a_worker_took_from_waits_in_no_queue():
    """Its row is the worker's: what he says of it counts, and where he is."""
    taken = LedgerEntry(sender="pool:sms", worker="web1", sent=SENT, state=State.RUNNING)
    found = causes(about(Via.POOL, pool="sms", members=("web2",), entry=taken, known=SEEN))
    assert [one.cause for one in found] == ["it does not answer now"]
    found = causes(about(Via.POOL, pool="sms", entry=taken, probe=says("running", started=NOW)))
    assert [one.cause for one in found] == ["it is running"]


def test_what_the_broker_did_with_it_is_not_observed():
    """It confirmed it: that is all that was seen; whether it still has it, nobody has looked."""
    found = causes(about(**QUEUE, probe=says("unknown", reads=NOW - 60), confirmed=SENT))
    assert "the broker has" not in found[0].evidence
    assert "confirmed" in found[0].evidence
    assert "retry asks it again" in found[0].evidence


def test_what_the_broker_never_confirmed_is_said_by_our_own_records():
    """Sent or not: without a receipt nobody may say that the broker has it."""
    found = causes(about(**QUEUE, known=OLD, offline="gone"))
    assert [(one.cause, one.kind) for one in found] == [
        ("we have no broker", "observed"),
        ("sent, but never confirmed by the broker", "observed"),
    ]
    found = causes(about(**QUEUE, entry=LedgerEntry(sender="web1"), offline="gone"))
    assert found[-1].cause == "not sent yet"


def test_a_clock_that_is_off_is_named_beside_the_rest():
    """A node that answers and whose clock is off is told so, after what it says of the request."""
    found = causes(about(probe=says("running", skew=42.0, started=NOW - 3)))
    assert [one.cause for one in found] == ["it is running", "clock off"]
    assert "42 s ahead" in found[1].evidence
    assert found[0].since == NOW - 3


states = st.sampled_from(
    ["unknown", "refused", "queued", "running", "received", "accepted", "passed", "ok", "odd"]
)
probes = st.builds(
    says, states, st.floats(-1e4, 1e4), reason=st.none() | st.text(max_size=9), up=st.floats(0, NOW)
)
entries = st.builds(
    LedgerEntry,
    sender=st.just("web1"),
    state=st.sampled_from([State.PENDING, State.SILENT, State.EXPIRED, State.RUNNING]),
    sent=st.none() | st.floats(0, NOW),
    reason=st.sampled_from(["", "not sent: stopped"]),
)
nodes = st.builds(
    CachedNode,
    identity=st.just("web1"),
    seen=st.floats(0, NOW),
    skew=st.none() | st.floats(-1e5, 1e5),
)


@given(
    st.sampled_from(Via),
    st.none() | entries,
    st.none() | st.floats(0, NOW),
    st.none() | nodes,
    st.none() | probes,
    st.booleans(),
)
def test_there_is_always_a_cause(via, entry, confirmed, known, probe, asked):
    """Whatever is known, at least one cause is named, observed or inferred, with its evidence."""
    evidence = Evidence(
        node="web1",
        now=NOW,
        record=record(via, "sms" if via is Via.POOL else None) if asked else None,
        entry=entry if asked else None,
        confirmed=confirmed,
        known=known,
        probe=probe,
    )
    found = causes(evidence)
    assert found
    assert all(one.kind in ("observed", "inferred") and one.evidence for one in found)
