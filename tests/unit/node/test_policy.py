"""Policy files: ActionPolicy's form and meaning, and where we are stricter."""

from __future__ import annotations

import os
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcshell.errors import PluginError
from mcshell.node.admission.policy import Policies
from mcshell.node.admission.policy_file import (
    PolicyCost,
    PolicyError,
    parse_groups,
    parse_policy,
)
from tests.peers.processes import no_descriptors

FACTS = {"os": "Debian", "role": "web", "environment": "production", "cpu": {"count": 8}}
CLASSES = frozenset({"webserver", "acme::devserver"})


class Clock:
    """A monotonic clock that the test moves."""

    now = 0.0

    def __call__(self):
        """The time, in seconds."""
        return self.now


@pytest.fixture
def clock():
    """A clock at zero."""
    return Clock()


@pytest.fixture
def ask(tmp_path, clock):
    """Write files, then ask: `ask({"exec.policy": text}, "cert=alice", "exec", "run")`."""
    policies = Policies(tmp_path, clock=clock)

    def decide(files, caller="cert=alice", agent="service", action="status", facts=FACTS):
        for name, text in files.items():
            (tmp_path / name).write_text(text)
        clock.now += 2.0
        return policies.decide(caller, agent, action, facts, CLASSES)

    return decide


def answer(decision):
    """A decision as a pair."""
    return decision.allowed, decision.why


README = """\
# /etc/mcollective/policies/puppet.policy
policy default deny
allow\tcert=admin\t*\t*\t*
allow\tcert=acme-devs\t*\tcustomer=acme\tacme::devserver
allow\tcert=acme-devs\tenable disable status\tcustomer=acme\t*
allow\tcert=puppet-admins\trestart\t(environment=production and role=web) or environment=development
"""


@pytest.mark.parametrize(
    ("caller", "action", "facts", "classes", "expected"),
    [
        ("cert=admin", "runonce", {}, (), (True, "puppet.policy:3")),
        ("cert=adminx", "runonce", {}, (), (False, "puppet.policy:2 (default)")),
        (
            "cert=acme-devs",
            "x",
            {"customer": "acme"},
            ("acme::devserver",),
            (True, "puppet.policy:4"),
        ),
        ("cert=acme-devs", "status", {"customer": "acme"}, (), (True, "puppet.policy:5")),
        ("cert=acme-devs", "x", {"customer": "acme"}, (), (False, "puppet.policy:2 (default)")),
        ("cert=acme-devs", "status", {}, (), (False, "puppet.policy:2 (default)")),
        ("cert=puppet-admins", "restart", FACTS, (), (True, "puppet.policy:6")),
        (
            "cert=puppet-admins",
            "restart",
            {"environment": "development"},
            (),
            (True, "puppet.policy:6"),
        ),
        (
            "cert=puppet-admins",
            "restart",
            {"environment": "production"},
            (),
            (False, "puppet.policy:2 (default)"),
        ),
    ],
)
def test_action_policys_own_example(tmp_path, caller, action, facts, classes, expected):
    """The example of ActionPolicy's README decides as its text says."""
    (tmp_path / "puppet.policy").write_text(README)
    decision = Policies(tmp_path).decide(caller, "puppet", action, facts, frozenset(classes))
    assert answer(decision) == expected


def test_spaces_serve_where_each_field_is_a_word(ask):
    """A line without tabs is split at spaces; commas make lists."""
    text = "policy default deny\nallow cert=alice,cert=bob status,restart os=Debian webserver\n"
    assert answer(ask({"service.policy": text})) == (True, "service.policy:2")
    assert ask({}, "cert=bob", action="restart").allowed
    assert not ask({}, action="stop").allowed
    assert not ask({}, "cert=carol").allowed
    assert not ask({}, facts={"os": "RedHat"}).allowed


