"""Supervisors on emulated machines: each gets what it should have once, whoever is killed."""

from __future__ import annotations

import os
import signal
import sqlite3
import threading
import time
from contextlib import closing
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from mcshell import config
from mcshell.client.discovery.registrations import RegistrationFilter
from mcshell.client.documents.rule_file import load_sealed, save_sealed
from mcshell.message import Duty, Filter, Rule
from mcshell.pki import Authority
from mcshell.pki.realm import realm_of
from mcshell.supervisor import rule_folder, service
from mcshell.supervisor.inventory import HeardRegistration, Inventory
from mcshell.supervisor.rule_folder import RuleFolder
from mcshell.wire import destinations
from mcshell.wire.documents.envelope import CERTIFICATE, SIGNATURE, SealedMessage
from mcshell.wire.documents.registration import Registration, seal_registration
from mcshell.wire.documents.rule import seal_rule
from mcshell.wire.documents.signatures import Signer, Verifier
from mcshell.wire.stomp.connector import Connector
from tests.peers.processes import no_descriptors, wait_until

if TYPE_CHECKING:
    from tests.supervisor.rule_fleet import RuleFleet

PATIENCE = 60.0
BASE = """\
rule: base
where: emulated=true
jobs:
  - job: first
    ask: mark.once
    inputs: {{file: {file}, text: first}}
  - job: second
    ask: mark.once
    inputs: {{file: {file}, text: second}}
    after: {{first: ok}}
"""
ONE = """\
rule: {name}
revision: {revision}
where: "{where}"
jobs:
  - job: one
    ask: mark.once
    inputs: {{file: {file}, text: {text}}}
"""
EVERY = """\
rule: often
revision: {revision}
where: "emulated=true"
jobs:
  - job: again
    ask: mark.once
    inputs: {{file: {file}, text: "v{revision}"}}
    every: 1s
"""


def settled(rule_fleet: RuleFleet, **wanted: int) -> bool:
    """Wait until each text was marked so often."""
    return wait_until(
        lambda: all(rule_fleet.runs()[text] >= number for text, number in wanted.items()), PATIENCE
    )


@pytest.mark.timeout(240)
def test_new_machines_get_their_jobs_once_while_supervisors_are_killed(rule_fleet):
    """50 machines appear in five lots, two supervisors are killed in turn: exactly once each."""
    rule_fleet.sign(BASE)
    rule_fleet.supervise("sup1")
    rule_fleet.supervise("sup2")
    for lot in range(5):
        rule_fleet.emulate(10, prefix=f"lot{lot}x")
        victim = f"sup{lot % 2 + 1}"
        rule_fleet.kill9(victim)
        rule_fleet.supervise(victim)
    assert settled(rule_fleet, first=50, second=50), rule_fleet.runs()
    time.sleep(5)  # time for another, if there were to be one: registrations go on every 2 s
    assert rule_fleet.runs() == {"first": 50, "second": 50}
    assert set(rule_fleet.ids("first").values()) == {1}
    events = [one for lot in range(5) for one in rule_fleet.audit(f"lot{lot}x", "rule")]
    assert sorted(one["identity"] for one in events) == sorted(
        f"lot{lot}x{number:04d}" for lot in range(5) for number in range(1, 11)
    )


def test_a_machine_that_is_built_again_gets_them_again(rule_fleet):
    """Same name, another machine: its jobs are others; one that only restarts gets nothing."""
    rule_fleet.sign(BASE)
    rule_fleet.supervise()
    rule_fleet.emulate(3)
    assert settled(rule_fleet, second=3)
    rule_fleet.emulate(3)
    with rule_fleet.fleet.client() as alice:
        assert len(alice.discover()) == 3
    time.sleep(3)
    assert rule_fleet.runs() == {"first": 3, "second": 3}
    rule_fleet.emulate(3, seed=2, rebuilt=True)
    assert settled(rule_fleet, second=6)
    assert len(rule_fleet.ids("first")) == 6


def test_supervisors_start_before_and_after_their_machines(rule_fleet):
    """Nobody misses anything: what was there before the supervisor registers again."""
    rule_fleet.emulate(3)
    rule_fleet.supervise()
    rule_fleet.sign(BASE)
    assert settled(rule_fleet, second=3)
    assert rule_fleet.end(rule_fleet.supervisors.pop("sup1")) == 0
    rule_fleet.sign(ONE, name="late", revision="1", where="emulated=true", text="late")
    rule_fleet.supervise()
    assert settled(rule_fleet, late=3)


