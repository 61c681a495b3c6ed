"""What a node takes in, what it refuses, in which order, and what the audit says of it."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from mcshell.errors import MachineError, StorageError
from mcshell.message import Duty, Filter, Job, Rule, State, Via, When
from mcshell.node.admission.intake import DirectDocuments
from mcshell.node.revocation import Revocation
from mcshell.node.verdicts import Admitted, Outcome, Refusal
from mcshell.wire.documents.crl import seal_crl
from mcshell.wire.documents.envelope import (
    CRL,
    RULE,
    BodyLimits,
    RequestReader,
    SealedMessage,
    digest_of,
)
from mcshell.wire.documents.job import seal_job
from mcshell.wire.documents.rule import rule_digest, seal_rule
from mcshell.wire.stomp.transport import Delivery
from tests.hostile.forge import as_version_1
from tests.unit.node.admission_bench import AdmissionBench

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[AdmissionBench]:
    """A node, alice who may all, bob who may `again`."""
    made = AdmissionBench(tmp_path)
    yield made
    made.close()


def about(request, event: str, **more: object) -> dict[str, object]:
    """The audit's line of a request that was verified."""
    return {
        "event": event,
        "identity": "web1",
        "requestid": request.id,
        "caller": request.caller,
        "agent": request.agent,
        "action": request.action,
        "via": request.via.value,
        **more,
    }


def refused(request, reason: str, detail: str, **more: object) -> dict[str, object]:
    """The audit's line of a message that got no answer."""
    return {
        "event": "refused",
        "identity": "web1",
        "reason": reason,
        "detail": detail,
        "requestid": request.id,
        "via": request.via.value,
        "count": 1,
        **more,
    }


# -- one message, one node


def test_what_may_run_is_audited_before_it_runs(bench: AdmissionBench) -> None:
    """The request with its inputs checked and typed, its agent and action; one line, with the inputs."""
    request = bench.request(data={"file": "marks", "sleep": 1})
    ((name, admitted),) = bench.take(request)
    assert isinstance(admitted, Admitted)
    assert (name, admitted.action.name, admitted.service.ddl.name) == ("web1", "once", "mark")
    assert admitted.request.data == {"file": "marks", "sleep": 1.0}
    assert admitted.request.id == request.id
    assert bench.lines() == [about(request, "accepted", inputs={"file": "marks", "sleep": 1.0})]
    assert bench.host.journal.seen(request.id)["state"] == "received"


def test_what_runs_is_named_as_whoever_asks_wants(bench: AdmissionBench) -> None:
    """Queued work is `scheduled`, a run of it `started`."""
    request = bench.request()
    for event in ("scheduled", "started"):
        assert isinstance(bench.controller.admit(request, bench.host, event), Admitted)
    assert [line["event"] for line in bench.lines()] == ["scheduled", "started"]


def test_a_fault_of_ours_costs_one_request(bench: AdmissionBench) -> None:
    """It is refused with the error's name, and what comes behind it is judged as ever."""
    broken, bench.facts = bench.facts, None
    verdict = bench.controller.admit(bench.request(), bench.host, "started")
    assert isinstance(verdict, Refusal)
    assert (verdict.state, "TypeError" in verdict.statusmsg) == (State.FAILED, True)
    bench.facts = broken
    assert isinstance(bench.controller.admit(bench.request(), bench.host, "started"), Admitted)


def test_a_request_for_others_is_passed_over(bench: AdmissionBench) -> None:
    """Its filter decides, for a broadcast alone; it is known of, and nobody is told."""
    request = bench.request(filter=Filter(identity=("web2",)))
    assert [name for name, _ in bench.take(request, "web1", "web2")] == ["web2"]
    assert bench.host.journal.seen(request.id)["state"] == "passed"
    named = bench.direct(bench.request(filter=Filter(identity=("web2",))))
    ((name, admitted),) = bench.take(named)
    assert (name, type(admitted)) == ("web1", Admitted)


def test_a_filter_that_cannot_be_read_gets_no_answer(bench: AdmissionBench) -> None:
    """It is malformed, and the audit says what is wrong with it."""
    request = bench.request(filter=Filter(compound=("os=",)))
    assert bench.take(request) == []
    (line,) = bench.lines()
    assert (line["reason"], line["requestid"], line["via"]) == (
        "malformed",
        request.id,
        "broadcast",
    )
    assert "caller" not in line