def test_the_first_rule_that_matches_decides(ask):
    """A later rule, and the default, have no say after it."""
    text = (
        "policy default allow\n"
        "deny\tcert=alice\tstop\t*\t*\n"
        "allow\tcert=alice\t*\t*\n"
        "deny\t*\t*\t*\n"
    )
    assert answer(ask({"service.policy": text}, action="stop")) == (False, "service.policy:2")
    assert answer(ask({}, action="start")) == (True, "service.policy:3")
    assert answer(ask({}, "cert=bob")) == (False, "service.policy:4")


def test_a_default_may_allow(ask):
    """Without a rule that matches, the file's default holds; without a default, it is no."""
    assert answer(ask({"service.policy": "policy default allow"})) == (
        True,
        "service.policy:1 (default)",
    )
    assert answer(ask({"service.policy": "# nothing\n\n"})) == (False, "service.policy (default)")


def test_default_policy_stands_in(ask):
    """An agent without a file of its own is under default.policy, and without that is denied."""
    assert answer(ask({})) == (False, "there is neither service.policy nor default.policy")
    assert answer(ask({"default.policy": "allow * * *"})) == (True, "default.policy:1")
    assert answer(ask({"service.policy": "policy default deny"}))[0] is False


@pytest.mark.parametrize(
    ("agent", "action"),
    [
        ("exec", "run"),
        ("file", "read"),
        ("converse", "echo"),
        ("process", "signal"),
        ("package", "install"),
        ("package", "update"),
        ("package", "remove"),
    ],
)
def test_default_policy_never_covers_what_changes_machines(ask, agent, action):
    """These want a file of their own, and with it they are like all others."""
    default = {"default.policy": "policy default allow\nallow * * *\n"}
    denied = ask(default, agent=agent, action=action)
    assert answer(denied) == (
        False,
        f"default.policy does not cover {agent}.{action}: it wants {agent}.policy",
    )
    own = {f"{agent}.policy": "allow cert=alice * *"}
    assert answer(ask(own, agent=agent, action=action)) == (True, f"{agent}.policy:1")


def test_default_policy_covers_what_only_looks(ask):
    """The same agents' other actions are under default.policy like any agent's."""
    default = {"default.policy": "allow * * *\n"}
    assert ask(default, agent="package", action="status").allowed
    assert ask(default, agent="process", action="list").allowed


def test_callers_of_the_old_wire_must_be_named(ask):
    """Neither *, nor a default, nor a regex that does not say so covers an unauthenticated caller."""
    old = "mco-psk:uid=0"
    assert not ask({"service.policy": "policy default allow\nallow * * *"}, old).allowed
    assert not ask({"service.policy": "policy default allow"}, old).allowed
    assert not ask({"service.policy": "allow /uid=0/,uid=0 * *"}, old).allowed
    assert ask({"service.policy": "allow mco-psk:uid=0 * *"}, old).allowed
    assert ask({"service.policy": "allow /^mco-psk:uid=/ * *"}, old).allowed
    assert not ask({}, "mco-ssl:cert=alice").allowed


def test_regexes_are_searched(ask):
    """As in ActionPolicy, a caller in slashes is a regex that matches anywhere."""
    assert ask({"service.policy": "allow /cert=.+_admin/ * *"}, "cert=db_admin").allowed
    assert not ask({}, "cert=db_admn").allowed


def test_groups_are_lists_of_callers(ask):
    """A name from the groups file stands for its callers, beside caller ids if need be."""
    groups = "# ours\nsysadmins cert=sa1 cert=sa2\ndb.team cert=db1\n"
    text = "allow\tsysadmins db.team cert=alice\t*\t*\t*\n"
    assert ask({"groups": groups, "service.policy": text}, "cert=sa2").allowed
    assert ask({}, "cert=db1").allowed
    assert ask({}, "cert=alice").allowed
    assert not ask({}, "cert=sa3").allowed
    assert ask({"groups": groups + "more cert=x\n" + "sysops cert=sa3\n"}, "cert=sa1").allowed
    assert ask({"groups": groups.replace("sa2", "sa3")}, "cert=sa3").allowed


