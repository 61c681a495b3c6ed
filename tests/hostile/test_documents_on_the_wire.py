"""Hostile documents on a real broker, at a real daemon, a real client and a real supervisor."""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from mcshell import config
from mcshell.errors import Rejected, UsageError
from mcshell.message import Request, State, Via, made_id, new_nonce
from mcshell.pki import Authority
from mcshell.supervisor.inventory import Inventory
from mcshell.wire import destinations
from mcshell.wire.credentials import load_credentials
from mcshell.wire.documents.authored import as_fields
from mcshell.wire.documents.envelope import (
    SealedMessage,
    digest_of,
    kind_of,
    read_reply,
    seal_request,
)
from mcshell.wire.documents.job import seal_job
from mcshell.wire.documents.registration import seal_registration
from mcshell.wire.documents.takeover import seal_claim
from mcshell.wire.documents.turn import seal_turn
from tests.hostile.documents import SIGNED, Documents
from tests.peers.bare import Bare
from tests.peers.processes import wait_until
from tests.supervisor.rule_fleet import RuleFleet

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.hostile.documents import Hostile
    from tests.peers.brokers import Broker
    from tests.peers.fleet import Fleet

pytestmark = pytest.mark.timeout(300)

PATIENCE = 60.0
GHOST = "ghost"
JOBS = "jobs"
FORMS = ("wrong kind", "malformed", "deep", "not JSON", "ambiguous", "caller")


class Wire:
    """A daemon, a supervisor and operators on one broker; documents by their own CA's people.

    `to_node` are those that go to web1, `of_ghost` those in the name of a node that is nowhere.
    """

    def __init__(self, rules: RuleFleet) -> None:
        self.rules, self.fleet = rules, rules.fleet
        fleet = self.fleet
        strangers = {"another": Authority.init(fleet.folder / "stranger", "stranger")}
        common: dict[str, Any] = {"collective": fleet.collective}
        self.to_node = Documents(fleet.authority, strangers, node="web1", **common)
        self.of_ghost = Documents(fleet.authority, strangers, node=GHOST, called=GHOST, **common)
        fleet.start()
        rules.supervise()
        self.bare = Bare(fleet.broker).connect()

    def put(self, destination: str, sealed: SealedMessage) -> None:
        """Put a document on the broker."""
        self.bare.send(destination, sealed.body, sealed.headers)

    def refusals(self) -> Counter[str]:
        """What web1 has refused so far, by reason."""
        events = self.fleet.audit("web1")
        return Counter(event["reason"] for event in events if event["event"] == "refused")


@pytest.fixture(scope="module")
def wire(embedded: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wire]:
    """All of them; alice may converse."""
    folder = tmp_path_factory.mktemp("documents-wire")
    policies = {
        "default": "policy default deny\nallow\tcert=alice\t*\t*\t*\n",
        "converse": "policy default deny\nallow\tcert=alice\techo\t*\t*\n",
    }
    with RuleFleet(embedded, folder, "web1", policies=policies, every="1h") as rules:
        one = Wire(rules)
        yield one
        one.bare.sock.close()


@pytest.mark.parametrize("kind", ["rule", "turn of an operator"])
def test_what_is_brought_to_a_node_is_refused(wire: Wire, kind: str) -> None:
    """Its audit names the reason of each; the honest one beside it is taken."""
    place = destinations.node(wire.fleet.collective, "web1")
    ways = (*SIGNED, "future", "collective", "destination", "foreign id", "expired")
    for case in wire.to_node.cases(kind, by=ways):
        if case.by == "changed byte" and case.name == "kind":
            continue  # then it is brought as something else
        before = wire.refusals()
        wire.put(place, case.hostile)
        assert wait_until(lambda before=before: wire.refusals() != before, PATIENCE), str(case)
        assert (str(case), wire.refusals() - before) == (str(case), {case.reason.value: 1})
        wire.put(place, case.twin)
        assert wait_until(lambda case=case: taken(wire, kind, case), PATIENCE), str(case)
        if kind != "rule":
            wire.put(place, end_of(wire.to_node, case.twin))
    assert not [event for event in wire.fleet.audit("web1") if event.get("agent") == "exec"]