@pytest.mark.parametrize("way", ["open", "open_work"])
def test_what_cannot_be_verified_gets_no_answer(bench: AdmissionBench, way: str) -> None:
    """Refused with its reason and the id that it claims, and counted; nothing is claimed by it."""
    request, sealed = bench.request(), bench.sealed(bench.request())
    forged = SealedMessage(bench.sealed(request).body, sealed.headers)
    told = getattr(bench.controller, way)(
        forged.body, forged.headers, bench.arrival(request), bench.host, time.time()
    )
    assert told is None
    (line,) = bench.lines()
    assert (line["reason"], line["requestid"]) == ("bad_signature", request.id)
    assert bench.host.journal.seen(request.id)["state"] == "refused"
    assert bench.host.journal.counts["refused"] == 1
    assert not bench.replay_guard.claimed("web1", request.id)


@pytest.mark.parametrize(
    ("late", "state", "why", "reason", "detail"),
    [
        (100.0, State.EXPIRED, "expired 40 s ago", "expired", "40 s ago"),
        (
            -100.0,
            State.FAILED,
            "made 100 s ahead: compare the clocks",
            "from_future",
            "made 100 s ahead: compare the clocks",
        ),
    ],
)
def test_what_has_only_a_wrong_date_is_told_so_once(
    bench: AdmissionBench, late: float, state: State, why: str, reason: str, detail: str
) -> None:
    """Its last reply says which clock is off; a second copy is a replay, and gets none."""
    now = 1_800_000_000.0
    request = bench.request(created=now, expires=now + 60)
    ((_, refusal),) = bench.take(request, now=now + late)
    assert isinstance(refusal, Refusal)
    assert (refusal.state, refusal.statuscode, refusal.statusmsg) == (state, 5, why)
    assert refusal.request.id == request.id
    assert bench.take(request, now=now + late + 1) == []
    first, second = bench.lines()
    assert first == refused(request, reason, detail, caller="cert=alice")
    assert second == refused(request, "replayed", "this id ran here before", caller="cert=alice")


def test_a_misdated_request_in_a_queue_is_audited_at_once(bench: AdmissionBench) -> None:
    """There its id is claimed by the spool; what is right comes back as it is, filter or not."""
    now = 1_800_000_000.0
    request = bench.request(
        via=Via.QUEUE,
        identity="web1",
        created=now,
        expires=now + 60,
        filter=Filter(identity=("x",)),
    )
    sealed, arrival = bench.sealed(request), bench.arrival(request)
    opened = bench.controller.open_work(sealed.body, sealed.headers, arrival, bench.host, now)
    assert opened == replace(request, digest=digest_of(sealed.body))
    assert bench.lines() == []
    late = bench.controller.open_work(sealed.body, sealed.headers, arrival, bench.host, now + 61)
    assert isinstance(late, Refusal)
    assert bench.lines() == [refused(request, "expired", "1 s ago", caller="cert=alice")]


# -- the claim


def test_an_id_runs_once_however_often_it_comes(bench: AdmissionBench) -> None:
    """The second copy is refused as a replay; for another node it is the first."""
    request = bench.request()
    assert [name for name, _ in bench.take(request)] == ["web1"]
    assert [name for name, _ in bench.take(request, "web1", "web2")] == ["web2"]
    assert bench.lines()[1] == refused(
        request, "replayed", "this id ran here before", caller="cert=alice"
    )
    assert [line["event"] for line in bench.lines()] == ["accepted", "refused", "accepted"]


def test_the_inputs_of_a_message_to_several_are_each_nodes_own(bench: AdmissionBench) -> None:
    """The message is read once; what one node's action does with its inputs no other has."""
    deep = {"file": "marks", "more": {"of": ["it"]}}
    sealed = bench.sealed(bench.request(data=deep))
    read = RequestReader()
    found = [read(sealed.body, BodyLimits()) for _ in range(3)]
    found[1].data["more"]["of"].append("else")
    found[2].data["more"]["of"].clear()
    assert [one.data["more"]["of"] for one in found] == [["it"], ["it", "else"], []]
    other = bench.request(data={"file": "others"})
    assert read(bench.sealed(other).body, BodyLimits()).id == other.id
    verdicts = [one for _, one in bench.take(bench.request(), "web1", "web2")]
    assert verdicts[0].request.data is not verdicts[1].request.data