def test_a_forged_rule_is_refused_by_every_node(rule_fleet):
    """Of another CA, changed, signed by a node, or in another's name: nothing runs anywhere."""
    rule_fleet.emulate(5)
    rule_fleet.sign(BASE)
    good = load_sealed(rule_fleet.rules / "alice_base.rule")
    now = time.time()
    rule = Rule(
        name="evil",
        revision=1,
        author="cert=alice",
        collective=rule_fleet.fleet.collective,
        created=now,
        expires=now + 3600,
        filter=Filter(),
        duties=(
            Duty(
                name="x",
                agent="mark",
                action="once",
                data={"file": str(rule_fleet.marks), "text": "evil"},
            ),
        ),
    )
    from mcshell.pki import Authority

    mallory = Authority.init(rule_fleet.folder / "other-ca")
    foreign = seal_rule(rule, Signer.from_pem(*mallory.issue_pem("alice", "operator")))
    changed = good.body.replace(b'"first"', b'"fifth"')
    bob = Signer.from_pem(*rule_fleet.fleet.authority.issue_pem("bob", "operator", renew=True))
    body = foreign.body
    headers = {"mcs-signature": bob.sign(body), "mcs-certificate": bob.certificate}
    node = Signer.from_pem(*rule_fleet.fleet.authority.issue_pem("evil", "node"))
    by_node = {"mcs-signature": node.sign(body), "mcs-certificate": node.certificate}
    cases = {
        "foreign_ca": (foreign.body, foreign.headers),
        "bad_signature": (changed, good.headers),
        "caller_mismatch": (body, headers),
        "wrong_kind": (body, by_node),
        "unsigned": (body, {}),
    }
    names = [f"emu{number:04d}" for number in range(1, 6)]
    for forged in cases.values():
        for name in names:
            rule_fleet.bring(name, *forged)

    def refused() -> bool:
        found = {(one["identity"], one["reason"]) for one in rule_fleet.audit("emu", "refused")}
        return found >= {(name, reason) for name in names for reason in cases}

    assert wait_until(refused, PATIENCE), rule_fleet.audit("emu", "refused")
    with rule_fleet.fleet.client() as alice:
        assert alice.jobs.rows() == []
    assert rule_fleet.audit("emu", "rule") == []
    rule_fleet.bring(names[0], good.body, good.headers)
    assert settled(rule_fleet, second=1)
    assert rule_fleet.runs() == {"first": 1, "second": 1}


def test_the_node_evaluates_the_filter_itself(rule_fleet):
    """Brought to all, it is taken by those that match; the others keep no trace of it."""
    rule_fleet.emulate(8)
    rule_fleet.sign(ONE, name="web", revision="1", where="role=web", text="web")
    sealed = load_sealed(rule_fleet.rules / "alice_web.rule")
    with rule_fleet.fleet.client() as alice:
        everyone = set(alice.discover().sender)
        web = set(alice.discover(where="role=web").sender)
    assert 0 < len(web) < len(everyone)
    for name in sorted(everyone):
        rule_fleet.bring(name, sealed.body, sealed.headers)
        rule_fleet.bring(name, sealed.body, sealed.headers)
    assert settled(rule_fleet, web=len(web))
    assert {one["identity"] for one in rule_fleet.audit("emu", "rule")} == web
    assert rule_fleet.runs() == {"web": len(web)}


def test_a_new_revision_takes_the_place_of_the_old_one(rule_fleet):
    """What recurs goes on in its new form only; without jobs, the rule is withdrawn."""
    rule_fleet.emulate(2)
    rule_fleet.supervise()
    rule_fleet.sign(EVERY, revision="1")
    assert settled(rule_fleet, v1=4)
    rule_fleet.sign(EVERY, revision="2")
    # two nodes have taken two revisions each: what had begun of the first is over some runs later
    assert wait_until(lambda: len(rule_fleet.audit("emu", "rule")) == 4, PATIENCE)
    assert settled(rule_fleet, v2=rule_fleet.runs()["v2"] + 6)
    before = rule_fleet.runs()["v1"]
    assert settled(rule_fleet, v2=rule_fleet.runs()["v2"] + 8)
    assert rule_fleet.runs()["v1"] == before
    rule_fleet.sign("rule: often\nrevision: 3\nwhere: emulated=true\njobs: []\n")
    with rule_fleet.fleet.client() as alice:

        def quiet() -> bool:
            states = {one["state"] for one in alice.jobs.rows()}
            return states == {"cancelled"}

        assert wait_until(quiet, PATIENCE)
        assert {one["name"] for one in alice.jobs.rows()} == {"often.again"}


