"""The role: three machines brought up, twice; what changes and what is refused; off again."""

from __future__ import annotations

import base64
import shutil
import tomllib
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from mcshell.docs import markdown, pages
from tests.deploy.light import ROOT
from tests.peers.processes import wait_until
from tests.rollout.ansible import ROLES, Play, Unsafe
from tests.rollout.hostile import SETTINGS, WRONG_NAMES
from tests.rollout.machines import NAMES, PASSCODE, POLICY

if TYPE_CHECKING:
    from tests.rollout.machines import Machine, Site

pytestmark = pytest.mark.timeout(400)
ROLE = ROLES / "mcshell_node"
BROKEN = {
    "policy": (
        lambda site: (site.policies / "exec.policy").write_text("permit everybody\n"),
        {},
        "policies/exec.policy: 1: 'permit' begins no rule",
    ),
    "agent": (
        lambda site: (site.agents / "echo.py").write_text("class Echo(:\n"),
        {},
        "agent echo does not load",
    ),
    "settings": (
        lambda site: None,
        {"mcshell_settings": {"node": {"slotz": 3}}},
        "unknown key node.slotz (did you mean",
    ),
    "certificate": (lambda site: None, {}, "pki/web-2.key"),
}


@pytest.fixture(scope="module")
def play(site: Site) -> Play:
    """The play, which has run twice."""
    play = Play(site)
    first = play.run("--diff", "-v")
    assert first.code == 0, first.said
    assert all(first.changed.values())
    secrets(play, first.said)
    return play


def secrets(play: Play, said: str) -> None:
    """Neither passcode nor keys are in what was said, nor what they look like in base64."""
    site = play.site
    texts = [PASSCODE.encode()]
    texts += [(site.fleet.folder / f"{name}.key").read_bytes() for name in NAMES[:2]]
    for text in texts:
        assert text.decode().splitlines()[-2 if b"\n" in text else 0] not in said
        assert base64.b64encode(text).decode()[:16] not in said


def test_three_machines_twice(play: Play, site: Site) -> None:
    """The first run brings all, the operator sees three nodes, the second run changes nothing."""
    assert [one.calls() for one in site.machines.values()] == [["restart"]] * 3
    for one in site.machines.values():
        one.start()
    assert site.ping() == dict.fromkeys(NAMES, "ok")
    before = [one.tree() for one in site.machines.values()]
    again = play.run("--diff")
    assert (again.code, again.changed) == (0, dict.fromkeys(NAMES, 0)), again.said
    assert [one.tree() for one in site.machines.values()] == before
    assert [one.calls() for one in site.machines.values()] == [[]] * 3
    modes = {place: mode for place, (mode, _) in before[0].items()}
    assert modes["etc/policies"] == modes["etc/agents"] == 0o755
    assert modes["etc/pki"] == 0o700
    private = {place for place, mode in modes.items() if mode == 0o600}
    assert private == {"etc/node.toml", "etc/broker.pass", f"etc/pki/{NAMES[0]}.key"}


@pytest.mark.soak
def test_a_change_is_what_it_must_be(play: Play, site: Site, machine: Machine) -> None:
    """A setting changes node.toml alone, and restarts; a policy is reloaded, and one that is gone goes."""
    before = machine.tree()
    more = site.settings(slots=3)
    done = play.run("--limit", machine.name, mcshell_settings=more)
    assert done.code == 0, done.said
    after = machine.tree()
    assert {place for place in after if after[place] != before.get(place)} == {"etc/node.toml"}
    assert tomllib.loads(after["etc/node.toml"][1].decode())["node"]["slots"] == 3
    assert machine.calls() == ["restart"]

    (site.policies / "exec.policy").write_text(POLICY)
    done = play.run("--limit", machine.name, mcshell_settings=more)
    assert machine.tree().keys() - after.keys() == {"etc/policies/exec.policy"}, done.said
    assert machine.calls() == ["reload"]
    assert wait_until(lambda: "reloaded: policies" in machine.log, 30), machine.log
    (site.policies / "exec.policy").unlink()
    play.run("--limit", machine.name)
    assert machine.tree() == before
    assert machine.calls() == ["restart"]


