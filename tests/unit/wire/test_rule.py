"""Rules as signed documents: what is sealed opens as it was, and nothing else opens at all."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcshell.client.documents.rule_file import load_sealed, read_rule_file, save_sealed
from mcshell.ddl.ddl_library import Library, shipped_dir
from mcshell.errors import Reason, Rejected, UsageError
from mcshell.message import Duty, Filter, Rule, When
from mcshell.node.facts.machine_id import machine_id
from mcshell.pki import Authority
from mcshell.wire.documents.envelope import CRL, RULE, BodyLimits, kind_of, sealed
from mcshell.wire.documents.rule import (
    duty_body,
    duty_ids,
    open_rule,
    read_job,
    read_rule,
    rule_digest,
    seal_rule,
    signed_part,
)
from mcshell.wire.documents.signatures import Signer, Verifier

NOW = 1_800_000_000.0
YAML = """\
rule: base
where: role=web
jobs:
  - job: a
    ask: service.restart
    inputs: {name: nginx}
  - job: b
    ask: service.restart
    inputs: {name: nginx}
    after: a
    retries: 2
    splay: 10m
  - job: c
    ask: service.status
    inputs: {name: nginx}
    cron: "0 4 * * 1"
"""


class Party:
    """A CA with an operator and a node, at a time of the tests' own."""

    def __init__(self, folder):
        authority = Authority.init(folder / "ca")
        ages = {"not_before": NOW - 86_400, "lifetime": 30 * 86_400.0}
        self.alice = Signer.from_pem(*authority.issue_pem("alice", "operator", **ages))
        self.web1 = Signer.from_pem(*authority.issue_pem("web1", "node", **ages))
        self.verifier = Verifier(authority.ca_pem)

    def open(self, message, now=NOW, collective=None):
        """Open it as a node would."""
        return open_rule(
            message.body, message.headers, self.verifier, BodyLimits(), now, collective
        )


@pytest.fixture(scope="module")
def party(tmp_path_factory):
    """The participants, made once."""
    return Party(tmp_path_factory.mktemp("party"))


def rule(**other) -> Rule:
    """Two jobs, the second after the first."""
    duties = (
        Duty(name="a", agent="mark", action="once", data={"file": "x"}, when=When(splay=5.0)),
        Duty(
            name="b",
            agent="mark",
            action="once",
            data={},
            after=("a:ok",),
            retries=1,
            max_runtime=9.0,
        ),
    )
    fields = {
        "name": "base",
        "revision": 1,
        "author": "cert=alice",
        "collective": "mcs",
        "created": NOW - 10,
        "expires": NOW + 10,
        "filter": Filter(fact=("role=web",)),
        "duties": duties,
    }
    return Rule(**{**fields, **other})


def refusal(party, message, **more) -> Reason:
    """Why it does not open."""
    with pytest.raises(Rejected) as error:
        party.open(message, **more)
    return error.value.reason


def test_a_rule_opens_as_it_was_sealed(party):
    """The same value comes back, and only over its collective and in its time."""
    message = seal_rule(rule(), party.alice)
    assert party.open(message, collective="mcs") == rule()
    assert read_rule(message.body) == rule()
    assert refusal(party, message, collective="eu") is Reason.WRONG_COLLECTIVE
    assert refusal(party, message, now=NOW + 11) is Reason.EXPIRED
    assert refusal(party, message, now=NOW - 100) is Reason.FROM_FUTURE


@given(data=st.data())
def test_a_changed_byte_is_only_ever_rejected(party, data):
    """Wherever it is changed, the signature does not hold."""
    message = seal_rule(rule(), party.alice)
    place = data.draw(st.integers(0, len(message.body) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda one: one != message.body[place]))
    body = message.body[:place] + bytes([byte]) + message.body[place + 1 :]
    with pytest.raises(Rejected):
        open_rule(body, message.headers, party.verifier, BodyLimits(), NOW)


@given(
    field=st.sampled_from(
        ["v", "kind", "name", "revision", "author", "created", "expires", "filter", "duties"]
    ),
    value=st.one_of(st.none(), st.integers(), st.text(), st.lists(st.integers()), st.booleans()),
)
def test_signed_junk_is_only_ever_rejected(party, field, value):
    """What alice signs and is no rule is refused: no other error ever comes of it."""
    document = {**json.loads(seal_rule(rule(), party.alice).body), field: value}
    message = sealed(json.dumps(document).encode(), party.alice)
    with suppress(Rejected):
        party.open(message)


def test_only_an_operator_speaks_and_only_for_himself(party):
    """A node's rule is refused, and one in another's name cannot be made or read."""
    with pytest.raises(UsageError, match="cannot be signed by"):
        seal_rule(rule(author="cert=bob"), party.alice)
    body = seal_rule(rule(), party.alice).body
    assert refusal(party, sealed(body, party.web1)) is Reason.WRONG_KIND
    other = body.replace(b"cert=alice", b"cert=elise")
    assert refusal(party, sealed(other, party.alice)) is Reason.CALLER_MISMATCH


@pytest.mark.parametrize(
    ("duties", "said"),
    [
        (
            (Duty(name="a", agent="m", action="x"), Duty(name="a", agent="m", action="x")),
            "two duties are called 'a'",
        ),
        (
            (
                Duty(name="b", agent="m", action="x", after=("a:ok",)),
                Duty(name="a", agent="m", action="x"),
            ),
            "stands before it",
        ),
        ((Duty(name="a", agent="m", action="x", after=("a:fine",)),), "no conditions"),
        ((Duty(name="a", agent="m", action="x", when=When(every=5.0)),), "what recurs has an end"),
        ((Duty(name="a b", agent="m", action="x"),), "not of its form"),
    ],
)
def test_what_makes_no_sense_is_not_signed(party, duties, said):
    """The author is told before any node is."""
    with pytest.raises(UsageError) as error:
        seal_rule(rule(duties=duties), party.alice)
    assert said in str(error.value)