def test_the_author_needs_the_rights_and_the_carrier_none(embedded, tmp_path):
    """Without `job.rule`, or without one of the actions, nothing of it is taken; and audited."""
    from tests.supervisor.rule_fleet import RuleFleet

    allowed = "policy default deny\nallow\tcert=alice\t{actions}\t*\t*\n"
    policies = {
        "mark": "policy default deny\nallow\tcert=alice\tonce\t*\t*\n",
        "job": allowed.format(actions="submit list"),
    }
    with RuleFleet(embedded, tmp_path, policies=policies, every="1s") as rule_fleet:
        rule_fleet.emulate(2)
        rule_fleet.supervise()
        rule_fleet.sign(BASE)

        def denied(what: str) -> bool:
            found = [one for one in rule_fleet.audit("emu", "denied") if what in one["reason"]]
            return {one["identity"] for one in found} == {"emu0001", "emu0002"}

        assert wait_until(lambda: denied("job.policy"), PATIENCE)
        assert rule_fleet.runs() == {}
        text = BASE.replace("mark.once", "mark.again", 1).replace("rule: base", "rule: other")
        (tmp_path / "policies" / "job.policy").write_text(allowed.format(actions="rule list"))
        assert settled(rule_fleet, second=2)
        rule_fleet.sign(text)
        assert wait_until(lambda: denied("mark.policy"), PATIENCE)
        assert rule_fleet.runs() == {"first": 2, "second": 2}


def test_the_newest_revocation_list_is_carried(rule_fleet):
    """Nodes whose registration states a lower number get the list, and say so."""
    rule_fleet.emulate(3)
    rule_fleet.supervise()
    with rule_fleet.fleet.client() as alice:
        collective = rule_fleet.fleet.collective

        def numbers() -> set[int | None]:
            return {node.crl for node in alice.known.nodes(collective)}

        assert wait_until(lambda: len(alice.known.nodes(collective)) == 3, PATIENCE)
        (before,) = numbers()
        rule_fleet.fleet.authority.revoke("bob")
        assert wait_until(lambda: numbers() == {(before or 0) + 1}, PATIENCE)


def test_a_client_that_did_not_listen_asks_the_pool(rule_fleet):
    """`--dm inventory` with nothing known asks whoever has listened; each is verified."""
    rule_fleet.emulate(40)
    rule_fleet.supervise()
    with rule_fleet.fleet.client(state="listens") as alice:
        assert wait_until(
            lambda: len(alice.known.nodes(rule_fleet.fleet.collective)) == 40, PATIENCE
        )
    rule_fleet.emulators.pop("emu").stop()
    with rule_fleet.fleet.client(state="fresh") as alice:
        assert len(alice.discover(source="inventory")) == 40
        assert len(alice.discover(source="inventory", facts="role=web")) < 40
    done = rule_fleet.fleet.cli(
        "find", "--dm", "inventory", "--senders", MCSHELL_STATE=str(rule_fleet.folder / "new")
    )
    assert (done.returncode, len(done.stdout.split())) == (0, 40), done.stderr


def test_a_supervisor_with_an_operators_key_does_not_start(rule_fleet):
    """It only carries, and shall not be able to order anything."""
    with pytest.raises(AssertionError, match="a supervisor only carries"):
        rule_fleet.supervise("sup9", kind="operator")


def test_outcomes_are_asked_of_the_nodes(rule_fleet):
    """Jobs of a rule send no replies; who wants to know lists and shows them."""
    rule_fleet.emulate(3)
    rule_fleet.supervise()
    rule_fleet.sign(BASE)
    assert settled(rule_fleet, second=3)
    with rule_fleet.fleet.client() as alice:

        def done() -> bool:
            rows = alice.jobs.rows()
            return len(rows) == 6 and {one["state"] for one in rows} == {"ok"}

        assert wait_until(done, PATIENCE)
        rows = alice.jobs.rows()
        assert {one["name"] for one in rows} == {"base.first", "base.second"}
        assert {one["owner"] for one in rows} == {"cert=alice"}
        shown = alice.jobs.show(rows[0]["job"], nodes=[rows[0]["sender"]]).rows()[0]
        assert shown.data["runs"] == 1
        assert alice.junk.total() == 0


