"""Plans and rules as files: what is read, and what is said about what cannot be."""

from __future__ import annotations

import re
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcshell.client.documents.plan_file import read_plan
from mcshell.ddl.ddl_library import Library, shipped_dir
from mcshell.errors import Reason, Rejected, UsageError
from mcshell.pki import Authority
from mcshell.wire.documents.envelope import BodyLimits
from mcshell.wire.documents.plan import open_plan, seal_plan, wave_nonce
from mcshell.wire.documents.signatures import Signer, Verifier

if TYPE_CHECKING:
    from mcshell.message import Plan

GOOD = """\
plan: patch
steps:
  - step: db
    ask: service.restart
    inputs: {name: postgresql}
    nodes: "db[1-3]"
    waves: [1, 10%]
    ttl: 2h
  - step: web
    ask: service.restart
    inputs: {name: nginx}
    where: {classes: web}
    stop: 20%
"""


@dataclass
class Party:
    """Alice's key, and whoever believes her CA."""

    signer: Signer
    verifier: Verifier
    now: float


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    """A CA with one operator."""
    folder = tmp_path_factory.mktemp("ca") / "ca"
    ca = Authority.init(folder)
    signer = Signer.from_pem(*ca.issue_pem("alice", "operator"))
    return Party(signer, Verifier((folder / "ca.pem").read_bytes()), time.time())


def read(text: str, author: str = "cert=alice") -> Plan:
    """Read a plan as alice."""
    ddls = Library([shipped_dir()])
    return read_plan(text, "p.yaml", ddls, author=author, collective="mcs", now=1000.0)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (
            GOOD + "    stop: 30%\n",
            "p.yaml:14:5: 'stop' is given twice: it stands in line 13 already",
        ),
        (GOOD + "plan: other\n", "p.yaml:14:1: 'plan' is given twice: it stands in line 1 already"),
        (
            GOOD.replace("{name: nginx}", "{name: nginx, name: apache2}"),
            "p.yaml:11:27: 'name' is given twice: it stands in line 11 already",
        ),
        (GOOD.replace("{classes: web}", "{classes: web, classes: db}"), "'classes' is given twice"),
    ],
)
def test_a_key_that_stands_twice_is_refused(text: str, why: str):
    """The last would count, and other machines be meant: at any depth, with its place."""
    with pytest.raises(UsageError, match=re.escape(why)):
        read(text)


def test_a_table_may_be_merged_into_another():
    """YAML's own way to say the same twice goes on working: what is merged is no second key."""
    text = GOOD.replace("{name: postgresql}", "&it {name: postgresql}")
    merged = read(text.replace("{name: nginx}", "{<<: *it, name: nginx}"))
    assert [step.data["name"] for step in merged.steps] == ["postgresql", "nginx"]


def test_a_plan_is_read():
    """Ranges are expanded, the rest is the last wave, a step comes after the one before it."""
    plan = read(GOOD)
    db, web = plan.steps
    assert (plan.name, plan.revision, plan.author) == ("patch", 1, "cert=alice")
    assert (db.nodes, db.waves, db.ttl, db.gates) == (
        ("db1", "db2", "db3"),
        ("1", "10%", "rest"),
        7200.0,
        (),
    )
    assert (web.filter.cls, web.stop, web.gates) == (("web",), "20%", (("db", "ok"),))