def test_a_fact_of_any_type_and_depth_decides(ask):
    """Facts are compared as in filters: with their types, and by dotted paths."""
    assert ask({"service.policy": "allow\t*\t*\tcpu.count>=8 os=Debian\t*"}).allowed
    assert not ask({"service.policy": "allow\t*\t*\tcpu.count>=9 os=Debian\t*"}).allowed
    assert ask({"service.policy": "allow\t*\t*\twebserver and !role=db"}).allowed
    assert ask({"service.policy": "allow\t*\t*\tos=Debian webserver"}).allowed
    assert not ask({"service.policy": "allow\t*\t*\tos=Debian dbserver"}).allowed
    assert ask({"service.policy": "allow\t*\t*\t*\twebserver or dbserver"}).allowed
    assert not ask({"service.policy": "allow\t*\t*\t*\twebserver dbserver"}).allowed


BROKEN = {
    "alow * * *": (1, r"'alow' begins no rule \(did you mean allow\?\)"),
    "\n\nallow cert=alice": (3, "2 fields between spaces"),
    "allow\tcert=alice\t*": (1, "3 fields between tabs"),
    "allow\ta=b\t*\t*\t*\t*": (1, "6 fields between tabs"),
    "policy default perhaps": (1, "policy default allow, or policy default deny"),
    "policy default deny\npolicy default allow": (2, "the default is in line 1 already"),
    "allow /cert=(/ * *": (1, "is no regex"),
    "allow sysadmin * *": (1, "neither a caller id nor a group"),
    "allow * status,* *": (1, "stands alone"),
    "allow\tcert=a *\t*\t*": (1, "neither a caller id nor a group"),
    "allow * * os=a,b=c": (1, "tabs between the fields"),
    "allow\t*\t*\tos\t*": (1, "'os' is no fact"),
    "allow\t*\t*\t*\tos=Debian": (1, "'os=Debian' is no class"),
    "allow\t*\t*\t(os=Debian": (1, "."),
    "allow\t*\t*\tos=/(/\t*": (1, "."),
}


@pytest.mark.parametrize("text", BROKEN)
@pytest.mark.parametrize("verb", ["allow", "deny"])
def test_a_line_that_does_not_parse_is_named_and_costs_by_its_verb(ask, text, verb):
    """An `allow` line costs itself; with any other nothing holds, not even an allow in another line."""
    line, message = BROKEN[text]
    text = text.replace("allow", verb, 1) if text.lstrip().startswith("allow") else text
    (flaw,) = parse_policy(text, {}).flaws
    assert flaw.line == line
    assert re.search(message, flaw.message)
    itself = text.lstrip().startswith("allow")
    assert flaw.cost is (PolicyCost.LINE if itself else PolicyCost.FILE)
    decision = ask({"service.policy": text + "\nallow cert=alice * *\n"})
    assert decision.allowed is itself
    if not itself:
        assert decision.why.startswith(f"service.policy:{line}: ")
    assert f"line {line}: " in ask({"service.policy": text}).why or not itself


def test_broken_groups_deny_whoever_needs_them(ask):
    """A groups file that does not parse stops the policies that name a group, and only those."""
    ask({"groups": "bad", "service.policy": "allow sysadmins * *"})
    assert "groups:1: a group is its name" in ask({}).why
    assert ask({"service.policy": "allow * * *"}).allowed
    for text in ("a! cert=x", "a cert=x\na cert=y", "a alice"):
        with pytest.raises(PolicyError):
            parse_groups(text)


def test_a_changed_file_counts_within_a_second(tmp_path, clock):
    """The file is looked at once a second, read again when it changed, and only then."""
    policies = Policies(tmp_path, clock=clock)
    path = tmp_path / "service.policy"
    path.write_text("allow * * *")

    def allowed():
        return policies.decide("cert=a", "service", "x", {}, frozenset()).allowed

    assert allowed()
    path.write_text("deny * * * ")
    assert allowed()
    clock.now += 1.0
    assert not allowed()
    before = policies._files["service.policy"].policy
    clock.now += 1.0
    assert not allowed()
    assert policies._files["service.policy"].policy is before
    path.unlink()
    clock.now += 1.0
    assert "neither" in policies.decide("cert=a", "service", "x", {}, frozenset()).why


