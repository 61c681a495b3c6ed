"""Deny means deny: lines that could never match, doubts, and what is in the place of a file."""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from mcshell.node.admission.policy import Decision, Policies
from mcshell.node.admission.policy_file import PolicyCost, parse_policy
from mcshell.node.facts.source import FactSource

ALICE = "cert=alice"
OPEN = "policy default allow\n"
NOBODY = 65_534
FACTS = {"environment": "production", "role": "web", "count": 8, "on": True}
CLASSES = frozenset({"webserver", "acme::dev"})
LONG = "a" + "x" * 5_000_000 + "bcd"


def decide(
    folder: Path,
    files: dict[str, str],
    caller: str = ALICE,
    agent: str = "a",
    action: str = "x",
    facts: dict[str, Any] | None = None,
    classes: frozenset[str] = frozenset(),
    owner: str | None = None,
) -> Decision:
    """What a fresh node with these files decides."""
    for name, text in files.items():
        (folder / name).write_bytes(text.encode())
    return Policies(folder).decide(caller, agent, action, facts or {}, classes, owner)


# Name: the file's text, whether alice may, and the line that says so (0: none does).
FILES: dict[str, tuple[str, bool, int]] = {
    "spaces": ("allow cert=alice * * *\n", True, 1),
    "BOM": ("\ufeffpolicy default allow\n", True, 1),
    "BOM before a comment": ("\ufeff# ours\nallow * * *\n", True, 2),
    "BOM in the middle": ("# ours\n\ufeffallow * * *\n", False, 2),
    "CRLF": ("policy default deny\r\nallow\tcert=alice\t*\t*\t*\r\n", True, 2),
    "CR alone": ("policy default allow\rdeny\tcert=alice\t*\t*\t*", False, 1),
    "CR alone behind an allow": ("allow\t*\t*\t*\t*\rdeny\tcert=alice\t*\t*\n" + OPEN, False, 1),
    "a comment behind": ("deny\tcert=alice\t*\t*\t* # no\n" + OPEN, False, 1),
    "upper-case verb": ("DENY\tcert=alice\t*\t*\t*\n" + OPEN, False, 1),
    "no-break spaces": ("deny\u00a0cert=alice\u00a0*\u00a0*\u00a0*\n" + OPEN, False, 1),
    "zero-width space": ("deny\tcert=ali\u200bce\t*\t*\t*\n" + OPEN, False, 1),
    "upper-case caller": ("deny\tcert=Alice\t*\t*\t*\n" + OPEN, False, 1),
    "vertical tab": ("policy default allow\x0bdeny\tcert=alice\t*\t*\t*", False, 1),
    "NEL": ("# c\x85policy default allow\n", False, 1),
    "line separator": ("# c\u2028policy default allow\n", False, 1),
    "line separator before an allow": ("# c\u2028deny * * *\nallow * * *\n", False, 1),
    "NUL": ("policy default allow\0\n", False, 0),
    "bidi in a comment": ("# \u202e * * * ecila=trec yned\nallow * * *\n", False, 1),
    "an empty file": ("", False, 0),
    "two defaults": ("policy default deny\npolicy default allow\n", False, 2),
    "two fields": ("allow\tcert=alice\t*\n", False, 0),
    "a group that is not there": ("deny\tadmins\t*\t*\t*\n" + OPEN, False, 1),
    "callers with a comma": ("allow\tcert=a,cert=alice\t*\t*\t*\n", True, 1),
    "an allow that has run into a deny": (
        "allow\tcert=bob\t*\t*\t*deny\tcert=alice\t*\t*\n" + OPEN,
        False,
        1,
    ),
}


@pytest.mark.parametrize("case", FILES)
def test_a_file_with_an_odd_line_is_denied_by_that_line(tmp_path: Path, case: str) -> None:
    """What is no line as it is meant denies and is named; what only looks odd holds."""
    text, allowed, line = FILES[case]
    found = decide(tmp_path, {"a.policy": text, "default.policy": OPEN})
    assert (found.allowed, found.line) == (allowed, line), found.why