def test_each_node_verifies_a_message_to_several(bench: AdmissionBench) -> None:
    """Who was revoked meanwhile is believed by none of those that look at it later."""
    sealed, read = bench.sealed(request := bench.request()), RequestReader()
    words = (sealed.body, sealed.headers)
    arrival = bench.arrival(request)
    taken = bench.controller.open(*words, arrival, bench.host, time.time(), read)
    assert taken is not None
    bench.authority.revoke("alice")
    bench.verifier.update_crl(bench.authority.crl_pem)
    late = bench.arrival(request, "web2")
    assert bench.controller.open(*words, late, bench.hosts["web2"], time.time(), read) is None
    assert bench.lines()[-1]["reason"] == "revoked"


def test_a_claim_lasts_as_long_as_the_request(bench: AdmissionBench) -> None:
    """Until it expires; one that has expired already, from now on."""
    now = 1_800_000_000.0
    for late, expires in ((0.0, now + 60), (100.0, now + 100)):
        request = bench.request(created=now, expires=now + 60)
        bench.take(request, now=now + late)
        query = "SELECT expires FROM claims WHERE requestid = ?"
        assert bench.replay_guard._database.read(query, (request.id,))[0][0] == expires


def test_a_clock_that_leaps_ahead_and_back_forgets_no_claim(bench: AdmissionBench) -> None:
    """However far it leaps: what others have signed meanwhile says that it is not so late."""
    now = 1_800_000_000.0
    first = bench.request(created=now, expires=now + 60)
    assert bench.take(first, now=now)
    for leap in (7200.0, 864_000.0):
        bench.take(bench.request(created=now + 1, expires=now + leap + 60), now=now + leap)
    assert bench.take(first, now=now + 2) == []
    assert bench.lines()[-1]["reason"] == "replayed"


def test_what_cannot_be_claimed_does_not_run(bench: AdmissionBench) -> None:
    """On a disk that takes nothing only discovery is answered; a wrong date is told all the same."""

    def refuse(*_: object) -> None:
        raise StorageError("the disk is full")

    bench.replay_guard.claim_many = refuse  # type: ignore[method-assign]
    request = bench.request()
    ((_, refusal),) = bench.take(request)
    why = "refused: nothing can be kept here: the disk is full"
    assert (refusal.state, refusal.statuscode, refusal.statusmsg) == (State.FAILED, 5, why)
    assert bench.lines() == [about(request, "refused", statuscode=5, reason=why, count=1)]
    ping = bench.request("ping", agent="discovery", data={})
    ((_, admitted),) = bench.take(ping)
    assert isinstance(admitted, Admitted)
    late = bench.request(created=1.0, expires=2.0)
    ((_, told),) = bench.take(late)
    assert told.statusmsg.startswith("expired ")
    unknown = bench.request("x", agent="none")
    assert bench.take(unknown)[0][1].statusmsg == why
    assert bench.controller.no_room(told, bench.host, MachineError("x")) is told


# -- policy, agent, DDL


def test_an_agent_that_is_not_here_is_named_and_counted(bench: AdmissionBench) -> None:
    """With the reason where there is one; no policy is asked about it."""
    request = bench.request("x", agent="puppet", caller="bob")
    ((_, refusal),) = bench.take(request)
    assert (refusal.state, refusal.statuscode) == (State.FAILED, 2)
    assert refusal.statusmsg == "no agent 'puppet'"
    assert bench.lines() == [
        about(request, "refused", statuscode=2, reason="no agent 'puppet'", count=1)
    ]
    bench.served.inactive["puppet"] = "there is no puppet here"
    assert bench.take(bench.request("x", agent="puppet"))[0][1].statusmsg == (
        "no agent 'puppet': there is no puppet here"
    )


