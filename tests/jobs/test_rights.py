"""Who may what with jobs: asked when a job comes, and again at each start. Nothing runs otherwise."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from mcshell.message import Job, Request, State, Via, When, new_request_id
from mcshell.node.store.spool import Spool
from mcshell.wire import destinations
from mcshell.wire.documents.authored import as_fields
from mcshell.wire.documents.envelope import CERTIFICATE, SIGNATURE, read_reply
from tests.jobs.job_fleet import JobFleet
from tests.peers.bare import Bare
from tests.peers.processes import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from mcshell.client.jobs.replies import JobReplies
    from mcshell.client.store.ledger import LedgerEntry
    from tests.peers.brokers import Broker


ALL = "policy default deny\nallow\tcert=alice\t*\t*\t*\nallow\tcert=bob\t*\t*\t*\n"
NONE = "policy default deny\nallow\tcert=alice\t*\t*\t*\n"
HOUR = 3600.0 + 1
"""So far the clock is put ahead for a job that is handed in for "+1h"."""


@pytest.fixture
def job_fleet(embedded: Broker, tmp_path: Path) -> Iterator[JobFleet]:
    """One node; alice and bob may all that default.policy covers."""
    with JobFleet(
        embedded, tmp_path, "n1", policies={"default": ALL}, operators=("alice", "bob")
    ) as one:
        one.start("n1")
        yield one


def allow(job_fleet: JobFleet, agent: str, text: str) -> None:
    """Put a policy file in the place of the one that is there."""
    path = job_fleet.folder / "policies" / f"{agent}.policy"
    path.with_suffix(".new").write_text(text)
    path.with_suffix(".new").replace(path)


def denial(job_fleet: JobFleet, replies: JobReplies, why: str) -> LedgerEntry:
    """The job is denied, with these words, and audited with them; nothing ran."""
    replies.wait(40)
    entry = replies.entries()[0]
    assert entry.state is State.DENIED, (entry, job_fleet.logs())
    assert entry.reply is not None
    assert why in entry.reply.statusmsg
    assert audited(job_fleet, why)
    assert job_fleet.runs().total() == 0
    return entry


def audited(job_fleet: JobFleet, why: str) -> list[dict[str, Any]]:
    """The audit's events that deny for this reason."""
    return [
        event
        for event in job_fleet.audit("n1")
        if event["event"] == "denied" and why in str(event.get("reason"))
    ]


def submit(job_fleet: JobFleet, operator: str = "bob", **more: Any) -> JobReplies:
    """Hand in a job that marks, and wait until the node has said whether it takes it."""
    more = {"at": "+1h", "file": str(job_fleet.marks), "text": "ran", "nodes": ["n1"], **more}
    replies = job_fleet.client(operator, state=f"state-{operator}").jobs.submit(
        "mark", "once", **more
    )
    assert replies.wait_accepted(30), job_fleet.logs()
    return replies


def publish(job_fleet: JobFleet) -> None:
    """Send the newest revocation list to the nodes that are up."""
    done = job_fleet.fleet.cli("pki", "publish", "--pki", str(job_fleet.folder / "pki"), "-I", "n1")
    assert done.returncode == 0, done.stderr


def test_author_revoked_before_the_start(job_fleet: JobFleet) -> None:
    """A job whose author is revoked after handing it in is denied at its start."""
    replies = submit(job_fleet)
    assert replies.stats["received"] == 1
    job_fleet.fleet.authority.revoke("bob")
    publish(job_fleet)
    job_fleet.set_clock(HOUR)
    denial(job_fleet, replies, "revoked")


def test_policy_withdrawn_before_the_start(job_fleet: JobFleet) -> None:
    """A job that the policy allowed when it came is denied at its start when it no longer does."""
    replies = submit(job_fleet)
    assert replies.stats["received"] == 1
    allow(job_fleet, "default", NONE)
    (bob,) = job_fleet.clients

    def in_force() -> bool:
        return bool(bob.rpc("rpcutil", "ping", nodes=["n1"]).stats["denied"])

    assert wait_until(in_force, 60)  # a node looks at its files once a second
    job_fleet.set_clock(HOUR)
    denial(job_fleet, replies, "default.policy")


def test_node_that_was_off_during_the_revocation(job_fleet: JobFleet) -> None:
    """A node that comes up with a newer revocation list denies what it took in before."""
    replies = submit(job_fleet)
    job_fleet.kill("n1")
    job_fleet.fleet.authority.revoke("bob")
    job_fleet.set_clock(HOUR)
    job_fleet.start("n1")
    denial(job_fleet, replies, "revoked")


def test_submit_is_not_enough(job_fleet: JobFleet) -> None:
    """Who may hand jobs in, but not do what the job does, is denied when it comes."""
    client = job_fleet.client("bob", state="state-bob")
    replies = client.jobs.submit(
        "exec", "run", argv=["touch", str(job_fleet.marks)], at="+1s", nodes=["n1"]
    )
    denial(job_fleet, replies, "default.policy does not cover exec.run")
    assert client.jobs.rows(replies.job) == []