def test_ids_are_of_a_machine_and_a_revision(party):
    """The same whoever brings it; another machine, name, revision or document has others."""
    one = rule()
    body = seal_rule(one, party.alice).body
    ids = duty_ids(body, one, "web1", "m1")
    assert ids == duty_ids(body, read_rule(body), "web1", "m1")
    changed = rule(revision=2)
    others = [
        duty_ids(body, one, "web1", "m2"),
        duty_ids(body, one, "web2", "m1"),
        duty_ids(seal_rule(changed, party.alice).body, changed, "web1", "m1"),
    ]
    every = [job for found in [ids, *others] for job in found.values()]
    assert len(set(every)) == len(every) == 8


def test_a_duty_is_a_job_under_the_rules_signature(party):
    """What a node keeps reads as a job; what the author signed is in it, byte by byte."""
    message = seal_rule(rule(), party.alice)
    ids = duty_ids(message.body, rule(), "web1", "m1")
    kept = duty_body(message.body, rule().duties[1], ids, NOW)
    job = read_job(kept)
    assert (job.id, job.author, job.name, job.session) == (ids["b"], "cert=alice", "base.b", "")
    assert (job.after, job.retries, job.max_runtime) == ((f"{ids['a']}:ok",), 1, 9.0)
    assert signed_part(kept) == message.body
    assert signed_part(message.body) == message.body


def test_kinds_are_told_apart():
    """A rule and a revocation list, from all that is neither."""
    assert kind_of(b'{"kind":"rule"}') == RULE
    assert kind_of(b'{"v":2,"kind":"crl","lists":[],"created":1.0}') == CRL
    for other in (b"", b"{", b'["rule"]', b'{"kind":"request","data":{"a":"rule"}}', b'"rule"'):
        assert kind_of(other) == ""


def read(text: str) -> Rule:
    """Read a rule's file as alice."""
    ddls = Library([shipped_dir()])
    return read_rule_file(text, "r.yaml", ddls, author="cert=alice", collective="mcs", now=NOW)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (
            "rule: x\nwhere: role=web\nwhere: role=db\njobs: []\n",
            "r.yaml:3:1: 'where' is given twice",
        ),
        (YAML + "\nrule: other\n", "'rule' is given twice: it stands in line"),
        (
            "rule: x\nwhere: a=b\njobs: [{job: a, ask: rpcutil.ping, at: 2020-01-01 04:00}]\n",
            "is past",
        ),
    ],
)
def test_a_rule_that_says_two_things_or_comes_too_late_is_refused(text, why):
    """A key that stands twice, at any depth; a time that no machine could keep."""
    with pytest.raises(UsageError, match=why):
        read(text)


def test_a_file_becomes_a_rule(party, tmp_path):
    """Names become conditions, times times; and what is signed is kept in a file."""
    found = read(YAML)
    a, b, c = found.duties
    assert (found.name, found.revision, found.filter.compound) == ("base", 1, ("role=web",))
    assert (b.after, b.retries, b.when.splay, a.when.at) == (("a:ok",), 2, 600.0, None)
    assert (c.when.cron, c.when.until) == ("0 4 * * 1", found.expires)
    message = seal_rule(found, party.alice)
    save_sealed(tmp_path / "x.rule", message)
    assert load_sealed(tmp_path / "x.rule") == message
    (tmp_path / "y.rule").write_text("{}")
    with pytest.raises(UsageError, match="no signed rule"):
        load_sealed(tmp_path / "y.rule")


def test_a_group_in_a_rule_is_signed_as_its_nodes():
    """A rule says who is meant by names alone: no node knows what a group is."""
    text = YAML.replace("role=web", "{identities: ['@some', /^db/], compound: role=web}", 1)
    ddls = Library([shipped_dir()])
    about = {"author": "cert=alice", "collective": "mcs", "now": NOW}
    found = read_rule_file(text, "r.yaml", ddls, groups=lambda _name: ["web1", "web2"], **about)
    assert found.filter.identity == ("web[1-2]", "/^db/")
    with pytest.raises(UsageError, match="@some"):
        read(text)


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("cron:", "corn:", "jobs[3]: unknown key 'corn' (did you mean cron?)"),
        ("0 4 * * 1", "0 4 *", "five fields are meant"),
        ("splay: 10m", "splay: wide", "r.yaml: jobs[2]: 'wide' is no duration"),
        ("splay: 10m", "splay: [1]", "r.yaml: jobs[2]: "),
        ("role=web", "role=", "r.yaml: where: "),
        ("{name: nginx}", "{nmae: nginx}", "jobs[1]: ask: service.restart has no input"),
        ("retries: 2", "retries: -1", "retries: a whole number from 0 on"),
    ],
)
def test_what_is_wrong_in_a_file_is_said_with_its_place(before, after, said):
    """One line, with the job and what was meant."""
    assert before in YAML
    with pytest.raises(UsageError) as error:
        read(YAML.replace(before, after, 1))
    assert said in str(error.value)


def test_a_machine_is_itself_until_its_state_is_gone(tmp_path):
    """The same at each start; another once it is built again; never the system's id itself."""
    first = machine_id(tmp_path)
    assert machine_id(tmp_path) == first
    assert len(first) == 32
    (tmp_path / "machine").unlink()
    assert machine_id(tmp_path) != first


def test_digests_are_of_the_very_bytes():
    """One more blank is another document."""
    assert rule_digest(b"{}") != rule_digest(b"{ }")