def test_the_policy_s_no_comes_before_the_schema(bench: AdmissionBench) -> None:
    """Who may not is told by which line, not whether his inputs were right; the audit has a line."""
    request = bench.request(caller="bob", data={"nonsense": 1})
    ((_, refusal),) = bench.take(request)
    why = "denied by policy: default.policy:1 (default)"
    assert (refusal.state, refusal.statuscode, refusal.statusmsg) == (State.DENIED, 1, why)
    assert bench.lines() == [about(request, "denied", statuscode=1, reason=why)]
    assert not bench.host.journal.counts, "its reply counts it, as every final state"
    ((_, admitted),) = bench.take(bench.request("again", caller="bob"))
    assert isinstance(admitted, Admitted)


@pytest.mark.parametrize(
    ("action", "data", "statuscode"),
    [("twice", {}, 2), ("once", {}, 3), ("once", {"file": 5}, 4)],
)
def test_what_the_schema_does_not_take_is_refused(
    bench: AdmissionBench, action: str, data: dict[str, object], statuscode: int
) -> None:
    """An action that is not there, an input that is missing, or is not valid: each with its code."""
    request = bench.request(action, data=data)
    ((_, refusal),) = bench.take(request)
    assert (refusal.state, refusal.statuscode) == (State.FAILED, statuscode)
    (line,) = bench.lines()
    assert line == about(request, "refused", statuscode=statuscode, reason=refusal.statusmsg)
    assert bench.host.journal.counts["refused"] == 1


def test_discovery_is_for_everyone_and_counted(bench: AdmissionBench) -> None:
    """No policy is asked; what it does not take is counted too, and nobody's id is in the way."""
    ping = bench.request("ping", agent="discovery", caller="bob", data={})
    ((_, admitted),) = bench.take(ping)
    assert isinstance(admitted, Admitted)
    ((_, refusal),) = bench.take(bench.request("pong", agent="discovery", caller="bob", data={}))
    assert refusal.statuscode == 2
    bench.audit.close()
    events = {line["event"]: line for line in bench.lines()}
    assert events["discovery"] == {
        "event": "discovery",
        "identity": "web1",
        "caller": "cert=bob",
        "agent": "discovery",
        "action": "ping",
        "via": "broadcast",
        "count": 1,
    }
    assert events["refused"]["count"] == 1


def test_inputs_that_are_secret_are_not_in_the_audit(bench: AdmissionBench) -> None:
    """The line before the run has them redacted, the run has them whole."""
    mark = bench.served.get("mark")
    secret = replace(mark.ddl.actions["once"], sensitive=frozenset({"text"}))
    ddl = replace(mark.ddl, actions={**mark.ddl.actions, "once": secret})
    bench.served._services["mark"] = replace(mark, ddl=ddl)
    ((_, admitted),) = bench.take(bench.request(data={"file": "f", "text": "hunter2"}))
    assert admitted.request.data["text"] == "hunter2"
    (line,) = bench.lines()
    assert line["inputs"]["file"] == "f"
    assert "hunter2" not in str(line)


def test_what_changes_the_machine_does_not_run_unaudited(bench: AdmissionBench) -> None:
    """Where the line cannot be written, that is refused with the reason; what only looks runs."""
    vital: list[bool] = []

    def write(_event: object, **options: bool) -> str:
        vital.append(options["vital"])
        return "no space left"

    bench.audit.write = write  # type: ignore[method-assign]
    ((_, refusal),) = bench.take(bench.request())
    assert refusal.statusmsg == (
        "refused: the audit log cannot be written (no space left), and once changes the machine"
    )
    assert (refusal.state, refusal.statuscode) == (State.FAILED, 5)
    assert bench.host.journal.counts["refused"] == 1
    ((_, admitted),) = bench.take(bench.request("say", agent="echo", data={"text": "hello"}))
    assert isinstance(admitted, Admitted)
    assert vital == [True, False]


def test_how_it_came_out_is_audited(bench: AdmissionBench) -> None:
    """With its state, code and reason, and whatever more is said; what changed the machine is vital."""
    vital: list[bool] = []
    write = bench.audit.write

    def watched(event: dict[str, object], **options: bool) -> str | None:
        vital.append(options["vital"])
        return write(event, **options)

    bench.audit.write = watched  # type: ignore[method-assign]
    request = bench.request()
    bench.controller.finished(request, bench.host, Outcome(State.OK, 0, "OK"), job="j")
    bench.controller.finished(request, bench.host, Outcome(State.DENIED, 1, "no"), "not_started")
    gone = bench.request("x", agent="gone")
    bench.controller.finished(gone, bench.host, Outcome(State.FAILED, 5, "it is gone"))
    assert bench.lines() == [
        about(request, "finished", state="ok", statuscode=0, reason="OK", job="j"),
        about(request, "not_started", state="denied", statuscode=1, reason="no"),
        about(gone, "finished", state="failed", statuscode=5, reason="it is gone"),
    ]
    assert vital == [True, False, False]