def test_a_policy_that_could_not_be_read_for_a_moment_is_read_again(ask, tmp_path, caplog):
    """What its process had no descriptor for denies until it has one, and is told once."""
    (tmp_path / "groups").write_text("admins cert=alice\n")
    with no_descriptors():
        assert not ask({}).allowed
    (tmp_path / "service.policy").write_text("allow admins * * *\n")
    with no_descriptors():
        for _look in range(3):
            assert answer(ask({})) == (False, "service.policy: Too many open files")
    assert len([one for one in caplog.records if "service.policy" in one.message]) == 1
    assert ask({}).allowed


def test_a_file_that_cannot_be_trusted_or_read_denies(ask, tmp_path):
    """Text that is not UTF-8, a directory in the place, or a file anyone can write: no."""
    path = tmp_path / "service.policy"
    path.write_bytes(b"allow * * *\n#\xff")
    assert "not UTF-8" in ask({}).why
    path.write_text("allow * * *")
    path.chmod(0o646)
    assert "anyone can write it; run: chmod o-w" in ask({}).why
    path.unlink()
    path.mkdir()
    assert answer(ask({})) == (False, "service.policy: Is a directory")


def test_a_directory_that_cannot_be_searched_is_not_an_absence(tmp_path, clock, monkeypatch):
    """An error other than "not there" does not let default.policy stand in."""
    policies = Policies(tmp_path, clock=clock)
    (tmp_path / "default.policy").write_text("allow * * *")
    real = os.stat

    def refuse(path, *args, **kwargs):
        if str(path).endswith("service.policy"):
            raise PermissionError(13, "Permission denied")
        return real(path, *args, **kwargs)

    monkeypatch.setattr(os, "stat", refuse)
    decision = policies.decide("cert=a", "service", "x", {}, frozenset())
    assert answer(decision) == (False, "service.policy: Permission denied")


def test_a_data_plugin_without_an_answer_denies(tmp_path):
    """A deny rule whose question has no answer must not let a later allow decide."""
    (tmp_path / "service.policy").write_text(
        "deny\t*\t*\tfstat('/etc/nologin').present=true\nallow\t*\t*\t*\n"
    )
    unable = Policies(tmp_path).decide("cert=a", "service", "x", {}, frozenset())
    assert answer(unable) == (
        False,
        "service.policy:1: the data plugin fstat has no answer here",
    )
    for present, allowed in ((True, False), (False, True)):
        decision = Policies(tmp_path).decide(
            *("cert=a", "service", "x", {}, frozenset()),
            query=lambda _plugin, _params, p=present: {"present": p},
        )
        assert decision.allowed is allowed

    def broken(plugin, _params):
        raise PluginError("gone", kind="data", name=plugin)

    policies = Policies(tmp_path)
    assert not policies.decide("cert=a", "service", "x", {}, frozenset(), query=broken).allowed


def test_an_agents_name_is_no_path(ask, tmp_path):
    """A name that would lead out of the directory is denied, whatever stands there."""
    (tmp_path.parent / "evil.policy").write_text("allow * * *")
    assert answer(ask({}, agent="../evil")) == (False, "'../evil' is no agent's name")


@settings(deadline=None)
@given(text=st.text(alphabet="allowdenypic \tft*=/,()!#\n\x00é", max_size=80))
def test_no_text_raises(text):
    """Whatever stands in a file, it is a policy: each of its lines is a rule, a flaw or neither."""
    policy = parse_policy(text, {"f": frozenset({"cert=a"})})
    lines = [one.line for one in (*policy.rules, *policy.flaws)]
    assert len(lines) == len(set(lines))
    assert all(1 <= line <= text.count("\n") + 1 for line in lines)