def end_of(documents: Documents, opening: SealedMessage) -> SealedMessage:
    """What ends a conversation: a node holds so many at a time."""
    requestid = json.loads(opening.body)["id"]
    digest = digest_of(opening.body)
    last = documents.turn(id=requestid, word="reset", sequence=0, nonce="", digest=digest)
    return seal_turn(last, documents.alice)


def taken(wire: Wire, kind: str, case: Hostile) -> bool:
    """Whether web1's audit tells of the honest one."""
    document = json.loads(case.twin.body)
    for event in wire.fleet.audit("web1"):
        if kind == "rule" and event["event"] == "rule" and document["name"] in str(event):
            return True
        if event["event"] == "accepted" and event.get("requestid") == document.get("id"):
            return True
    return False


def test_jobs_that_are_handed_in_are_refused(wire: Wire) -> None:
    """A job that its author has not signed so is refused in words, and is nowhere afterwards."""
    documents, fleet = wire.to_node, wire.fleet
    nonces: dict[str, str] = {}

    def make() -> SealedMessage:
        nonce = new_nonce()
        job = documents.job(id=made_id("request", "cert=alice", nonce), session=JOBS)
        nonces[job.id] = nonce
        return seal_job(job, documents.alice)

    queue = destinations.reply(fleet.collective, "cert=alice", JOBS)
    with Bare(fleet.broker).connect() as answers:
        answers.subscribe(queue, ack="auto")

        def hand_in(requestid: str, sealed: SealedMessage) -> tuple[State, str]:
            request = submission(fleet, requestid, nonces[requestid], sealed)
            carried = seal_request(request, documents.alice)
            wire.put(destinations.work(fleet.collective, "web1"), carried)
            reply = read_reply(answers.get("MESSAGE").body)
            assert reply.requestid == requestid
            return reply.state, reply.statusmsg

        honest = set()
        # without a signature it has not the inputs of a submission; too large, it is no request
        for case in documents.cases("job", make, {*SIGNED, *FORMS} - {"stripped"}):
            state, why = hand_in(json.loads(case.twin.body)["id"], case.hostile)
            assert state is State.DENIED, (str(case), why)
            assert f"the job's document: {case.reason.value}" in why, str(case)
            fresh = make()
            requestid = json.loads(fresh.body)["id"]
            honest.add(requestid)
            assert hand_in(requestid, fresh)[0] is State.RECEIVED
    with fleet.client() as alice:
        assert {row["job"] for row in alice.jobs.rows() if row["name"] == ""} == honest


def submission(fleet: Fleet, requestid: str, nonce: str, sealed: SealedMessage) -> Request:
    """The request that hands a job in to web1."""
    now = time.time()
    return Request(
        id=requestid,
        nonce=nonce,
        agent="job",
        action="submit",
        caller="cert=alice",
        collective=fleet.collective,
        via=Via.QUEUE,
        session=JOBS,
        created=now,
        expires=now + 600,
        identity="web1",
        data=as_fields(sealed),
    )


def test_registrations_are_refused_by_a_supervisor(wire: Wire) -> None:
    """It keeps the last that the node has signed, whatever comes in the node's name."""
    documents, fleet = wire.of_ghost, wire.fleet
    topic = destinations.registration(fleet.collective)
    made = iter(range(1, 1000))

    def make() -> SealedMessage:
        one = documents.registration(version=f"v{next(made)}")
        return seal_registration(one, documents.web1)

    realm = load_credentials(config.load(fleet.folder / "sup1.toml").pki).realm
    path = fleet.folder / "state-sup1" / "supervisor" / "registrations.sqlite"
    inventory = Inventory(path, realm)

    def version() -> str:
        kept = [one.registration for one in inventory.all() if one.registration.identity == GHOST]
        return kept[0].version if kept else ""

    for case in documents.cases("registration", make):
        wire.put(topic, case.hostile)
        wire.put(topic, case.twin)
        honest = json.loads(case.twin.body)["version"]
        assert wait_until(lambda honest=honest: version() == honest, PATIENCE), str(case)
        kept = [one.body for one in inventory.all() if one.registration.identity == GHOST]
        assert kept == [case.twin.body], str(case)
    inventory.close()