@pytest.mark.soak
@pytest.mark.parametrize("what", BROKEN)
def test_what_is_broken_replaces_nothing(
    play: Play, site: Site, machine: Machine, what: str
) -> None:
    """The run fails with what mcshell finds wrong, and every file is as it was."""
    damage, more, why = BROKEN[what]
    own = {path: path.read_bytes() for path in (*site.policies.iterdir(), *site.agents.iterdir())}
    (site.policies / "default.policy").write_text("policy default deny\n")
    before = machine.tree()
    damage(site)
    if what == "certificate":
        more = {"mcshell_certificate": {**site.issue(NAMES[0]), "key": site.issue(NAMES[1])["key"]}}
    try:
        done = play.run("--limit", machine.name, "--diff", **more)
    finally:
        for path in (*site.policies.iterdir(), *site.agents.iterdir()):
            path.unlink() if path not in own else path.write_bytes(own[path])
    assert (done.code, done.failed) == (2, {machine.name: 1}), done.said
    assert why in done.said
    assert machine.tree() == before
    assert machine.calls() == []


@pytest.mark.soak
def test_a_dry_run_shows_what_would_change(play: Play, site: Site, machine: Machine) -> None:
    """With its difference, but for secrets, on a machine that is there; a new one is no error."""
    before = machine.tree()
    (site.policies / "default.policy").write_text(POLICY + "# more\n")
    dry = ("--check", "--diff", "-v", "--limit", machine.name)
    done = play.run(*dry, mcshell_passcode="another-secret")
    (site.policies / "default.policy").write_text(POLICY)
    assert (done.code, done.changed) == (0, {machine.name: 2}), done.said
    assert "+# more" in done.said
    assert "broker.pass" in done.said
    assert "another-secret" not in done.said
    secrets(play, done.said)
    assert machine.tree() == before
    assert machine.calls() == []

    new = machine.folder / "new"
    places = {
        key: str(new / key.removeprefix("mcshell_")) for key in ("mcshell_etc", "mcshell_lib")
    }
    absent = {"mcshell_venv": str(new / "opt"), "mcshell_command": str(new / "opt/bin/mcshell")}
    done = play.run(*dry, mcshell_package=str(site.wheel), **places, **absent)
    assert (done.code, done.failed) == (0, {machine.name: 0}), done.said
    assert "+policy default deny" in done.said
    assert not new.exists()


def test_hostile_values_are_values(play: Play, site: Site, machine: Machine) -> None:
    """Quotes, newlines, tables and templates in a variable come to the agent as they are."""

    def unsafe(value: Any) -> Any:
        if isinstance(value, dict):
            return {unsafe(key): unsafe(one) for key, one in value.items()}
        if isinstance(value, list):
            return [unsafe(one) for one in value]
        return Unsafe(value) if isinstance(value, str) and "{" in value else value

    settings = {**site.settings(), "agents": {"echo": unsafe(SETTINGS)}}
    done = play.run("--limit", machine.name, mcshell_settings=settings)
    assert done.code == 0, done.said
    told = tomllib.loads((machine.etc / "node.toml").read_text())
    assert told["agents"] == {"echo": SETTINGS}
    assert told["node"]["policies"] == "policies"


def test_a_name_that_would_be_more_is_refused(play: Play, machine: Machine) -> None:
    """It goes into paths and lines, so that it has letters, digits and a few signs."""
    before = machine.tree()
    for name in WRONG_NAMES[:2]:
        done = play.run("--limit", machine.name, mcshell_name=Unsafe(name))
        assert done.code == 2, done.said
        assert "only" in done.said
    assert machine.tree() == before


@pytest.mark.soak
def test_a_machine_enrols_by_files(play: Play, site: Site, machine: Machine) -> None:
    """Its key is made there and stays; token and key are in no output; a run later it has its certificate."""
    fresh = machine.folder / "fresh"
    own = {"mcshell_etc": str(fresh / "etc"), "mcshell_lib": str(fresh / "lib")}
    own |= {"mcshell_name": "new.example.com", "mcshell_certificate": {}}
    token = site.token()
    requests = site.folder / "requests"
    own |= {"mcshell_requests": str(requests), "mcshell_token": token}
    limit = ("--limit", machine.name, "-v")
    asked = play.run(*limit, **own)
    assert asked.code == 0, asked.said
    assert "mcshell pki receive" in asked.said
    assert not (fresh / "etc" / "node.toml").exists()
    receive = ("pki", "receive", "--pki", "pki", "--out", str(requests))
    assert "signed" in site.cli(*receive, str(requests / "new.example.com.request"))
    taken = play.run(*limit, **own)
    assert taken.code == 0, taken.said
    again = play.run(*limit, **own)
    assert again.changed == {machine.name: 0}, again.said
    key = fresh / "etc" / "pki" / "new.example.com.key"
    assert key.stat().st_mode & 0o777 == 0o600
    line = key.read_text().splitlines()[1]
    for said in (asked.said, taken.said, again.said):
        assert token not in said
        assert line not in said
    held = [path for path in site.folder.rglob("*") if path.is_file() and path != key]
    texts = {path: path.read_bytes() for path in held if path.name != "hosts.yml"}
    assert [path for path, text in texts.items() if line.encode() in text] == []
    assert [path for path, text in texts.items() if token.encode() in text] == []