@pytest.mark.parametrize("forged_by", ["nobody", "alice", "web2", "a wrong signature"])
def test_a_forged_registration_never_drops_the_signed_one(rule_fleet, forged_by):
    """A later one in a node's name, in the same group, unsigned or signed by another, counts nothing."""
    fleet = rule_fleet.fleet
    for name in ("web1", "web2"):
        fleet.authority.issue(name, "node", out=fleet.folder)
    rule_fleet.supervise("sup1")
    signer = Signer.load(fleet.folder / "web1.pem", fleet.folder / "web1.key")
    real = Registration(
        identity="web1",
        created=time.time(),
        interval=300.0,
        facts={"genuine": True},
        collectives=(fleet.collective,),
    )
    later = replace(real, created=real.created + 10**6, facts={"genuine": False})
    sealed = seal_registration(real, signer)
    if forged_by in ("alice", "web2"):
        own = Signer.load(fleet.folder / f"{forged_by}.pem", fleet.folder / f"{forged_by}.key")
        forged = seal_registration(later, own)
    else:
        headers = {} if forged_by == "nobody" else sealed.headers
        forged = SealedMessage(seal_registration(later, signer).body, headers)
    supervisor = rule_fleet.supervisors["sup1"]
    os.kill(supervisor.pid, signal.SIGSTOP)  # so that all of them come in one group
    link = Connector([fleet.broker.url], user=fleet.broker.user, passcode=fleet.broker.passcode)
    link.start(timeout=20)
    try:
        for one in (forged, sealed, forged, forged):
            topic = destinations.registration(fleet.collective)
            link.send(topic, one.body, dict(one.headers), receipt=True).wait(20)
    finally:
        link.close()
        os.kill(supervisor.pid, signal.SIGCONT)
    path = fleet.folder / "state-sup1" / "supervisor" / "registrations.sqlite"

    def kept():
        with closing(sqlite3.connect(path)) as file:
            return [bytes(body) for (body,) in file.execute("SELECT body FROM nodes")]

    assert wait_until(lambda: kept() == [sealed.body], PATIENCE), kept()


def test_among_signed_registrations_the_newest_counts(tmp_path):
    """In one group, the newest of those whose signature holds is taken, whatever came last."""
    authority = Authority.init(tmp_path / "ca")
    signer = Signer.from_pem(*authority.issue_pem("web1", "node"))
    filter_ = RegistrationFilter(Verifier(authority.ca_pem), 100)
    now = time.time()

    def said(created):
        one = Registration(identity="web1", created=created, interval=9.0, collectives=("mcs",))
        return seal_registration(one, signer)

    def delivery(body, headers):
        return SimpleNamespace(body=body, headers=headers)

    older, newer, forged = said(now - 5), said(now), said(now + 5)
    group = [
        ("mcs", delivery(newer.body, newer.headers)),
        ("mcs", delivery(forged.body, newer.headers)),
        ("mcs", delivery(forged.body, {})),
        ("mcs", delivery(older.body, older.headers)),
    ]
    claims = filter_.claims(group, now)
    assert [one[1].created for one in claims["mcs", "web1"]] == [now + 5, now, now - 5]
    newest = filter_.newest(claims["mcs", "web1"], now)
    assert newest is not None
    assert newest[1].created == now
    assert filter_.counts == {"unsigned": 1, "bad_signature": 1}


def test_a_list_that_could_not_be_read_for_a_moment_is_read_again(tmp_path):
    """A revocation for which a supervisor had no descriptor is in force with its next look."""
    authority = Authority.init(tmp_path / "ca")
    verifier = Verifier(authority.ca_pem, crl_pem=authority.crl_pem)
    before = verifier.crl_number
    settings = SimpleNamespace(pki=SimpleNamespace(crl=tmp_path / "ca" / "crl.pem"))
    looks = SimpleNamespace(_settings=settings, _verifier=verifier, _crl=None)
    authority.issue("bob", "operator", out=tmp_path)
    authority.revoke("bob")
    with no_descriptors():
        service.Supervisor._read_crl(looks)
    assert verifier.crl_number == before
    service.Supervisor._read_crl(looks)
    assert verifier.crl_number == before + 1


@pytest.mark.parametrize("why", ["made ahead of the clock", "no descriptor"])
def test_a_rule_that_was_refused_for_a_moment_is_carried_later(tmp_path, monkeypatch, caplog, why):
    """Its author's clock was ahead, or the supervisor could open no file: nobody writes it anew."""
    monkeypatch.setattr(rule_folder, "_AGAIN", 0.0)
    caplog.set_level("INFO", rule_folder.__name__)
    authority = Authority.init(tmp_path / "ca")
    signer = Signer.from_pem(*authority.issue_pem("alice", "operator"))
    now = time.time()
    ahead = 200.0 if why == "made ahead of the clock" else 0.0
    duty = Duty(name="one", agent="rpcutil", action="ping", data={})
    rule = Rule(
        name="base",
        revision=1,
        author=signer.identity.callerid,
        collective="mcs",
        filter=Filter(),
        duties=(duty,),
        created=now + ahead,
        expires=now + 86_400.0,
    )
    (tmp_path / "rules").mkdir()
    save_sealed(tmp_path / "rules" / "base.rule", seal_rule(rule, signer))
    folder = RuleFolder(tmp_path / "rules", Verifier(authority.ca_pem))
    with monkeypatch.context() as patch:
        if not ahead:
            patch.setattr(rule_folder, "load_sealed", without_descriptors)
        for _ in range(3):
            folder.refresh(now)
        assert folder.rules == {}
    assert len([one for one in caplog.records if one.levelname == "WARNING"]) == 1
    assert folder.refresh(now + ahead)
    assert list(folder.rules) == ["cert=alice/base"]
    assert not folder.refresh(now + ahead)