def test_a_file_that_is_no_text_is_denied(tmp_path: Path) -> None:
    """Latin-1 in a comment is not read as something else."""
    (tmp_path / "a.policy").write_bytes(b"policy default allow\n# caf\xe9\n")
    assert "line 2: not UTF-8" in decide(tmp_path, {"default.policy": OPEN}).why


NEVER = [
    "cert=alice*\t*\t*\t*",
    "cert=*\t*\t*\t*",
    "*alice\t*\t*\t*",
    "cert=Alice\t*\t*\t*",
    "CERT=alice\t*\t*\t*",
    "cert=alice;\t*\t*\t*",
    "cert=alice,\t*\t*\t*",
    ",cert=alice\t*\t*\t*",
    "cert=bob,,cert=alice\t*\t*\t*",
    "alice=\t*\t*\t*",
    "alice\t*\t*\t*",
    "cert=\t*\t*\t*",
    "uid=0\t*\t*\t*",
    "mco-pks:uid=0\t*\t*\t*",
    "cert=аlice\t*\t*\t*",  # noqa: RUF001 - the first letter is Cyrillic
    "cert=ａlice\t*\t*\t*",  # noqa: RUF001 - and here a wide one
    '"cert=alice"\t*\t*\t*',
    "cert=alice #why\t*\t*\t*",
    "/cert=Alice/\t*\t*\t*",
    "/^alice$/\t*\t*\t*",
    "/cert=alice;/\t*\t*\t*",
    "/cert='alice'/\t*\t*\t*",
    "/cert=alice\t*\t*\t*",
    "//\t*\t*\t*",
    "cert=alice\tstat*\t*\t*",
    "cert=alice\tx,\t*\t*",
    "cert=alice\tx;\t*\t*",
    "cert=alice\t#x\t*\t*",
    "cert=alice\t*\tenv=prod*\t*",
    "cert=alice\t*\tenv=prod?\t*",
    "cert=alice\t*\tenvironment=production;\t*",
    "cert=alice\t*\tenvironment=production,\t*",
    "cert=alice\t*\tenvironment=production,role=web\t*",
    "cert=alice\t*\tenvironment=production#no\t*",
    "cert=alice\t*\tenvironment=production # no\t*",
    "cert=alice\t*\tenvironment=production)\t*",
    "cert=alice\t*\tenvironment='production\t*",
    'cert=alice\t*\tenvironment=pro"duction\t*',
    "cert=alice\t*\tenvironment=\t*",
    "cert=alice\t*\tenvironment= production\t*",
    "cert=alice\t*\tenvironment~production\t*",
    "cert=alice\t*\tenvironment..name=production\t*",
    "cert=alice\t*\t(environment=production) AND role=web\t*",
    "cert=alice\t*\t(environment=prod* or role=web)\t*",
    "cert=alice\t*\tenvironment=production && role=web\t*",
    "cert=alice\t*\tenvironment:production",
    "cert=alice\t*\tenvironment=production AND role=web",
    "cert=alice\t*\t*\tweb*",
    "cert=alice\t*\t*\tweb,",
    "cert=alice\t*\t*\tweb;",
    "cert=alice\t*\t*\t* # why",
    "cert=alice\t*\t*\t# why",
    "cert=alice\t*\t*\tweb # why",
    "cert=alice\t*\t*\tweb#",
    "cert=alice\t*\t*\tweb or db*",
    "cert=alice\t*\t*\tAND",
    "cert=alice\t*\t*\t/web",
    "cert=alice\t*\t*\tacme:dev",
    "cert=alice\t*\t*\t'web'",
    "cert=alice\t*\t*\t**",
    *(
        line
        for odd in "\u200b\u200d\u2060\u00ad\u3164\ufe0f\u2800\u00a0\u3000\ue000"
        for line in (
            f"cert=al{odd}ice\t*\t*\t*",
            f"cert=alice\ts{odd}top\t*\t*",
            f"cert=alice\t*\tenv{odd}=prod\t*",
            f"cert=alice\t*\tenv=prod{odd}\t*",
            f"cert=alice\t*\t*\tweb{odd}",
            f"cert=alice\t*\t*\t*{odd}",
        )
    ),
]