def test_claims_to_a_session_are_refused_by_who_holds_it(
    wire: Wire, caplog: pytest.LogCaptureFixture
) -> None:
    """It goes on holding it, and says why; it lets go for the one that its caller has signed."""
    documents, fleet = wire.to_node, wire.fleet
    topic = destinations.session(fleet.collective, "cert=alice")

    def make() -> SealedMessage:
        return seal_claim(documents.claim("hostile"), documents.alice)

    cases = documents.cases("claim", make)
    with fleet.client(session="hostile", state="state-hostile") as alice:
        for number, case in enumerate(cases, 1):
            wire.put(topic, case.hostile)
            assert wait_until(lambda number=number: len(said(caplog)) == number, PATIENCE)
            assert f"is refused: {case.reason.value}" in said(caplog)[-1], str(case)
            assert alice.session.holds, str(case)
        wire.put(topic, make())
        assert wait_until(lambda: not alice.session.holds, PATIENCE)


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What the holder has said of claims that it refused."""
    return [text for text in caplog.messages if "a word about sessions is refused" in text]


def test_turns_of_a_node_are_refused_by_its_caller(wire: Wire) -> None:
    """Only what the node has signed about this very opening opens, and is read."""
    documents, fleet = wire.of_ghost, wire.fleet
    queue = destinations.node(fleet.collective, GHOST)
    with Bare(fleet.broker).connect() as ears, fleet.client(state="state-turns") as alice:
        ears.subscribe(queue, ack="auto")
        talks: list[Any] = []
        thread = threading.Thread(
            target=lambda: talks.append(alice.open(GHOST, "echo", timeout=200))
        )
        thread.start()
        while kind_of(body := ears.get("MESSAGE").body) != "turn":
            pass  # the supervisor brings its list
        opened = json.loads(body)
        place = destinations.reply(fleet.collective, "cert=alice", opened["session"])

        def make(**other: Any) -> SealedMessage:
            head = {name: opened[name] for name in ("id", "protocol", "session")}
            fields = {**head, "nonce": "", "digest": digest_of(body), **other}
            return seal_turn(documents.turn(**fields), documents.web1)

        ways = {name: documents.cases("turn of a node", make, by=(name,)) for name in SIGNED}
        documents.held[opened["id"]] = GHOST
        hostile = [
            (str(one), one.reason.value, one.hostile) for way in ways.values() for one in way
        ]
        hostile += [
            ("unbound", "unbound", make(digest=digest_of(b"another"))),
            ("no digest", "unbound", make(digest="")),
            ("another session", "malformed", make(session="other")),
            ("another protocol", "malformed", make(protocol="other")),
        ]
        for name, reason, sealed in hostile:
            if name.endswith("changed byte: kind"):
                continue  # then it is no turn
            before = Counter(alice.junk)
            wire.put(place, sealed)
            assert wait_until(lambda before=before: alice.junk != before, PATIENCE), name
            assert (name, alice.junk - before) == (name, {reason: 1})
            assert thread.is_alive()
        wire.put(place, make())
        thread.join(PATIENCE)
        assert talks[0].state == "open"


def test_plans_are_refused_by_who_is_to_resume_them(wire: Wire) -> None:
    """What stands in a session's file under another signature than its author's is not gone on with."""
    documents, fleet = wire.to_node, wire.fleet
    path = fleet.folder / "plan.yaml"
    path.write_text("plan: patch\nsteps:\n  - step: one\n    ask: rpcutil.ping\n    nodes: web1\n")
    with fleet.client(session="plans", state="state-plans") as alice:
        alice.plans.run(path)
        (kept,) = alice.plans._store.all()
        headers = {"mcs-signature": kept.signature, "mcs-certificate": kept.certificate}
        honest = SealedMessage(kept.body, headers)
        database = fleet.folder / "state-plans" / "sessions" / "plans.sqlite"
        for case in documents.cases("plan", lambda: honest, (*SIGNED, *FORMS)):
            write(database, case.hostile)
            with pytest.raises(UsageError) as refused:
                alice.plans.resume()
            cause = refused.value.__cause__
            assert isinstance(cause, Rejected), str(case)
            assert (str(case), cause.reason) == (str(case), case.reason)
            write(database, case.twin)
            assert alice.plans.resume().state == "ok"


def write(database: Path, sealed: SealedMessage) -> None:
    """Put it into the session's file."""
    signature = sealed.headers.get("mcs-signature", "")
    certificate = sealed.headers.get("mcs-certificate", "")
    with sqlite3.connect(database) as db:
        db.execute(
            "UPDATE plans SET body=?, signature=?, certificate=?",
            (sealed.body, signature, certificate),
        )
    db.close()