# -- what is kept, and asked again


def test_a_stored_request_is_verified_again_before_it_starts(bench: AdmissionBench) -> None:
    """By the date it was taken; whose author was revoked since is denied, and audited."""
    request = bench.request(via=Via.QUEUE, identity="web1")
    sealed = bench.sealed(request)
    kept = (sealed.body, sealed.headers, request.created, bench.host, request)
    assert bench.controller.still_trusted(*kept) is None
    former = as_version_1(sealed, bench.signers["alice"])
    old = (former.body, former.headers, request.created, bench.host, request)
    assert bench.controller.still_trusted(*old) is None
    bench.authority.revoke("alice")
    bench.verifier.update_crl(bench.authority.crl_pem)
    refusal = bench.controller.still_trusted(*kept)
    assert (refusal.state, refusal.statuscode) == (State.DENIED, 1)
    assert refusal.statusmsg.startswith("denied: revoked")
    assert [line["event"] for line in bench.lines()] == ["denied"]


def a_job(**more: object) -> Job:
    """A job of alice's."""
    fields = {
        "id": "a" * 32,
        "revision": 1,
        "author": "cert=alice",
        "collective": "mcs",
        "session": "s",
        "agent": "mark",
        "action": "once",
        "created": time.time(),
        "when": When(at="2030-01-01T04:00"),
    }
    return Job(**fields | more)


def test_a_job_and_the_request_that_brings_it_fit_together(bench: AdmissionBench) -> None:
    """Of the caller, for the collective, and signed; else it is denied with the reason."""
    request = bench.request("submit", agent="job")
    good = seal_job(a_job(), bench.signers["alice"])
    opened = bench.controller.open_job(good.body, good.headers, bench.host, request, time.time())
    assert opened == a_job(created=opened.created)
    wrong = [
        (
            seal_job(a_job(author="cert=bob"), bench.signers["bob"]),
            "a job of cert=bob, not of the caller",
        ),
        (
            seal_job(a_job(collective="eu"), bench.signers["alice"]),
            "a job for the collective eu",
        ),
        (SealedMessage(good.body + b" ", good.headers), "the job's document: bad_signature"),
    ]
    for sealed, why in wrong:
        refusal = bench.controller.open_job(
            sealed.body, sealed.headers, bench.host, request, time.time()
        )
        assert isinstance(refusal, Refusal)
        assert (refusal.state, refusal.request) == (State.DENIED, request)
        assert refusal.statusmsg.startswith(f"denied: {why}")
    assert [line["event"] for line in bench.lines()] == ["denied"] * 3


def test_whose_job_it_is_decides_who_may_touch_it(tmp_path: Path) -> None:
    """A rule for `job.edit` that asks for the owner; the refusal names whose job it is."""
    line = "policy default deny\nallow\tcert=alice\tedit\towner=cert=bob\t*\n"
    bench = AdmissionBench(tmp_path, policy=line)
    request = bench.request("edit", agent="job", data={})
    assert bench.controller.may_touch(request, bench.host, "cert=bob") is None
    refusal = bench.controller.may_touch(request, bench.host, "cert=carol")
    assert refusal.state is State.DENIED
    assert refusal.statusmsg.endswith(": it is a job of cert=carol")
    bench.close()


