"""The class: three machines brought up, twice; what changes and what is refused; off again."""

from __future__ import annotations

import re
import tomllib
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from mcshell.docs import markdown, pages
from tests.peers.processes import wait_until
from tests.rollout.hostile import SETTINGS, WRONG_NAMES
from tests.rollout.machines import NAMES, PASSCODE, POLICY
from tests.rollout.puppet import MODULES, Manifest, Sensitive, literal

if TYPE_CHECKING:
    from tests.rollout.machines import Machine, Site
    from tests.rollout.puppet import Applied

pytestmark = [pytest.mark.timeout(400), pytest.mark.puppet]
BROKEN = {
    "policy": ("exec.policy", {}, "policy exec.policy:1: 'permit' begins no rule"),
    "settings": ("", {"settings": {"node": {"slotz": 3}}}, "unknown key node.slotz"),
}


def all_at_once(manifest: Manifest) -> dict[str, Applied]:
    """Apply it on every machine."""
    with ThreadPoolExecutor() as pool:
        return dict(zip(NAMES, pool.map(manifest.apply, NAMES), strict=True))


@pytest.fixture(scope="module")
def manifest(site: Site) -> Manifest:
    """The class, which was applied: on the first machine before the others, which have its command."""
    made = Manifest(site)
    first = [made.apply(NAMES[0]), *list(all_at_once(made).values())[1:]]
    for one in first:
        assert one.code == 2, one.said
        secrets(made, one.said)
    return made


def secrets(manifest: Manifest, said: str) -> None:
    """Neither passcode nor keys are in what was said."""
    site = manifest.site
    assert PASSCODE not in said
    for name in NAMES[:2]:
        assert (site.fleet.folder / f"{name}.key").read_text().splitlines()[1] not in said


def test_three_machines_twice(manifest: Manifest, site: Site) -> None:
    """The first run brings all, the operator sees three nodes, the second run changes nothing."""
    for one in site.machines.values():
        assert "restart" in one.calls()
        one.start()
    assert site.ping() == dict.fromkeys(NAMES, "ok")
    before = [one.tree() for one in site.machines.values()]
    again = all_at_once(manifest)
    assert {name: one.code for name, one in again.items()} == dict.fromkeys(NAMES, 0), again
    assert [one.tree() for one in site.machines.values()] == before
    assert [one.calls() for one in site.machines.values()] == [[]] * 3
    modes = {place: mode for place, (mode, _) in before[0].items()}
    assert modes["etc/policies"] == 0o755
    assert modes["etc/pki"] == modes["etc/coming"] == 0o700
    private = {place for place, mode in modes.items() if mode == 0o600}
    own = {"etc/node.toml", "etc/broker.pass", f"etc/pki/{NAMES[0]}.key"}
    assert private == own | {"etc/coming/node.toml"}


@pytest.mark.soak
def test_a_change_is_what_it_must_be(manifest: Manifest, site: Site, machine: Machine) -> None:
    """A setting changes node.toml alone, and restarts; a policy is reloaded, and one that is gone goes."""
    before = machine.tree()
    more = site.settings(slots=3)
    done = manifest.apply(machine.name, settings=more)
    assert done.code == 2, done.said
    after = machine.tree()
    changed = {place for place in after if after[place] != before.get(place)}
    assert changed == {"etc/node.toml", "etc/coming/node.toml"}
    assert tomllib.loads(after["etc/node.toml"][1].decode())["node"]["slots"] == 3
    assert machine.calls() == ["restart"]

    (site.policies / "exec.policy").write_text(POLICY)
    done = manifest.apply(machine.name, settings=more)
    assert "etc/policies/exec.policy" in machine.tree(), done.said
    assert machine.calls() == ["reload"]
    assert wait_until(lambda: "reloaded: policies" in machine.log, 30), machine.log
    (site.policies / "exec.policy").unlink()
    manifest.apply(machine.name)
    assert machine.tree() == before


@pytest.mark.soak
@pytest.mark.parametrize("what", BROKEN)
def test_what_is_broken_replaces_nothing(
    manifest: Manifest, site: Site, machine: Machine, what: str
) -> None:
    """The run fails with what mcshell finds wrong, and all that is in force is as it was."""

    def in_force() -> dict[str, tuple[int, bytes]]:
        return {place: one for place, one in machine.tree().items() if "coming" not in place}

    name, more, why = BROKEN[what]
    before = in_force()
    if name:
        (site.policies / name).write_text("permit everybody\n")
        (site.policies / "default.policy").write_text("policy default deny\n")
    done = manifest.apply(machine.name, **more)
    (site.policies / "default.policy").write_text(POLICY)
    if name:
        (site.policies / name).unlink()
    assert done.code in (4, 6), done.said
    assert why in done.said
    assert in_force() == before
    assert machine.calls() == []


@pytest.mark.soak
def test_a_dry_run_shows_what_would_change(
    manifest: Manifest, site: Site, machine: Machine
) -> None:
    """With its difference, but for secrets, on a machine that is there; a new one is no error."""
    before = machine.tree()
    (site.policies / "default.policy").write_text(POLICY + "# more\n")
    done = manifest.apply(machine.name, "--noop", passcode=Sensitive("another-secret"))
    (site.policies / "default.policy").write_text(POLICY)
    assert done.code == 0, done.said
    assert "+# more" in done.said
    assert "broker.pass" in done.said
    assert "another-secret" not in done.said
    secrets(manifest, done.said)
    new = machine.folder / "new"
    places = {"etc": f"{new}/etc", "lib": f"{new}/lib", "venv": f"{new}/opt"}
    more = {"package": str(site.wheel), "command": f"{new}/opt/bin/mcshell"}
    done = manifest.apply(machine.name, "--noop", **places, **more)
    assert done.code == 0, done.said
    assert "etc/policies/default.policy" in done.said
    assert machine.tree() == before
    assert machine.calls() == []
    assert not new.exists()