def test_the_right_to_the_action_is_not_enough(job_fleet: JobFleet) -> None:
    """Who may do what the job does, but not hand jobs in, is denied when it comes."""
    allow(job_fleet, "job", NONE)
    denial(job_fleet, submit(job_fleet, at="+1s"), "job.policy")


def forbidden(replies: Any) -> str:
    """Why a change was denied."""
    replies.wait(20)
    entry = replies.entries()[0]
    assert entry.state is State.DENIED, entry
    assert entry.reply is not None
    return str(entry.reply.statusmsg)


@pytest.mark.parametrize("verb", ["pause", "resume", "skip", "cancel"])
def test_job_of_another(job_fleet: JobFleet, verb: str) -> None:
    """Without a rule for job.edit that asks for the owner nobody touches the job of another."""
    replies = submit(job_fleet, "alice")
    bob = job_fleet.client("bob", state="state-bob")
    change: Callable[..., Any] = getattr(bob.jobs, verb)
    assert "it is a job of cert=alice" in forbidden(change(replies.job, nodes=["n1"]))
    assert audited(job_fleet, "it is a job of cert=alice")
    job_fleet.set_clock(HOUR)
    replies.wait(40)
    assert replies.stats["ok"] == 1
    assert job_fleet.runs() == {"ran": 1}


def test_edit_without_the_right(job_fleet: JobFleet) -> None:
    """An edit by someone without job.edit changes nothing, and is audited."""
    replies = submit(job_fleet, "alice")
    bob = job_fleet.client("bob", state="state-bob")
    denied = bob.jobs.edit(
        replies.job, nodes=["n1"], text="bob's", confirm=lambda change: change.foreign
    )
    assert "it is a job of cert=alice" in forbidden(denied)
    job_fleet.set_clock(HOUR)
    replies.wait(40)
    assert job_fleet.runs() == {"ran": 1}


def test_edit_runs_with_the_editors_rights(job_fleet: JobFleet) -> None:
    """With the right, another's edit is taken: it runs as the editor, who gets the result."""
    allow(
        job_fleet,
        "job",
        f"{ALL}allow\tcert=bob\tedit\towner=cert=alice\t*\n",
    )
    replies = submit(job_fleet, "alice", at="+1h")
    bob = job_fleet.client("bob", state="state-bob")
    edited = bob.jobs.edit(
        replies.job, nodes=["n1"], text="bob's", at="+1s", confirm=lambda change: change.foreign
    )
    assert edited.wait(20).stats["ok"] == 1
    entry = replies.wait(30).entries()[0]
    assert entry.state is State.FAILED
    assert entry.reply is not None
    assert "edited by cert=bob" in entry.reply.statusmsg
    assert wait_until(lambda: job_fleet.runs() == {"bob's": 1}, 30), job_fleet.logs()
    assert wait_until(lambda: len(bob.jobs.runs(replies.job)) == 1, 60)
    (run,) = bob.jobs.runs(replies.job)
    assert run.wait(20).stats["ok"] == 1
    started = [event for event in job_fleet.audit("n1") if event["event"] == "started"]
    assert {event["caller"] for event in started if event["agent"] == "mark"} == {"cert=bob"}


def test_recurring_job_past_its_end(job_fleet: JobFleet) -> None:
    """A job that recurs starts no more after its end, which is no refusal: it ends as its last start did."""
    replies = submit(job_fleet, every="1h", at="+1h", until="+90m")
    job_fleet.set_clock(3600.0 * 1.2)
    replies.wait(40)
    (entry,) = replies.entries()
    assert entry.state is State.OK, (entry, job_fleet.logs())
    assert entry.reply is not None
    assert entry.reply.statusmsg == "its end has come, after 1 start"
    assert job_fleet.runs() == {"ran": 1}
    assert job_fleet.states(job_fleet.client("alice"), replies.job) == {"n1": "ok"}


def test_recurring_job_resumed_past_its_end(job_fleet: JobFleet) -> None:
    """There is no start for it to go on with: it is over, and its owner is told."""
    replies = submit(job_fleet, every="1h", at="+1h", until="+90m")
    (bob,) = job_fleet.clients
    bob.jobs.pause(replies.job).wait(20)
    job_fleet.set_clock(3600.0 * 2.5)
    bob.jobs.resume(replies.job).wait(20)
    replies.wait(40)
    (entry,) = replies.entries()
    assert entry.state is State.EXPIRED, (entry, job_fleet.logs())
    assert entry.reply is not None
    assert entry.reply.statusmsg == "its end has come, after 0 starts"