@pytest.mark.parametrize("rest", NEVER)
def test_a_line_that_can_never_match_is_an_error(tmp_path: Path, rest: str) -> None:
    """As a `deny` it costs the file, as an `allow` itself; both are named by their line."""
    text = f"# ours\ndeny\t{rest}\nallow\t*\t*\t*\t*\n{OPEN}"
    found = decide(tmp_path, {"a.policy": text}, facts=FACTS, classes=CLASSES)
    assert (found.allowed, found.line) == (False, 2)
    assert found.why.startswith("a.policy:2: ")
    policy = parse_policy(f"allow\t{rest}\nallow\tcert=bob\t*\t*\t*\n", {})
    assert [(flaw.line, flaw.cost) for flaw in policy.flaws] == [(1, PolicyCost.LINE)]
    assert [rule.line for rule in policy.rules] == [2]


USED = [
    "cert=o.hara_2@x+y-z\t*\t*\t*",
    "cert=josé\t*\t*\t*",
    "mco-ssl:cert=Alice\t*\t*\t*",
    "/^cert=(alice|bob)$/ /(?i)ALICE/ /[A-Z]|a/ /mco-ssl:cert=Alice/\t*\t*\t*",
    "/^alice|^cert=a/\t*\t*\t*",
    "cert=a, cert=b ,cert=c\tstart, stop\t*\tweb, db",
    "*\tMixed.name-2_x\t*\t*",
    "*\t*\tcolor='#fff' list='a,b' star=\"*\"\t*",
    "*\t*\tname='two words' role=web\t*",
    "*\t*\tpath=/var/lib/x env=/^prod.*/ env=~a.*b\t*",
    "*\t*\tenv=/(a|b)c?/\t*",
    "*\t*\t(env=~^prod.* and a.b:c@d-e>=1.5)\t*",
    "*\t*\tfstat('/etc/*.conf').present=true\t*",
    "*\t*\t!role=db and acme::dev\t*",
    "*\t*\tos=Debian acme::dev",
    "*\t*\t*\t/^web\\d*/ acme::dev ::top role.web",
]


@pytest.mark.parametrize("rest", USED)
def test_a_line_that_may_match_is_none(rest: str) -> None:
    """What stands in quotes, in regexes and in names is taken as it is."""
    for verb in ("allow", "deny"):
        policy = parse_policy(f"{verb}\t{rest}\n", {})
        assert not policy.flaws
        assert len(policy.rules) == 1


# A condition, facts, and what it says: yes, no, or None, which is a doubt.
VERDICTS: list[tuple[str, dict[str, Any], bool | None]] = [
    ("env=production", {"env": "production"}, True),
    ("env=production", {"env": "staging"}, False),
    ("env=production", {}, None),
    ("env=production", {"env": None}, None),
    ("env=production", {"env": ["production"]}, None),
    ("env=production", {"env": ["staging"]}, None),
    ("env=production", {"env": []}, None),
    ("env=production", {"env": {"production": 1}}, None),
    ("env=production", {"env": {"name": "production"}}, True),
    ("env=production", {"env": {"name": "staging", "production": 1}}, False),
    ("env=production", {"env": {"name": ["production"]}}, None),
    ("env=production", {"env": "Production"}, None),
    ("env=production", {"env": "production\n"}, None),
    ("env=production", {"env": "pro\u200bduction"}, None),
    ("env=production", {"env": "ｐroduction"}, None),  # noqa: RUF001 - a wide letter
    ("env=production", {"env": 5}, False),
    ("env=production", {"env": True}, None),
    ("env=yes", {"env": True}, None),
    ("env=true", {"env": True}, True),
    ("env=0", {"env": True}, False),
    ("env.name=production", {"env": "production"}, None),
    ("env!=production", {"env": "production"}, False),
    ("env!=production", {"env": "staging"}, True),
    ("env!=production", {"env": "PRODUCTION"}, None),
    ("env!=production", {"env": ["staging"]}, None),
    ("env!=production", {}, None),
    ("env!=production", {"env": None}, None),
    ("!env=production", {"env": "staging"}, True),
    ("!env=production", {}, None),
    ("not not env=production", {}, None),
    ("not env!=production", {}, None),
    ("not (env=production and role=web)", {"role": "db"}, True),
    ("not (env=production and role=web)", {"role": "web"}, None),
    ("not (env=production or role=web)", {"role": "web"}, False),
    ("not (env=production or role=web)", {"role": "db"}, None),
    ("(env=production and role=web)", {"role": "db"}, False),
    ("(role=web and env=production)", {"role": "web"}, None),
    ("(env=production or role=web)", {"role": "web"}, True),
    ("(env=production or role=web)", {"role": "db"}, None),
    ("env=production role=web", {"role": "db"}, False),
    ("env=production role=web", {"role": "web"}, None),
    ("env=~prod", {"env": "production"}, True),
    ("env=~prod", {"env": "staging"}, False),
    ("env=~prod", {"env": ["production"]}, None),
    ("env=~prod", {}, None),
    ("env=~prod", {"env": LONG}, None),
    ("env!=~prod", {"env": LONG}, None),
    ("!env=~prod", {"env": LONG}, None),
    ("n>=8", {"n": 8}, True),
    ("n>=8", {"n": "9"}, True),
    ("n>=8", {"n": 7.5}, False),
    ("n>=8", {"n": "8 GiB"}, None),
    ("n>=8", {"n": True}, None),
    ("n>=8", {"n": [9]}, None),
    ("n>=8", {}, None),
    ("n<many", {"n": 8}, None),
    ("n<b", {"n": "a"}, True),
    ("fstat('/etc/nologin').present=true", {}, None),
    ("(fstat('/etc/nologin').present=true or role=web)", {"role": "web"}, True),
]