def test_names_are_of_one_form_and_groups_are_their_nodes():
    """What is signed has names alone, each once; a name in another form is the same."""
    text = GOOD.replace('"db[1-3]"', '["@db", DB1., " db1 "]').replace(
        "{classes: web}", "{identities: ['@db', X1], classes: web}"
    )
    groups = {"db": ["db1", "db2"]}.__getitem__
    ddls = Library([shipped_dir()])
    plan = read_plan(
        text, "p.yaml", ddls, author="cert=alice", collective="mcs", now=1000.0, groups=groups
    )
    assert plan.steps[0].nodes == ("db1", "db2")
    assert plan.steps[1].filter.identity == ("db[1-2]", "X1")


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("steps:", "stpes:", "p.yaml: unknown key 'stpes' (did you mean steps?)"),
        ("    ttl: 2h", "    ttl: soon", "steps[1]: ttl: 'soon' is no duration"),
        ("service.restart", "servcie.restart", "no agent 'servcie' (did you mean service?)"),
        ("service.restart", "service.retsart", "did you mean restart"),
        ("service.restart", "restart", "AGENT.ACTION is meant"),
        ("{name: postgresql}", "{nmae: postgresql}", "has no input 'nmae'"),
        ("db[1-3]", "db[1-", "steps[1]: nodes: "),
        ("db[1-3]", "db1 db2", "steps[1]: nodes: 'db1 db2' is no name of a node"),
        ("db[1-3]", "@db", "steps[1]: nodes: @db: no group"),
        ('"db[1-3]"', "[0123]", "steps[1]: nodes: 83: a name of digits is written in quotes"),
        ("[1, 10%]", "[rest, 1]", "'rest': a number, a percentage, or rest as the last"),
        ("[1, 10%]", "[0]", "waves: '0'"),
        ("stop: 20%", "stop: many", "stop: 'many'"),
        ("stop: 20%", "after: {dbb: ok}", "web comes after 'dbb', which is no step"),
        ("stop: 20%", "after: {db: fine}", "db: ok, done or a percentage"),
        ("stop: 20%", "after: {web: ok}", "a circle: web after web"),
        ("step: web", "step: db", "two steps are called 'db'"),
        ("where: {classes: web}", "where: {class: web}", "did you mean classes"),
        ("where: {classes: web}", "where: 'role ='", "steps[2]: where: "),
        ("{classes: web}", "{identities: []}", "where: identities: an empty list: leave it out"),
        ("{classes: web}", "{classes: web, facts: []}", "where: facts: an empty list"),
        ("    where: {classes: web}\n", "", "who is meant?"),
        ("plan: patch", "plan: [", "p.yaml:"),
        ("plan: patch", "plan: 'a b'", "name: not of its form"),
        ("plan: patch", "revision: 1", "plan: missing"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(authority, before, after, said):
    """A slip is one line that names the place and what was meant."""
    assert before in GOOD
    with pytest.raises(UsageError) as error:
        seal_plan(read(GOOD.replace(before, after, 1)), authority.signer)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


@given(st.text())
def test_no_text_is_more_than_a_usage_error(text):
    """Whatever the file holds, the reader answers with an error of ours."""
    with suppress(UsageError):
        read(text)


def test_a_plan_comes_back_as_it_was_signed(authority):
    """Sealed and opened it is the same value; another's name or a changed byte is refused."""
    plan = read(GOOD)
    sealed = seal_plan(plan, authority.signer)
    assert (
        open_plan(sealed.body, sealed.headers, authority.verifier, BodyLimits(), authority.now)
        == plan
    )
    with pytest.raises(UsageError, match="cannot be signed by"):
        seal_plan(read(GOOD, "cert=bob"), authority.signer)
    body = sealed.body.replace(b"nginx", b"ngimx")
    with pytest.raises(Rejected) as error:
        open_plan(body, sealed.headers, authority.verifier, BodyLimits(), authority.now)
    assert error.value.reason is Reason.BAD_SIGNATURE


def test_waves_have_ids_of_their_own():
    """Plan, revision, step and wave all count."""
    base = ("a" * 32, 1, "db", 1)
    others = [("b" * 32, 1, "db", 1), ("a" * 32, 2, "db", 1), ("a" * 32, 1, "web", 1)]
    ids = {wave_nonce(*one) for one in [base, *others, ("a" * 32, 1, "db", 2)]}
    assert len(ids) == 5
    assert wave_nonce(*base) == wave_nonce(*base)