def test_forged_documents(job_fleet: JobFleet) -> None:
    """A document that another signed, or that its author did not sign so, is refused."""
    mine = submit(job_fleet, at="+1h")
    bob = next(one for one in job_fleet.clients if one.caller == "cert=bob")
    alice = job_fleet.client("alice")
    document = replace(bob.jobs.document(mine), author="cert=alice", revision=2)
    sealed = alice._hub.request_sender.job(document)

    def edit(body: str) -> str:
        inputs = {
            "document": body,
            "signature": sealed.headers[SIGNATURE],
            "certificate": sealed.headers[CERTIFICATE],
        }
        return forbidden(
            bob.rpc("job", "edit", job=mine.job, via="queue", nodes=["n1"], inputs=inputs)
        )

    body = sealed.body.decode()
    assert "a job of cert=alice, not of the caller" in edit(body)
    assert "bad_signature" in edit(body.replace("ran", "won"))
    assert job_fleet.states(bob, mine.job) == {"n1": "scheduled"}


LEAD = ALL + "allow\tcert=bob\tedit\towner=cert=alice\t*\n"


@pytest.mark.parametrize(
    ("who", "policy", "becomes"),
    [
        pytest.param(("bob",), ALL, State.RECEIVED, id="who may not"),
        pytest.param(("bob", "alice"), ALL, State.FAILED, id="its owner, after who may not"),
        pytest.param(("alice", "bob"), ALL, State.FAILED, id="its owner, before who may not"),
        pytest.param(("bob",), LEAD, State.FAILED, id="who may"),
    ],
)
@pytest.mark.parametrize("agent", ["job", "mark"])
def test_cancelled_before_it_came(
    job_fleet: JobFleet, agent: str, who: tuple[str, ...], policy: str, becomes: State
) -> None:
    """A job, or a queued request, that its owner or who may has cancelled before it came is not taken."""
    allow(job_fleet, "job", policy)
    clients = {one: job_fleet.client(one, state=f"state-{one}") for one in ("alice", "bob")}
    sender = clients["alice"]._hub.request_sender
    requestid, nonce = new_request_id("cert=alice")
    for one in who:
        replies = clients[one].rpc("job", "cancel", job=requestid, nodes=["n1"])
        assert replies.stats["failed"] == 1, replies.rows()
    now, collective = time.time(), job_fleet.fleet.collective
    common: dict[str, Any] = {
        "id": requestid,
        "collective": collective,
        "session": "before",
        "created": now,
    }
    inputs = {"file": str(job_fleet.marks), "text": "ran"}
    job = Job(
        revision=1,
        author="cert=alice",
        agent="mark",
        action="once",
        data=inputs,
        when=When(at=(datetime.now(UTC) + timedelta(hours=1)).strftime("%FT%T"), tz="UTC"),
        **common,
    )
    request = Request(
        nonce=nonce,
        caller="cert=alice",
        agent=agent,
        action="submit" if agent == "job" else "once",
        data=as_fields(sender.job(job)) if agent == "job" else inputs,
        via=Via.QUEUE,
        identity="n1",
        expires=now + 600,
        **common,
    )
    message = sender.seal("n1", request)
    with Bare(job_fleet.fleet.broker).connect() as bare:
        bare.subscribe(destinations.reply(collective, "cert=alice", "before"), ack="auto")
        headers = {SIGNATURE: message.signature, CERTIFICATE: message.certificate}
        bare.send(message.destination, message.body, headers)
        said = read_reply(bare.get("MESSAGE").body)
    assert said.requestid == requestid
    assert said.state is becomes
    if becomes is State.FAILED:
        names = " and ".join(f"cert={one}" for one in who)
        assert said.statusmsg == f"cancelled by {names}, before it came"
        assert job_fleet.runs().total() == 0


def test_nobody_fills_a_node_with_what_he_cancels_before_it_comes(job_fleet: JobFleet) -> None:
    """Of whom 5,000 such are kept is told that no more are; another caller's still are."""
    clients = {one: job_fleet.client(one, state=f"state-{one}") for one in ("alice", "bob")}
    ids = [new_request_id("cert=alice")[0] for _ in range(5001)]

    def cancelled(one: str) -> str:
        (row,) = clients[one].rpc("job", "cancel", job=ids[-1], nodes=["n1"]).rows()
        assert row.state is State.FAILED
        return row.statusmsg

    clients["alice"].rpc("job", "cancel", job=ids[0], nodes=["n1"])
    job_fleet.kill("n1")
    spool = Spool(job_fleet.folder / "state-n1" / "node" / "work.sqlite")
    first = spool.jobs.get(("n1", ids[0]))
    assert first is not None
    spool.put_jobs([replace(first, id=one) for one in ids[1:-1]])
    spool.close()
    job_fleet.start("n1")
    kept = "cert=alice has cancelled 5000 here before they came: no more are kept"
    assert cancelled("alice") == f"no job {ids[-1]} here, and {kept}"
    assert cancelled("bob") == f"no job {ids[-1]} here; if it still comes, it is not taken"