@pytest.mark.parametrize(("condition", "facts", "verdict"), VERDICTS)
def test_a_doubt_denies_in_a_deny_and_matches_no_allow(
    tmp_path: Path, condition: str, facts: dict[str, Any], *, verdict: bool | None
) -> None:
    """A `deny` holds unless its condition is surely false, an `allow` where it is surely true."""
    deny = decide(tmp_path, {"a.policy": f"deny\t*\t*\t{condition}\t*\n{OPEN}"}, facts=facts)
    assert deny.allowed is (verdict is False), deny.why
    allow = decide(tmp_path, {"a.policy": f"allow\t*\t*\t{condition}\t*\n"}, facts=facts)
    assert allow.allowed is (verdict is True), allow.why
    if verdict is None:
        assert deny.why.startswith("a.policy:1: ")


@pytest.mark.parametrize(
    ("field", "classes", "verdict"),
    [
        ("db", {"db"}, True),
        ("db", {"web"}, False),
        ("db", {"DB"}, None),
        ("db", {"d\u200bb"}, None),
        ("!db", {"DB"}, None),
        ("!db", {"web"}, True),
        ("/^d/", {"web", "db"}, True),
        ("/^d/", {"web"}, False),
        ("/^d/", {"w" * 5_000_000}, None),
        ("db web", {"DB"}, False),
        ("db or web", {"DB", "web"}, True),
    ],
)
def test_classes_are_in_doubt_by_their_case(
    tmp_path: Path, field: str, classes: set[str], *, verdict: bool | None
) -> None:
    """A class that only looks like the one that is meant is neither that one nor another."""
    known = frozenset(classes)
    deny = decide(tmp_path, {"a.policy": f"deny\t*\t*\t*\t{field}\n{OPEN}"}, classes=known)
    assert deny.allowed is (verdict is False)
    allow = decide(tmp_path, {"a.policy": f"allow\t*\t*\t*\t{field}\n"}, classes=known)
    assert allow.allowed is (verdict is True)


def test_the_doubt_is_said(tmp_path: Path) -> None:
    """Who is denied by a doubt reads which line has it, and what about."""
    found = decide(tmp_path, {"a.policy": f"deny\t*\t*\tenvironment=production\t*\n{OPEN}"})
    assert found == Decision(
        False, "a.policy:1: the fact environment is not known here", "a.policy", 1
    )