@pytest.mark.soak
def test_a_certificate_that_has_ended_is_none(play: Play, site: Site, machine: Machine) -> None:
    """The machine enrols again, and the next run changes nothing."""
    late, name = machine.folder / "late", "late.example.com"
    own = {"mcshell_etc": str(late / "etc"), "mcshell_lib": str(late / "lib")}
    own |= {"mcshell_name": name, "mcshell_certificate": {}, "mcshell_token": site.token()}
    own["mcshell_enrol_broker"] = site.enrolment
    site.ended(name, late / "etc" / "pki")
    before = (late / "etc" / "pki" / f"{name}.pem").read_bytes()
    dry = play.run("--limit", machine.name, "--check", **own)
    assert dry.code == 0, dry.said
    assert (late / "etc" / "pki" / f"{name}.pem").read_bytes() == before
    for changed in (True, False):
        done = play.run("--limit", machine.name, **own)
        assert (done.code, bool(done.changed[machine.name])) == (0, changed), done.said
    assert site.fleet.authority.statuses(name) == {"expired", "valid"}
    assert (late / "etc" / "pki" / f"{name}.pem").read_bytes() != before


@pytest.mark.soak
def test_the_page_as_it_stands(play: Play, site: Site, machine: Machine) -> None:
    """The manual's playbook and lines, with this site's addresses: a look, a run, and a second one."""
    page = [text for _, text in markdown.code(pages.page("roll-out").text)]
    (book,) = [text for text in page if text.startswith("- hosts: nodes")]
    (lines,) = [text for text in page if text.startswith("export ANSIBLE_ROLES_PATH=")]
    export, *plays = lines.splitlines()
    assert ROOT / export.partition("=")[2] == ROLES
    folder = site.folder / "page"
    shutil.copytree(site.policies, folder / "policies")
    shutil.copytree(site.agents, folder / "agents")
    (folder / "web.token").write_text(site.token())
    for old, new in (
        ("stomp+ssl://mq.example.com:61614", site.url),
        ("stomp+ssl://mq.example.com:61615", site.enrolment),
        (
            "        broker:\n",
            f"        collective: {{main: {site.fleet.collective}}}\n        broker:\n",
        ),
    ):
        assert old in book
        book = book.replace(old, new)
    (folder / "site.yml").write_text(book)
    own = {**play.variables[machine.name], "mcshell_certificate": {}, "mcshell_passcode": ""}
    own |= {"mcshell_name": "page.example.com", "mcshell_etc": str(folder / "etc")}
    own |= {"mcshell_lib": str(folder / "lib")}
    for line in [*plays, plays[-1]]:
        words = line.split()[3:]
        done = play.play(folder, {machine.name: own}, *words)
        assert done.code == 0, done.said
    assert done.changed == {machine.name: 0}
    assert (folder / "etc" / "policies" / "default.policy").exists()


@pytest.mark.soak
def test_it_is_taken_off(play: Play, site: Site, machine: Machine) -> None:
    """All but state and identity; these go when that is said, and nothing changes after it."""
    machine.stop()
    limit = ("--limit", machine.name)
    off = play.run(*limit, mcshell_state="absent")
    assert off.code == 0, off.said
    assert {path.name for path in machine.etc.iterdir()} == {"pki"}
    assert (machine.etc / "pki" / f"{machine.name}.key").exists()
    assert (machine.lib / "node").exists()
    assert [*machine.units.iterdir()] == []
    assert play.run(*limit, mcshell_state="absent").changed == {machine.name: 0}
    play.run(*limit, mcshell_state="absent", mcshell_purge=True)
    assert not machine.etc.exists()
    assert not machine.lib.exists()


def test_every_variable_is_described() -> None:
    """Each that has a default has its meaning, and the other way round."""
    specs = yaml.safe_load((ROLE / "meta" / "argument_specs.yml").read_text())
    defaults = yaml.safe_load((ROLE / "defaults" / "main.yml").read_text())
    assert specs["argument_specs"]["main"]["options"].keys() == defaults.keys()