def test_a_rule_that_is_taken_is_audited(bench: AdmissionBench) -> None:
    """With its author, name, revision and how many jobs; one that is refused by its digest."""
    duty = Duty(name="d", agent="mark", action="once", when=When(at="2030-01-01T04:00"))
    rule = Rule(
        author="cert=alice",
        name="web",
        revision=3,
        collective="mcs",
        created=time.time(),
        expires=time.time() + 3600,
        filter=Filter(),
        duties=(duty,),
    )
    sealed = seal_rule(rule, bench.signers["alice"])
    now = time.time()
    opened = bench.controller.open_rule(sealed.body, sealed.headers, bench.host, "mcs", now)
    assert (opened.name, opened.revision) == ("web", 3)
    bench.controller.ruled(bench.host, opened, "d" * 64, 2)
    assert bench.controller.open_rule(sealed.body, sealed.headers, bench.host, "eu", now) is None
    taken, other = bench.lines()
    assert taken == {
        "event": "rule",
        "identity": "web1",
        "requestid": "d" * 64,
        "caller": "cert=alice",
        "rule": "web",
        "revision": 3,
        "jobs": 2,
    }
    assert (other["reason"], other["requestid"], other["via"]) == (
        "wrong_collective",
        rule_digest(sealed.body),
        "direct",
    )


# -- revocation lists


def test_a_stale_list_is_renewed_by_the_request_that_brings_a_newer_one(tmp_path: Path) -> None:
    """Under it all else is refused; the one request that carries a newer list is taken."""
    bench = AdmissionBench(tmp_path)
    old = bench.authority.crl_pem
    bench.verifier = type(bench.verifier)(bench.authority.ca_pem, crl_pem=old, crl_max_age=3600.0)
    bench.controller._verifier = bench.verifier
    bench.host.revocation = Revocation(bench.verifier, tmp_path / "crl.pem", bench.audit)
    later = time.time() + 7200
    ordinary = bench.request(created=later, expires=later + 60)
    assert bench.take(ordinary, now=later) == []
    same = bench.request(
        "crl", agent="discovery", data={"crl": old.decode()}, created=later, expires=later + 60
    )
    assert bench.take(same, now=later) == []
    assert {line["reason"] for line in bench.lines()} == {"stale_crl"}
    bench.close()


class Announced:
    """Who has news to register, and the rules that were brought."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.rules: list[tuple[str, str]] = []
        self.fault: Exception | None = None

    def accept(self, body: bytes, headers: object, identity: str, collective: str) -> None:
        """Take a rule, or fail."""
        if self.fault is not None:
            raise self.fault
        self.rules.append((identity, collective))


def test_what_comes_to_a_direct_queue_and_is_no_request(bench: AdmissionBench, caplog) -> None:
    """A rule goes to whoever takes rules; a foreign one, or a fault of ours, ends nothing."""
    told = Announced()
    documents = DirectDocuments(bench.controller, told, told.names.append)

    def deliver(sealed: SealedMessage, kind: str) -> None:
        delivery = Delivery("", sealed.body, sealed.headers, "1", "1", 1)
        documents.accept(kind, delivery, "mcs", bench.host)

    deliver(SealedMessage(b"{}", {}), RULE)
    assert told.rules == [("web1", "mcs")]
    told.fault = MachineError("the file is broken")
    deliver(SealedMessage(b"{}", {}), RULE)
    assert [record.getMessage() for record in caplog.records] == [
        "a rule could not be taken: the file is broken"
    ]
    crl = x509.load_pem_x509_crl(bench.authority.crl_pem).public_bytes(Encoding.DER)
    lists = seal_crl([crl], bench.node_signer, time.time())
    deliver(lists, CRL)
    assert (told.names, bench.verifier.crl_number) == ([], None)
    bench.host.revocation = Revocation(bench.verifier, bench.folder / "crl.pem", bench.audit)
    deliver(lists, CRL)
    assert told.names == ["web1"]
    assert bench.verifier.crl_number is not None
    deliver(SealedMessage(lists.body + b" ", lists.headers), CRL)
    assert told.names == ["web1"]
    line = bench.lines()[-1]
    assert (line["event"], line["reason"], line["via"]) == ("refused", "bad_signature", "direct")
    assert line["requestid"] == rule_digest(lists.body + b" ")


def test_what_is_too_large_or_too_long_is_not_taken(tmp_path: Path) -> None:
    """The limits are those of this node."""
    bench = AdmissionBench(tmp_path, limits=BodyLimits(max_body=2000, max_ttl=100.0))
    now = time.time()
    long, large = bench.request(expires=now + 200), bench.request(data={"file": "x" * 2000})
    assert bench.take(long) == bench.take(large) == []
    assert [line["reason"] for line in bench.lines()] == ["malformed", "too_large"]
    bench.close()