def test_a_facts_file_broken_at_the_start_denies(tmp_path: Path) -> None:
    """The fact that a `deny` asks for is then missing, and what is missing is no other value."""
    (tmp_path / "env.yaml").write_text("environment: production\n  broken: [\n")
    facts = dict(FactSource(["*.yaml"], tmp_path, builtin=dict).facts())
    assert facts == {}
    text = (
        "policy default deny\ndeny\t*\t*\tenvironment=production\t*\nallow\tcert=alice\t*\t*\t*\n"
    )
    found = decide(tmp_path, {"service.policy": text}, agent="service", action="stop", facts=facts)
    assert (found.allowed, found.line) == (False, 2)


OWNERS: list[tuple[str, dict[str, Any], str | None, bool]] = [
    ("allow\tcert=bob\tedit cancel\trole=owner\t*", {"role": "owner"}, "cert=alice", False),
    ("allow\tcert=bob\t*\t(team=owner or team=x)\t*", {"team": "x"}, "cert=alice", False),
    ("allow\tcert=bob\t*\t(owner=cert=alice or team=x)\t*", {"team": "x"}, "cert=carol", False),
    ("allow\tcert=bob\t*\t(owner=cert=alice and team=x)\t*", {"team": "x"}, "cert=alice", True),
    ("allow\tcert=bob\t*\t!(owner=cert=root or team=y)\t*", {"team": "x"}, "cert=alice", True),
    ("allow\tcert=bob\t*\t!(owner=cert=root and team=y)\t*", {"team": "x"}, "cert=alice", False),
    ("allow\tcert=bob\tedit\towner=cert=alice\t*", {}, "cert=carol", False),
    ("allow\tcert=bob\tedit\towner=infra\t*", {"owner": "infra"}, "cert=alice", False),
    ("allow\tcert=bob\tedit\towner!=cert=root\t*", {}, "cert=alice", True),
    ("deny\tcert=bob\t*\towner=cert=alice\t*\nallow\tcert=bob\t*\t*\t*", {}, None, True),
    ("deny\t*\t*\t(owner=cert=x or env=p)\t*\nallow\tcert=bob\t*\t*\t*", {}, None, False),
    ("deny\tcert=bob\t*\towner=x env=p\t*\nallow\tcert=bob\t*\towner=/./\t*", {}, "x", False),
]


@pytest.mark.parametrize(("text", "facts", "owner", "allowed"), OWNERS)
def test_only_a_line_that_must_look_at_the_owner_is_about_another(
    tmp_path: Path, text: str, facts: dict[str, Any], owner: str | None, *, allowed: bool
) -> None:
    """The word in a value is no question; and one's own things are in no doubt for want of an owner."""
    files = {"job.policy": f"policy default deny\n{text}\n"}
    found = decide(tmp_path, files, "cert=bob", "job", "edit", facts, owner=owner)
    assert found.allowed is allowed, found.why


def test_an_owner_is_a_fact_as_any_for_other_agents(tmp_path: Path) -> None:
    """Only the things of jobs belong to somebody: elsewhere a missing fact `owner` is a doubt."""
    files = {"a.policy": f"deny\t*\t*\towner=infra\t*\n{OPEN}"}
    assert not decide(tmp_path, files).allowed
    assert decide(tmp_path, files, facts={"owner": "web"}).allowed


@pytest.mark.parametrize(
    ("text", "caller", "allowed"),
    [
        ("allow\t/cert=adm/\t*\t*\t*", "cert=admin-not", True),
        ("allow\t/cert=.+_admin$/\t*\t*\t*", "cert=x_admin\n", False),
        ("allow\t*\t*\t*\t*", "mco-psk:uid=0", False),
        ("allow\t/mco-psk:uid=1|uid=0/\t*\t*\t*", "mco-psk:uid=0", False),
        ("allow\t/^mco-psk:uid=(1|0)$/\t*\t*\t*", "mco-psk:uid=0", True),
        ("deny\t*\t*\t*\t*\nallow\tmco-psk:uid=0\t*\t*\t*", "mco-psk:uid=0", False),
        ("deny\t/uid=0/\t*\t*\t*\nallow\tmco-psk:uid=0\t*\t*\t*", "mco-psk:uid=0", False),
        ("deny\t*\tStop\t*\t*\nallow\t*\t*\t*\t*", "cert=alice", False),
    ],
)
def test_whom_a_line_is_about(tmp_path: Path, text: str, caller: str, *, allowed: bool) -> None:
    """An `allow` is about callers of the old wire by their prefix only, a `deny` about everybody."""
    assert decide(tmp_path, {"a.policy": text + "\n"}, caller, action="stop").allowed is allowed