def test_hostile_values_are_values(manifest: Manifest, site: Site, machine: Machine) -> None:
    """Quotes, newlines, tables and templates in a parameter come to the agent as they are."""
    settings = {**site.settings(), "agents": {"echo": SETTINGS}}
    done = manifest.apply(machine.name, settings=settings)
    assert done.code == 2, done.said
    told = tomllib.loads((machine.etc / "node.toml").read_text())
    assert told["agents"] == {"echo": SETTINGS}
    assert told["node"]["policies"] == "policies"


def test_a_name_that_would_be_more_is_refused(manifest: Manifest, machine: Machine) -> None:
    """It goes into paths and lines, so that it has letters, digits and a few signs."""
    before = machine.tree()
    done = manifest.apply(machine.name, identity=WRONG_NAMES[0])
    assert done.code == 1
    assert "parameter 'identity' expects a match for Mcshell::Name" in done.said
    assert machine.tree() == before


@pytest.mark.soak
def test_a_machine_enrols_by_files(manifest: Manifest, site: Site, machine: Machine) -> None:
    """Its key is made there and stays; the token is in no output and in no file; then it is a node."""
    fresh = machine.folder / "fresh"
    fresh.mkdir()
    token = site.token()
    own = {"etc": str(fresh / "etc"), "lib": str(fresh / "lib"), "identity": "new.example.com"}
    own |= {"certificate": None, "token": Sensitive(token)}
    asked = manifest.apply(machine.name, **own)
    request = fresh / "etc" / "pki" / "new.example.com.request"
    assert "new.example.com.pem: No such file" in asked.said, asked.said
    assert not (fresh / "etc" / "node.toml").exists()
    assert "signed" in site.cli("pki", "receive", "--pki", "pki", str(request))
    answer = site.fleet.folder / "new.example.com.answer"
    taken = manifest.apply(machine.name, **own, answer=str(answer))
    assert taken.code == 2, taken.said
    again = manifest.apply(machine.name, **own, answer=str(answer))
    assert again.code == 0, again.said
    key = fresh / "etc" / "pki" / "new.example.com.key"
    assert key.stat().st_mode & 0o777 == 0o600
    assert token not in asked.said + taken.said + again.said
    held = [path for path in fresh.rglob("*") if path.is_file() and path.suffix != ".pp"]
    assert [path for path in held if token.encode() in path.read_bytes()] == []


@pytest.mark.soak
def test_a_certificate_that_has_ended_is_none(
    manifest: Manifest, site: Site, machine: Machine
) -> None:
    """The machine enrols again, and the next run changes nothing."""
    late, name = machine.folder / "late", "late.example.com"
    own = {"etc": str(late / "etc"), "lib": str(late / "lib"), "identity": name}
    own |= {"certificate": None, "token": Sensitive(site.token()), "enrol_broker": site.enrolment}
    site.ended(name, late / "etc" / "pki")
    for code in (2, 0):
        done = manifest.apply(machine.name, **own)
        assert done.code == code, done.said
    assert site.fleet.authority.statuses(name) == {"expired", "valid"}


@pytest.mark.soak
def test_the_page_as_it_stands(manifest: Manifest, site: Site) -> None:
    """The manual's class is one that Puppet takes, with sources that are here."""
    (text,) = [
        text
        for _, text in markdown.code(pages.page("roll-out").text)
        if text.startswith("class { 'mcshell::node'")
    ]
    for old, new in (
        ("'puppet:///modules/profile/policies'", literal(str(site.policies))),
        ("'puppet:///modules/profile/agents'", literal(str(site.agents))),
        ("lookup('mcshell_token')", literal("a token")),
    ):
        assert old in text
        text = text.replace(old, new)
    done = manifest.run(text, "--noop")
    assert done.code == 0, done.said
    assert "/etc/mcshell/node.toml" in done.said


@pytest.mark.soak
def test_it_is_taken_off(manifest: Manifest, machine: Machine) -> None:
    """All but state and identity; these go when that is said, and nothing changes after it."""
    machine.stop()
    off = manifest.apply(machine.name, ensure="absent")
    assert off.code == 2, off.said
    assert {path.name for path in machine.etc.iterdir()} == {"pki"}
    assert (machine.etc / "pki" / f"{machine.name}.key").exists()
    assert (machine.lib / "node").exists()
    assert [*machine.units.iterdir()] == []
    assert manifest.apply(machine.name, ensure="absent").code == 0
    manifest.apply(machine.name, ensure="absent", purge=True)
    assert not machine.etc.exists()
    assert not machine.lib.exists()


def test_every_parameter_is_described() -> None:
    """Each has its meaning, and the other way round."""
    text = (MODULES / "mcshell" / "manifests" / "node.pp").read_text()
    parameters = text.partition("class mcshell::node (")[2].partition("\n) {")[0]
    names = re.findall(r"^  [A-Z].* \$(\w+)(?: =|,)", parameters, re.MULTILINE)
    assert re.findall(r"^# @param (\w+)", text, re.MULTILINE) == names