def without_descriptors(path):
    """Read a signed file where nothing more can be opened."""
    with no_descriptors():
        return load_sealed(path)


def heard_of(signer, collective, created, heard, **facts):
    """A registration of a node as a supervisor keeps it."""
    said = Registration(
        identity=signer.identity.name,
        created=created,
        interval=300.0,
        facts=facts,
        collectives=(collective,),
    )
    sealed = seal_registration(said, signer)
    return HeardRegistration(
        collective=collective,
        registration=said,
        heard=heard,
        body=sealed.body,
        signature=sealed.headers[SIGNATURE],
        certificate=sealed.headers[CERTIFICATE],
    )


def test_a_clock_that_was_ahead_is_forgiven(tmp_path):
    """What a node says once its clock is right takes the place of what it said before."""
    authority = Authority.init(tmp_path / "ca")
    signer = Signer.from_pem(*authority.issue_pem("web1", "node"))
    inventory = Inventory(tmp_path / "registrations.sqlite", "realm")
    inventory.keep([heard_of(signer, "mcs", 2000.0, 1000.0, role="old")])
    inventory.keep([heard_of(signer, "mcs", 1060.0, 1060.0, role="new")])
    inventory.keep([heard_of(signer, "mcs", 1030.0, 1070.0, role="replayed")])
    (kept,) = inventory.all()
    inventory.close()
    assert kept.registration.facts == {"role": "new"}


def test_nodes_that_are_not_believed_hide_no_others(rule_fleet):
    """Pages full of what is of another CA by now: the pool tells of those behind them all the same."""
    fleet = rule_fleet.fleet
    other = Authority.init(fleet.folder / "other")
    foreign = [Signer.from_pem(*other.issue_pem(f"a{n:03}", "node")) for n in range(40)]
    ours = Signer.from_pem(*fleet.authority.issue_pem("web1", "node"))
    folder = fleet.folder / "state-sup1" / "supervisor"
    folder.mkdir(parents=True, mode=0o700)
    realm = realm_of((fleet.folder / "pki" / "ca.pem").read_bytes())
    inventory = Inventory(folder / "registrations.sqlite", realm)
    now, wide = time.time(), "x" * 30_000
    inventory.keep(
        [heard_of(one, fleet.collective, now - 3600, now, wide=wide) for one in (*foreign, ours)]
    )
    inventory.close()
    rule_fleet.supervise()
    with fleet.client(state="late") as alice:
        assert list(alice.discover(source="inventory").sender) == ["web1"]
        assert alice.notices == []
        # An hour ago is when it was written: that is no clock that is off.
        assert alice.known.node(fleet.collective, "web1").skew is None


def test_a_pool_that_says_nothing_is_said(rule_fleet):
    """Who relies on what others have heard is told that nobody has told it."""
    done = rule_fleet.fleet.cli("find", "--dm", "inventory")
    assert done.returncode == 1
    assert "the pool inventory has not told all that it has heard" in done.stderr


class LyingInventory(Inventory):
    """Tells of heads that are none, as a supervisor may that somebody has taken over."""

    def heads(self, identity, after, most):
        """One that counts, among others."""
        del identity, after, most
        return [("x", 1), (7, "a" * 64), (None, None)]


def test_a_pool_that_lies_costs_no_line(rule_fleet, monkeypatch):
    """What is no head of an audit log is left out, whoever of the pool has said it."""
    fleet = rule_fleet.fleet
    rule_fleet.supervise()
    rule_fleet.kill9("sup1")  # its configuration is there
    monkeypatch.setattr(service, "Inventory", LyingInventory)
    supervisor = service.Supervisor(config.load(fleet.folder / "sup1.toml"))
    ready = threading.Event()
    thread = threading.Thread(target=supervisor.serve, args=(ready.set,))
    thread.start()
    try:
        assert ready.wait(PATIENCE)
        with fleet.client() as alice:
            assert alice.audit_heads("web1") == [(7, "a" * 64)]
    finally:
        supervisor.stop()
        thread.join()