@pytest.mark.parametrize(
    ("agent", "allowed"),
    [("../x", False), ("default", True), ("exec", False), ("service", True), ("loop", True)],
)
def test_what_default_policy_opens(tmp_path: Path, agent: str, *, allowed: bool) -> None:
    """Agents without a file, by their name; never what wants a file of its own."""
    assert decide(tmp_path, {"default.policy": OPEN}, agent=agent).allowed is allowed


@pytest.mark.parametrize("groups", ["admins\n", "admins cert=Alice\n", "admins cert=alice,\n"])
def test_a_group_that_cannot_be_used_denies(tmp_path: Path, groups: str) -> None:
    """A `deny` for it costs the file, and the line of the groups file is named."""
    files = {"a.policy": f"deny\tadmins\t*\t*\t*\n{OPEN}", "groups": groups}
    found = decide(tmp_path, files)
    assert (found.allowed, found.line) == (False, 1)
    assert "groups:1: " in found.why


def test_what_is_no_file_is_no_absent_file(tmp_path: Path) -> None:
    """Links that lead nowhere or in a circle, a folder, a pipe, a device: default.policy stands in for none."""
    (tmp_path / "default.policy").write_text(OPEN)
    (tmp_path / "loop.policy").symlink_to("loop.policy")
    (tmp_path / "nowhere.policy").symlink_to("/nonexistent")
    (tmp_path / "null.policy").symlink_to("/dev/null")
    (tmp_path / "within.policy").symlink_to("default.policy/within")
    (tmp_path / "folder.policy").mkdir()
    os.mkfifo(tmp_path / "pipe.policy")
    (tmp_path / "large.policy").write_text(OPEN + "#" * (1 << 20))
    said = {
        "loop": "Too many levels of symbolic links",
        "nowhere": "it is a link that leads nowhere",
        "within": "Not a directory",
        "null": "it is no file",
        "folder": "Is a directory",
        "pipe": "it is no file",
        "large": "larger than 1048576 bytes",
    }
    for agent, why in said.items():
        assert decide(tmp_path, {}, agent=agent) == Decision(
            False, f"{agent}.policy: {why}", f"{agent}.policy", 0
        )
    assert decide(tmp_path, {}, agent="other").allowed


def test_a_file_that_cannot_be_read_is_no_absent_file() -> None:
    """default.policy does not stand in for it; root, who reads everything, looks as nobody."""
    user = os.geteuid()
    with TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "default.policy").write_text(OPEN)
        (folder / "a.policy").write_text(OPEN)
        (folder / "a.policy").chmod(0)
        try:
            os.seteuid(user or NOBODY)
            assert decide(folder, {}, agent="other").allowed
            assert decide(folder, {}).why == "a.policy: Permission denied"
        finally:
            os.seteuid(user)


def test_groups_that_lead_nowhere_are_no_absence(tmp_path: Path) -> None:
    """A `deny` for a group of theirs denies, and says why."""
    (tmp_path / "groups").symlink_to("/nonexistent")
    found = decide(tmp_path, {"a.policy": f"deny\tadmins\t*\t*\t*\n{OPEN}"})
    assert not found.allowed
    assert "groups: it is a link that leads nowhere" in found.why


def test_flaws_are_logged_when_the_file_is_read(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Once for each of its versions, by line and with what it costs."""
    (tmp_path / "a.policy").write_text("allow\tcert=alice*\t*\t*\t*\nallow\tcert=alice\t*\t*\n")
    policies = Policies(tmp_path, clock=iter(range(0, 100, 5)).__next__)
    for _ in range(3):
        assert policies.decide(ALICE, "a", "x", {}, frozenset()).allowed
    (record,) = caplog.records
    assert record.getMessage().startswith("a.policy:1: 'cert=alice*' has wildcards")
    assert record.getMessage().endswith("it costs this line")
